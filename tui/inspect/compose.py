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
        selection, mode = request.selection, request.selection.mode
        number = min(selection.layer, len(info.layers) - 1)
        layer = frame.info.layers[number]  # as the file spells it
        probe = min(selection.probe, max(0, len(info.probe_names) - 1))
        tiles, scale = mode.tiles(frame, layer, probe, selection.channel)
        channels = len(tiles)
        cursor = framed = None if selection.channel is None else min(selection.channel, channels - 1)
        if selection.zoomed and cursor is not None:
            tiles, framed = mode.enlarged(frame, layer, tiles, cursor), None
        layout = choose_layout(request.pane, request.caption, len(info.classes), tiles.shape, request.terminal)
        indices = mosaic(tiles, layout.grid, levels=LEVELS, cursor=framed)
        label = int(frame.tensor("probe/labels", probe))
        return LayerPicture(
            request=request,
            layout=layout,
            mosaic=Picture(indices, palette(mode.palette(), LEVELS)),
            photograph=_photograph(frame, probe, request, layout.photograph_px),
            layers=tuple(info.layers),
            channels=channels,
            cursor=cursor,
            probes=len(info.probe_names),
            scale=scale,
            label=info.classes[label] if 0 <= label < len(info.classes) else "",
            name=info.probe_names[probe] if info.probe_names else "",
            probabilities=dict(zip(info.classes, frame.tensor("probe/probabilities", probe).tolist(), strict=False)),
        )


def _photograph(frame: FrameReader, probe: int, request: LayerRequest, area_px: tuple[int, int]) -> Picture | None:
    """Return the probe photograph as large as its area and its pixels allow, in the shape it had before resizing."""
    width, height = area_px
    if width < 8 or height < 8:
        return None
    image = frame.probe_image(probe)
    if request.heatmap and "probe/heatmap" in frame:
        image = heat_overlay(image, frame.tensor("probe/heatmap", probe))
    side = image.shape[0]
    shape = (side * min(1.0, request.aspect), side / max(1.0, request.aspect))
    scale = min(width / shape[0], height / shape[1], MAX_ENLARGEMENT)
    return _resized_photograph(image.tobytes(), side, max(1, round(shape[0] * scale)), max(1, round(shape[1] * scale)))


@functools.lru_cache(maxsize=PHOTOGRAPHS_KEPT)
def _resized_photograph(pixels: bytes, side: int, width: int, height: int) -> Picture:
    """Resize a (side, side, 3) uint8 photograph, and choose its palette.

    Cached, because every epoch has the same photographs.
    """
    image = Image.frombytes("RGB", (side, side), pixels)
    return Picture.from_rgb(np.asarray(image.resize((width, height), Image.Resampling.LANCZOS)), PHOTOGRAPH_COLOURS)
