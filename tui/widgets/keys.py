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

    def show(self, hints: Iterable[Hint], always: Iterable[Hint]) -> None:
        """Show other keys."""
        shown = tuple(hints), tuple(always)
        if shown != (self._hints, self._always):
            self._hints, self._always = shown
            self.refresh()

    def render(self) -> Text:
        """Draw the line."""
        line, tail = Text(" "), Text.assemble(*map(_hint_text, self._always))
        for hint in map(_hint_text, self._hints):
            if line.cell_len + hint.cell_len + tail.cell_len > self.size.width:
                break
            line.append_text(hint)
        return line.append_text(tail)


def _hint_text(hint: Hint) -> Text:
    return Text.assemble((hint[0], "bold"), f" {hint[1]}  ")
