"""Where a picture goes within its area, in pixels and cells, and how it is cut into slices of whole rows of cells."""

from __future__ import annotations

from typing import NamedTuple

from tui.graphics.terminal import Protocol, Terminal

SIXEL_BAND_PX = 6

KITTY_MAX_CELLS = 297
"""Rows or columns that a placeholder cell can count to."""

MIN_SLICE_ROWS = 3


class Area(NamedTuple):
    """A widget's content, in cells."""

    columns: int
    rows: int


class Placement(NamedTuple):
    """The cells that a picture covers, from its area's upper left on, and its size in the pixels that are encoded."""

    columns: int
    rows: int
    width_px: int
    height_px: int
    enlarge: int
    """How many times every pixel is repeated in the encoded data."""
    row_px: int
    """Rows of encoded pixels, repeated ones included, that one row of cells shows."""


def slice_rows(terminal: Terminal) -> int:
    """Rows of cells in a slice: few, and of a height that sixel can draw without an unfinished band."""
    height = terminal.cell_height_px
    return next(rows for rows in range(MIN_SLICE_ROWS, 7) if rows * height % SIXEL_BAND_PX == 0 or rows == 6)


def area_px(area: Area, terminal: Terminal) -> tuple[int, int]:
    """Width and height that a picture may have to be shown pixel by pixel."""
    if terminal.protocol is Protocol.HALFBLOCK:
        return area.columns, area.rows * 2
    columns, rows = area
    if terminal.protocol is Protocol.KITTY:
        columns, rows = min(columns, KITTY_MAX_CELLS), min(rows, KITTY_MAX_CELLS)
    width, height = columns * terminal.cell_width_px, rows * terminal.cell_height_px
    if terminal.protocol is Protocol.SIXEL:
        limit_width, limit_height = terminal.sixel_limit_px
        width = min(width, limit_width) if limit_width else width
        height = min(height, limit_height) if limit_height else height
        # Some terminals round a picture up to whole bands; it must not reach into the row below.
        height -= height % SIXEL_BAND_PX if height > SIXEL_BAND_PX else 0
    return width, height


def place(width_px: int, height_px: int, area: Area, terminal: Terminal) -> Placement:
    """Fit a picture of this size into the area, whole and with its proportions.

    A kitty terminal enlarges by itself, so that the data stays small: by a factor with which each row of cells shows a
    whole number of the picture's rows, so that slices join without a seam. The encoded picture is then a little wider
    and higher than the one asked for, to fill its cells.
    """
    room_width, room_height = area_px(area, terminal)
    scale = min(room_width / width_px, room_height / height_px)
    if scale < 1:
        width_px = max(1, min(room_width, round(width_px * scale)))
        height_px = max(1, min(room_height, round(height_px * scale)))
    cell_width, cell_height = terminal.cell_width_px, terminal.cell_height_px
    enlarge, row_px = 1, cell_height
    if terminal.protocol is Protocol.KITTY:
        row_px = min(cell_height, max(1, -int(-cell_height // max(1.0, scale))))
        shown = cell_height / row_px
        columns = min(area.columns, max(1, -int(-width_px * shown // cell_width)))
        rows = min(area.rows, -(-height_px // row_px))
        width_px, height_px = max(width_px, int(columns * cell_width / shown)), rows * row_px
    else:
        if terminal.protocol is Protocol.HALFBLOCK:
            cell_width, cell_height, row_px = 1, 2, 2
        enlarge = max(1, int(scale))
        columns = min(area.columns, max(1, -(-width_px * enlarge // cell_width)))
        rows = min(area.rows, max(1, -(-height_px * enlarge // cell_height)))
    return Placement(columns, rows, width_px, height_px, enlarge, row_px)
