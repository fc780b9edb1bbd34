"""The file of one set of decoded photographs: a header, a table with one row per source file, and the pixels.

A row of the table says whether its source file is still to be decoded, decoded or refused, with the hash of its content
or the reason of the refusal. Rows are written after their pixels have been flushed to the disk, so an interrupted build
continues from the table, also after a power loss. A file under its final name is complete.

Pixels are read with ``pread`` and not mapped: a mapped file that another program truncates ends the process with
SIGBUS, while a short read is an exception.
"""

from __future__ import annotations

import fcntl
import io
import os
import struct
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from facegender.support.cache_dir import cache_folder, make_cache_folder
from facegender.support.errors import UserError
from facegender.support.files import open_regular
from facegender.support.text import printable

LAYOUT = 3
SUFFIX = ".photographs"
BUILDING_SUFFIX = ".building"
DIGEST_BYTES = 16

Pixels = npt.NDArray[np.uint8]
Indices = npt.NDArray[np.int64]
Result = tuple[int, bytes, str]
"""A row, and either the hash of its file's content or the reason why the file is refused."""

_MAGIC = b"FGPHOTO3"
_HEADER = struct.Struct("<8sIQ4076s")  # magic, side in pixels, number of rows, source in UTF-8
_ROW = np.dtype([("state", "u1"), ("digest", "u1", DIGEST_BYTES), ("reason", "S111")])
_MISSING, _DECODED, _REFUSED = range(3)


class PhotoFile:
    """An open file of decoded photographs.

    Pickling it sends the path, and the process that receives it opens the file again.

    Attributes:
        path: Where it is.
        side: Width and height of each photograph in pixels.
        count: Rows, one per source file.
        source: Where the photographs come from, for people; safe to show.
    """

    def __init__(self, path: Path, file: io.FileIO) -> None:
        """Read the header and the table.

        Raises:
            ValueError: The file is truncated, damaged, or of another layout.
        """
        self.path = path
        self._file = file
        magic, self.side, self.count, source = _HEADER.unpack(os.pread(file.fileno(), _HEADER.size, 0).ljust(4096))
        self._pixel_start = _HEADER.size + self.count * _ROW.itemsize
        self._photo_bytes = self.side * self.side * 3
        size = self._pixel_start + self.count * self._photo_bytes
        if magic != _MAGIC or os.fstat(file.fileno()).st_size != size:
            raise ValueError(f"{path}: truncated, damaged, or of another layout")
        self.source = printable(source.rstrip(b"\0").decode(errors="replace"))
        table = os.pread(file.fileno(), self.count * _ROW.itemsize, _HEADER.size)
        self._table: npt.NDArray[np.void] = np.frombuffer(bytearray(table), _ROW)

    @classmethod
    def open(cls, path: Path) -> PhotoFile:
        """Open a file for reading.

        Raises:
            ValueError: It is truncated, damaged, or of another layout.
            OSError: It is missing or cannot be read.
        """
        return cls(path, open_regular(path))

    @classmethod
    def in_memory(cls, count: int, side: int) -> PhotoFile:
        """Create a file without a name that lives in memory."""
        file = io.FileIO(os.memfd_create("photographs"), "r+b")
        _initialise(file, count, side, "")
        return cls(Path(f"/proc/{os.getpid()}/fd/{file.fileno()}"), file)

    def __reduce__(self) -> tuple[Any, ...]:
        return PhotoFile._open_to_write if self._file.writable() else PhotoFile.open, (self.path,)

    @classmethod
    def _open_to_write(cls, path: Path) -> PhotoFile:
        return cls(path, io.FileIO(path, "r+b"))

    @property
    def decoded_rows(self) -> Indices:
        """Rows that have a photograph, ascending."""
        return np.flatnonzero(self._table["state"] == _DECODED)

    @property
    def missing_rows(self) -> Indices:
        """Rows that are still to be decoded, ascending."""
        return np.flatnonzero(self._table["state"] == _MISSING)

    @property
    def refused(self) -> dict[int, str]:
        """The reason of each row that has no photograph."""
        rows = np.flatnonzero(self._table["state"] == _REFUSED).tolist()
        return {row: self._table["reason"][row].decode(errors="ignore") for row in rows}

    def digest(self, row: int) -> str:
        """The hash of a source file's content, in hexadecimal."""
        return bytes(self._table["digest"][row]).hex()

    def read(self, rows: Indices, out: Pixels) -> None:
        """Read photographs into a C-contiguous array, (n, S, S, 3) uint8.

        Raises:
            UserError: The file is shorter than when it was opened.
            OSError: The disk fails.
        """
        for row, target in zip(rows.tolist(), out, strict=True):
            view, offset = target.data.cast("B"), self._pixel_start + row * self._photo_bytes
            while view:
                done = os.preadv(self._file.fileno(), [view], offset)
                if not done:
                    raise UserError(
                        f"{printable(self.path)}: another program has truncated the decoded photographs; "
                        "start the run again, which decodes them anew"
                    )
                view, offset = view[done:], offset + done

    def write(self, row: int, pixels: Pixels) -> None:
        """Write one photograph, (S, S, 3) uint8, without marking it as decoded; callable by several processes.

        Raises:
            OSError: The disk is full or fails.
        """
        view = np.ascontiguousarray(pixels).data.cast("B")
        _write_at(self._file, view, self._pixel_start + row * self._photo_bytes)

    def record(self, results: Iterable[Result]) -> None:
        """Flush the pixels to the disk, then mark their rows.

        Raises:
            OSError: The disk is full or fails.
        """
        os.fsync(self._file.fileno())
        for row, digest, reason in results:
            self._table["state"][row] = _REFUSED if reason else _DECODED
            self._table["digest"][row] = np.frombuffer(digest.ljust(DIGEST_BYTES, b"\0"), np.uint8)
            self._table["reason"][row] = reason.encode()
            _write_at(self._file, memoryview(self._table[row].tobytes()), _HEADER.size + row * _ROW.itemsize)

    def finish(self, key: str) -> None:
        """Flush the file and give it its final name.

        Raises:
            OSError: The disk is full or fails.
        """
        os.fsync(self._file.fileno())
        self.path = self.path.replace(final_path(key))

    def discard(self) -> None:
        """Remove the file, and close it."""
        self.path.unlink(missing_ok=True)
        self.close()

    def close(self) -> None:
        """Close the file, which unlocks it."""
        self._file.close()


def final_path(key: str) -> Path:
    """The path of a complete set."""
    return cache_folder() / (key + SUFFIX)


def building_path(key: str) -> Path:
    """The path of a set that is being decoded."""
    return cache_folder() / f".{key}{BUILDING_SUFFIX}"


def open_finished(key: str) -> PhotoFile | None:
    """Open a complete set, or return None where there is none that can be read."""
    path = final_path(key)
    try:
        file = PhotoFile.open(path)
        os.utime(path)  # eviction removes the least recently used
    except (OSError, ValueError):
        return None
    return file


def open_building(key: str, count: int, side: int, source: str) -> PhotoFile:
    """Open or create the file in which a set is decoded, locked for this process until it is closed.

    Raises:
        BlockingIOError: Another process decodes this set.
        OSError: The cache folder cannot be written, or its file system has no locks.
    """
    make_cache_folder()
    path = building_path(key)
    file = _locked(path)
    try:
        return PhotoFile(path, file)
    except ValueError:
        _initialise(file, count, side, source)
        return PhotoFile(path, file)


def is_locked(path: Path) -> bool:
    """Whether a process holds the lock of a file at this moment; False where that cannot be known."""
    try:
        with open_regular(path) as file:
            # A shared lock, so that two processes that only look do not mistake each other for a decoding one.
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


def remove_unlocked(path: Path) -> bool:
    """Remove the file of a set unless a process decodes it.

    Raises:
        OSError: The folder cannot be written.
    """
    try:
        # Held while the file is removed, so that nobody starts to decode into it in between.
        with _locked(path, create=False):
            path.unlink(missing_ok=True)
    except BlockingIOError:
        return False
    except FileNotFoundError:
        pass
    except OSError:  # a file system without locks: no process can hold one
        path.unlink(missing_ok=True)
    return True


def _locked(path: Path, *, create: bool = True) -> io.FileIO:
    flags = os.O_RDWR | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC | (os.O_CREAT if create else 0)
    while True:
        file = io.FileIO(os.open(path, flags, 0o600), "r+b")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # The process that held the lock may just have renamed or removed the file.
            if os.path.samestat(os.fstat(file.fileno()), path.stat()):
                return file
        except FileNotFoundError:
            pass
        except BaseException:
            file.close()
            raise
        file.close()


def _initialise(file: io.FileIO, count: int, side: int, source: str) -> None:
    file.truncate(0)
    file.truncate(_HEADER.size + count * (_ROW.itemsize + side * side * 3))
    _write_at(file, memoryview(_HEADER.pack(_MAGIC, side, count, source.encode(errors="replace"))), 0)


def _write_at(file: io.FileIO, data: memoryview, offset: int) -> None:
    while data:
        written = os.pwrite(file.fileno(), data, offset)
        data, offset = data[written:], offset + written
