"""Decoded photographs on the disk: one uncompressed file per set, memory-mapped, in a folder of bounded size.

A file is the pixels of N photographs one after another, then a description in MessagePack, then a fixed trailer. The
trailer comes last, so a file that was cut off has none. Every photograph's checksum is in the description; opening
compares a few of them, which finds blocks that a crash left empty without reading the whole file.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import struct
import time
import zlib
from pathlib import Path

import msgspec
import numpy as np
import numpy.typing as npt

from facegender.runs.cache_folder import cache_folder

LAYOUT = 1
MAX_BYTES = 20 * 2**30

_MAGIC = b"FGPHOTO1"
_TRAILER = struct.Struct("<8sQQI")  # magic, bytes of pixels, bytes of the description, its CRC-32
_SUFFIX = ".photographs"
_TEMPORARY_SUFFIX = ".building"
_CHECKED_PHOTOGRAPHS = 16
_ABANDONED_AFTER_S = 3600.0

Bytes = npt.NDArray[np.uint8]


class Description(msgspec.Struct, frozen=True, kw_only=True):
    """What is in a file.

    Attributes:
        side: Of the square photographs, in pixels.
        kept: For each photograph its index among the files that were asked for, ascending.
        digests: For each photograph the hash of its file's content.
        checksums: For each photograph the CRC-32 of its pixels.
        refused: Why there is no photograph, by the file's index.
    """

    side: int
    kept: list[int]
    digests: list[str]
    checksums: list[int]
    refused: dict[int, str]


def load(key: str) -> tuple[Bytes, Description] | None:
    """The stored photographs, (N, S, S, 3) uint8 as a read-only memory map, if they are there and whole."""
    path = _path(key)
    try:
        description, pixel_bytes = _read_description(path)
        shape = (len(description.kept), description.side, description.side, 3)
        if pixel_bytes != int(np.prod(shape, dtype=np.int64)) or not shape[0]:
            return None
        images: Bytes = np.memmap(path, dtype=np.uint8, mode="r", shape=shape)
        step = max(1, shape[0] // _CHECKED_PHOTOGRAPHS)
        for index in {*range(0, shape[0], step), shape[0] - 1}:
            if zlib.crc32(images[index].data) != description.checksums[index]:
                return None
        os.utime(path)  # tells `make_room` that it was used
    except (OSError, ValueError, IndexError, msgspec.DecodeError, struct.error):
        return None
    return images, description


def _read_description(path: Path) -> tuple[Description, int]:
    size = path.stat().st_size
    with path.open("rb") as file:
        file.seek(size - _TRAILER.size)
        magic, pixel_bytes, length, checksum = _TRAILER.unpack(file.read())
        if magic != _MAGIC or pixel_bytes + length + _TRAILER.size != size:
            raise ValueError("cut off or foreign")
        file.seek(pixel_bytes)
        data = file.read(length)
    if zlib.crc32(data) != checksum:
        raise ValueError("damaged")
    description = msgspec.msgpack.decode(data, type=Description)
    if not len(description.kept) == len(description.digests) == len(description.checksums):
        raise ValueError("damaged")
    return description, pixel_bytes


class Writer:
    """Writes photographs one after another; the file takes its place in the cache when `finish` is called.

    A context manager: leaving it without `finish` removes what was written.
    """

    def __init__(self, key: str) -> None:
        """Open a file.

        Raises:
            OSError: The cache folder cannot be written.
        """
        self._target = _path(key)
        self._target.parent.mkdir(parents=True, exist_ok=True)
        self._path = self._target.with_name(f".{key}.{os.getpid()}.{time.monotonic_ns()}{_TEMPORARY_SUFFIX}")
        self._file = self._path.open("xb", buffering=0)
        self._written = 0

    def __enter__(self) -> Writer:
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError):
            self._file.close()
        with contextlib.suppress(OSError):
            self._path.unlink(missing_ok=True)

    def write(self, pixels: Bytes) -> None:
        """Append one photograph.

        Raises:
            OSError: The disk is full or gone.
        """
        self._append(np.ascontiguousarray(pixels).data.cast("B"))
        self._written += pixels.nbytes

    def _append(self, data: memoryview) -> None:
        # Without a buffer a single write may take less than all, and what was taken can be read back after a failure.
        while data:
            data = data[self._file.write(data) :]

    def finish(self, description: Description) -> None:
        """Write the description and put the file in its place.

        Raises:
            OSError: The disk is full or gone.
        """
        data = msgspec.msgpack.encode(description)
        trailer = _TRAILER.pack(_MAGIC, self._written, len(data), zlib.crc32(data))
        self._append(memoryview(data + trailer))
        os.fsync(self._file.fileno())
        self._file.close()
        self._path.replace(self._target)

    def read_back(self, count: int, side: int) -> Bytes:
        """The first photographs that were written, (count, side, side, 3) uint8 in memory.

        Raises:
            OSError: They cannot be read.
        """
        images: Bytes = np.fromfile(self._path, dtype=np.uint8, count=count * side * side * 3)
        if images.size != count * side * side * 3:
            raise OSError(f"{self._path} is shorter than what was written")
        return images.reshape(count, side, side, 3)


def make_room(needed: int, *, limit: int = MAX_BYTES) -> bool:
    """Remove what was used least recently until ``needed`` bytes fit into the cache's share of the disk.

    The share is ``limit`` or a fifth of what would be free without the cache, whichever is smaller.

    Returns:
        Whether they fit. Nothing is removed if they never can.
    """
    folder = cache_folder()
    entries: list[tuple[float, int, Path]] = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for path in folder.iterdir():
            with contextlib.suppress(OSError):
                status = path.stat()
                if path.name.endswith(_TEMPORARY_SUFFIX) and time.time() - status.st_mtime > _ABANDONED_AFTER_S:
                    path.unlink()
                elif path.name.endswith(_SUFFIX):
                    entries.append((status.st_mtime, status.st_size, path))
        used = sum(size for _, size, _ in entries)
        share = min(limit, (shutil.disk_usage(folder).free + used) // 5)
    except OSError:
        return False
    if needed > share:
        return False
    for _, size, path in sorted(entries):
        if used + needed <= share:
            break
        with contextlib.suppress(OSError):
            path.unlink()
            used -= size
    return used + needed <= share


def _path(key: str) -> Path:
    return cache_folder() / (key + _SUFFIX)
