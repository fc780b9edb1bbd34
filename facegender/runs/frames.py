"""``epoch_N.safetensors``: what the network computed for the probe photographs after one epoch.

Tensors, for P probes and a layer of C channels:

- ``probe/images`` (P, H, W, 3) uint8, ``probe/labels`` (P,) int64, ``probe/probabilities`` (P, classes) float32
- ``maps/<layer>`` (P, C, h, w) uint8 with ``maps/<layer>/low`` and ``maps/<layer>/high`` (P, C) float32, the values
  that 0 and 255 stand for
- ``filters/<layer>`` (O, I, kh, kw) float32
- ``probe/heatmap`` (P, h, w) uint8, only for classified files: Grad-CAM of the predicted class; the
  brighter, the more influence
- ``stats/<layer>`` (P, C, 5) float32: mean, standard deviation, minimum, maximum and share of zeros of the activation
  before it was pooled

Reading one layer of a file does not read the others.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import msgspec
import numpy as np
import numpy.typing as npt
from safetensors.numpy import save

from facegender.runs.tensors import DamagedTensors, TensorFile
from facegender.support.arrays import Float32Array, UInt8Array
from facegender.support.files import open_regular, replacing

SCHEMA_VERSION = 1
MAX_MAP_SIDE_PX = 128
STATISTICS = ("mean", "std", "min", "max", "zero")


class LayerFrame(msgspec.Struct, frozen=True, kw_only=True):
    """One layer of a frame.

    Attributes:
        maps: (P, C, h, w) float32, not yet quantised.
        filters: (O, I, kh, kw) float32.
        stats: (P, C, 5) float32, see `STATISTICS`.
    """

    name: str
    maps: Float32Array
    filters: Float32Array
    stats: Float32Array


class Frame(msgspec.Struct, frozen=True, kw_only=True):
    """All numbers of one epoch, for P probes.

    Attributes:
        epoch: Counted from 0.
        step: Optimiser steps since the run began.
        images: (P, H, W, 3) uint8.
        labels: (P,) int64, index into ``classes``; -1 where the class is not known.
        probabilities: (P, classes) float32, the softmax of the logits.
        probe_names: What to call each probe, usually its file name.
        maps_of: The modules whose output the maps are, per layer, e.g. {"conv1": "conv1, bn1, relu1"}.
        heatmap: (P, h, w) uint8, Grad-CAM of the predicted class; 255 is the most influence.
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
    for layer in frame.layers:
        maps, low, high = quantise(layer.maps)
        tensors[f"maps/{layer.name}"] = maps
        tensors[f"maps/{layer.name}/low"] = low
        tensors[f"maps/{layer.name}/high"] = high
        tensors[f"filters/{layer.name}"] = np.ascontiguousarray(layer.filters, dtype=np.float32)
        tensors[f"stats/{layer.name}"] = np.ascontiguousarray(layer.stats, dtype=np.float32)
    info = FrameInfo(
        schema_version=SCHEMA_VERSION,
        epoch=frame.epoch,
        global_step=frame.step,
        layers=[layer.name for layer in frame.layers],
        classes=list(frame.classes),
        probe_names=list(frame.probe_names),
        statistics=list(STATISTICS),
        maps_of=dict(frame.maps_of),
    )
    metadata = {name: msgspec.json.encode(value).decode() for name, value in msgspec.structs.asdict(info).items()}
    with replacing(path) as temporary:
        temporary.write_bytes(save(tensors, metadata))


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

    def probe_image(self, probe: int) -> UInt8Array:
        """(S, S, 3) uint8.

        Raises:
            FrameUnreadable: The probe is missing, or is not a square.
        """
        image: UInt8Array = self.tensor("probe/images", probe)
        if image.ndim != 3 or image.shape[0] != image.shape[1] or image.shape[2] != 3:
            raise FrameUnreadable(f"probe images are not square: {' × '.join(map(str, image.shape))}")
        return image

    def maps(self, layer: str, probe: int) -> tuple[UInt8Array, Float32Array, Float32Array]:
        """One probe's maps: (C, h, w) uint8, and the (C,) float32 values that 0 and 255 stand for."""
        maps, low, high = (self.tensor(f"maps/{layer}{part}", probe) for part in ("", "/low", "/high"))
        return maps, low, high


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
    span = (high / np.float32(255) - low / np.float32(255))[:, None, None]
    return maps.astype(np.float32) * span + low[:, None, None]
