"""Compose a layer picture from a frame file. It reads files and computes, so it runs in a thread."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from facegender.rendering.colormaps import reduced, sequential
from facegender.rendering.mosaics import RGB, fit_grid, mosaic, palette, rgb_mosaic
from facegender.rendering.overlays import heat_overlay
from facegender.rendering.views import NothingToShow, Tiles
from facegender.runs.frames import FrameReader, FrameUnreadable, open_frame
from facegender.runs.patches import PatchesUnreadable, read_patches
from facegender.support.text import one_line, printable_strings
from tui.graphics.picture import Picture
from tui.inspect.content import Content, read_content
from tui.inspect.layout import MAX_ENLARGEMENT, SideKind, choose_layout
from tui.inspect.request import LayerPicture, LayerRequest, NotComposed, Scale

if TYPE_CHECKING:
    from pathlib import Path

    from facegender.support.arrays import UInt8Array
    from tui.inspect.layout import Layout

PHOTOGRAPH_COLOURS = 128
MOSAIC_COLOURS = 200
"""Of tiles that have colours of their own."""
PHOTOGRAPHS_KEPT = 8
PATCHES_GAP_PX = 8
LEGEND_COLOURS = 9


def compose(request: LayerRequest) -> LayerPicture:
    """Read what a request needs from its frame file and compose the picture.

    Raises:
        NotComposed: The file is missing or damaged, has no such layer or probe, or nothing for the view.
    """
    try:
        return _compose(request)
    except (FrameUnreadable, PatchesUnreadable, NothingToShow) as error:
        raise NotComposed(one_line(str(error))) from None
    except Exception as error:  # the boundary of a thread: what a damaged file raises depends on the damage
        raise NotComposed(f"{request.file.name} is damaged: {one_line(str(error)) or type(error).__name__}") from None


def _compose(request: LayerRequest) -> LayerPicture:
    with open_frame(request.file) as frame:
        info = printable_strings(frame.info)
        if not info.layers:
            raise FrameUnreadable(f"{request.file.name} has no layers")
        selection = request.selection
        layer = frame.info.layers[min(selection.layer, len(info.layers) - 1)]  # as the file spells it
        probe = min(selection.probe, max(0, len(info.probe_names) - 1))
        content = read_content(frame, request, layer, probe)
        tiles, beside = content.tiles, _beside(request, content)
        shape, images = (1, 1, 1) if tiles is None else tiles.pixels.shape[:3], frame.shape("probe/images")
        layout = choose_layout(
            request.pane, request.caption, len(info.classes), shape, request.terminal,
            photograph_px=images[2] if len(images) == 4 else 0, beside=beside, fill=request.fill,
        )  # fmt: skip
        framed = content.cursor if beside == "probe" else None
        per_page = layout.grid.count
        first = min(selection.tile if framed is None else framed, shape[0] - 1) // per_page * per_page
        page = slice(first, first + per_page)
        cursor = None if framed is None else framed - first
        label = int(frame.tensor("probe/labels", probe))
        probabilities = frame.tensor("probe/probabilities", probe).tolist()
        return LayerPicture(
            request=request,
            layout=layout,
            mosaic=None if tiles is None else _mosaic(tiles, page, request, layout, cursor),
            photograph=_photograph(frame, probe, request, layout.photograph_px),
            layers=tuple(info.layers),
            channels=content.channels,
            tiles=shape[0],
            first=first,
            labels=() if tiles is None else tiles.labels[page],
            highs=() if tiles is None else tuple(tiles.high[page].tolist()),
            cursor=content.cursor,
            probes=len(info.probe_names),
            scale=_scale(tiles, framed),
            label=info.classes[label] if 0 <= label < len(info.classes) else "",
            name=info.probe_names[probe] if info.probe_names else "",
            probabilities=dict(zip(info.classes, probabilities, strict=False)),
            note=content.note,
            text=content.text,
            patch_lines=content.patch_lines,
            statistics=content.statistics,
            curve=content.curve,
        )


def _beside(request: LayerRequest, content: Content) -> SideKind:
    """Return what stands beside the tiles."""
    if request.tiles_only:
        return "nothing"
    if request.selection.mode.view == "top":
        return "nothing" if content.tiles is None else "patches"
    return "details" if content.alone else "probe"


def _scale(tiles: Tiles | None, cursor: int | None) -> Scale:
    if tiles is None:
        return Scale(0.0, 0.0, "channel", ())
    shown = slice(None) if cursor is None or tiles.scope != "channel" else slice(cursor, cursor + 1)
    colours = [] if tiles.colormap is None else reduced(tiles.colormap, LEGEND_COLOURS).tolist()
    return Scale(
        float(tiles.low[shown].min()),
        float(tiles.high[shown].max()),
        tiles.scope,
        tuple("#{:02x}{:02x}{:02x}".format(*colour) for colour in colours),
    )


def _mosaic(tiles: Tiles, page: slice, request: LayerRequest, layout: Layout, cursor: int | None) -> Picture:
    pixels, (gap, frame) = tiles.pixels[page], request.colours
    if pixels.ndim == 4:
        coloured = Picture.from_rgb(rgb_mosaic(pixels, layout.grid, gap_colour=gap), MOSAIC_COLOURS)
        # The gaps and the cursor keep their own colours, which the chosen palette may not have.
        marks = mosaic(np.zeros(pixels.shape[:3], np.uint8), layout.grid, levels=1, cursor=cursor)
        colours = np.concatenate([coloured.palette, np.array(request.colours, np.uint8)])
        last = len(coloured.palette) - 1
        return Picture(np.where(marks, last + marks, coloured.pixels).astype(np.uint8), colours)
    colormap = tiles.colormap
    assert colormap is not None
    indices = mosaic(pixels, layout.grid, levels=request.levels, cursor=cursor)
    return Picture(indices, palette(colormap, request.levels, gap, frame))


def _photograph(frame: FrameReader, probe: int, request: LayerRequest, area_px: tuple[int, int]) -> Picture | None:
    """Return the probe photograph as large as its area and its pixels allow, in the shape it had before resizing."""
    width, height = area_px
    if width < 8 or height < 8:
        return None
    image = frame.probe_image(probe)
    if request.patches is not None and request.selection.zoomed:
        return _with_patches(image, request.patches, width, height, request.colours.gap)
    if request.heatmap and "probe/heatmap" in frame:
        image = heat_overlay(image, frame.tensor("probe/heatmap", probe), sequential(request.colour_map))
    side = image.shape[0]
    shape = (side * min(1.0, request.aspect), side / max(1.0, request.aspect))
    scale = min(width / shape[0], height / shape[1], MAX_ENLARGEMENT)
    return _resized_photograph(image.tobytes(), side, max(1, round(shape[0] * scale)), max(1, round(shape[1] * scale)))


def _with_patches(image: UInt8Array, file: Path, width: int, height: int, gap_colour: RGB) -> Picture:
    """Return the probe photograph and beside it the patches, each as large as half of the area."""
    side = max(8, min(height, (width - PATCHES_GAP_PX) // 2))
    out = np.empty((side, 2 * side + PATCHES_GAP_PX, 3), np.uint8)
    out[:] = gap_colour
    out[:, :side] = np.asarray(Image.fromarray(image).resize((side, side), Image.Resampling.LANCZOS))
    tiles = read_patches(file).patches
    grid = fit_grid(max(1, len(tiles)), tiles.shape[1:3], (side, side), gap=1)
    out[: grid.height, side + PATCHES_GAP_PX : side + PATCHES_GAP_PX + grid.width] = rgb_mosaic(
        tiles, grid, gap_colour=gap_colour
    )
    return Picture.from_rgb(out, MOSAIC_COLOURS)


@functools.lru_cache(maxsize=PHOTOGRAPHS_KEPT)
def _resized_photograph(pixels: bytes, side: int, width: int, height: int) -> Picture:
    """Resize a (side, side, 3) uint8 photograph, and choose its palette.

    Cached, because every epoch has the same photographs.
    """
    image = Image.frombytes("RGB", (side, side), pixels)
    return Picture.from_rgb(np.asarray(image.resize((width, height), Image.Resampling.LANCZOS)), PHOTOGRAPH_COLOURS)
