"""From a frame file to what the layer pane shows. Reads files and counts pixels, so it runs in a worker thread."""

from __future__ import annotations

import functools

import numpy as np

from facegender.rendering import pictures
from facegender.rendering.colormaps import DIVERGING, VIRIDIS, Palette
from facegender.runs.frames import Bytes, FrameReader, FrameUnreadable, open_frame
from facegender.support.text import one_line, printable_strings
from tui.graphics import Picture
from tui.inspect.layer_picture import LayerPicture, LayerRequest, NotComposed

MAX_ENLARGEMENT = 2.0
# As many as the eye tells apart in tiles of this size; every level more costs bytes on the link.
LEVELS = 32
COARSE_BELOW_PX = 240
ENOUGH_PX = 64
"""Side of a tile, where the data has so much, that is worth making room for."""
PHOTOGRAPH_COLOURS = 128
PHOTOGRAPHS_KEPT = 8


def compose(request: LayerRequest) -> LayerPicture:
    """Read what a request needs from its frame file and lay it out.

    Raises:
        NotComposed: The file is missing or damaged, or has no such layer or probe.
    """
    try:
        return _compose(request)
    except FrameUnreadable as error:
        raise NotComposed(one_line(str(error))) from None
    except Exception as error:  # the boundary of a thread: what a damaged file raises depends on the damage
        raise NotComposed(f"{request.file.name} is damaged: {one_line(str(error)) or type(error).__name__}") from None


def _compose(request: LayerRequest) -> LayerPicture:
    with open_frame(request.file) as frame:
        info = printable_strings(frame.info)
        if not info.layers:
            raise FrameUnreadable(f"{request.file.name} has no layers")
        number = min(request.layer, len(info.layers) - 1)
        layer = frame.info.layers[number]  # as the file spells it
        probe = min(request.probe, max(0, len(info.probe_names) - 1))
        tiles, low, high, common, colours = _tiles(frame, layer, probe, request)
        channels = len(tiles)
        cursor = None if request.channel is None else min(request.channel, channels - 1)
        stats: tuple[float, ...] = ()
        if request.mode != "average":
            if request.mode == "maps" and cursor is not None:
                stats = tuple(float(value) for value in frame.stats(layer, probe)[cursor])
            if request.zoomed and cursor is not None:
                tiles, cursor = _zoomed(frame, tiles, layer, cursor, request)
        grid, wide = _grid(tiles, request)
        mosaic = Picture(pictures.mosaic(tiles, grid, levels=LEVELS, cursor=cursor), pictures.palette(colours, LEVELS))
        label = int(frame.labels()[probe])
        photograph_px = request.narrow_photograph_px if wide else request.photograph_px
        return LayerPicture(
            request=request,
            mosaic=mosaic,
            photograph=_photograph(frame, probe, request, photograph_px),
            layers=tuple(info.layers),
            layer=info.layers[number],
            channels=channels,
            columns=grid.columns,
            probes=len(info.probe_names),
            low=low,
            high=high,
            common_range=common,
            channel_stats=stats,
            label=info.classes[label] if 0 <= label < len(info.classes) else "",
            name=info.probe_names[probe] if info.probe_names else "",
            probabilities=dict(zip(info.classes, map(float, frame.probabilities()[probe]), strict=False)),
            wide=wide,
        )


def _grid(tiles: Bytes, request: LayerRequest) -> tuple[pictures.Grid, bool]:
    """The mosaic's layout, and whether it is for the wide place because only there the tiles are large enough."""
    _, height, width = tiles.shape

    def fitted(area_px: tuple[int, int]) -> pictures.Grid:
        gap = 2 if min(area_px) >= COARSE_BELOW_PX else 1
        enlarging: pictures.Enlarging = "large" if request.terminal_enlarges else "whole"
        return pictures.fit_grid(len(tiles), (height, width), area_px, gap=gap, enlarging=enlarging)

    grid = fitted(request.area_px)
    enough = min(ENOUGH_PX, width)
    if grid.tile_width < enough and (wide := fitted(request.wide_area_px)).tile_width >= enough:
        return wide, True
    return grid, False


def _tiles(
    frame: FrameReader, layer: str, probe: int, request: LayerRequest
) -> tuple[Bytes, float, float, bool, Palette]:
    """The mosaic's tiles (C, h, w) uint8, their range, whether it is common to all, and the colour map."""
    if request.mode == "filters":
        tiles, limit = pictures.weight_tiles(frame.filters(layer))
        return tiles, -limit, limit, True, DIVERGING
    maps, low, high = frame.maps(layer, probe)
    if request.mode == "average":
        tiles, lowest, highest = pictures.channel_average(maps, low, high)
        return tiles, lowest, highest, True, VIRIDIS
    channel = min(request.channel, len(maps) - 1) if request.channel is not None else None
    if channel is None:
        return maps, float(low.min()), float(high.max()), False, VIRIDIS
    return maps, float(low[channel]), float(high[channel]), False, VIRIDIS


def _zoomed(frame: FrameReader, tiles: Bytes, layer: str, channel: int, request: LayerRequest) -> tuple[Bytes, None]:
    """One map, or one filter's kernels for every input channel."""
    if request.mode == "filters":
        return pictures.signed_tiles(frame.filters(layer)[channel])[0], None
    return tiles[channel : channel + 1], None


def _photograph(frame: FrameReader, probe: int, request: LayerRequest, area_px: tuple[int, int]) -> Picture | None:
    """The probe photograph as large as its place allows and its pixels reach, in the shape it had before resizing."""
    width, height = area_px
    if width < 8 or height < 8:
        return None
    image = frame.probe_image(probe)
    if request.heatmap and (heat := frame.heatmap()) is not None:
        image = pictures.heat_overlay(image, heat[min(probe, len(heat) - 1)])
    side = image.shape[0]
    shape = (side * min(1.0, request.aspect), side / max(1.0, request.aspect))
    scale = min(width / shape[0], height / shape[1], MAX_ENLARGEMENT)
    return _photograph_of_size(image.tobytes(), side, max(1, round(shape[0] * scale)), max(1, round(shape[1] * scale)))


@functools.lru_cache(maxsize=PHOTOGRAPHS_KEPT)
def _photograph_of_size(pixels: bytes, side: int, width: int, height: int) -> Picture:
    """A photograph resized and with a palette; kept, because every epoch has the same ones.

    Args:
        pixels: (side, side, 3) uint8, row after row.
    """
    from PIL import Image

    image = Image.frombytes("RGB", (side, side), pixels)
    return Picture.from_rgb(np.asarray(image.resize((width, height), Image.Resampling.LANCZOS)), PHOTOGRAPH_COLOURS)
