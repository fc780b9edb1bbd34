"""How the layer pane is divided: a pure function of its size, the tiles and the terminal.

The mosaic is on the left and the side on the right: the photograph with its caption. The legend is the last row.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal, NamedTuple

import msgspec
from rich.cells import cell_len

from tui.graphics.geometry import Area, area_px
from tui.graphics.terminal import Protocol, Terminal

if TYPE_CHECKING:
    from facegender.rendering.mosaics import Enlarging, Grid

ENOUGH_PX = 64
"""Tiles should be this wide, or as wide as the data; if they are not, the side becomes narrow."""
MIN_TILE_PX = 48
"""Tiles are never smaller; what does not fit is on further pages."""
MIN_TILE_BLOCKS = 14
"""The same in half blocks, two of which make a cell."""
COARSE_BELOW_PX = 240
"""In a mosaic whose shorter side is smaller, gaps between tiles are one pixel wide."""
MIN_MOSAIC_PX = 8
NARROW_PANE_COLUMNS = 68
SIDE_COLUMNS, PHOTOGRAPH_ROWS = 24, 12
WIDE_SIDE_COLUMNS = (56, 48, 40, 32)
"""Columns of a side with a larger photograph, which is used where the tiles hardly shrink."""
MIN_TILE_SHARE = 0.85
"""A larger photograph leaves tiles at least this share of their width."""
MIN_FILLED = 0.75
"""A larger side is used only if the photograph fills at least this share of its width."""
MAX_ENLARGEMENT = 2.0
"""How far a photograph is resampled; beyond that, terminals without scaling enlarge it by whole factors."""
NARROW_SIDE_COLUMNS, NARROW_PHOTOGRAPH_ROWS = 10, 5
DETAILS_COLUMNS, DETAILS_ROWS = 34, 13
"""Beside a channel that is shown alone."""
PATCHES_COLUMNS = 44
"""Beside patches of photographs, each with a line."""
SHOWN_CLASSES = 5
"""Classes whose probabilities stand beside a photograph at most: the most probable ones."""


class SideSize(NamedTuple):
    """The width of the side, and the height of the photograph in it, in cells; 0 columns for no side."""

    columns: int
    photograph_rows: int


class Layout(msgspec.Struct, frozen=True):
    """A division of the pane.

    Attributes:
        side: The size of the side.
        photograph_px: (width, height) in pixels for the photograph; (0, 0) for none.
        grid: How the tiles of a page are arranged; its ``count`` is the number of tiles per page.
    """

    side: SideSize
    photograph_px: tuple[int, int]
    grid: Grid


SideKind = Literal["probe", "details", "patches", "nothing"]


def choose_layout(
    pane: Area,
    caption: str | None,
    classes: int,
    tiles: tuple[int, int, int],
    terminal: Terminal,
    *,
    photograph_px: int = 0,
    beside: SideKind = "probe",
    fill: bool = True,
) -> Layout:
    """Choose the first size of the side with which all tiles are large enough, or at least fit on one page.

    Args:
        pane: The pane without its border and padding.
        caption: The text beside a classified photograph; None for a run's probe.
        classes: Number of classes; the caption of a probe has lines for each.
        tiles: Number, height and width of the tiles in their own pixels.
        terminal: Determines how large a cell is and whether pictures are enlarged by the terminal.
        photograph_px: Width of the photograph in its own pixels; 0 if unknown.
        beside: What of a run's pictures stands beside the tiles.
        fill: Enlarge tiles by any factor to fill the pane, else only by whole ones, which are fewer bytes.
    """
    if caption is not None:
        sizes = [_answer_side(pane, caption)]
    elif beside == "probe":
        sizes = _probe_sides(pane, classes)
    else:
        sizes = [_details_side(pane, beside)]
    layouts = [_layout(pane, size, tiles, terminal, fill) for size in sizes]
    enough = min(ENOUGH_PX, tiles[2])
    whole = [layout for layout in layouts if layout.grid.count >= tiles[0]]
    chosen = next((layout for layout in whole if layout.grid.tile_width >= enough), (whole or layouts)[0])
    if beside == "probe" and caption is None and chosen.side.columns == SIDE_COLUMNS:
        sizes = [one for one in _wider_sides(pane, classes) if _filled(one, photograph_px, terminal) >= MIN_FILLED]
        wider = (_layout(pane, size, tiles, terminal, fill) for size in sizes)
        count, width = min(tiles[0], chosen.grid.count), max(enough, MIN_TILE_SHARE * chosen.grid.tile_width)
        fitting = (layout for layout in wider if layout.grid.count >= count and layout.grid.tile_width >= width)
        return next(fitting, chosen)
    return chosen


def _probe_sides(pane: Area, classes: int) -> list[SideSize]:
    """Return the normal and the narrow size beside a run's pictures; no side in a narrow pane."""
    if pane.columns < NARROW_PANE_COLUMNS:
        return [SideSize(0, 0)]
    rows, classes = pane.rows - 1, min(classes, SHOWN_CLASSES)
    return [
        SideSize(SIDE_COLUMNS, min(PHOTOGRAPH_ROWS, rows - 2 - classes)),
        SideSize(NARROW_SIDE_COLUMNS, min(NARROW_PHOTOGRAPH_ROWS, rows - 3 - 2 * classes)),
    ]


def _wider_sides(pane: Area, classes: int) -> list[SideSize]:
    """Return sizes of the side with a larger photograph, the largest first."""
    rows = pane.rows - 3 - min(classes, SHOWN_CLASSES)
    return [SideSize(columns, min(columns // 2, rows)) for columns in WIDE_SIDE_COLUMNS if rows > PHOTOGRAPH_ROWS]


def _filled(size: SideSize, photograph_px: int, terminal: Terminal) -> float:
    """Return the share of the side's width that the photograph fills; kitty enlarges it by any factor."""
    if terminal.protocol is Protocol.KITTY or photograph_px < 1:
        return 1.0
    room, _ = area_px(Area(size.columns - 1, 1), terminal)
    width = min(room, MAX_ENLARGEMENT * photograph_px)
    return int(room / width) * width / room


def _details_side(pane: Area, beside: SideKind) -> SideSize:
    """Return the size beside one channel: its numbers, below the photograph if there is room; or a line per patch."""
    if beside == "nothing":
        return SideSize(0, 0)
    if beside == "patches":
        return SideSize(min(PATCHES_COLUMNS, pane.columns // 2), 0)
    columns = min(DETAILS_COLUMNS, pane.columns // 2)
    room = pane.rows - 1 - DETAILS_ROWS
    return SideSize(columns, min(PHOTOGRAPH_ROWS, room) if room >= NARROW_PHOTOGRAPH_ROWS else 0)


def _answer_side(pane: Area, caption: str) -> SideSize:
    """Return the size beside a classified photograph's maps: the whole caption, the photograph as large as possible."""
    narrow = pane.columns < NARROW_PANE_COLUMNS
    columns = round(0.6 * pane.columns) if narrow else max(46, round(0.4 * pane.columns))
    room = max(1, columns - 1)
    caption_rows = 1 + sum(max(1, math.ceil(cell_len(line) / room)) for line in caption.splitlines())
    return SideSize(columns, pane.rows - 1 - caption_rows)


def _layout(pane: Area, side: SideSize, tiles: tuple[int, int, int], terminal: Terminal, fill: bool) -> Layout:
    from facegender.rendering.mosaics import fit_page

    width, height = area_px(Area(max(1, pane.columns - side.columns), max(1, pane.rows - 1)), terminal)
    mosaic_px = max(MIN_MOSAIC_PX, width), max(MIN_MOSAIC_PX, height)
    gap = 2 if min(mosaic_px) >= COARSE_BELOW_PX else 1
    enlarging: Enlarging = "large" if terminal.protocol is Protocol.KITTY else "any" if fill else "whole"
    least_px = MIN_TILE_BLOCKS if terminal.protocol is Protocol.HALFBLOCK else MIN_TILE_PX
    grid = fit_page(tiles[0], tiles[1:], mosaic_px, least_px, gap=gap, enlarging=enlarging)
    photograph_px = (0, 0)
    if side.columns > 1 and side.photograph_rows > 0:
        photograph_px = area_px(Area(side.columns - 1, side.photograph_rows), terminal)
    return Layout(side, photograph_px, grid)
