"""Arrays to images: mosaics of feature maps and filters as palette indices, and the two PNG pages of an epoch.

Everything stays in palette indices until it is written or shown; colours are only looked up at the end.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import msgspec
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from facegender.rendering.colormaps import DIVERGING, VIRIDIS, Palette, reduced
from facegender.runs.frames import Bytes, Floats, Frame, dequantise, quantise
from facegender.support.files import replacing

LEVELS = 64
MAX_ENLARGEMENT = 16.0
GAP_COLOUR = (22, 24, 29)
CURSOR_COLOUR = (255, 255, 255)


class Grid(msgspec.Struct, frozen=True):
    """Where tiles lie in a mosaic, in pixels. A tile and its ``gap`` to the right and below make a cell."""

    count: int
    columns: int
    tile_width: int
    tile_height: int
    gap: int

    @property
    def rows(self) -> int:
        """Rows of tiles, the last one possibly not full."""
        return -(-self.count // self.columns)

    @property
    def width(self) -> int:
        """Width of the mosaic in pixels, a gap on either side included."""
        return self.columns * (self.tile_width + self.gap) + self.gap

    @property
    def height(self) -> int:
        """Height of the mosaic in pixels."""
        return self.rows * (self.tile_height + self.gap) + self.gap

    def origin(self, tile: int) -> tuple[int, int]:
        """(x, y) of a tile's upper left pixel."""
        row, column = divmod(tile, self.columns)
        return self.gap + column * (self.tile_width + self.gap), self.gap + row * (self.tile_height + self.gap)


Enlarging = Literal["any", "whole", "large"]


def fit_grid(
    count: int, tile: tuple[int, int], area: tuple[int, int], *, gap: int = 2, enlarging: Enlarging = "any"
) -> Grid:
    """The grid that shows ``count`` tiles as large as an area allows, their shape kept.

    Args:
        count: Number of tiles, at least 1.
        tile: (height, width) of one tile in its own pixels.
        area: (width, height) in pixels of the place to fill.
        enlarging: By which factors tiles are enlarged, at most `MAX_ENLARGEMENT`. From 4 on they are whole ones, which
            keeps pixels crisp. Below, "any" takes any, "whole" whole ones, and "large" none, for a terminal that
            enlarges by itself.
    """
    height, width = tile
    best: tuple[float, Grid] | None = None
    for columns in range(1, count + 1):
        rows = -(-count // columns)
        room_x = (area[0] - gap) / columns - gap
        room_y = (area[1] - gap) / rows - gap
        scale = min(room_x / width, room_y / height, MAX_ENLARGEMENT)
        if scale >= 4 or (scale >= 1 and enlarging == "whole"):
            scale = math.floor(scale)
        elif enlarging == "large":
            scale = min(scale, 1.0)
        size = (max(1, int(width * scale)), max(1, int(height * scale)))
        # Among layouts with tiles of one size, the one whose shape is nearest to the area's looks best.
        shape = math.log(columns * width / (rows * height) * max(1, area[1]) / max(1, area[0]))
        score = size[0] * size[1] - min(0.9, abs(shape) / 10)
        if best is None or score > best[0]:
            best = score, Grid(count, columns, size[0], size[1], gap)
    assert best is not None
    return best[1]


def resized(tiles: Bytes, width: int, height: int) -> Bytes:
    """(C, h, w) uint8 tiles at another size: enlargements by whole factors repeat pixels.

    Others interpolate, reductions average.
    """
    _, h, w = tiles.shape
    if width % w == 0 and height % h == 0:
        return np.repeat(np.repeat(tiles, height // h, axis=1), width // w, axis=2)
    filter_ = Image.Resampling.BOX if width < w else Image.Resampling.BILINEAR
    return np.stack([np.asarray(Image.fromarray(tile).resize((width, height), filter_)) for tile in tiles])


def mosaic(tiles: Bytes, grid: Grid, *, levels: int = LEVELS, cursor: int | None = None) -> Bytes:
    """Tiles laid out in a grid, as palette indices.

    Args:
        tiles: (C, h, w) uint8, 0 to 255.
        grid: From `fit_grid`.
        levels: Indices 0 to levels - 1 are data; ``levels`` is the gap and ``levels + 1`` the cursor, as in `palette`.
        cursor: The tile to draw a frame around.

    Returns:
        (grid.height, grid.width) uint8.
    """
    out = np.full((grid.height, grid.width), levels, np.uint8)
    scaled = resized(tiles, grid.tile_width, grid.tile_height)
    indices = (scaled.astype(np.uint16) * levels // 256).astype(np.uint8)
    for number, tile in enumerate(indices):
        x, y = grid.origin(number)
        out[y : y + grid.tile_height, x : x + grid.tile_width] = tile
    if cursor is not None and 0 <= cursor < grid.count and grid.gap:
        x, y = grid.origin(cursor)
        x0, y0, x1, y1 = x - grid.gap, y - grid.gap, x + grid.tile_width + grid.gap, y + grid.tile_height + grid.gap
        out[y0:y, x0:x1] = out[y1 - grid.gap : y1, x0:x1] = levels + 1
        out[y0:y1, x0:x] = out[y0:y1, x1 - grid.gap : x1] = levels + 1
    return out


def palette(colours: Palette, levels: int = LEVELS) -> Palette:
    """The (levels + 2, 3) uint8 colours of a `mosaic`: the colour map, the gap and the cursor."""
    extra = np.array([GAP_COLOUR, CURSOR_COLOUR], np.uint8)
    return np.concatenate([reduced(colours, levels), extra])


def weight_tiles(filters: Floats) -> tuple[Bytes, float]:
    """Filters averaged over their input channels, as bytes centred on zero.

    Args:
        filters: (O, I, kh, kw) float32.

    Returns:
        (O, kh, kw) uint8 where 0 is -limit, 127.5 is zero and 255 is +limit; and the limit.
    """
    return signed_tiles(filters.mean(axis=1))


def signed_tiles(values: Floats) -> tuple[Bytes, float]:
    """(N, h, w) floats as bytes centred on zero, and the magnitude that 0 and 255 stand for."""
    finite = np.where(np.isfinite(values), values, 0.0)
    limit = float(np.abs(finite).max(initial=0.0)) or 1.0
    return np.rint((finite / limit + 1.0) * 127.5).astype(np.uint8), limit


def channel_average(maps: Bytes, low: Floats, high: Floats) -> tuple[Bytes, float, float]:
    """The mean over channels of quantised maps: (1, h, w) uint8 and the values of 0 and of 255."""
    mean = dequantise(maps, low, high).mean(axis=0)
    tiles, lows, highs = quantise(mean[None, None])
    return tiles[0], float(lows[0, 0]), float(highs[0, 0])


def heat_overlay(image: Bytes, heat: Bytes) -> Bytes:
    """A photograph with a heatmap laid over it: the hotter, the more of viridis' yellow shows, and never only that.

    Args:
        image: (H, W, 3) uint8.
        heat: (h, w) uint8, 255 is hottest; spread over the whole photograph.

    Returns:
        (H, W, 3) uint8.
    """
    spread = Image.fromarray(heat).resize((image.shape[1], image.shape[0]), Image.Resampling.BICUBIC)
    strength = np.asarray(spread)
    share = 0.15 + 0.5 * (strength[:, :, None].astype(np.float32) / 255)
    mixed: Bytes = np.rint(image * (1 - share) + VIRIDIS[strength] * share).astype(np.uint8)
    return mixed


# The pages ----------------------------------------------------------------------------------------------------------

_PAGE_WIDTH = 1280
_MARGIN = 16
_TITLE_PX = 20
_INK = (222, 224, 230)
_DIM = (150, 154, 164)


def _strip(title: str, note: str, body: Image.Image) -> Image.Image:
    """A picture below its title."""
    out = Image.new("RGB", (_PAGE_WIDTH, body.height + _TITLE_PX + _MARGIN), GAP_COLOUR)
    pen = ImageDraw.Draw(out)
    font = ImageFont.load_default(14)
    pen.text((_MARGIN, 2), title, fill=_INK, font=font)
    pen.text((_MARGIN + pen.textlength(title, font=font) + 16, 2), note, fill=_DIM, font=font)
    out.paste(body, (_MARGIN, _TITLE_PX + 4))
    return out


def _page(strips: Sequence[Image.Image]) -> Image.Image:
    page = Image.new("RGB", (_PAGE_WIDTH, sum(strip.height for strip in strips) + _MARGIN), GAP_COLOUR)
    y = _MARGIN // 2
    for strip in strips:
        page.paste(strip, (0, y))
        y += strip.height
    return page


def _coloured(tiles: Bytes, colours: Palette, area: tuple[int, int]) -> Image.Image:
    grid = fit_grid(len(tiles), (tiles.shape[1], tiles.shape[2]), area)
    picture = Image.fromarray(mosaic(tiles, grid))
    picture.putpalette(palette(colours).tobytes())
    return picture.convert("RGB")


def _photographs(images: Bytes, side: int) -> Image.Image:
    out = Image.new("RGB", (len(images) * (side + 4), side), GAP_COLOUR)
    for number, image in enumerate(images):
        out.paste(Image.fromarray(image).resize((side, side), Image.Resampling.LANCZOS), (number * (side + 4), 0))
    return out


def maps_page(frame: Frame) -> Image.Image:
    """``epoch_N.png``: the probe photographs, then each layer's maps of the first probe and every probe's average."""
    inner = _PAGE_WIDTH - 2 * _MARGIN
    side = min(192, inner // len(frame.images) - 4)
    photographs = _photographs(frame.images, side)
    strips = [_strip(f"Epoch {frame.epoch}", f"step {frame.step}, {len(frame.images)} probe images", photographs)]
    for layer in frame.layers:
        maps, low, high = quantise(layer.maps)
        count, channels = maps.shape[:2]
        area = (inner, 560)
        note = f"{channels} feature maps of the first probe, each over its own range; yellow is high"
        strips.append(_strip(layer.name, note, _coloured(maps[0], VIRIDIS, area)))
        averages = np.concatenate([channel_average(maps[p], low[p], high[p])[0] for p in range(count)])
        body = _coloured(resized_to(averages, side), VIRIDIS, (count * (side + 4) + 4, side + 4))
        strips.append(_strip(f"{layer.name} average", "mean over the channels, one per probe", body))
    return _page(strips)


def resized_to(tiles: Bytes, side: int) -> Bytes:
    """(N, h, w) uint8 tiles with their longer side at about ``side`` pixels, enlarged by a whole factor only."""
    factor = max(1, side // max(tiles.shape[1:]))
    return resized(tiles, tiles.shape[2] * factor, tiles.shape[1] * factor)


def filters_page(frame: Frame) -> Image.Image:
    """``epoch_N_filters.png``: each layer's filters, averaged over their inputs, on one scale a layer."""
    inner = _PAGE_WIDTH - 2 * _MARGIN
    strips = []
    for layer in frame.layers:
        tiles, limit = weight_tiles(layer.filters)
        count, inputs, height, width = layer.filters.shape
        shape = f"{inputs} x {height} x {width}"
        note = f"{count} filters of {shape}, mean over inputs; red is positive, blue negative, up to {limit:.3g}"
        strips.append(
            _strip(f"{layer.name} filters, epoch {frame.epoch}", note, _coloured(tiles, DIVERGING, (inner, 420)))
        )
    return _page(strips)


def write_png(path: Path, image: Image.Image) -> None:
    """Write a PNG; it appears whole or not at all.

    Raises:
        OSError: The disk is full or gone.
    """
    with replacing(path) as temporary:
        # A page is an eighth larger than with more effort, and takes two thirds of the time, which training lacks.
        image.save(temporary, "PNG", compress_level=1)
