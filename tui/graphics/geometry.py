"""Where a picture is placed within its area, in pixels and cells, and how it is cut into slices of rows of cells."""

from __future__ import annotations

from typing import NamedTuple

from tui.graphics.terminal import Protocol, Terminal

SIXEL_BAND_PX = 6

KITTY_MAX_CELLS = 297
"""The most rows or columns that placeholder cells can number."""

MIN_SLICE_ROWS, MAX_SLICE_ROWS = 3, 6


class Area(NamedTuple):
    """A widget's content, in cells."""

    columns: int
    rows: int


class Placement(NamedTuple):
    """The cells that a picture covers, from its area's upper left corner, and its size in encoded pixels."""

    columns: int
    rows: int
    width_px: int
    height_px: int
    enlarge: int
    """The factor by which pixels are repeated in the encoded data."""
    row_px: int
    """Rows of encoded pixels, repeated ones included, per row of cells."""


def slice_rows(terminal: Terminal) -> int:
    """Return the rows of cells per slice: few, but in kitty not too few, as slices have margins there.

    For sixel, a slice is a whole number of bands.
    """
    if terminal.protocol is Protocol.KITTY:
        return MAX_SLICE_ROWS
    candidates = range(MIN_SLICE_ROWS, MAX_SLICE_ROWS + 1)
    return next(rows for rows in candidates if rows * terminal.cell_height_px % SIXEL_BAND_PX == 0)


def area_px(area: Area, terminal: Terminal) -> tuple[int, int]:
    """Return the (width, height) in pixels of a picture that fills an area without being scaled."""
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
        # Some terminals round the height up to whole bands, which must not reach into the row below.
        height -= height % SIXEL_BAND_PX if height > SIXEL_BAND_PX else 0
    return width, height


def fit(width_px: int, height_px: int, area: Area, terminal: Terminal) -> Placement:
    """Fit a whole picture into an area, keeping its proportions.

    A kitty terminal enlarges pictures by itself, so that the data stays small. The factor is chosen so that each row of
    cells shows a whole number of rows of pixels, and slices join without a seam; the encoded picture is padded to fill
    its cells.
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
