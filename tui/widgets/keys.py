"""The line of keys at the bottom of a screen."""

from __future__ import annotations

from collections.abc import Iterable

from rich.text import Text
from textual.widget import Widget

from tui.commands import Command


class KeyHints(Widget):
    """As many keys with a word each as the line has room for; the help and the way out always stay."""

    DEFAULT_CSS = """
    KeyHints { height: 1; width: 1fr; background: $panel; color: $text-muted; }
    """

    def __init__(self, commands: Iterable[Command] = (), extra: Iterable[tuple[str, str]] = ()) -> None:
        super().__init__()
        named = [(command.shown_key, command.hint) for command in commands if command.hint]
        self._always = [pair for pair in named if pair[1] in ("help", "detach")]
        self._pairs = [*extra, *(pair for pair in named if pair not in self._always)]
        self._left_out: frozenset[str] = frozenset()

    def leave_out(self, *words: str) -> None:
        """Leave out the keys with these words, which do nothing now."""
        if (left_out := frozenset(words)) != self._left_out:
            self._left_out = left_out
            self.refresh()

    def render(self) -> Text:
        """The line for the width there is."""
        tail = self._line(self._always)
        line = Text(" ")
        for pair in self._pairs:
            if pair[1] in self._left_out:
                continue
            part = self._line([pair])
            if line.cell_len + part.cell_len + tail.cell_len > self.size.width:
                break
            line.append_text(part)
        return line.append_text(tail)

    @staticmethod
    def _line(pairs: Iterable[tuple[str, str]]) -> Text:
        out = Text()
        for key, word in pairs:
            out.append(key, "bold").append(f" {word}  ")
        return out
