"""Compose a layer picture from a frame file. It reads files and computes, so it runs in a thread."""

from __future__ import annotations

import functools

import numpy as np
from PIL import Image

from facegender.rendering.mosaics import mosaic, palette
from facegender.rendering.overlays import heat_overlay
from facegender.runs.frames import FrameReader, FrameUnreadable, open_frame
from facegender.support.text import one_line, printable_strings
from tui.graphics.picture import Picture
from tui.inspect.layout import choose_layout
from tui.inspect.request import LayerPicture, LayerRequest, NotComposed

MAX_ENLARGEMENT = 2.0
"""Of a photograph."""
LEVELS = 32
"""Colours of a mosaic: as many as the eye tells apart in small tiles. Each level more costs bytes on the link."""
PHOTOGRAPH_COLOURS = 128
PHOTOGRAPHS_KEPT = 8


def compose(request: LayerRequest) -> LayerPicture:
    """Read what a request needs from its frame file and compose the picture.

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
        mode = request.mode
        number = min(request.layer, len(info.layers) - 1)
        layer = frame.info.layers[number]  # as the file spells it
        probe = min(request.probe, max(0, len(info.probe_names) - 1))
        tiles = mode.tiles(frame, layer, probe, request.channel)
        channels = len(tiles.values)
        cursor = None if request.channel is None else min(request.channel, channels - 1)
        zoomed = request.zoomed and cursor is not None
        values = mode.enlarged(frame, layer, tiles, cursor) if zoomed and cursor is not None else tiles.values
        layout = choose_layout(request.pane, request.side, len(info.classes), values.shape, request.terminal)
        indices = mosaic(values, layout.grid, levels=LEVELS, cursor=None if zoomed else cursor)
        label = int(frame.labels()[probe])
        return LayerPicture(
            request=request,
            layout=layout,
            mosaic=Picture(indices, palette(mode.palette(), LEVELS)),
            photograph=_photograph(frame, probe, request, layout.photograph_px),
            layers=tuple(info.layers),
            layer=info.layers[number],
            channels=channels,
            cursor=cursor,
            probes=len(info.probe_names),
            low=tiles.low,
            high=tiles.high,
            own_ranges=tiles.own_ranges,
            statistics=tiles.statistics,
            label=info.classes[label] if 0 <= label < len(info.classes) else "",
            name=info.probe_names[probe] if info.probe_names else "",
            probabilities=dict(zip(info.classes, map(float, frame.probabilities()[probe]), strict=False)),
        )


def _photograph(frame: FrameReader, probe: int, request: LayerRequest, area_px: tuple[int, int]) -> Picture | None:
    """Return the probe photograph as large as its area and its pixels allow, in the shape it had before resizing."""
    width, height = area_px
    if width < 8 or height < 8:
        return None
    image = frame.probe_image(probe)
    if request.heatmap and (heat := frame.heatmap()) is not None:
        image = heat_overlay(image, heat[min(probe, len(heat) - 1)])
    side = image.shape[0]
    shape = (side * min(1.0, request.aspect), side / max(1.0, request.aspect))
    scale = min(width / shape[0], height / shape[1], MAX_ENLARGEMENT)
    return _resized_photograph(image.tobytes(), side, max(1, round(shape[0] * scale)), max(1, round(shape[1] * scale)))


@functools.lru_cache(maxsize=PHOTOGRAPHS_KEPT)
def _resized_photograph(pixels: bytes, side: int, width: int, height: int) -> Picture:
    """Resize a photograph and choose its palette; cached, because every epoch has the same photographs.

    Args:
        pixels: (side, side, 3) uint8, row after row.
        side: Its width and height in pixels.
        width: The new width.
        height: The new height.
    """
    image = Image.frombytes("RGB", (side, side), pixels)
    return Picture.from_rgb(np.asarray(image.resize((width, height), Image.Resampling.LANCZOS)), PHOTOGRAPH_COLOURS)
