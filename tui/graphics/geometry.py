"""Where a picture goes within its area, in pixels and cells."""

from __future__ import annotations

from typing import NamedTuple

from tui.graphics.terminal import Protocol, Terminal

SIXEL_BAND_PX = 6

KITTY_MAX_CELLS = 297
"""Rows or columns that a placeholder cell can count to."""


class Area(NamedTuple):
    """A widget's content, in cells."""

    columns: int
    rows: int


class Placement(NamedTuple):
    """The cells that a picture covers within its area, and its size in the pixels that are encoded."""

    left: int
    top: int
    columns: int
    rows: int
    width_px: int
    height_px: int
    enlarge: int
    """How many times every pixel is repeated in the encoded data."""


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


def place(width_px: int, height_px: int, area: Area, terminal: Terminal, centred: bool = False) -> Placement:
    """Fit a picture of this size into the area, whole and with its proportions."""
    room_width, room_height = area_px(area, terminal)
    scale = min(room_width / width_px, room_height / height_px)
    if terminal.protocol is Protocol.HALFBLOCK:
        cell_width, cell_height = 1, 2
    else:
        cell_width, cell_height = terminal.cell_width_px, terminal.cell_height_px
    enlarge = 1
    if scale < 1:
        width_px = max(1, min(room_width, round(width_px * scale)))
        height_px = max(1, min(room_height, round(height_px * scale)))
    elif terminal.protocol is not Protocol.KITTY:
        enlarge = int(scale)
    shown = max(1.0, scale) if terminal.protocol is Protocol.KITTY else enlarge
    columns = min(area.columns, max(1, -(-round(width_px * shown) // cell_width)))
    rows = min(area.rows, max(1, -(-round(height_px * shown) // cell_height)))
    left, top = ((area.columns - columns) // 2, (area.rows - rows) // 2) if centred else (0, 0)
    return Placement(left, top, columns, rows, width_px, height_px, enlarge)
