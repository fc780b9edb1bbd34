"""What a view shows of a layer before it has a size: its tiles, and the words around them.

It reads files and computes, so it runs in a thread.
"""

from __future__ import annotations

import textwrap
from contextlib import ExitStack

import msgspec
from msgspec import structs

from facegender.rendering import views
from facegender.rendering.colormaps import GREYS, sequential
from facegender.rendering.history import ChannelCurve, channel_curve, run_limits
from facegender.rendering.views import Tiles, view_tiles
from facegender.runs.frames import FrameReader, open_frame
from facegender.runs.patches import Patches, read_patches
from facegender.support.text import one_line
from tui import format as fmt
from tui.inspect.request import ChannelStatistics, LayerRequest


class Content(msgspec.Struct, frozen=True):
    """What a view shows of a layer.

    Attributes:
        tiles: All tiles; None if there are only lines of ``text``.
        channels: The channels, filters or classes of the layer.
        cursor: Index of the channel under the cursor, or None.
        alone: Whether only that channel is shown.
        statistics: Of that channel.
        curve: Of that channel, if it is shown alone.
        note, patch_lines, text: As in `tui.inspect.request.LayerPicture`.
    """

    tiles: Tiles | None
    channels: int
    cursor: int | None = None
    alone: bool = False
    statistics: ChannelStatistics | None = None
    curve: ChannelCurve | None = None
    note: str = ""
    patch_lines: tuple[tuple[str, str], ...] = ()
    text: tuple[str, ...] = ()


def read_content(frame: FrameReader, request: LayerRequest, layer: str, probe: int) -> Content:
    """Read what a request shows.

    Args:
        frame: The open frame file of the request.
        layer: As the file spells it.
        probe: One that the file has.

    Raises:
        NothingToShow: The frame has nothing for the view.
        FrameUnreadable, DamagedTensors, PatchesUnreadable: A file is missing or damaged.
    """
    selection, mode = request.selection, request.selection.mode
    channels = len(frame.tensor(f"maps/{layer}/low", probe))
    cursor = min(selection.channel, channels - 1) if mode.has_cursor and selection.channel is not None else None
    if mode.view == "top":
        return _top(frame, request, layer, cursor or 0, channels)
    alone = selection.zoomed and cursor is not None
    limits, scope = None, selection.scope
    if scope == "run":
        limits = run_limits(mode.view, request.history, layer, probe=probe, variant=selection.variant)
        scope = "layer" if limits is None else "run"
    with ExitStack() as opened:
        reference = None
        if mode.view == "difference" and request.reference is not None:
            reference = opened.enter_context(open_frame(request.reference))
        tiles = view_tiles(
            mode.view, frame, layer,
            probe=probe, channel=cursor if alone else None, scope=scope, limits=limits,
            variant=selection.variant, reference=reference, colours=sequential(request.colour_map),
        )  # fmt: skip
        if request.monochrome and tiles.colormap is not None:
            tiles = structs.replace(tiles, colormap=GREYS)
        note = _note(frame, reference, request, tiles, channels, alone=alone)
    return Content(
        tiles,
        len(tiles.labels) if mode.view == "cam" else channels,
        cursor,
        alone,
        statistics=None if cursor is None else _statistics(frame, layer, probe, cursor),
        curve=channel_curve(request.history, layer, probe, cursor) if alone and cursor is not None else None,
        note=note,
    )


def _note(
    frame: FrameReader,
    reference: FrameReader | None,
    request: LayerRequest,
    tiles: Tiles,
    channels: int,
    *,
    alone: bool,
) -> str:
    """Return what the legend says of the tiles beside their numbers and scale."""
    view = request.selection.mode.view
    if view == "average":
        return f"of {channels} channels"
    if view == "cam":
        return one_line(frame.info.cam_method)
    if view == "difference" and reference is not None:
        return f"epoch {frame.info.epoch + 1} − epoch {reference.info.epoch + 1}"
    if view == "filters" and tiles.pixels.ndim == 4:
        return "weights of red, green and blue"
    return "mean over inputs" if view == "filters" and not alone else ""


def _top(frame: FrameReader, request: LayerRequest, layer: str, channel: int, channels: int) -> Content:
    """Read the patches of the channel; until they are made, list where they are in the photographs."""
    top = views.top_values(frame, layer, channel)
    if request.patches is not None:
        patches = read_patches(request.patches)
        if len(patches.names):
            tiles = views.patch_tiles(patches, whole=request.selection.variant == "photographs")
            return Content(tiles, channels, channel, patch_lines=_patch_lines(patches))
    rows = [
        f"{number}  {fmt.significant(value):>6}  photograph {image + 1:<5} row {row + 1:<3} column {column + 1}"
        for number, (value, image, (row, column)) in enumerate(
            zip(top.value.tolist(), top.image.tolist(), top.at.tolist(), strict=True), 1
        )
        if image >= 0
    ]
    rows = rows or ["no photograph excites this channel"]
    width = max(map(len, rows))
    why = textwrap.wrap(request.no_patches, max(width, request.pane.columns - 4))
    return Content(None, channels, channel, text=(*(row.ljust(width) for row in rows), *[""][: len(why)], *why))


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
