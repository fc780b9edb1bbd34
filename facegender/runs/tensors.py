"""Reads single tensors of a safetensors file, by their offsets in it.

The safetensors library maps the file into memory. When another program truncates a mapped file, as ``cp`` and ``rsync
--inplace`` do for a moment, SIGBUS ends the process that reads it. Here a truncated file is a short read.

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

MAX_HEADER_BYTES = 100_000_000
"""The limit that the format sets."""

_TYPES = {
    "BOOL": "?", "U8": "u1", "I8": "i1", "U16": "<u2", "I16": "<i2", "U32": "<u4", "I32": "<i4", "U64": "<u8",
    "I64": "<i8", "F16": "<f2", "F32": "<f4", "F64": "<f8",
}  # fmt: skip


class DamagedTensors(ValueError):
    """The file is truncated, has no such tensor, or is something else; the message continues "the file …"."""


class _Entry(msgspec.Struct, frozen=True):
    dtype: str
    shape: list[int]
    data_offsets: tuple[int, int]


class TensorFile:
    """An open safetensors file; a context manager.

    Attributes:
        metadata: The strings that the file carries, by name.

    Raises:
        DamagedTensors: The header is not valid.
        OSError: The file is missing, is not a regular file, or cannot be read.
    """

    def __init__(self, path: Path) -> None:
        self._file: io.FileIO = open_regular(path)
        try:
            (length,) = struct.unpack("<Q", self._read(0, 8))
            if length > MAX_HEADER_BYTES:
                raise DamagedTensors("has too long a header")
            header: dict[str, Any] = msgspec.json.decode(self._read(8, length), type=dict[str, Any])
            self.metadata = msgspec.convert(header.pop("__metadata__", {}), dict[str, str])
            self._entries = msgspec.convert(header, dict[str, _Entry])
            self._start = 8 + length
            self._check_end(self._start + max((entry.data_offsets[1] for entry in self._entries.values()), default=0))
        except (msgspec.DecodeError, msgspec.ValidationError, UnicodeDecodeError, RecursionError):
            self._file.close()
            raise DamagedTensors("has a header that is not valid") from None
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
        """Read a whole tensor.

        Raises:
            DamagedTensors: There is none of that name, or it is truncated.
        """
        entry, dtype, size = self._entry(name)
        return self._array(entry.data_offsets[0], entry.shape, dtype, size)

    def row(self, name: str, index: int) -> npt.NDArray[Any]:
        """Read one row of a tensor, i.e. ``tensor[index]``, and nothing else of it.

        Raises:
            DamagedTensors: There is none of that name, it has no such row, or it is truncated.
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
            raise DamagedTensors(f"has {name} at offsets that do not fit its shape")
        return entry, dtype, size

    def _array(self, offset: int, shape: list[int], dtype: np.dtype[Any], size: int) -> npt.NDArray[Any]:
        return np.frombuffer(self._read(self._start + offset, size), dtype).reshape(shape)

    def _check_end(self, end: int) -> None:
        if end > os.fstat(self._file.fileno()).st_size:
            raise DamagedTensors("is truncated")

    def _read(self, offset: int, size: int) -> bytes:
        # Check first: a header that promises terabytes must not make this allocate them.
        self._check_end(offset + size)
        parts = []
        while size:
            part = os.pread(self._file.fileno(), size, offset)
            if not part:
                raise DamagedTensors("is truncated")
            parts.append(part)
            offset, size = offset + len(part), size - len(part)
        return b"".join(parts)
