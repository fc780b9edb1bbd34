"""The views of a layer: from open frames to tiles, the values that their colours stand for, and what each tile is.

Each view is a function of frames; `view_tiles` calls it by its name. Strings that come from a file are safe to print.
"""

from __future__ import annotations

import msgspec
import numpy as np
from PIL import Image

from facegender.rendering.colormaps import DIVERGING, GREYS, VIRIDIS, Palette
from facegender.rendering.mosaics import channel_average, signed_tiles
from facegender.rendering.overlays import heat_overlay
from facegender.rendering.view_options import SCOPES, Scope, Variant, View
from facegender.runs.folder import INITIAL
from facegender.runs.frames import FrameReader, TopPatches, dequantise
from facegender.runs.patches import Patches
from facegender.runs.tensors import DamagedTensors
from facegender.support.arrays import Float32Array, UInt8Array
from facegender.support.text import one_line

Limits = tuple[float, float]
"""The values that the colours of a scale begin and end with."""

MAX_OVERLAY_PX = 256
MANY_CLASSES = 9
"""More classes than this are shown in the order of their probability."""
PATCH_COLOUR = (253, 231, 37)
"""Of the frame around a patch."""
EARLIER_VERSION = "recorded by an earlier version: train on, or look at a newer run"


class NothingToShow(Exception):
    """A frame has nothing for a view; the message is one line that says why."""


class Tiles(msgspec.Struct, frozen=True, kw_only=True):
    """What a view shows.

    Attributes:
        pixels: (N, h, w) uint8 for a colour map, or (N, h, w, 3) uint8 RGB.
        colormap: (256, 3) uint8 RGB: the colours of (N, h, w) pixels; of RGB pixels, those of the values behind them.
            None if the pixels are photographs.
        low, high: (N,) float32, the values that the colours of each tile begin and end with.
        scope: What shares these values.
        labels: What each tile is: the number of a channel or an input, counted from 1, or the name of a class.
    """

    pixels: UInt8Array
    colormap: Palette | None
    low: Float32Array
    high: Float32Array
    scope: Scope
    labels: tuple[str, ...]

    def only(self, index: int) -> Tiles:
        """Return one tile alone."""
        one = slice(index, index + 1)
        parts = {"pixels": self.pixels[one], "low": self.low[one], "high": self.high[one], "labels": self.labels[one]}
        return msgspec.structs.replace(self, **parts)


def view_tiles(
    view: View,
    frame: FrameReader,
    layer: str,
    *,
    probe: int = 0,
    channel: int | None = None,
    scope: Scope | None = None,
    limits: Limits | None = None,
    variant: Variant | None = None,
    reference: FrameReader | None = None,
    colours: Palette = VIRIDIS,
) -> Tiles:
    """Read what a view shows of a layer.

    The view "top" has no tiles in a frame: see `top_patches`.

    Args:
        layer: As the file spells it.
        channel: Show only this one, counted from 0; of filters, the kernel for each of its inputs. For "cam", a class.
        scope: What shares one scale of colours; by default the first one of `SCOPES`.
        limits: The scale for the scope "run", from `facegender.rendering.history`.
        variant: One of `VARIANTS`, by default the first one.
        reference: The frame whose values are subtracted; only for "difference".
        colours: The colour map of activations, (256, 3) uint8 RGB; weights and differences have their own.

    Raises:
        NothingToShow: The frame has nothing for this view.
        FrameUnreadable, DamagedTensors: The file has no such layer, probe or channel, or is damaged.
    """
    scope = scope if scope in SCOPES[view] else SCOPES[view][0]
    if view == "maps":
        tiles = feature_maps(frame, layer, probe, scope, limits, colours)
    elif view == "filters":
        coloured = variant != "weights" and has_colours(frame, layer)
        if channel is not None and not coloured:
            return kernels(frame, layer, channel)
        tiles = filters(frame, layer, scope, limits, variant)
    elif view == "average":
        return average(frame, layer, probe, colours)
    elif view == "difference":
        tiles = difference(frame, reference, layer, probe, scope, variant)
    elif view == "cam":
        tiles = cams(frame, probe, scope, limits, colours)
    else:
        raise NothingToShow("the photographs that excite a channel most are not in the frame")
    return tiles if channel is None else tiles.only(min(channel, len(tiles.labels) - 1))


def feature_maps(
    frame: FrameReader,
    layer: str,
    probe: int,
    scope: Scope = "channel",
    limits: Limits | None = None,
    colours: Palette = VIRIDIS,
) -> Tiles:
    """Return the activation of each channel for a probe photograph."""
    maps, low, high = frame.maps(layer, probe)
    if scope != "channel":
        shared = limits or (float(low.min(initial=np.inf)), float(high.max(initial=-np.inf)))
        maps = _rescaled(maps, low, high, shared)
        low, high = (np.full_like(low, value) for value in shared)
    return Tiles(pixels=maps, colormap=colours, low=low, high=high, scope=scope, labels=_numbers(len(maps)))


def average(frame: FrameReader, layer: str, probe: int, colours: Palette = VIRIDIS) -> Tiles:
    """Return the mean of all feature maps as one tile."""
    tile, low, high = channel_average(*frame.maps(layer, probe))
    lows, highs = np.array([[low], [high]], np.float32)
    return Tiles(pixels=tile, colormap=colours, low=lows, high=highs, scope="channel", labels=("mean",))


def has_colours(frame: FrameReader, layer: str) -> bool:
    """Whether the layer sees the photograph itself, so that its filters have colours of their own."""
    if layer != frame.info.layers[0] or f"filters/{layer}/inputs" in frame:
        return False
    return bool(frame.tensor(f"filters/{layer}", 0).shape[0] == 3)


def filters(
    frame: FrameReader,
    layer: str,
    scope: Scope = "layer",
    limits: Limits | None = None,
    variant: Variant | None = None,
) -> Tiles:
    """Return one tile per filter.

    If the layer sees the photograph itself, the three kernels of a filter are the red, green and blue of its tile,
    where the middle of each colour is zero. Otherwise, and for the variant "weights", a tile is the mean over the
    inputs, diverging: red is positive, blue negative.
    """
    if variant != "weights" and has_colours(frame, layer):
        values = np.moveaxis(frame.tensor(f"filters/{layer}"), 1, 3)
    else:
        values = frame.filter_means(layer)
    return _signed(values, scope, limits, _numbers(len(values)))


def kernels(frame: FrameReader, layer: str, channel: int) -> Tiles:
    """Return a filter's kernel for each input, on one diverging scale; the labels are the numbers of the inputs.

    Of a layer whose file has only the strongest kernels of each filter, the strongest comes first.
    """
    values, inputs = frame.kernels(layer, channel)
    return _signed(values, "layer", None, tuple(str(number + 1) for number in inputs.tolist()))


def difference(
    frame: FrameReader,
    reference: FrameReader | None,
    layer: str,
    probe: int,
    scope: Scope = "layer",
    variant: Variant | None = None,
) -> Tiles:
    """Return this frame's feature maps (or mean filters) minus those of a reference, diverging and centred on zero."""
    if reference is None:
        raise NothingToShow("there is no other epoch to compare with yet")
    if layer not in reference.info.layers:
        raise NothingToShow(f"epoch {reference.info.epoch + 1} has no layer {one_line(layer)} to compare with")
    if variant == "filters":
        new, old = frame.filter_means(layer), reference.filter_means(layer)
    else:
        new, old = (dequantise(*one.maps(layer, probe)) for one in (frame, reference))
    if new.shape != old.shape:
        raise NothingToShow(f"{one_line(layer)} has another size in epoch {reference.info.epoch + 1}")
    return _signed(new - old, scope, None, _numbers(len(new)))


def cams(
    frame: FrameReader,
    probe: int,
    scope: Scope = "channel",
    limits: Limits | None = None,
    colours: Palette = VIRIDIS,
) -> Tiles:
    """Return a probe photograph once per class, and over it where the network looked for that class.

    Of many classes the most probable comes first. Brighter is more influence on the class; `FrameInfo.cam_method` says
    by which method.
    """
    names = [name for name in frame.info.classes if f"cam/{name}/high" in frame]
    if not names:
        raise NothingToShow(f"where it looked: {_why_missing(frame)}")
    if len(names) > MANY_CLASSES:
        probabilities = dict(zip(frame.info.classes, frame.probabilities(probe).tolist(), strict=True))
        names.sort(key=lambda name: -probabilities.get(name, 0.0))
    image = frame.probe_image(probe)
    if len(image) > MAX_OVERLAY_PX:
        image = np.asarray(Image.fromarray(image).resize((MAX_OVERLAY_PX, MAX_OVERLAY_PX), Image.Resampling.BOX))
    heats, highs = zip(*(frame.cam(name, probe) for name in names), strict=True)
    if len({heat.shape for heat in heats}) > 1:
        raise DamagedTensors("has heatmaps of different sizes")
    high = np.array(highs, np.float32)
    low, heat = np.zeros_like(high), np.stack(heats)
    if scope != "channel":
        limit = limits[1] if limits else float(high.max())
        heat, high = _rescaled(heat, low, high, (0.0, limit)), np.full_like(high, limit)
    overlays = np.stack([heat_overlay(image, one, colours) for one in heat])
    labels = tuple(map(one_line, names))
    return Tiles(pixels=overlays, colormap=colours, low=low, high=high, scope=scope, labels=labels)


def top_values(frame: FrameReader, layer: str, channel: int) -> TopPatches:
    """Return the largest activations of one channel on different validation photographs.

    Raises:
        NothingToShow: The frame does not have them.
    """
    if f"top/{layer}/value" not in frame:
        raise NothingToShow(f"top patches: {_why_missing(frame)}")
    return frame.top(layer, channel)


def patch_tiles(patches: Patches, *, whole: bool = False) -> Tiles:
    """Return the patches that excite a channel most, or the ``whole`` photographs with the patches framed.

    The labels are the names of the photographs; the scale begins and ends with the activation.
    """
    from PIL import ImageDraw  # imports what draws text as well, and the first picture waits for this module

    pixels = patches.patches
    if whole:
        pixels = patches.photographs.copy()
        for photograph, (left, top, right, bottom) in zip(pixels, patches.boxes.tolist(), strict=True):
            image = Image.fromarray(photograph)
            corners = left, top, max(left, right - 1), max(top, bottom - 1)
            ImageDraw.Draw(image).rectangle(corners, outline=PATCH_COLOUR, width=2)
            photograph[:] = np.asarray(image)
    values, labels = patches.values, tuple(map(one_line, patches.names))
    return Tiles(pixels=pixels, colormap=None, low=values, high=values, scope="channel", labels=labels)


def _why_missing(frame: FrameReader) -> str:
    if frame.info.schema_version < 2:
        return EARLIER_VERSION
    if frame.info.epoch == INITIAL:
        return "not recorded for the initial weights: look at a later epoch"
    return "not recorded in this epoch: look at another one"


def _numbers(count: int) -> tuple[str, ...]:
    return tuple(str(number) for number in range(1, count + 1))


def _rescaled(maps: UInt8Array, low: Float32Array, high: Float32Array, limits: Limits) -> UInt8Array:
    """Scale (C, h, w) uint8 maps, whose 0 and 255 stand for ``low`` and ``high``, to one range for all channels."""
    first, last = limits
    span = (last - first) or 1.0
    # A table of 256 values per channel: in float, the pixels would take many times as long.
    shares = np.linspace(0.0, 1.0, 256)
    with np.errstate(invalid="ignore"):  # a damaged file may have limits that are not finite
        values = low[:, None].astype(np.float64) * (1.0 - shares) + high[:, None].astype(np.float64) * shares
        tables = np.rint(np.clip(np.nan_to_num((values - first) / span), 0.0, 1.0) * 255).astype(np.uint8)
    out = np.empty_like(maps)
    for number, table in enumerate(tables):
        np.take(table, maps[number], out=out[number])
    return out


def _signed(values: Float32Array, scope: Scope, limits: Limits | None, labels: tuple[str, ...]) -> Tiles:
    """Return (N, h, w) values diverging, or (N, h, w, 3) ones as colours, both centred on zero."""
    finite = np.abs(np.where(np.isfinite(values), values, 0.0))
    if scope == "channel":
        high = finite.max(axis=tuple(range(1, values.ndim)), initial=0.0).astype(np.float32)
    else:
        high = np.full(len(values), limits[1] if limits else finite.max(initial=0.0), np.float32)
    high[high == 0] = 1.0
    shares = values / high.reshape(-1, *[1] * (values.ndim - 1))
    return Tiles(
        pixels=signed_tiles(shares, limit=1.0)[0],
        colormap=DIVERGING if values.ndim == 3 else GREYS,
        low=-high,
        high=high,
        scope=scope,
        labels=labels,
    )
