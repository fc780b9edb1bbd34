"""The two PNG pages of an epoch: ``epoch_N.png`` with feature maps, ``epoch_N_filters.png`` with filters."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont, ImageOps

from facegender.rendering.colormaps import DIVERGING, VIRIDIS, Palette
from facegender.rendering.mosaics import GAP_COLOUR, channel_average, fit_grid, mosaic, palette, resized, signed_tiles
from facegender.runs.frames import Frame, quantise
from facegender.support.arrays import UInt8Array
from facegender.support.files import replacing

_PAGE_WIDTH_PX = 1280
_MARGIN_PX = 16
_INNER_WIDTH_PX = _PAGE_WIDTH_PX - 2 * _MARGIN_PX
_TITLE_HEIGHT_PX = 20
_MAX_PROBE_SIDE_PX = 192
_MAX_MAPS_HEIGHT_PX = 560
_MAX_FILTERS_HEIGHT_PX = 420
MAX_PAGE_HEIGHT_PX = 32_000
"""Many programs show no higher picture. Of a network with very many layers the mosaics are made smaller."""
_MIN_SECTION_HEIGHT_PX = 24
TITLE_COLOUR = (222, 224, 230)
NOTE_COLOUR = (150, 154, 164)

_Section = tuple[str, str, Image.Image]
"""Title, note and picture."""


def maps_page(frame: Frame) -> Image.Image:
    """Draw the probe photographs, then each layer: the maps of the first probe and the average map of every probe."""
    count = len(frame.images)
    side = min(_MAX_PROBE_SIDE_PX, _INNER_WIDTH_PX // count - 4)
    note = f"step {frame.step}, {count} probe images"
    maps_height, average_side = _section_heights(len(frame.layers), (_MAX_MAPS_HEIGHT_PX, side))
    sections = [(f"Epoch {frame.epoch + 1}", note, _photographs(frame.images, side))]
    for layer in frame.layers:
        maps, low, high = quantise(layer.maps)
        note = f"{maps.shape[1]} feature maps of the first probe, each over its own range; yellow is high"
        body = _coloured_mosaic(maps[0], VIRIDIS, (_INNER_WIDTH_PX, maps_height))
        sections.append((layer.name, note, body))
        averages = np.concatenate([channel_average(maps[p], low[p], high[p])[0] for p in range(count)])
        area = (count * (average_side + 4) + 4, average_side + 4)
        body = _coloured_mosaic(_enlarged(averages, average_side), VIRIDIS, area)
        sections.append((f"{layer.name} average", "mean over the channels, one per probe", body))
    return _page(sections)


def filters_page(frame: Frame) -> Image.Image:
    """Draw the filters of each layer, averaged over their input channels, on one scale per layer."""
    sections: list[_Section] = []
    (filters_height,) = _section_heights(len(frame.layers), (_MAX_FILTERS_HEIGHT_PX,))
    for layer in frame.layers:
        tiles, limit = signed_tiles(layer.filters.mean(axis=1))
        count, inputs, height, width = layer.filters.shape
        shape = f"{inputs} x {height} x {width}"
        note = f"{count} filters of {shape}, mean over inputs; red is positive, blue negative, up to {limit:.3g}"
        body = _coloured_mosaic(tiles, DIVERGING, (_INNER_WIDTH_PX, filters_height))
        sections.append((f"{layer.name} filters, epoch {frame.epoch + 1}", note, body))
    return _page(sections)


def write_png(path: Path, image: Image.Image) -> None:
    """Write a PNG; it appears whole or not at all.

    Raises:
        OSError: The disk is full or gone.
    """
    with replacing(path) as temporary:
        # The default level makes a page an eighth smaller and takes half as long again, time that training would lose.
        image.save(temporary, "PNG", compress_level=1)


def _section_heights(layers: int, heights: Sequence[int]) -> list[int]:
    """Heights of the pictures of each layer, as far as the page has room for those of all layers.

    Args:
        heights: Those of a layer if there are few layers.
    """
    titles = (_TITLE_HEIGHT_PX + _MARGIN_PX) * len(heights)
    room = (MAX_PAGE_HEIGHT_PX - 2 * _MAX_PROBE_SIDE_PX) / max(1, layers) - titles
    share = min(1.0, room / sum(heights))
    return [max(_MIN_SECTION_HEIGHT_PX, int(height * share)) for height in heights]


def _page(sections: Sequence[_Section]) -> Image.Image:
    """Draw pictures below each other, each under its title and note."""
    heights = [body.height + _TITLE_HEIGHT_PX + _MARGIN_PX for _, _, body in sections]
    page = Image.new("RGB", (_PAGE_WIDTH_PX, sum(heights) + _MARGIN_PX), GAP_COLOUR)
    pen, font = ImageDraw.Draw(page), ImageFont.load_default(14)
    y = _MARGIN_PX // 2
    for (title, note, body), height in zip(sections, heights, strict=True):
        pen.text((_MARGIN_PX, y + 2), title, fill=TITLE_COLOUR, font=font)
        pen.text((_MARGIN_PX + pen.textlength(title, font=font) + 16, y + 2), note, fill=NOTE_COLOUR, font=font)
        page.paste(body, (_MARGIN_PX, y + _TITLE_HEIGHT_PX + 4))
        y += height
    return page


def _coloured_mosaic(tiles: UInt8Array, colours: Palette, area_px: tuple[int, int]) -> Image.Image:
    grid = fit_grid(len(tiles), (tiles.shape[1], tiles.shape[2]), area_px)
    picture = Image.fromarray(mosaic(tiles, grid))
    picture.putpalette(palette(colours).tobytes())
    return picture.convert("RGB")


def _photographs(images: UInt8Array, side: int) -> Image.Image:
    out = Image.new("RGB", (len(images) * (side + 4), side), GAP_COLOUR)
    for number, image in enumerate(images):
        fitted = ImageOps.pad(Image.fromarray(image), (side, side), Image.Resampling.LANCZOS, GAP_COLOUR)
        out.paste(fitted, (number * (side + 4), 0))
    return out


def _enlarged(tiles: UInt8Array, side: int) -> UInt8Array:
    """Enlarge (N, h, w) tiles by a whole factor until their longer side is about ``side`` pixels."""
    factor = max(1, side // max(tiles.shape[1:]))
    return resized(tiles, tiles.shape[2] * factor, tiles.shape[1] * factor)
