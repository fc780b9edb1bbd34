"""The two PNG pages of an epoch: ``epoch_N.png`` with feature maps, ``epoch_N_filters.png`` with filters.

A page is a palette picture, which is written in a third of the time of one with three bytes a pixel: the thread that
writes it takes that time from training. Its palette is that of a mosaic, some shades for text, and what is left for the
photographs.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont, ImageOps

from facegender.rendering.colormaps import DIVERGING, VIRIDIS, Palette
from facegender.rendering.mosaics import GAP_COLOUR, LEVELS, fit_grid, mosaic, palette, resized, signed_tiles
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

_GAP = LEVELS
"""Index of the background; a mosaic's palette has the cursor after it."""
_SHADES = 16
_TITLE_SHADES, _NOTE_SHADES = _GAP + 2, _GAP + 2 + _SHADES
"""Where the shades of each text begin, from the background to its colour."""
_PHOTOGRAPHS = _NOTE_SHADES + _SHADES
"""Where the colours of the photographs begin."""

_LISTED = 8
"""Probes whose values a note names."""

_Section = tuple[str, str, UInt8Array]
"""Title, note, and a picture (h, w) of palette indices."""


def maps_page(frame: Frame) -> Image.Image:
    """Draw the probe photographs, then each layer: the maps of the first probe and the average map of every probe."""
    count = len(frame.images)
    side = min(_MAX_PROBE_SIDE_PX, _INNER_WIDTH_PX // count - 4)
    note = f"step {frame.step}, {count} probe images"
    maps_height, average_side = _section_heights(len(frame.layers), (_MAX_MAPS_HEIGHT_PX, side))
    photographs, colours = _photographs(frame.images, side)
    sections = [(f"Epoch {frame.epoch + 1}", note, photographs)]
    for layer in frame.layers:
        (maps,), low, high = quantise(layer.maps[:1])
        values = f"between {low.min():.3g} and {high.max():.3g}"
        note = f"{len(maps)} feature maps of the first probe, each over its own range {values}; yellow is high"
        sections.append((layer.name, note, _mosaic(maps, (_INNER_WIDTH_PX, maps_height))))
        averages, low, high = quantise(layer.maps.mean(axis=1, keepdims=True))
        area = (count * (average_side + 4) + 4, average_side + 4)
        body = _mosaic(_enlarged(averages[:, 0], average_side), area)
        values = ", ".join(f"{low[probe, 0]:.3g} to {high[probe, 0]:.3g}" for probe in range(min(count, _LISTED)))
        note = f"mean over the channels, one per probe: {values}{', …' if count > _LISTED else ''}"
        sections.append((f"{layer.name} average", note, body))
    return _page(sections, VIRIDIS, colours)


def filters_page(frame: Frame) -> Image.Image:
    """Draw the filters of each layer, averaged over their input channels, on one scale per layer."""
    sections: list[_Section] = []
    (filters_height,) = _section_heights(len(frame.layers), (_MAX_FILTERS_HEIGHT_PX,))
    for layer in frame.layers:
        tiles, limit = signed_tiles(layer.filters.mean(axis=1))
        count, inputs, height, width = layer.filters.shape
        shape = f"{inputs} x {height} x {width}"
        note = f"{count} filters of {shape}, mean over inputs; red is positive, blue negative, up to {limit:.3g}"
        body = _mosaic(tiles, (_INNER_WIDTH_PX, filters_height))
        sections.append((f"{layer.name} filters, epoch {frame.epoch + 1}", note, body))
    return _page(sections, DIVERGING)


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


def _page(sections: Sequence[_Section], colours: Palette, photographs: Palette | None = None) -> Image.Image:
    """Draw pictures below each other, each under its title and note.

    Args:
        colours: (256, 3) uint8, the colour map of the mosaics.
        photographs: (N, 3) uint8, the colours from `_PHOTOGRAPHS` on.
    """
    heights = [body.shape[0] + _TITLE_HEIGHT_PX + _MARGIN_PX for _, _, body in sections]
    page = np.full((sum(heights) + _MARGIN_PX, _PAGE_WIDTH_PX), _GAP, np.uint8)
    font = ImageFont.load_default(14)
    y = _MARGIN_PX // 2
    for (title, note, body), height in zip(sections, heights, strict=True):
        x = _MARGIN_PX
        for text, first in ((title, _TITLE_SHADES), (note, _NOTE_SHADES)):
            line = Image.new("L", (_PAGE_WIDTH_PX - x, _TITLE_HEIGHT_PX + 2))
            pen = ImageDraw.Draw(line)
            pen.text((0, 2), text, fill=255, font=font)
            strength = np.asarray(line)
            area = page[y : y + strength.shape[0], x:]
            np.copyto(area, first + strength // (256 // _SHADES), where=strength > 0)
            x = min(_PAGE_WIDTH_PX - 1, x + int(pen.textlength(text, font=font)) + 16)
        top = y + _TITLE_HEIGHT_PX + 4
        page[top : top + body.shape[0], _MARGIN_PX : _MARGIN_PX + body.shape[1]] = body
        y += height
    picture = Image.fromarray(page)
    shades = [_shades(colour) for colour in (TITLE_COLOUR, NOTE_COLOUR)]
    table = [palette(colours), *shades, *([] if photographs is None else [photographs])]
    picture.putpalette(np.concatenate(table).tobytes())
    return picture


def _shades(colour: tuple[int, int, int]) -> Palette:
    shares = np.linspace(0, 1, _SHADES)[:, None]
    return np.rint(np.array(GAP_COLOUR) * (1 - shares) + np.array(colour) * shares).astype(np.uint8)


def _mosaic(tiles: UInt8Array, area_px: tuple[int, int]) -> UInt8Array:
    return mosaic(tiles, fit_grid(len(tiles), (tiles.shape[1], tiles.shape[2]), area_px))


def _photographs(images: UInt8Array, side: int) -> tuple[UInt8Array, Palette]:
    """Lay out photographs beside each other; return palette indices from `_PHOTOGRAPHS` on, and their colours."""
    return _laid_out(images.tobytes(), images.shape, side)


@functools.lru_cache(maxsize=1)
def _laid_out(pixels: bytes, shape: tuple[int, ...], side: int) -> tuple[UInt8Array, Palette]:
    """Return the same; cached, because every epoch has the same photographs."""
    images = np.frombuffer(pixels, np.uint8).reshape(shape)
    out = Image.new("RGB", (len(images) * (side + 4), side), GAP_COLOUR)
    for number, image in enumerate(images):
        fitted = ImageOps.pad(Image.fromarray(image), (side, side), Image.Resampling.LANCZOS, GAP_COLOUR)
        out.paste(fitted, (number * (side + 4), 0))
    reduced = out.quantize(256 - _PHOTOGRAPHS)
    colours = np.frombuffer(bytes(reduced.getpalette() or ()), np.uint8).reshape(-1, 3)
    return np.asarray(reduced) + np.uint8(_PHOTOGRAPHS), colours[: 256 - _PHOTOGRAPHS]


def _enlarged(tiles: UInt8Array, side: int) -> UInt8Array:
    """Enlarge (N, h, w) tiles by a whole factor until their longer side is about ``side`` pixels."""
    factor = max(1, side // max(tiles.shape[1:]))
    return resized(tiles, tiles.shape[2] * factor, tiles.shape[1] * factor)
