"""Writes safetensors files, and reads single tensors of them by their offsets.

The safetensors library maps the file into memory. When another program truncates a mapped file, as ``cp`` and ``rsync
--inplace`` do for a moment, SIGBUS ends the process that reads it. Here a truncated file is a short read.

The format is that of https://github.com/huggingface/safetensors: eight bytes with the header's length, little endian,
the header in JSON (for each tensor its type, its shape and where its bytes begin and end), and the bytes.
"""

from __future__ import annotations

import contextlib
import io
import math
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, BinaryIO

import msgspec
import numpy as np
import numpy.typing as npt

from facegender.support.files import open_regular, replacing

MAX_HEADER_BYTES = 100_000_000
"""The limit that the format sets."""
MAX_TENSOR_BYTES = 2 * 2**30
"""The logits of 50 000 photographs and 10 000 classes."""

_TYPES = {"U8": "u1", "I16": "<i2", "I32": "<i4", "I64": "<i8", "F16": "<f2", "F32": "<f4", "F64": "<f8"}

_Count = Annotated[int, msgspec.Meta(ge=0)]


class DamagedTensors(ValueError):
    """The file is truncated, has no such tensor, or is something else; the message continues "the file …"."""


def write_tensors(path: Path, tensors: Mapping[str, npt.NDArray[Any]], metadata: Mapping[str, str]) -> None:
    """Write a file; it appears whole or not at all.

    Args:
        tensors: C-contiguous arrays by name.

    Raises:
        OSError: The disk is full or gone.
    """
    from safetensors.numpy import save  # the interface only reads, and its first picture waits for this module

    with replacing(path) as temporary:
        temporary.write_bytes(save(dict(tensors), dict(metadata)))


@contextlib.contextmanager
def open_tensors(path: Path, unreadable: type[Exception]) -> Iterator[TensorFile]:
    """Open a file for reading.

    Args:
        unreadable: Raised with one line if the file is missing or damaged, or lacks what the block reads.
    """
    try:
        with io.BufferedReader(open_regular(path)) as opened:
            yield TensorFile(opened)
    except (OSError, DamagedTensors, msgspec.MsgspecError, KeyError) as error:
        reason = getattr(error, "strerror", None) or error
        raise unreadable(f"{path.name} cannot be read ({reason})") from None


class _Entry(msgspec.Struct, frozen=True):
    dtype: str
    shape: list[_Count]
    data_offsets: tuple[_Count, _Count]


class TensorFile:
    """The tensors of an open safetensors file.

    Attributes:
        metadata: The strings that the file carries, by name.

    Raises:
        DamagedTensors: The header is not valid, or the file is shorter than it says.
        OSError: The file cannot be read.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        length = int.from_bytes(self._read(0, 8), "little")
        if length > MAX_HEADER_BYTES:
            raise DamagedTensors("has too long a header")
        try:
            header = msgspec.json.decode(self._read(8, length), type=dict[str, Any])
            self.metadata = msgspec.convert(header.pop("__metadata__", {}), dict[str, str])
            self._entries = msgspec.convert(header, dict[str, _Entry])
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            raise DamagedTensors("has a header that is not valid") from None
        self._start = 8 + length
        self._check_end(self._start + max((entry.data_offsets[1] for entry in self._entries.values()), default=0))

    def __contains__(self, name: str) -> bool:
        return name in self._entries

    def shape(self, name: str) -> tuple[int, ...]:
        """Return the shape of a tensor without reading it; empty if there is none of that name."""
        entry = self._entries.get(name)
        return () if entry is None else tuple(entry.shape)

    def tensor(self, name: str, row: int | None = None) -> npt.NDArray[Any]:
        """Read a whole tensor, or only ``tensor[row]``.

        Raises:
            DamagedTensors: There is none of that name, it has no such row, or it is truncated.
        """
        entry = self._entries.get(name)
        if entry is None:
            raise DamagedTensors(f"has no {name}")
        if entry.dtype not in _TYPES:
            raise DamagedTensors(f"has {name} of type {entry.dtype}")
        dtype = np.dtype(_TYPES[entry.dtype])
        shape, (first, last) = entry.shape, entry.data_offsets
        if last - first != math.prod(shape) * dtype.itemsize:
            raise DamagedTensors(f"has {name} at offsets that do not fit its shape")
        if row is not None:
            count, *shape = shape or [0]
            if not 0 <= row < count:
                raise DamagedTensors(f"has {count} rows of {name}, not {row + 1}")
            first += row * math.prod(shape) * dtype.itemsize
        data = self._read(self._start + first, math.prod(shape) * dtype.itemsize)
        return np.frombuffer(data, dtype).reshape(shape)

    def _check_end(self, end: int) -> None:
        if end > os.fstat(self._file.fileno()).st_size:
            raise DamagedTensors("is truncated")

    def _read(self, offset: int, size: int) -> bytes:
        # Check first: a header that promises terabytes must not make this allocate them, nor a file full of holes.
        self._check_end(offset + size)
        if size > MAX_TENSOR_BYTES:
            raise DamagedTensors("has too large a tensor")
        self._file.seek(offset)
        data = self._file.read(size)
        if len(data) < size:
            raise DamagedTensors("is truncated")
        return data
