"""Patches of photographs that excite a channel most: a file that the classify process writes for the interface.

It is a safetensors file of `Patches`: the arrays are its tensors, the lists of strings its metadata in JSON.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from facegender.runs.tensors import open_tensors, write_tensors
from facegender.support.arrays import Float32Array, UInt8Array
from facegender.support.text import printable_strings


class Patches(msgspec.Struct, frozen=True, kw_only=True):
    """K photographs that excite a channel, the strongest first.

    Attributes:
        patches: (K, S, S, 3) uint8, the channel's receptive field cut from each photograph.
        photographs: (K, s, s, 3) uint8, the whole photographs, small.
        boxes: (K, 4) int32, left, top, right and bottom of the patch in pixels of the small photograph; right and
            bottom are not inside.
        values: (K,) float32, the activation.
        names: File name of each photograph.
        labels: Its class.
        answers: The network's prediction for it, e.g. "male 87.34%".
    """

    patches: UInt8Array
    photographs: UInt8Array
    boxes: npt.NDArray[np.int32]
    values: Float32Array
    names: Sequence[str]
    labels: Sequence[str]
    answers: Sequence[str]


_ARRAYS = ("patches", "photographs", "boxes", "values")
_STRINGS = ("names", "labels", "answers")


class PatchesUnreadable(Exception):
    """A file of patches is missing or damaged; the message is one line."""


def write_patches(path: Path, patches: Patches) -> None:
    """Write a file of patches; it appears whole or not at all.

    Raises:
        OSError: The disk is full or gone.
    """
    tensors = {name: np.ascontiguousarray(getattr(patches, name)) for name in _ARRAYS}
    strings = {name: msgspec.json.encode(list(getattr(patches, name))).decode() for name in _STRINGS}
    write_tensors(path, tensors, strings)


def read_patches(path: Path) -> Patches:
    """Read a file of patches; its strings are safe to print.

    Raises:
        PatchesUnreadable: The file is missing or damaged.
    """
    with open_tensors(path, PatchesUnreadable) as file:
        values: dict[str, Any] = {name: file.tensor(name) for name in _ARRAYS}
        for name in _STRINGS:
            values[name] = printable_strings(msgspec.json.decode(file.metadata[name], type=list[str]))
    patches = Patches(**values)
    counts = {len(getattr(patches, name)) for name in (*_ARRAYS, *_STRINGS)}
    pictures = (patches.patches, patches.photographs)
    if len(counts) != 1 or any(one.ndim != 4 or one.shape[3] != 3 or one.dtype != np.uint8 for one in pictures):
        raise PatchesUnreadable(f"{path.name} cannot be read (its arrays do not fit each other)")
    return patches
