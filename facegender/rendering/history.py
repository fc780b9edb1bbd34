"""Reads numbers of a layer over the epochs of a run: the limits of a scale, and a channel's curve.

Of a long run it reads a bounded number of frames, evenly spaced, and of each only single tensors. Results are cached,
so that a new epoch costs one more file.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np
from cachetools import LRUCache

from facegender.rendering.view_options import Variant, View
from facegender.rendering.views import Limits, has_colours
from facegender.runs.frames import FrameReader, FrameUnreadable, open_frame
from facegender.support.arrays import Float32Array

MAX_FRAMES = 64
MAX_CACHED = 4096
"""Results, each of one layer in one file: some kilobytes."""

EpochFiles = Sequence[tuple[int, Path]]
"""Epochs and their frame files, ascending."""

T = TypeVar("T")


class ChannelCurve(NamedTuple):
    """One channel's activation over the epochs, for one probe.

    Attributes:
        epochs: Counted from 0; -1 for the initial weights.
        mean: (len(epochs),) float32.
        zero: (len(epochs),) float32, the share of the map that is zero.
    """

    epochs: tuple[int, ...]
    mean: Float32Array
    zero: Float32Array


def spaced(epochs: Sequence[int]) -> tuple[int, ...]:
    """Choose at most `MAX_FRAMES` + 1 epochs: every one, every second, every fourth …, and the last.

    When epochs are added, those chosen before are chosen again, or every second of them.
    """
    step = 1
    while len(epochs) > step * MAX_FRAMES:
        step *= 2
    chosen = list(epochs[::step])
    return tuple(chosen if chosen[-1:] == list(epochs[-1:]) else [*chosen, epochs[-1]])


def run_limits(
    view: View, files: EpochFiles, layer: str, *, probe: int = 0, variant: Variant | None = None
) -> Limits | None:
    """Return the limits of the scale that the scope "run" means; None if no file has them.

    Args:
        view: "maps", "filters" or "cam"; other views have no such scope.
        files: From `spaced`. Those that cannot be read are left out.
        layer: As the files spell it.
        probe: Only for "cam": maps are compared over all probes.
        variant: Only for "filters", see `facegender.rendering.view_options.VARIANTS`.
    """
    read = {"maps": _map_limits, "filters": _weight_limits, "cam": _cam_limits}.get(view)
    if read is None:
        return None
    if view == "filters" and variant != "weights":
        read = _filter_limits
    found = [limits for _, path in files if (limits := _cached(read, path, layer, probe))]
    return (min(low for low, _ in found), max(high for _, high in found)) if found else None


def channel_curve(files: EpochFiles, layer: str, probe: int, channel: int) -> ChannelCurve:
    """Return the mean and the share of zeros of one channel's activation over epochs.

    Args:
        files: From `spaced`. Those that cannot be read, or have other statistics, are left out.
        layer: As the files spell it.
    """
    rows = [(epoch, row) for epoch, path in files if (row := _cached(_statistics, path, layer, probe)) is not None]
    rows = [(epoch, row) for epoch, row in rows if channel < len(row)]
    values = np.array([row[channel] for _, row in rows], np.float32).reshape(-1, 2)
    return ChannelCurve(tuple(epoch for epoch, _ in rows), values[:, 0], values[:, 1])


_cache: LRUCache[Any, Any] = LRUCache(MAX_CACHED)
_lock = threading.Lock()


def _cached(read: Callable[[FrameReader, str, int], T], path: Path, layer: str, probe: int) -> T | None:
    """Read something of a frame file, once as long as the file does not change; None if it cannot be read."""
    try:
        status = path.stat()
        key = read, path, status.st_mtime_ns, status.st_size, layer, probe
        with _lock:
            if key in _cache:
                known: T = _cache[key]
                return known
        with open_frame(path) as frame:
            value = read(frame, layer, probe)
    except (OSError, FrameUnreadable, ValueError, IndexError):
        return None
    with _lock:
        _cache[key] = value
    return value


def _map_limits(frame: FrameReader, layer: str, probe: int) -> Limits:
    return float(frame.tensor(f"maps/{layer}/low").min()), float(frame.tensor(f"maps/{layer}/high").max())


def _filter_limits(frame: FrameReader, layer: str, probe: int) -> Limits:
    if not has_colours(frame, layer):
        return _weight_limits(frame, layer, probe)
    return _symmetric(frame.tensor(f"filters/{layer}"))


def _weight_limits(frame: FrameReader, layer: str, probe: int) -> Limits:
    return _symmetric(frame.filter_means(layer))


def _symmetric(values: Float32Array) -> Limits:
    limit = float(np.abs(values).max(where=np.isfinite(values), initial=0.0)) or 1.0
    return -limit, limit


def _cam_limits(frame: FrameReader, layer: str, probe: int) -> Limits | None:
    names = [name for name in frame.info.classes if f"cam/{name}/high" in frame]
    return (0.0, max(float(frame.tensor(f"cam/{name}/high", probe)) for name in names)) if names else None


def _statistics(frame: FrameReader, layer: str, probe: int) -> Float32Array:
    """(C, 2) float32: mean and share of zeros."""
    rows = frame.tensor(f"stats/{layer}", probe)
    if rows.shape[1] != 5:
        raise ValueError("other statistics")
    chosen: Float32Array = rows[:, [0, 4]]
    return chosen
