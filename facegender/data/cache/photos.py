"""The decoded photographs of a set of files: from the cache, or decoded now and kept there."""

from __future__ import annotations

import contextlib
import hashlib
import os
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt

from facegender.data.cache import eviction
from facegender.data.cache.decoder import Read, decode_missing
from facegender.data.cache.file import DIGEST_BYTES, LAYOUT, SUFFIX, Indices, PhotoFile, Pixels, open_locked
from facegender.data.dataset import system_file_reason
from facegender.data.image import UnreadableImage, decode_image, read_bytes, resize
from facegender.runs.folder import Skipped
from facegender.support.cache_dir import CACHE_VARIABLE, cache_folder
from facegender.support.errors import UserError
from facegender.support.machine import available_memory
from facegender.support.text import printable, size_in_words

Progress = Callable[[str, int, int], None]
"""Called with what is being done, how many files are done, and how many there are."""

DECODING = "decoding"
WAITING = "another process is decoding"

PIXELS = 2
"""Version of how a file becomes pixels: raise it when that changes, so that earlier sets are no longer used."""

MEMORY_SHARE = 0.8
"""Share of the available memory that a set may take where the disk does not take it."""

_LOOK_EVERY_S = 0.2


class DecodedPhotos:
    """The photographs that could be decoded, resized to squares, in the order of their files.

    Attributes:
        labels: (N,) int64.
        digests: N hashes of the files' contents.
        hashes: (N, 4) uint64, the `difference_hash` of each.
        names: N file names relative to the folder, safe to show.
        rows: (N,) int64, the index of each in the list of all files, among which are some that gave no photograph.
        skipped: Files that gave no photograph.
        side: Of each photograph in pixels.
        in_memory: They are in memory only, as the disk does not take them.
        notice: What the user should know about that; or empty.
    """

    def __init__(self, file: PhotoFile, names: Sequence[str], labels: Sequence[int], notice: str = "") -> None:
        """Wrap a complete file; `close` closes it. The notice says why it is in memory; empty means on the disk."""
        self._file = file
        self.rows = file.decoded_rows
        self.labels: npt.NDArray[np.int64] = np.asarray(labels, np.int64)[self.rows]
        self.digests = [file.digest(row) for row in self.rows.tolist()]
        self.hashes = file.difference_hashes(self.rows)
        self.names = [names[row] for row in self.rows.tolist()]
        self.skipped = [Skipped(file=names[row], reason=reason) for row, reason in file.refused.items()]
        self.side: int = file.side
        self.in_memory = bool(notice)
        self.notice = notice

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def size_bytes(self) -> int:
        """Bytes of all pixels."""
        return len(self) * self.side**2 * 3

    def read(self, indices: Indices, out: Pixels | None = None) -> Pixels:
        """Read some photographs as (n, S, S, 3) uint8, into a C-contiguous array if one is given.

        Raises:
            UserError: Another program has truncated the file.
            OSError: The disk fails.
        """
        if out is None:
            out = np.empty((len(indices), self.side, self.side, 3), np.uint8)
        self._file.read(self.rows[indices], out)
        return out

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def load_photos(
    files: Sequence[Path],
    labels: Sequence[int],
    image_size: int,
    *,
    folder: Path,
    progress: Progress | None = None,
) -> DecodedPhotos:
    """Load the photographs of some files, which are at or below a folder, as squares of ``image_size`` pixels.

    Raises:
        UserError: Neither the disk nor the memory has room for them.
    """
    names = [printable(path.relative_to(folder)) for path in files]
    key, read = _key(files, folder, image_size), partial(_read, files, folder, image_size)
    return load_or_decode(key, names, labels, image_size, read, origin=str(folder), progress=progress)


def content_hash(data: bytes) -> bytes:
    """The hash that identifies a file's content."""
    return hashlib.blake2b(data, digest_size=DIGEST_BYTES).digest()


def _read(files: Sequence[Path], folder: Path, side: int, row: int) -> tuple[Pixels, bytes]:
    if reason := system_file_reason(files[row], folder):
        raise UnreadableImage(reason)
    data = read_bytes(files[row])
    return resize(decode_image(data), side), content_hash(data)


def _key(files: Sequence[Path], folder: Path, image_size: int) -> str:
    """Changes with any file's name, size, modification time, or permission to read it; the folder may move."""
    listing = hashlib.blake2b(f"files {LAYOUT} {PIXELS} {image_size}".encode(), digest_size=20)
    for path in files:
        try:
            status = path.stat()
            state = f"{status.st_size} {status.st_mtime_ns} {os.access(path, os.R_OK)}"
        except OSError:
            state = "missing"
        listing.update(b"\0" + os.fsencode(path.relative_to(folder)) + b"\0" + state.encode())
    return listing.hexdigest()


def load_or_decode(
    key: str,
    names: Sequence[str],
    labels: Sequence[int],
    side: int,
    read: Read,
    *,
    origin: str,
    progress: Progress | None = None,
) -> DecodedPhotos:
    """Open a set of the cache, or decode it and put it there.

    Continues what an interrupted process has begun, and waits for a process that decodes the same set now. What the
    disk does not take is decoded into memory.

    Args:
        key: Identifies the set: the same key must mean the same photographs.
        names: The name of each file, safe to show.
        labels: The class of each file.
        side: Of each photograph in pixels.
        read: Decodes the file of an index.
        origin: Where the photographs come from, for `facegender cache`.

    Raises:
        UserError: Neither the disk nor the memory has room for the photographs.
        RuntimeError: A decoding process was killed.
    """
    report = progress or (lambda stage, done, count: None)
    size_bytes = len(names) * side**2 * 3
    try:
        file = _open_when_free(key, len(names), side, origin, report)
        try:
            if len(file.missing_rows):
                eviction.make_room(size_bytes, keep=file.path)
                decode_missing(file, read, partial(report, DECODING))
            file.unlock()
        except BaseException as error:
            if isinstance(error, OSError):  # the disk is full or broken
                file.path.unlink(missing_ok=True)
            file.close()
            raise
        return DecodedPhotos(file, names, labels)
    except OSError as error:
        problem = f"the cache folder {printable(cache_folder())} cannot take them ({error.strerror})"
    if not hasattr(os, "memfd_create") or size_bytes > MEMORY_SHARE * available_memory():
        raise UserError(
            f"{len(names)} photographs of {side} px need {size_in_words(size_bytes)}: {problem}, and they cannot be "
            "held in memory; make room, choose a smaller --image-size, or set "
            f"{CACHE_VARIABLE} to a folder on another disk"
        )
    file = PhotoFile.in_memory(len(names), side)
    decode_missing(file, read, partial(report, DECODING))
    return DecodedPhotos(file, names, labels, f"the decoded photographs are kept in memory only: {problem}")


def _open_when_free(key: str, count: int, side: int, origin: str, report: Progress) -> PhotoFile:
    """Open the file in which a set is decoded; while another process has it, wait and report its progress."""
    path = cache_folder() / (key + SUFFIX)
    while True:
        try:
            return open_locked(key, count, side, origin)
        except BlockingIOError:
            # That process may have just begun, or just ended.
            with contextlib.suppress(OSError, ValueError), closing(PhotoFile.open(path)) as other:
                report(WAITING, other.count - len(other.missing_rows), other.count)
            time.sleep(_LOOK_EVERY_S)
