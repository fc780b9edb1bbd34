"""``epoch_N.safetensors``: what the network computed for the probe photographs after one epoch.

``initial.safetensors`` has the same of the initial weights. Tensors, for P probes and a layer of C channels:

- ``probe/images`` (P, H, W, 3) uint8, ``probe/labels`` (P,) int64, ``probe/probabilities`` (P, classes) float32
- ``maps/<layer>`` (P, C, h, w) uint8 with ``maps/<layer>/low`` and ``maps/<layer>/high`` (P, C) float32, the values
  that 0 and 255 stand for
- ``filters/<layer>`` (O, I, kh, kw) float32. Of a layer with too many weights for `MAX_FILTERS_BYTES` it has only the
  strongest kernels of each filter, (O, J, kh, kw) float16, with ``filters/<layer>/inputs`` (O, J) int32, the input
  channels that they belong to, and ``filters/<layer>/mean`` (O, kh, kw) float32, the mean over all inputs
- ``probe/heatmap`` (P, h, w) uint8, only for classified files: LayerCAM of the predicted class; the
  brighter, the more influence
- ``stats/<layer>`` (P, C, 5) float32: mean, standard deviation, minimum, maximum and share of zeros of the activation
  before it was pooled
- ``cam/<class>`` (P, h, w) uint8 with ``cam/<class>/high`` (P,) float32, the value that 255 stands for (0 is zero):
  where the network looked for a class. The metadata name the method
- ``units/<layer>`` (C, 3) float32, over all validation photographs: the mean of the activation, its maximum, and the
  share of photographs in which it is not zero anywhere
- ``top/<layer>/value`` (C, K) float32, ``top/<layer>/image`` (C, K) int32, ``top/<layer>/at`` (C, K, 2) int16: the
  K = 9 largest activations of each channel on different validation photographs: the value, the photograph's index in
  the list of validation photographs (-1 where there are fewer), and row and column in the layer's map before pooling

The last three are of schema 2, and only where they were recorded. Reading one layer of a file does not read the others.
"""

from __future__ import annotations

import contextlib
import io
import math
from collections.abc import Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, BinaryIO

import msgspec
import numpy as np
import numpy.typing as npt

from facegender.runs.tensors import DamagedTensors, TensorFile, write_tensors
from facegender.support.arrays import Float32Array, UInt8Array
from facegender.support.files import open_regular

SCHEMA_VERSION = 2
MAX_MAP_SIDE_PX = 128
MAX_FRAME_BYTES = 1 << 24
"""Of a frame with four probes, unless the network has more than some 50 000 channels."""
MAX_PROBE_BYTES = 2_910_000
"""Of one probe: its photograph, the statistics, and the maps, which are pooled further where they would take more."""
MAX_FILTERS_BYTES = 11 << 19
"""Of all filters; less where the rest of a frame leaves less."""
TOP = 9
"""Photographs that a frame lists for each channel."""
STATISTICS = ("mean", "std", "min", "max", "zero")
_CHANNEL_BYTES = 4 * (len(STATISTICS) + 2) + (12 * (TOP + 1) + 60) // 4
"""Of one channel beside its map, for each of four probes: its range and statistics, and a quarter of its ``units``, its
``top`` and its smallest possible filter."""
_HEADER_BYTES = 192
"""Of the entry of one tensor in the header of the file, rather more than less."""
_LEAST_BYTES = 1 << 19
"""Left for all maps of a probe, and for all filters, however many channels a network has."""


class TopPatches(msgspec.Struct, frozen=True, kw_only=True):
    """The K largest activations of each of C channels, on different validation photographs, the largest first.

    Attributes:
        value: (C, K) float32.
        image: (C, K) int32, the photograph's index in the list of validation photographs; -1 where there are fewer.
        at: (C, K, 2) int16, row and column in the layer's map before it was pooled.
    """

    value: Float32Array
    image: npt.NDArray[np.int32]
    at: npt.NDArray[np.int16]


class LayerFrame(msgspec.Struct, frozen=True, kw_only=True):
    """One layer of a frame.

    Attributes:
        maps: (P, C, h, w) float32, not yet quantised.
        filters: (O, I, kh, kw) float32.
        stats: (P, C, 5) float32, see `STATISTICS`.
        units: (C, 3) float32, or None if the frame was not taken after a validation.
        top: Where its channels are excited most; None likewise.
    """

    name: str
    maps: Float32Array
    filters: Float32Array
    stats: Float32Array
    units: Float32Array | None = None
    top: TopPatches | None = None


class Frame(msgspec.Struct, frozen=True, kw_only=True):
    """All numbers of one epoch, for P probes.

    Attributes:
        epoch: Counted from 0; -1 for the initial weights.
        step: Optimiser steps since the run began.
        images: (P, H, W, 3) uint8.
        labels: (P,) int64, index into ``classes``; -1 where the class is not known.
        probabilities: (P, classes) float32, the softmax of the logits.
        probe_names: What to call each probe, usually its file name.
        maps_of: The modules whose output the maps are, per layer, e.g. {"conv1": "conv1, bn1, relu1"}.
        heatmap: (P, h, w) uint8, LayerCAM of the predicted class; 255 is the most influence.
        cams: Where the network looked, per class (P, h, w) float32, not negative.
        cam_method: How ``cams`` were computed, e.g. "LayerCAM at conv3".
    """

    epoch: int
    step: int
    images: UInt8Array
    labels: npt.NDArray[np.int64]
    probabilities: Float32Array
    classes: Sequence[str]
    probe_names: Sequence[str]
    layers: Sequence[LayerFrame]
    maps_of: dict[str, str]
    heatmap: UInt8Array | None = None
    cams: Mapping[str, Float32Array] = {}
    cam_method: str = ""


class FrameInfo(msgspec.Struct, frozen=True, kw_only=True):
    """A frame file's metadata."""

    schema_version: int
    epoch: int
    global_step: int
    layers: list[str]
    classes: list[str]
    probe_names: list[str]
    statistics: list[str]
    maps_of: dict[str, str]
    cam_method: str = ""


def map_sizes(layers: Sequence[tuple[int, int, int]], image_bytes: int = 0) -> list[tuple[int, int]]:
    """Choose how far maps are pooled before they are stored.

    Args:
        layers: (channels, height, width) of each layer's output.
        image_bytes: Size of a probe photograph.

    Returns:
        (height, width) of each layer's stored maps: at most `MAX_MAP_SIDE_PX` a side. The largest layers are pooled
        further so that a probe takes at most `MAX_PROBE_BYTES`.
    """
    sizes = [_pooled(height, width, MAX_MAP_SIDE_PX / max(height, width)) for _, height, width in layers]
    bytes_of = [channels * height * width for (channels, _, _), (height, width) in zip(layers, sizes, strict=True)]
    fixed = image_bytes + _CHANNEL_BYTES * sum(channels for channels, _, _ in layers)
    limit = _fair_share(bytes_of, max(_LEAST_BYTES, MAX_PROBE_BYTES - fixed))
    return [
        _pooled(*size, math.sqrt(limit / taken)) if taken else size for size, taken in zip(sizes, bytes_of, strict=True)
    ]


def _pooled(height: int, width: int, scale: float) -> tuple[int, int]:
    scale = min(1.0, scale)
    return max(1, int(height * scale + 1e-9)), max(1, int(width * scale + 1e-9))


def _fair_share(sizes: Sequence[int], total: int) -> float:
    """The largest size per item with which all items, cut down to it, fit into a total."""
    left = float(total)
    for number, size in enumerate(sorted(sizes)):
        share = left / (len(sizes) - number)
        if size > share:
            return share
        left -= size
    return math.inf


def quantise(maps: Float32Array) -> tuple[UInt8Array, Float32Array, Float32Array]:
    """Scale each channel's range to [0, 255].

    Args:
        maps: (P, C, h, w) float32; values that are not finite count as the channel's lowest finite value.

    Returns:
        (P, C, h, w) uint8, and the (P, C) float32 values that 0 and 255 stand for.
    """
    finite = np.isfinite(maps)
    low = np.min(maps, axis=(2, 3), where=finite, initial=np.inf)
    high = np.max(maps, axis=(2, 3), where=finite, initial=-np.inf)
    low = np.where(np.isfinite(low), low, 0.0).astype(np.float32)
    high = np.where(np.isfinite(high), high, 0.0).astype(np.float32)
    # The range of a diverging network may exceed float32; values that overflow become 255, which is right.
    span = np.where(high > low, high.astype(np.float64) - low, 1.0)[:, :, None, None]
    with np.errstate(over="ignore"):
        above = np.where(finite, maps, low[:, :, None, None]) - low[:, :, None, None]
    scaled = above * (255.0 / span).astype(np.float32)
    return np.rint(np.clip(scaled, 0, 255)).astype(np.uint8), low, high


def write_frame(path: Path, frame: Frame) -> None:
    """Write a frame file; it appears whole or not at all.

    Raises:
        OSError: The disk is full or gone.
    """
    tensors: dict[str, npt.NDArray[Any]] = {
        "probe/images": np.ascontiguousarray(frame.images),
        "probe/labels": frame.labels,
        "probe/probabilities": frame.probabilities,
    }
    if frame.heatmap is not None:
        tensors["probe/heatmap"] = np.ascontiguousarray(frame.heatmap)
    for name, cam in frame.cams.items():
        if name.endswith("/high"):  # the class "a/high" would take the name of the limits of the class "a"
            continue
        high = np.nan_to_num(cam, nan=0.0, posinf=0.0, neginf=0.0).max(axis=(1, 2), initial=0.0).astype(np.float32)
        shares = np.nan_to_num(cam) / np.where(high > 0, high, 1.0)[:, None, None]
        tensors[f"cam/{name}"] = np.rint(np.clip(shares, 0, 1) * 255).astype(np.uint8)
        tensors[f"cam/{name}/high"] = high
    for layer in frame.layers:
        maps, low, high = quantise(layer.maps)
        tensors[f"maps/{layer.name}"] = maps
        tensors[f"maps/{layer.name}/low"] = low
        tensors[f"maps/{layer.name}/high"] = high
        tensors[f"stats/{layer.name}"] = np.ascontiguousarray(layer.stats, dtype=np.float32)
        if layer.units is not None:
            tensors[f"units/{layer.name}"] = np.ascontiguousarray(layer.units, dtype=np.float32)
        if layer.top is not None:
            tensors[f"top/{layer.name}/value"] = np.ascontiguousarray(layer.top.value, dtype=np.float32)
            tensors[f"top/{layer.name}/image"] = np.ascontiguousarray(layer.top.image, dtype=np.int32)
            tensors[f"top/{layer.name}/at"] = np.ascontiguousarray(layer.top.at, dtype=np.int16)
    left = MAX_FRAME_BYTES - sum(tensor.nbytes + _HEADER_BYTES for tensor in tensors.values())
    total = min(MAX_FILTERS_BYTES, max(_LEAST_BYTES, left))
    limit = _fair_share([4 * layer.filters.size for layer in frame.layers], total)
    for layer in frame.layers:
        tensors |= _filter_tensors(layer, limit)
    info = FrameInfo(
        schema_version=SCHEMA_VERSION,
        epoch=frame.epoch,
        global_step=frame.step,
        layers=[layer.name for layer in frame.layers],
        classes=list(frame.classes),
        probe_names=list(frame.probe_names),
        statistics=list(STATISTICS),
        maps_of=dict(frame.maps_of),
        cam_method=frame.cam_method,
    )
    metadata = {name: msgspec.json.encode(value).decode() for name, value in msgspec.structs.asdict(info).items()}
    write_tensors(path, tensors, metadata)


def _filter_tensors(layer: LayerFrame, limit_bytes: float) -> dict[str, npt.NDArray[Any]]:
    """The filters of a layer: all kernels if they fit into a limit, else the strongest ones of each filter."""
    name, filters = f"filters/{layer.name}", np.ascontiguousarray(layer.filters, dtype=np.float32)
    if filters.nbytes <= limit_bytes:
        return {name: filters}
    outputs, inputs, height, width = filters.shape
    kept = int(limit_bytes / outputs - 4 * height * width) // (2 * height * width + 4)
    kept = min(max(1, kept), inputs)
    strength = np.nan_to_num(np.square(filters)).sum(axis=(2, 3))
    strongest = np.argsort(-strength, axis=1, kind="stable")[:, :kept]
    kernels = np.take_along_axis(filters, strongest[:, :, None, None], axis=1)
    half = np.finfo(np.float16)
    return {
        name: np.clip(kernels, half.min, half.max).astype(np.float16),
        f"{name}/inputs": strongest.astype(np.int32),
        f"{name}/mean": filters.mean(axis=1, dtype=np.float32),
    }


_LAYOUT = (
    ("probe/images", "u", 4), ("probe/labels", "i", 1), ("probe/probabilities", "f", 2), ("probe/heatmap", "u", 3),
    ("maps/*/low", "f", 2), ("maps/*/high", "f", 2), ("maps/*", "u", 4), ("stats/*", "f", 3),
    ("filters/*/inputs", "i", 2), ("filters/*/mean", "f", 3), ("filters/*", "f", 4),
    ("cam/*/high", "f", 1), ("cam/*", "u", 3), ("units/*", "f", 2),
    ("top/*/value", "f", 2), ("top/*/image", "i", 2), ("top/*/at", "i", 3),
)  # fmt: skip
"""Name, kind of the numbers as in `numpy.dtype.kind`, and number of dimensions; the first name that fits counts."""


class FrameUnreadable(Exception):
    """A frame file is missing, damaged or of a newer schema; the message is one line."""


class FrameReader(TensorFile):
    """An open frame file, see `open_frame`; `tensor` reads what the top of this module names.

    Attributes:
        info: The metadata, with layer names as the file spells them; neutralise its strings before you show them.
    """

    def __init__(self, file: BinaryIO) -> None:
        super().__init__(file)
        known = {name: self.metadata[name] for name in FrameInfo.__struct_fields__ if name in self.metadata}
        self.info = msgspec.convert({name: msgspec.json.decode(text) for name, text in known.items()}, FrameInfo)

    def tensor(self, name: str, row: int | None = None) -> npt.NDArray[Any]:
        """Read a whole tensor, or only ``tensor[row]``.

        Raises:
            DamagedTensors: As in `TensorFile.tensor`, or the tensor has another type or number of dimensions.
        """
        values = super().tensor(name, row)
        for pattern, kind, dimensions in _LAYOUT:
            if fnmatchcase(name, pattern):
                if values.dtype.kind != kind or values.ndim != dimensions - (row is not None):
                    raise DamagedTensors(f"has {name} of another type or shape")
                break
        return values

    def probe_image(self, probe: int) -> UInt8Array:
        """(H, W, 3) uint8.

        Raises:
            DamagedTensors: The probe is missing, or is no colour picture.
        """
        image: UInt8Array = self.tensor("probe/images", probe)
        if image.shape[2] != 3:
            raise DamagedTensors("has probe images without three channels")
        return image

    def probabilities(self, probe: int) -> Float32Array:
        """(classes,) float32, the softmax of one probe's logits."""
        values: Float32Array = self.tensor("probe/probabilities", probe)
        if len(values) != len(self.info.classes):
            raise DamagedTensors("has probabilities of another number of classes")
        return values

    def maps(self, layer: str, probe: int) -> tuple[UInt8Array, Float32Array, Float32Array]:
        """One probe's maps: (C, h, w) uint8, and the (C,) float32 values that 0 and 255 stand for."""
        maps, low, high = (self.tensor(f"maps/{layer}{part}", probe) for part in ("", "/low", "/high"))
        if not len(maps) == len(low) == len(high):
            raise DamagedTensors(f"has maps/{layer} and its range for different numbers of channels")
        return maps, low, high

    def filter_means(self, layer: str) -> Float32Array:
        """Each filter of a layer averaged over its inputs: (O, kh, kw) float32."""
        mean = f"filters/{layer}/mean"
        values: Float32Array = (
            self.tensor(mean) if mean in self else self.tensor(f"filters/{layer}").mean(axis=1, dtype=np.float32)
        )
        return values

    def kernels(self, layer: str, channel: int) -> tuple[Float32Array, npt.NDArray[np.int32]]:
        """The kernels of one filter: (J, kh, kw) float32, and the (J,) int32 input channels that they belong to."""
        kernels = self.tensor(f"filters/{layer}", channel).astype(np.float32)
        inputs = f"filters/{layer}/inputs"
        return kernels, self.tensor(inputs, channel) if inputs in self else np.arange(len(kernels), dtype=np.int32)

    def cam(self, name: str, probe: int) -> tuple[UInt8Array, float]:
        """Where the network looked for a class: (h, w) uint8, and the value that 255 stands for; 0 stands for 0."""
        return self.tensor(f"cam/{name}", probe), float(self.tensor(f"cam/{name}/high", probe))

    def top(self, layer: str, channel: int) -> TopPatches:
        """The largest activations of one channel; the arrays have no dimension for channels."""
        value, image, at = (self.tensor(f"top/{layer}/{part}", channel) for part in ("value", "image", "at"))
        if not len(value) == len(image) == len(at) or at.shape[1] != 2:
            raise DamagedTensors(f"has top/{layer} of parts that do not fit each other")
        return TopPatches(value=value[:TOP], image=image[:TOP], at=at[:TOP].clip(0, np.iinfo(np.int16).max))


@contextlib.contextmanager
def open_frame(path: Path) -> Iterator[FrameReader]:
    """Open a frame file for reading.

    Raises:
        FrameUnreadable: The file is missing, damaged or of a newer schema, or lacks what the block reads of it.
    """
    try:
        with io.BufferedReader(open_regular(path)) as opened:
            frame = FrameReader(opened)
            schema = frame.info.schema_version
            if schema > SCHEMA_VERSION:
                raise FrameUnreadable(f"{path.name} is of schema {schema}: update facegender-tui to read it")
            yield frame
    except FileNotFoundError:
        raise FrameUnreadable(f"{path.name} does not exist (yet, or any more)") from None
    except (OSError, DamagedTensors, msgspec.DecodeError, RecursionError) as error:
        reason = getattr(error, "strerror", None) or error
        raise FrameUnreadable(f"{path.name} cannot be read ({reason})") from None


def dequantise(maps: UInt8Array, low: Float32Array, high: Float32Array) -> Float32Array:
    """Undo `quantise` for one probe.

    Args:
        maps: (C, h, w) uint8.
        low, high: (C,) float32, the values that 0 and 255 stand for.

    Returns:
        (C, h, w) float32.
    """
    with np.errstate(
        over="ignore", invalid="ignore"
    ):  # no trainer writes such limits, but a damaged file may have them
        span = (high / np.float32(255) - low / np.float32(255))[:, None, None]
        return maps.astype(np.float32) * span + low[:, None, None]
