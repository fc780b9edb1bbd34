"""The line of keys at the bottom of a screen."""

from __future__ import annotations

from collections.abc import Iterable

from rich.text import Text
from textual.widget import Widget

Hint = tuple[str, str]
"""A key as people write it, and a word for what it does."""


class KeyHints(Widget):
    """Shows as many keys as the line has room for.

    Textual's `Footer` has a widget for each key and mounts all of them again with each change of the focus, which costs
    more than a tenth of a second of processor time.

    Args:
        hints: The most important first.
        always: Shown last, however narrow the line is.
    """

    DEFAULT_CSS = """
    KeyHints { height: 1; width: 1fr; background: $panel; color: $text-muted; }
    """

    def __init__(self, hints: Iterable[Hint], always: Iterable[Hint]) -> None:
        super().__init__()
        self._hints = tuple(hints)
        self._always = tuple(always)
        self._hidden: frozenset[str] = frozenset()

    def hide(self, *words: str) -> None:
        """Hide the keys with these words, which do nothing now."""
        if (hidden := frozenset(words)) != self._hidden:
            self._hidden = hidden
            self.refresh()

    def render(self) -> Text:
        """Draw the line."""
        line, tail = Text(" "), Text()
        for hint in self._always:
            _append(tail, hint)
        for hint in self._hints:
            if hint[1] in self._hidden:
                continue
            longer = line.copy()
            _append(longer, hint)
            if longer.cell_len + tail.cell_len > self.size.width:
                break
            line = longer
        return line.append_text(tail)


def _append(line: Text, hint: Hint) -> None:
    line.append(hint[0], "bold").append(f" {hint[1]}  ")
