"""The file of one set of decoded photographs: a header, a table with one row per source file, and the pixels.

A row of the table says whether its source file is still to be decoded, decoded or refused, with the hash of its content
or the reason of the refusal. Rows are written after their pixels have been flushed to the disk, so an interrupted build
continues from the table, also after a power loss. A process that decodes into the file locks it.

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

from facegender.data.duplicates import Hashes
from facegender.support.cache_dir import make_cache_folder
from facegender.support.errors import UserError
from facegender.support.files import is_open_at
from facegender.support.text import printable

LAYOUT = 4
SUFFIX = ".photographs"
DIGEST_BYTES = 16

Pixels = npt.NDArray[np.uint8]
Indices = npt.NDArray[np.int64]
Result = tuple[int, bytes, bytes, str]
"""A row, and either the hashes of its file's content and of its pixels or the reason why the file is refused."""

_MAGIC = b"FGPHOTO4"
_HEADER = struct.Struct("<8sIQ4076s")  # magic, side in pixels, number of rows, source in UTF-8
_ROW = np.dtype([("state", "u1"), ("digest", "u1", DIGEST_BYTES), ("look", "u8", 4), ("reason", "S79")])
_MISSING, _DECODED, _REFUSED = range(3)


class PhotoFile:
    """An open file of decoded photographs.

    Pickling it sends the path, and the process that receives it opens the file again.

    Attributes:
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
        """Open a file without locking it.

        Raises:
            ValueError: It is truncated, damaged, or of another layout.
            OSError: It is missing or cannot be opened.
        """
        return cls(path, _open(path))

    @classmethod
    def in_memory(cls, count: int, side: int) -> PhotoFile:
        """Create a file without a name that lives in memory, which only Linux has."""
        file = io.FileIO(os.memfd_create("photographs"), "r+b")
        _initialise(file, count, side, "")
        return cls(Path(), file)

    def __reduce__(self) -> tuple[Any, ...]:
        return PhotoFile.open, (self.path,)

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

    def difference_hashes(self, rows: Indices) -> Hashes:
        """The `difference_hash` of some photographs, (n, 4) uint64."""
        return self._table["look"][rows]

    def read(self, rows: Indices, out: Pixels) -> None:
        """Read photographs into a C-contiguous array, (n, S, S, 3) uint8.

        Raises:
            UserError: The file is shorter than when it was opened.
            OSError: The disk fails.
        """
        for row, target in zip(rows.tolist(), out, strict=True):
            offset = self._pixel_start + row * self._photo_bytes
            if os.preadv(self._file.fileno(), [target], offset) < self._photo_bytes:
                raise UserError(
                    f"{printable(self.path)}: another program has truncated the decoded photographs; "
                    "start the run again, which decodes them anew"
                )

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
        rows: list[int] = []
        for row, digest, look, reason in results:
            state = _REFUSED if reason else _DECODED
            hashes = np.frombuffer(digest or bytes(DIGEST_BYTES), "u1"), np.frombuffer(look or bytes(32), "u8")
            self._table[row] = state, *hashes, reason.encode()
            rows.append(row)
        if rows:
            changed = self._table[min(rows) : max(rows) + 1]
            _write_at(self._file, memoryview(changed.tobytes()), _HEADER.size + min(rows) * _ROW.itemsize)

    def is_locked(self) -> bool:
        """Whether a process decodes the set at this moment."""
        try:
            # A shared lock, so that two processes that only look do not mistake each other for a decoding one.
            fcntl.flock(self._file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        self.unlock()
        return False

    def unlock(self) -> None:
        """Let other processes use the set."""
        fcntl.flock(self._file, fcntl.LOCK_UN)

    def close(self) -> None:
        """Close the file, which unlocks it."""
        self._file.close()


def open_locked(key: str, count: int, side: int, source: str) -> PhotoFile:
    """Open or begin a set, locked for this process until it is unlocked or closed.

    Raises:
        BlockingIOError: Another process decodes this set.
        OSError: The cache folder cannot be written, or its file system has no locks.
    """
    path = make_cache_folder() / (key + SUFFIX)
    file = _locked(path)
    os.utime(path)  # eviction removes the least recently used
    try:
        return PhotoFile(path, file)
    except ValueError:
        if file.seek(0, os.SEEK_END):
            path.unlink()  # and not overwritten, as another process may still read from it
            file = _locked(path)
        _initialise(file, count, side, source)
        return PhotoFile(path, file)


def remove(path: Path) -> bool:
    """Remove a set unless a process decodes it.

    Raises:
        OSError: The folder or the file cannot be written.
    """
    try:
        # Held while the file is removed, so that nobody starts to decode into it in between.
        with _locked(path):
            path.unlink()
    except BlockingIOError:
        return False
    return True


def _open(path: Path, flags: int = 0) -> io.FileIO:
    # Without waiting, as a named pipe may lie there.
    flags |= os.O_RDWR | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC
    return io.FileIO(os.open(path, flags, 0o600), "r+b")


def _locked(path: Path) -> io.FileIO:
    """Open or create a file, and lock it."""
    while True:
        file = _open(path, os.O_CREAT)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            file.close()
            raise
        if is_open_at(file, path):  # the process that held the lock may just have removed the file
            return file
        file.close()


def _initialise(file: io.FileIO, count: int, side: int, source: str) -> None:
    file.truncate(_HEADER.size + count * (_ROW.itemsize + side * side * 3))
    _write_at(file, memoryview(_HEADER.pack(_MAGIC, side, count, source.encode(errors="replace"))), 0)


def _write_at(file: io.FileIO, data: memoryview, offset: int) -> None:
    while data:
        written = os.pwrite(file.fileno(), data, offset)
        data, offset = data[written:], offset + written
