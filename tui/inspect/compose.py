"""Compose a layer picture from a frame file. It reads files and computes, so it runs in a thread."""

from __future__ import annotations

import functools
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from facegender.rendering import views
from facegender.rendering.colormaps import reduced
from facegender.rendering.history import channel_curve, run_limits
from facegender.rendering.mosaics import CURSOR_COLOUR, GAP_COLOUR, fit_grid, mosaic, palette, rgb_mosaic
from facegender.rendering.overlays import heat_overlay
from facegender.rendering.views import NothingToShow, Tiles, view_tiles
from facegender.runs.frames import FrameInfo, FrameReader, FrameUnreadable, open_frame
from facegender.runs.patches import Patches, PatchesUnreadable, read_patches
from facegender.support.text import one_line, printable_strings
from tui import format as fmt
from tui.graphics.picture import Picture
from tui.inspect.layout import SideKind, choose_layout
from tui.inspect.request import ChannelStatistics, LayerPicture, LayerRequest, NotComposed, Scale

if TYPE_CHECKING:
    from pathlib import Path

    from facegender.support.arrays import UInt8Array
    from tui.inspect.layout import Layout

MAX_ENLARGEMENT = 2.0
"""Of a photograph."""
LEVELS = 32
"""Colours of a mosaic: as many as the eye tells apart in small tiles. Each level more costs bytes on the link."""
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


@dataclass(frozen=True)
class _Content:
    """What a view shows, before it has a size.

    Attributes:
        tiles: All tiles; None if there are only lines of ``text``.
        channels: The channels, filters or classes of the layer.
        note, details, text: As in `LayerPicture`.
    """

    tiles: Tiles | None
    channels: int
    note: str = ""
    details: tuple[tuple[str, str], ...] = ()
    text: tuple[str, ...] = ()


def _compose(request: LayerRequest) -> LayerPicture:
    with ExitStack() as opened:
        frame = opened.enter_context(open_frame(request.file))
        info = printable_strings(frame.info)
        if not info.layers:
            raise FrameUnreadable(f"{request.file.name} has no layers")
        selection, mode = request.selection, request.selection.mode
        layer = frame.info.layers[min(selection.layer, len(info.layers) - 1)]  # as the file spells it
        probe = min(selection.probe, max(0, len(info.probe_names) - 1))
        channels = len(frame.tensor(f"maps/{layer}/low", probe))
        cursor = None
        if mode.has_cursor and selection.channel is not None:
            cursor = min(selection.channel, channels - 1)
        if mode.view == "top":
            cursor = cursor or 0
            content = _top(frame, request, layer, cursor, channels)
        else:
            reference = None
            if mode.view == "difference" and request.reference is not None:
                reference = opened.enter_context(open_frame(request.reference))
            content = _content(frame, reference, request, layer, probe, cursor, channels)
        tiles, zoomed = content.tiles, selection.zoomed and cursor is not None
        beside: SideKind = "details" if zoomed else "probe"
        if mode.view == "top":
            beside = "nothing" if tiles is None else "patches"
        shape = (1, 1, 1) if tiles is None else tiles.pixels.shape[:3]
        layout = choose_layout(
            request.pane, request.caption, len(info.classes), shape, request.terminal,
            beside=beside, fill=request.fill,
        )  # fmt: skip
        framed = None if beside != "probe" else cursor
        per_page = layout.grid.count
        first = min(selection.tile if framed is None else framed, shape[0] - 1) // per_page * per_page
        page = slice(first, first + per_page)
        label = int(frame.tensor("probe/labels", probe))
        probabilities = frame.tensor("probe/probabilities", probe).tolist()
        return LayerPicture(
            request=request,
            layout=layout,
            mosaic=None if tiles is None else _mosaic(tiles, page, layout, None if framed is None else framed - first),
            photograph=_photograph(frame, probe, request, layout.photograph_px),
            layers=tuple(info.layers),
            channels=content.channels,
            tiles=shape[0],
            first=first,
            labels=() if tiles is None else tiles.labels[page],
            highs=() if tiles is None else tuple(tiles.high[page].tolist()),
            cursor=cursor,
            probes=len(info.probe_names),
            scale=_scale(tiles, framed),
            label=info.classes[label] if 0 <= label < len(info.classes) else "",
            name=info.probe_names[probe] if info.probe_names else "",
            probabilities=dict(zip(info.classes, probabilities, strict=False)),
            note=content.note,
            text=content.text,
            details=content.details,
            statistics=None if cursor is None else _statistics(frame, layer, probe, cursor),
            curve=channel_curve(request.history, layer, probe, cursor or 0) if zoomed and request.history else None,
        )


def _content(
    frame: FrameReader,
    reference: FrameReader | None,
    request: LayerRequest,
    layer: str,
    probe: int,
    cursor: int | None,
    channels: int,
) -> _Content:
    """Read what every view but "top" shows."""
    selection, view = request.selection, request.selection.mode.view
    limits, scope = None, selection.scope
    if scope == "run":
        limits = run_limits(view, request.history, layer, probe=probe, variant=selection.variant)
        scope = "layer" if limits is None else "run"
    tiles = view_tiles(
        view, frame, layer,
        probe=probe, channel=cursor if selection.zoomed else None, scope=scope, limits=limits,
        variant=selection.variant, reference=reference,
    )  # fmt: skip
    note = ""
    if view == "average":
        note = f"of {channels} channels"
    elif view == "cam":
        channels, note = len(tiles.labels), one_line(frame.info.cam_method)
    elif view == "difference" and reference is not None:
        what = "filters of " if selection.variant == "filters" else ""
        note = f"{what}{_epoch(frame.info)} minus {_epoch(reference.info)}"
    elif view == "filters":
        note = _filters_note(tiles, zoomed=selection.zoomed and cursor is not None)
    return _Content(tiles, channels, note)


def _epoch(info: FrameInfo) -> str:
    return f"epoch {info.epoch + 1}"


def _filters_note(tiles: Tiles, *, zoomed: bool) -> str:
    """Return what a tile of the filters is."""
    if tiles.pixels.ndim == 4:
        return "in colours: weights of red, green and blue"
    return "" if zoomed else "mean over inputs"


def _top(frame: FrameReader, request: LayerRequest, layer: str, channel: int, channels: int) -> _Content:
    """Read the patches of the channel, or as long as there are none, where they are."""
    top = views.top_values(frame, layer, channel)
    if request.patches is not None:
        patches = read_patches(request.patches)
        if len(patches.names):
            tiles = views.patch_tiles(patches, whole=request.selection.variant == "photographs")
            return _Content(tiles, channels, details=_patch_lines(patches))
    rows = [
        f"{number}  {fmt.significant(value):>6}  photograph {image + 1:<5} row {row + 1:<3} column {column + 1}"
        for number, (value, image, (row, column)) in enumerate(
            zip(top.value.tolist(), top.image.tolist(), top.at.tolist(), strict=True), 1
        )
        if image >= 0
    ]
    rows = rows or ["no photograph excites this channel"]
    width = max(map(len, rows))
    why = ["", request.no_patches.center(width)] if request.no_patches else []
    return _Content(None, channels, text=(*(row.ljust(width) for row in rows), *why))


def _patch_lines(patches: Patches) -> tuple[tuple[str, str], ...]:
    described = zip(patches.values.tolist(), patches.names, patches.labels, patches.answers, strict=True)
    return tuple(
        (f"{number}  {fmt.significant(value)}  {label} → {answer}", name)
        for number, (value, name, label, answer) in enumerate(described, 1)
    )


def _statistics(frame: FrameReader, layer: str, probe: int, channel: int) -> ChannelStatistics | None:
    row = frame.tensor(f"stats/{layer}", probe)[channel].tolist()
    if len(row) != 5:
        return None  # a newer or a damaged file
    mean, std, low, high, zero = row
    units = frame.tensor(f"units/{layer}", channel).tolist() if f"units/{layer}" in frame else []
    known = (units[0], units[1], units[2]) if len(units) == 3 else None
    return ChannelStatistics(mean, std, low, high, zero, known)


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


def _mosaic(tiles: Tiles, page: slice, layout: Layout, cursor: int | None) -> Picture:
    pixels = tiles.pixels[page]
    if pixels.ndim == 4:
        coloured = Picture.from_rgb(rgb_mosaic(pixels, layout.grid), MOSAIC_COLOURS)
        # The gaps and the cursor keep their own colours, which the chosen palette may not have.
        places = mosaic(np.zeros(pixels.shape[:3], np.uint8), layout.grid, levels=1, cursor=cursor)
        colours = np.concatenate([coloured.palette, np.array([GAP_COLOUR, CURSOR_COLOUR], np.uint8)])
        last = len(coloured.palette) - 1
        return Picture(np.where(places, last + places, coloured.pixels).astype(np.uint8), colours)
    colormap = tiles.colormap
    assert colormap is not None
    return Picture(mosaic(pixels, layout.grid, levels=LEVELS, cursor=cursor), palette(colormap, LEVELS))


def _photograph(frame: FrameReader, probe: int, request: LayerRequest, area_px: tuple[int, int]) -> Picture | None:
    """Return the probe photograph as large as its area and its pixels allow, in the shape it had before resizing."""
    width, height = area_px
    if width < 8 or height < 8:
        return None
    image = frame.probe_image(probe)
    if request.patches is not None and request.selection.zoomed:
        return _with_patches(image, request.patches, width, height)
    if request.heatmap and "probe/heatmap" in frame:
        image = heat_overlay(image, frame.tensor("probe/heatmap", probe))
    side = image.shape[0]
    shape = (side * min(1.0, request.aspect), side / max(1.0, request.aspect))
    scale = min(width / shape[0], height / shape[1], MAX_ENLARGEMENT)
    return _resized_photograph(image.tobytes(), side, max(1, round(shape[0] * scale)), max(1, round(shape[1] * scale)))


def _with_patches(image: UInt8Array, file: Path, width: int, height: int) -> Picture:
    """Return the probe photograph and beside it the patches, each as large as half of the area."""
    side = max(8, min(height, (width - PATCHES_GAP_PX) // 2))
    out = np.empty((side, 2 * side + PATCHES_GAP_PX, 3), np.uint8)
    out[:] = GAP_COLOUR
    out[:, :side] = np.asarray(Image.fromarray(image).resize((side, side), Image.Resampling.LANCZOS))
    tiles = read_patches(file).patches
    grid = fit_grid(max(1, len(tiles)), tiles.shape[1:3], (side, side), gap=1)
    out[: grid.height, side + PATCHES_GAP_PX : side + PATCHES_GAP_PX + grid.width] = rgb_mosaic(tiles, grid)
    return Picture.from_rgb(out, MOSAIC_COLOURS)


@functools.lru_cache(maxsize=PHOTOGRAPHS_KEPT)
def _resized_photograph(pixels: bytes, side: int, width: int, height: int) -> Picture:
    """Resize a (side, side, 3) uint8 photograph, and choose its palette.

    Cached, because every epoch has the same photographs.
    """
    image = Image.frombytes("RGB", (side, side), pixels)
    return Picture.from_rgb(np.asarray(image.resize((width, height), Image.Resampling.LANCZOS)), PHOTOGRAPH_COLOURS)
