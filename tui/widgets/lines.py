"""A text whose changes cost little."""

from __future__ import annotations

import math

from rich.cells import cell_len
from rich.text import Text
from textual.widgets import Static


class Lines(Static):
    """A text of several lines. Only a new height lays out the screen again, which draws all of it."""

    def write(self, text: Text) -> None:
        """Show another text; the same one repaints nothing."""
        before = self.content
        if text != before:
            same_height = isinstance(before, Text) and self._rows(before) == self._rows(text)
            self.update(text, layout=not same_height)

    def _rows(self, text: Text) -> int:
        width = max(1, self.size.width)
        return sum(max(1, math.ceil(cell_len(line) / width)) for line in text.plain.splitlines())
