"""Decoded photographs on the disk: one uncompressed file per set, memory-mapped, also while it is being built.

A file is the pixels of N photographs, each in its place; a table of N entries of 8 bytes that says of each whether it
is there, and its checksum; a description in MessagePack; a fixed trailer. Table, description and trailer are there
before the first photograph, and an entry follows its pixels. So whoever was killed while it built leaves a file that
the next build goes on with: it takes over what the table vouches for and the checksum confirms. A file under its
final name is complete; opening it compares a few checksums, which finds blocks that a crash left empty without reading
all of it.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import struct
import threading
import time
import zlib
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from facegender.support.cache_dir import cache_folder
from facegender.support.files import open_regular

LAYOUT = 2
SUFFIX = ".photographs"
BUILDING_SUFFIX = ".building"

_MAGIC = b"FGPHOTO2"
_TRAILER = struct.Struct("<8sQQI")  # magic, bytes of pixels, bytes of the description, its CRC-32
_ENTRY = np.dtype([("checksum", "<u4"), ("mark", "<u4")])
_PACKED_ENTRY = struct.Struct("<II")
_CHECKED_PHOTOGRAPHS = 16

Bytes = npt.NDArray[np.uint8]


class Busy(Exception):
    """Another process builds this set."""


class Description(msgspec.Struct, frozen=True, kw_only=True):
    """What is in a file.

    Attributes:
        side: Of the square photographs, in pixels.
        kept: For each place its index among the files that were asked for, ascending.
        digests: For each place the hash of its file's content.
        refused: Why a file has no place, by its index.
        damaged: Why a place is empty, by its number: what only decoding could find out.
        source: Where the photographs are from, as a person would be told.
    """

    side: int
    kept: list[int]
    digests: list[str]
    refused: dict[int, str]
    damaged: dict[int, str] = {}
    source: str = ""

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """Of all places."""
        return len(self.kept), self.side, self.side, 3


def final_path(key: str) -> Path:
    """Where a complete set is."""
    return cache_folder() / (key + SUFFIX)


def building_path(key: str) -> Path:
    """Where a set is built."""
    return cache_folder() / f".{key}{BUILDING_SUFFIX}"


def is_shared(path: Path) -> bool:
    """Whether the file of a set that is built has the name where others look for it."""
    return "." not in path.name.removeprefix(".").removesuffix(BUILDING_SUFFIX)


def load(key: str) -> tuple[Bytes, Description] | None:
    """The stored photographs, (N, S, S, 3) uint8 as a read-only memory map, if they are there and whole."""
    path = final_path(key)
    try:
        with open_regular(path) as file:
            description = read_description(file.fileno())
            table = _read_table(file.fileno(), description)
        places = np.flatnonzero(_vouched(table))
        if not len(places) or len(places) + len(description.damaged) != len(description.kept):
            return None
        images: Bytes = np.memmap(path, dtype=np.uint8, mode="r", shape=description.shape)
        for place in {*places[:: max(1, len(places) // _CHECKED_PHOTOGRAPHS)].tolist(), int(places[-1])}:
            if zlib.crc32(images[place].data) != table["checksum"][place]:
                return None
        os.utime(path)  # tells what was used least recently
    except (OSError, ValueError, msgspec.DecodeError, struct.error):
        return None
    return images, description


def read_description(file: int) -> Description:
    """The description of an open file, of which at least that much is whole.

    Raises:
        OSError: It cannot be read.
        ValueError: It is cut off, damaged or foreign.
    """
    size = os.fstat(file).st_size
    magic, pixel_bytes, length, checksum = _TRAILER.unpack(os.pread(file, _TRAILER.size, max(0, size - _TRAILER.size)))
    data = os.pread(file, length, size - _TRAILER.size - length) if magic == _MAGIC and length < size else b""
    if not data or zlib.crc32(data) != checksum:
        raise ValueError("cut off, damaged or foreign")
    description = msgspec.msgpack.decode(data, type=Description)
    count = len(description.kept)
    whole = pixel_bytes + count * _ENTRY.itemsize + length + _TRAILER.size == size
    if not whole or pixel_bytes != _pixel_bytes(description) or len(description.digests) != count:
        raise ValueError("damaged")
    return description


def count_done(file: int, description: Description) -> int:
    """How many photographs an open file has."""
    return int(_vouched(_read_table(file, description)).sum())


def _pixel_bytes(description: Description) -> int:
    return len(description.kept) * description.side * description.side * 3


def _read_table(file: int, description: Description) -> npt.NDArray[np.void]:
    count = len(description.kept)
    data = os.pread(file, count * _ENTRY.itemsize, _pixel_bytes(description))
    if len(data) != count * _ENTRY.itemsize:
        raise ValueError("cut off")
    return np.frombuffer(data, _ENTRY).copy()


def _salt(place: Any) -> Any:
    """What a checksum in the table is mixed with, so that neither a hole nor another place's entry passes for one."""
    return (place * 2_654_435_761 + 0x9E37_79B1) & 0xFFFF_FFFF


def _vouched(table: npt.NDArray[np.void]) -> npt.NDArray[np.bool_]:
    """Which entries of a table say that a photograph is there."""
    salts = _salt(np.arange(len(table), dtype=np.int64)).astype(np.uint32)
    vouched: npt.NDArray[np.bool_] = table["mark"] == table["checksum"] ^ salts
    return vouched


class Unfinished:
    """The file of a set that is being built. It belongs to this process until `close`, as a lock on it says.

    Its methods may be called by several threads, each for places of its own.

    Attributes:
        description: What an earlier process has begun, or None: call `begin`.
    """

    def __init__(self, key: str, *, shared: bool = True) -> None:
        """Open it, or make it.

        Args:
            key: Of the set.
            shared: Under the name where others look for it. Otherwise under one that nobody else will go on with.

        Raises:
            Busy: Another process has it.
            OSError: The cache folder cannot be written, or, if it is to be shared, has no locks.
        """
        self._target = final_path(key)
        self._syncing = threading.Lock()
        self.path = building_path(key if shared else f"{key}.{os.getpid()}.{time.monotonic_ns()}")
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._file = _locked(self.path) if shared else os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        self.description: Description | None = None
        with contextlib.suppress(OSError, ValueError, msgspec.DecodeError, struct.error):
            self._adopt(read_description(self._file))

    def _adopt(self, description: Description) -> None:
        self._table = _read_table(self._file, description)
        self._done = _vouched(self._table)
        self._images: Bytes = np.memmap(self.path, dtype=np.uint8, mode="r", shape=description.shape)
        self.description = description

    @property
    def images(self) -> Bytes:
        """All places, (N, S, S, 3) uint8 as a read-only memory map; empty ones are black."""
        return self._images

    def begin(self, description: Description) -> None:
        """Give every photograph its place.

        Raises:
            OSError: The disk is full or gone.
        """
        os.ftruncate(self._file, 0)
        self._end(description)
        self._adopt(description)

    def _end(self, description: Description) -> None:
        """Write what stands behind the table."""
        data = msgspec.msgpack.encode(description)
        pixel_bytes = _pixel_bytes(description)
        start = pixel_bytes + len(description.kept) * _ENTRY.itemsize
        trailer = _TRAILER.pack(_MAGIC, pixel_bytes, len(data), zlib.crc32(data))
        self._write_at(start, memoryview(data + trailer))
        os.ftruncate(self._file, start + len(data) + len(trailer))

    def _write_at(self, offset: int, data: memoryview) -> None:
        while data:
            written = os.pwrite(self._file, data, offset)
            data, offset = data[written:], offset + written

    def touch(self) -> None:
        """Show those who wait that somebody is at work."""
        with contextlib.suppress(OSError):
            os.utime(self._file)

    def holds(self, place: int) -> bool:
        """Whether a photograph is there and whole."""
        if not self._done[place]:
            return False
        try:
            return zlib.crc32(self.read(place).data) == int(self._table["checksum"][place])
        except OSError:
            return False

    def read(self, place: int) -> Bytes:
        """A photograph, (S, S, 3) uint8, in memory.

        Raises:
            OSError: It cannot be read.
        """
        shape = self._images.shape[1:]
        size = int(np.prod(shape))
        data = os.pread(self._file, size, place * size)
        if len(data) != size:
            raise OSError(f"{self.path} is shorter than what was written")
        return np.frombuffer(data, np.uint8).reshape(shape)

    def write(self, place: int, pixels: Bytes) -> None:
        """Put a photograph, (S, S, 3) uint8, into its place, and then say that it is there.

        Raises:
            OSError: The disk is full or gone.
        """
        pixels = np.ascontiguousarray(pixels)
        self._write_at(place * pixels.nbytes, pixels.data.cast("B"))
        checksum = zlib.crc32(pixels.data)
        entry = _PACKED_ENTRY.pack(checksum, checksum ^ _salt(place))
        self._write_at(len(self._images) * pixels.nbytes + place * _ENTRY.itemsize, memoryview(entry))

    def sync(self) -> None:
        """Let the disk write down what it has taken."""
        # With the lock, as the number of a file that was closed may soon be another file's.
        with self._syncing, contextlib.suppress(OSError):  # `finish` is told as well
            os.fdatasync(self._file)

    def finish(self, damaged: dict[int, str]) -> None:
        """Give the file its final name.

        Raises:
            OSError: The disk is full or gone.
        """
        assert self.description is not None
        if damaged:
            self._end(msgspec.structs.replace(self.description, damaged=damaged))
        os.fsync(self._file)
        self.path.replace(self._target)

    def remove(self) -> None:
        """Take the file out of the folder; it stays open."""
        with contextlib.suppress(OSError):
            self.path.unlink(missing_ok=True)

    def close(self) -> None:
        """Let others go on with it. No other method but `sync` may be at work, or be called any more."""
        with self._syncing, contextlib.suppress(OSError):
            os.close(self._file)
            self._file = -1


def _locked(path: Path) -> int:
    """A file opened to read and write, made if need be, that no other process has.

    Raises:
        Busy: Another process has it.
        OSError: It cannot be opened, or its file system has no locks.
    """
    while True:
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # Whoever had it may have given it its final name, or removed it, in the moment before.
            if os.path.samestat(os.fstat(file), path.stat()):
                return file
        except FileNotFoundError:
            pass
        except BlockingIOError:
            os.close(file)
            raise Busy from None
        except OSError:
            os.close(file)
            raise
        os.close(file)


def is_locked(path: Path) -> bool:
    """Whether a process builds a file at this moment, as far as can be told."""
    try:
        file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        # A shared lock, so that two who only look do not take each other for a builder.
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    finally:
        os.close(file)
    return False


def remove_building(path: Path) -> bool:
    """Remove the file of a set that nobody builds.

    Returns:
        Whether it is gone; it is not if a process has it.

    Raises:
        OSError: The folder cannot be written.
    """
    try:
        file = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return True
    try:
        with contextlib.suppress(OSError):  # where there are no locks nobody can have one
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return False
        path.unlink(missing_ok=True)
    finally:
        os.close(file)
    return True


def progress_of(path: Path) -> tuple[int, int]:
    """How many photographs a file has, and how many it will have; zeros while nobody can know.

    Raises:
        OSError: It is gone.
    """
    file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        description = read_description(file)
        return count_done(file, description), len(description.kept)
    except (ValueError, msgspec.DecodeError, struct.error):
        return 0, 0
    finally:
        os.close(file)
