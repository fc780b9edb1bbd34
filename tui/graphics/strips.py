"""A line of a widget that knows when it is really written to the terminal.

Textual asks a widget for its lines far more often than it writes them: for updates elsewhere on the screen, below the
mouse, under other screens. Only `Strip.render` is called for exactly the cells that go out, after the compositor has
cut away what other widgets cover. So that is where a picture belongs: bytes are never spent twice and never lost.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol

from rich.console import Console
from rich.segment import Segment
from textual.strip import Strip


class Painter(Protocol):
    """Writes the picture's part of a line."""

    def paint(self, row: int, first: int, last: int) -> str | None:
        """What to write for the picture's cells.

        Args:
            row: The row within the picture, in cells.
            first: The first column within the picture.
            last: The column after the last.

        Returns:
            Text and control sequences that leave the cursor after the last cell; None for the line's own cells.
        """

    def painted(self, row: int) -> str:
        """What to write after the line; the cursor must be back where it was."""


class PaintedStrip(Strip):
    """A strip, or a piece cut from it, whose cells from `left` to `right` a painter writes.

    Args:
        base: The line as Textual knows it.
        painter: Writes the picture.
        row: The row within the picture.
        start: Where this piece starts, in columns from the start of the picture. Negative if before it.
        width: How many columns the picture has.
    """

    __slots__ = ["_base", "_painter", "_row", "_start", "_width"]

    def __init__(self, base: Strip, painter: Painter, row: int, start: int, width: int) -> None:
        super().__init__(base, base.cell_length)
        self._base = base
        self._painter = painter
        self._row = row
        self._start = start
        self._width = width

    def _piece(self, base: Strip, offset: int) -> PaintedStrip:
        return PaintedStrip(base, self._painter, self._row, self._start + offset, self._width)

    def divide(self, cuts: Iterable[int]) -> Sequence[Strip]:
        """Cut at these columns; every piece still paints itself."""
        offset = 0
        pieces = []
        for piece in self._base.divide(cuts):
            pieces.append(self._piece(piece, offset))
            offset += piece.cell_length
        return pieces

    def crop(self, start: int, end: int | None = None) -> Strip:
        """Keep the columns from `start` up to but not including `end`."""
        piece = self._base.crop(start, end)
        return self._piece(piece, max(0, start)) if piece.cell_length else piece

    def render(self, console: Console) -> str:
        """The line as it is written."""
        length = self._base.cell_length
        first = max(0, self._start)
        last = min(self._width, self._start + length)
        if first >= last:
            return self._base.render(console)
        text = self._painter.paint(self._row, first, last)
        if text is None:
            text = self._base.render(console)
        else:
            before = self._base.crop(0, first - self._start)
            after = self._base.crop(last - self._start)
            text = before.render(console) + text + (after.render(console) if after.cell_length else "")
        return text + self._painter.painted(self._row)


def spliced(base: Strip, left: int, segments: list[Segment], width: int) -> Strip:
    """The line with its columns from `left` replaced by segments that are `width` columns wide."""
    after = base.crop(left + width)
    return Strip([*base.crop(0, left), *segments, *after], base.cell_length)
