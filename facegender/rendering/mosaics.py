"""Arrays to mosaics: feature maps and filters side by side in a grid, as palette indices.

Mosaics stay palette indices until they are written or shown; colours are looked up only then.
"""

from __future__ import annotations

import math
from typing import Literal

import msgspec
import numpy as np
from PIL import Image

from facegender.rendering.colormaps import Palette, reduced
from facegender.runs.frames import dequantise, quantise
from facegender.support.arrays import Float32Array, UInt8Array

LEVELS = 64
MAX_ENLARGEMENT = 16.0
MAX_ENLARGEMENT_ALONE = 48.0
"""Of a tile that has a page for itself."""
TINY_TILE_PX = 96
"""Tiles of few pixels, such as kernels, may be enlarged further, up to this size."""
MIN_ENLARGEMENT = 1.2
"""A smaller factor would blur tiles, and make hardly larger ones."""
RGB = tuple[int, int, int]
GAP_COLOUR: RGB = (22, 24, 29)
CURSOR_COLOUR: RGB = (255, 255, 255)


class Grid(msgspec.Struct, frozen=True):
    """The layout of a mosaic.

    Attributes:
        count: Number of tiles.
        columns: Tiles side by side in a row.
        tile_width, tile_height: Size of each tile in pixels.
        gap: Pixels between tiles and around the mosaic.
    """

    count: int
    columns: int
    tile_width: int
    tile_height: int
    gap: int

    @property
    def rows(self) -> int:
        """Rows of tiles; the last one may not be full."""
        return -(-self.count // self.columns)

    @property
    def width(self) -> int:
        """Width of the mosaic in pixels, with the gap around it."""
        return self.columns * (self.tile_width + self.gap) + self.gap

    @property
    def height(self) -> int:
        """Height of the mosaic in pixels, with the gap around it."""
        return self.rows * (self.tile_height + self.gap) + self.gap

    def origin(self, tile: int) -> tuple[int, int]:
        """The (x, y) of a tile's upper left pixel."""
        row, column = divmod(tile, self.columns)
        return self.gap + column * (self.tile_width + self.gap), self.gap + row * (self.tile_height + self.gap)

    def tile_at(self, x: int, y: int) -> int | None:
        """The tile that shows a pixel, with half of the gap around it; None beside the tiles."""
        column = (x - self.gap // 2) // (self.tile_width + self.gap)
        row = (y - self.gap // 2) // (self.tile_height + self.gap)
        tile = row * self.columns + column
        return tile if 0 <= column < self.columns and 0 <= tile < self.count else None


Enlarging = Literal["any", "whole", "large"]


def fit_grid(
    count: int,
    tile: tuple[int, int],
    area: tuple[int, int],
    *,
    gap: int = 2,
    enlarging: Enlarging = "any",
    most: float = MAX_ENLARGEMENT,
) -> Grid:
    """Find the grid that shows tiles as large as an area allows, with their shape kept.

    Args:
        count: Number of tiles, at least 1.
        tile: (height, width) of one tile in its own pixels.
        area: (width, height) of the area to fill, in pixels.
        enlarging: Which factors may enlarge tiles. From 4 on only whole factors do, which keeps pixels crisp. Below 4,
            "any" allows any factor, "whole" only whole factors, and "large" none, for a terminal that enlarges pictures
            itself.
        most: The largest factor.
    """
    height, width = tile
    candidates: list[tuple[float, Grid]] = []
    for columns in range(1, count + 1):
        rows = -(-count // columns)
        room_x = (area[0] - gap) / columns - gap
        room_y = (area[1] - gap) / rows - gap
        scale = min(room_x / width, room_y / height, most)
        if scale >= 4 or (scale >= 1 and enlarging == "whole"):
            scale = math.floor(scale)
        elif 1 < scale < MIN_ENLARGEMENT:
            scale = 1.0
        elif enlarging == "large":
            scale = min(scale, 1.0)
        size = (max(1, int(width * scale)), max(1, int(height * scale)))
        # Of layouts with tiles of the same size, the one whose shape is closest to the area's looks best.
        shape = math.log(columns * width / (rows * height) * max(1, area[1]) / max(1, area[0]))
        score = size[0] * size[1] - min(0.9, abs(shape) / 10)
        candidates.append((score, Grid(count, columns, *size, gap)))
    return max(candidates, key=lambda candidate: candidate[0])[1]


def fit_page(
    count: int,
    tile: tuple[int, int],
    area: tuple[int, int],
    least_px: int,
    *,
    gap: int = 2,
    enlarging: Enlarging = "any",
) -> Grid:
    """Find the grid of one page, where all tiles may not fit at a size that shows something.

    Args:
        count: Number of tiles, at least 1.
        tile, area, gap, enlarging: As for `fit_grid`.
        least_px: Tiles have at least this many pixels in their longer direction, if one tile has.

    Returns:
        A grid of full rows whose ``count`` is the number of tiles per page; all tiles if they fit on one page.
    """
    factor = least_px / max(tile)
    if factor > 4 or (factor > 1 and enlarging == "whole"):
        factor = math.ceil(factor)
    height, width = (math.ceil(side * factor) for side in tile)
    per_page = max(1, (area[0] - gap) // (width + gap)) * max(1, (area[1] - gap) // (height + gap))
    # The pages share the tiles evenly, in full rows.
    pages = -(-count // per_page)
    most = MAX_ENLARGEMENT_ALONE if count == 1 else max(MAX_ENLARGEMENT, TINY_TILE_PX / max(tile))
    grid = fit_grid(-(-count // pages), tile, area, gap=gap, enlarging=enlarging, most=most)
    if pages == 1:
        return grid
    return Grid(grid.columns * grid.rows, grid.columns, grid.tile_width, grid.tile_height, gap)


def resized(tiles: UInt8Array, width: int, height: int) -> UInt8Array:
    """Resize tiles: repeat pixels for whole factors, else interpolate to enlarge and average to shrink.

    Args:
        tiles: (N, h, w) or (N, h, w, 3) uint8.
    """
    h, w = tiles.shape[1:3]
    if width % w == 0 and height % h == 0:
        return np.repeat(np.repeat(tiles, height // h, axis=1), width // w, axis=2)
    filter_ = Image.Resampling.BOX if width < w else Image.Resampling.BILINEAR
    return np.stack([np.asarray(Image.fromarray(tile).resize((width, height), filter_)) for tile in tiles])


def mosaic(tiles: UInt8Array, grid: Grid, *, levels: int = LEVELS, cursor: int | None = None) -> UInt8Array:
    """Lay out tiles in a grid, as palette indices.

    Args:
        tiles: (C, h, w) uint8 in [0, 255]; on the last page they may be fewer than the grid has room for.
        grid: From `fit_grid` or `fit_page`.
        levels: Indices below ``levels`` are data, ``levels`` is the gap and ``levels + 1`` the cursor, as in `palette`.
        cursor: Index of the tile to draw a frame around; None for no frame.

    Returns:
        (grid.height, grid.width) uint8.
    """
    out = np.full((grid.height, grid.width), levels, np.uint8)
    scaled = resized(tiles, grid.tile_width, grid.tile_height)
    _place(out, (scaled.astype(np.uint16) * levels // 256).astype(np.uint8), grid)
    if cursor is not None:
        _frame(out, grid, cursor, levels + 1)
    return out


def rgb_mosaic(tiles: UInt8Array, grid: Grid, *, cursor: int | None = None, gap_colour: RGB = GAP_COLOUR) -> UInt8Array:
    """Lay out (N, h, w, 3) uint8 tiles as `mosaic` does; returns (grid.height, grid.width, 3) uint8 RGB."""
    out = np.empty((grid.height, grid.width, 3), np.uint8)
    out[:] = gap_colour
    _place(out, resized(tiles, grid.tile_width, grid.tile_height), grid)
    if cursor is not None:
        _frame(out, grid, cursor, CURSOR_COLOUR)
    return out


def _place(out: UInt8Array, tiles: UInt8Array, grid: Grid) -> None:
    for number, tile in enumerate(tiles):
        x, y = grid.origin(number)
        out[y : y + grid.tile_height, x : x + grid.tile_width] = tile


def _frame(out: UInt8Array, grid: Grid, tile: int, colour: int | tuple[int, int, int]) -> None:
    """Draw a frame into the gap around a tile, if the grid has such a tile and gaps."""
    if not 0 <= tile < grid.count or not grid.gap:
        return
    x, y = grid.origin(tile)
    x0, y0, x1, y1 = x - grid.gap, y - grid.gap, x + grid.tile_width + grid.gap, y + grid.tile_height + grid.gap
    out[y0:y, x0:x1] = out[y1 - grid.gap : y1, x0:x1] = colour
    out[y0:y1, x0:x] = out[y0:y1, x1 - grid.gap : x1] = colour


def palette(
    colours: Palette, levels: int = LEVELS, gap_colour: RGB = GAP_COLOUR, cursor_colour: RGB = CURSOR_COLOUR
) -> Palette:
    """Return the colours of a `mosaic`, (levels + 2, 3) uint8: the colour map, the gap and the cursor."""
    extra = np.array([gap_colour, cursor_colour], np.uint8)
    return np.concatenate([reduced(colours, levels), extra])


def signed_tiles(values: Float32Array, limit: float | None = None) -> tuple[UInt8Array, float]:
    """Quantise (N, …) float values around zero.

    Args:
        limit: The magnitude that the ends stand for, by default the largest finite one. Larger values are cut off.

    Returns:
        (N, …) uint8 where 0 is -limit, 127.5 is zero and 255 is +limit; and the limit.
    """
    finite = np.where(np.isfinite(values), values, 0.0)
    limit = limit or float(np.abs(finite).max(initial=0.0)) or 1.0
    return np.rint((np.clip(finite / limit, -1.0, 1.0) + 1.0) * 127.5).astype(np.uint8), limit


def channel_average(maps: UInt8Array, low: Float32Array, high: Float32Array) -> tuple[UInt8Array, float, float]:
    """Average quantised maps over their channels.

    Args:
        maps: (C, h, w) uint8.
        low, high: (C,) float32, the values that 0 and 255 stand for.

    Returns:
        (1, h, w) uint8, and the values that 0 and 255 stand for.
    """
    # The sum over the channels of a diverging network may exceed float32.
    mean = dequantise(maps, low, high).mean(axis=0, dtype=np.float64).astype(np.float32)
    tiles, lows, highs = quantise(mean[None, None])
    return tiles[0], float(lows[0, 0]), float(highs[0, 0])
