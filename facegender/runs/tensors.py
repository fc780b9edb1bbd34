"""Reads single tensors of a safetensors file by their place in it.

The file is not mapped into memory, as the safetensors library does: another program that cuts a mapped file short, as
``cp`` and ``rsync --inplace`` do for a moment, ends the process that looks at it with SIGBUS. Here it is a short read.

The format is that of https://github.com/huggingface/safetensors: eight bytes with the header's length, little endian,
the header in JSON (for each tensor its type, its shape and where its bytes begin and end), and the bytes.
"""

from __future__ import annotations

import io
import math
import os
import struct
from pathlib import Path
from types import TracebackType
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from facegender.support.files import open_regular

MOST_HEADER_BYTES = 100_000_000
"""The limit of the format."""

_TYPES = {
    "BOOL": "?", "U8": "u1", "I8": "i1", "U16": "<u2", "I16": "<i2", "U32": "<u4", "I32": "<i4", "U64": "<u8",
    "I64": "<i8", "F16": "<f2", "F32": "<f4", "F64": "<f8",
}  # fmt: skip


class DamagedTensors(ValueError):
    """The file is cut off, has no such tensor, or is something else; the message is a clause about it."""


class _Entry(msgspec.Struct, frozen=True):
    dtype: str
    shape: list[int]
    data_offsets: tuple[int, int]


class TensorFile:
    """An open file. A context manager.

    Attributes:
        metadata: The texts that the file carries, by name.

    Raises:
        DamagedTensors: The header makes no sense.
        OSError: The file is missing, no regular file, or cannot be read.
    """

    def __init__(self, path: Path) -> None:
        self._file: io.FileIO = open_regular(path)
        try:
            (length,) = struct.unpack("<Q", self._read(0, 8))
            if length > MOST_HEADER_BYTES:
                raise DamagedTensors("has too long a header")
            header: dict[str, Any] = msgspec.json.decode(self._read(8, length), type=dict[str, Any])
            self.metadata = msgspec.convert(header.pop("__metadata__", {}), dict[str, str])
            self._entries = msgspec.convert(header, dict[str, _Entry])
            self._start = 8 + length
            self._check_end(self._start + max((entry.data_offsets[1] for entry in self._entries.values()), default=0))
        except (msgspec.DecodeError, msgspec.ValidationError, UnicodeDecodeError, RecursionError):
            self._file.close()
            raise DamagedTensors("has a header that makes no sense") from None
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> TensorFile:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def __contains__(self, name: str) -> bool:
        return name in self._entries

    def tensor(self, name: str) -> npt.NDArray[Any]:
        """A whole tensor.

        Raises:
            DamagedTensors: There is none of that name, or it is cut off.
        """
        entry, dtype, size = self._entry(name)
        return self._array(entry.data_offsets[0], entry.shape, dtype, size)

    def row(self, name: str, index: int) -> npt.NDArray[Any]:
        """One row of a tensor, i.e. ``tensor[index]``; nothing else of it is read.

        Raises:
            DamagedTensors: There is none of that name, it has no such row, or it is cut off.
        """
        entry, dtype, size = self._entry(name)
        count = entry.shape[0] if entry.shape else 0
        if not 0 <= index < count:
            raise DamagedTensors(f"has {count} rows of {name}, not {index + 1}")
        return self._array(entry.data_offsets[0] + index * (size // count), entry.shape[1:], dtype, size // count)

    def _entry(self, name: str) -> tuple[_Entry, np.dtype[Any], int]:
        entry = self._entries.get(name)
        if entry is None:
            raise DamagedTensors(f"has no {name}")
        if entry.dtype not in _TYPES:
            raise DamagedTensors(f"has {name} of type {entry.dtype}")
        dtype = np.dtype(_TYPES[entry.dtype])
        first, last = entry.data_offsets
        size = math.prod(entry.shape) * dtype.itemsize
        if min(entry.shape, default=0) < 0 or first < 0 or last - first != size:
            raise DamagedTensors(f"has {name} in another place than its shape says")
        return entry, dtype, size

    def _array(self, at: int, shape: list[int], dtype: np.dtype[Any], size: int) -> npt.NDArray[Any]:
        return np.frombuffer(self._read(self._start + at, size), dtype).reshape(shape)

    def _check_end(self, end: int) -> None:
        if end > os.fstat(self._file.fileno()).st_size:
            raise DamagedTensors("is cut off")

    def _read(self, at: int, size: int) -> bytes:
        # First, as a header that claims terabytes must not make room for them.
        self._check_end(at + size)
        parts = []
        while size:
            part = os.pread(self._file.fileno(), size, at)
            if not part:
                raise DamagedTensors("is cut off")
            parts.append(part)
            at, size = at + len(part), size - len(part)
        return b"".join(parts)
