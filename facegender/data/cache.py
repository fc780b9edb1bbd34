"""Decodes a set of photographs once: from the disk's cache where it has them, else by a pool of threads."""

from __future__ import annotations

import contextlib
import hashlib
import os
import time
import zlib
from collections import deque
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt
import psutil

from facegender.data import store
from facegender.data.dataset import shown, system_file
from facegender.data.photograph import Unreadable, decode, quiet, read_bytes, resize
from facegender.data.store import Bytes, Description
from facegender.runs.cache_folder import CACHE_VARIABLE, cache_folder
from facegender.runs.errors import UserError
from facegender.runs.folder import Skipped
from facegender.runs.text import printable

Report = Callable[[int, int], None]


class Row(NamedTuple):
    """One photograph: (S, S, 3) uint8 pixels and the hash of its file's content; or None and why."""

    pixels: Bytes | None
    digest: str = ""
    refused: str = ""


class Decoded(msgspec.Struct, frozen=True, kw_only=True):
    """Photographs ready for training.

    Attributes:
        images: (N, S, S, 3) uint8, in memory or as a read-only memory map.
        labels: (N,) int64.
        digests: N hashes of the files' contents.
        paths: N files.
        skipped: Files that gave no photograph; their names are relative to the data folder and safe to show.
        notice: Something the person should know, e.g. that the cache could not be written; or empty.
        seconds: What decoding or opening took.
        cached: They came from the cache.
    """

    images: Bytes
    labels: npt.NDArray[np.int64]
    digests: list[str]
    paths: list[Path]
    skipped: list[Skipped]
    notice: str = ""
    seconds: float = 0.0
    cached: bool = False


def decode_all(
    files: Sequence[Path],
    labels: Sequence[int],
    image_size: int,
    *,
    report: Report | None = None,
    folder: Path | None = None,
) -> Decoded:
    """The photographs of some files, resized to squares, in the order of the files.

    Args:
        files: What to read.
        labels: The class of each.
        image_size: Side in pixels.
        report: Is told (files done, files in all), in the caller's thread.
        folder: That the names in messages are relative to; without it the folder that the files have in common.

    Raises:
        UserError: Neither the disk nor the memory has room for them.
    """
    started = time.perf_counter()
    if folder is None:
        folder = Path(os.path.commonpath([path.parent for path in files])) if files else Path()
    names = [path.relative_to(folder) for path in files]

    def read(index: int) -> Row:
        if refused := system_file(files[index], folder):
            return Row(None, refused=refused)
        try:
            data = read_bytes(files[index])
            pixels = resize(decode(data), image_size)
        except Unreadable as error:
            return Row(None, refused=error.reason)
        return Row(pixels, hashlib.blake2b(data, digest_size=16).hexdigest())

    with quiet():
        images, description, notice, cached = collect(
            _key(files, names, image_size), len(files), image_size, read, report
        )
    return Decoded(
        images=images,
        labels=np.asarray([labels[index] for index in description.kept], dtype=np.int64),
        digests=description.digests,
        paths=[files[index] for index in description.kept],
        skipped=[
            Skipped(file=printable(str(names[index])), reason=reason) for index, reason in description.refused.items()
        ],
        notice=notice,
        seconds=time.perf_counter() - started,
        cached=cached,
    )


def _key(files: Sequence[Path], names: Sequence[Path], image_size: int) -> str:
    """Changes with any file's name, size or time of change; the folder may move."""
    listing = hashlib.blake2b(f"files {store.LAYOUT} {image_size}".encode(), digest_size=20)
    for path, name in zip(files, names, strict=True):
        try:
            status = path.stat()
            state = f"{status.st_size} {status.st_mtime_ns}"
        except OSError:
            state = "missing"
        listing.update(b"\0" + os.fsencode(name) + b"\0" + state.encode())
    return listing.hexdigest()


def collect(
    key: str, count: int, side: int, read: Callable[[int], Row], report: Report | None, threads: int | None = None
) -> tuple[Bytes, Description, str, bool]:
    """Photographs from the cache, or made and put there; if it cannot take them, in memory with a notice.

    Args:
        key: Names the set; the same key must mean the same photographs.
        count: How many are asked for.
        side: Of each, in pixels.
        read: Makes the photograph of an index; called in several threads.
        report: Is told (done, count).
        threads: How many call ``read`` at once; by default as many as there are processors.

    Returns:
        (N, S, S, 3) uint8 images, their description, a notice or "", and whether they came from the cache.

    Raises:
        UserError: Neither the disk nor the memory has room for them.
    """
    if (stored := store.load(key)) is not None:
        if report is not None:
            report(count, count)
        return *stored, "", True
    images, description, problem = _make(key, count, side, read, report, threads or available_processors())
    if images is not None:
        where = shown(cache_folder())
        notice = f"the decoded photographs are kept in memory only, {where} {problem}" if problem else ""
        return images, description, notice, False
    again = store.load(key)
    if again is None:
        raise UserError(f"{shown(cache_folder())}: what was just written cannot be read back; check the disk")
    return *again, "", False


def _make(
    key: str, count: int, side: int, read: Callable[[int], Row], report: Report | None, threads: int
) -> tuple[Bytes | None, Description, str]:
    """Makes every photograph. The images are None if they went to the disk, else the text says why they did not."""
    description = Description(side=side, kept=[], digests=[], checksums=[], refused={})
    with _Shelf(key, count, side) as shelf, contextlib.closing(_rows(count, read, threads)) as rows:
        for index, (row, checksum) in enumerate(rows):
            if row.pixels is None:
                description.refused[index] = row.refused
            else:
                shelf.put(row.pixels)
                description.kept.append(index)
                description.digests.append(row.digest)
                description.checksums.append(checksum)
            if report is not None:
                report(index + 1, count)
        return shelf.finish(description), description, shelf.problem


class _Shelf:
    """Takes photographs one after another: to the disk as long as that works, from then on to memory.

    Attributes:
        problem: Why not to the disk, as what is to be said of the cache folder; or empty.
    """

    def __init__(self, key: str, count: int, side: int) -> None:
        self.problem = ""
        self._count, self._side, self._filled = count, side, 0
        self._writer: store.Writer | None = None
        self._images: Bytes | None = None
        try:
            if store.make_room(count * side * side * 3):
                self._writer = store.Writer(key)
                return
            self.problem = "has too little room or cannot be written"
        except OSError as error:
            self.problem = _refusal(error)
        self._images = self._room()

    def __enter__(self) -> _Shelf:
        return self

    def __exit__(self, *error: object) -> None:
        if self._writer is not None:
            self._writer.__exit__(*error)

    def put(self, pixels: Bytes) -> None:
        """Take the next photograph, (S, S, 3) uint8."""
        if self._writer is not None:
            try:
                self._writer.write(pixels)
            except OSError as error:
                self._move_to_memory(error)
        if self._images is not None:
            self._images[self._filled] = pixels
        self._filled += 1

    def finish(self, description: Description) -> Bytes | None:
        """The photographs, (N, S, S, 3) uint8, if they are in memory; None once they are in the cache."""
        if self._writer is not None and self._filled:
            try:
                self._writer.finish(description)
                return None
            except OSError as error:
                self._move_to_memory(error)
        return (np.empty((0, self._side, self._side, 3), np.uint8) if self._images is None else self._images)[
            : self._filled
        ]

    def _move_to_memory(self, error: OSError) -> None:
        """Take back what went to the disk before it refused, and remove it there."""
        assert self._writer is not None
        with self._writer:
            self._images = self._room()
            try:
                self._images[: self._filled] = self._writer.read_back(self._filled, self._side)
            except OSError:
                raise UserError(
                    f"{shown(cache_folder())}: {_refusal(error)}, in the middle of decoding; "
                    f"make room, or set {CACHE_VARIABLE} to a folder on another disk"
                ) from None
        self._writer = None
        self.problem = _refusal(error)

    def _room(self) -> Bytes:
        """Memory for all photographs.

        Raises:
            UserError: There is not enough.
        """
        needed = self._count * self._side * self._side * 3
        if needed > 0.8 * psutil.virtual_memory().available:
            raise UserError(
                f"{self._count} photographs of {self._side} px need {needed / 2**30:.1f} GiB, which neither the cache "
                f"folder {shown(cache_folder())} nor the memory has: choose a smaller --image-size, make room, "
                f"or set {CACHE_VARIABLE} to a folder on a larger disk"
            )
        return np.empty((self._count, self._side, self._side, 3), np.uint8)


def _refusal(error: OSError) -> str:
    return f"cannot be written ({error.strerror})"


def _rows(count: int, read: Callable[[int], Row], threads: int) -> Generator[tuple[Row, int], None, None]:
    """What ``read`` makes of 0 to count - 1, in order, by some threads; and each one's CRC-32.

    Only a few results wait at a time, so that a slow disk does not fill the memory.
    """

    def work(index: int) -> tuple[Row, int]:
        row = read(index)
        return row, 0 if row.pixels is None else zlib.crc32(row.pixels.data)

    pool = ThreadPoolExecutor(threads, thread_name_prefix="decode")
    waiting: deque[Future[tuple[Row, int]]] = deque()
    try:
        for index in range(count):
            waiting.append(pool.submit(work, index))
            if len(waiting) > 4 * threads:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def available_processors() -> int:
    """Processors that this process may use, at most 32."""
    try:
        count = len(os.sched_getaffinity(0))
    except AttributeError:  # not on every system
        count = os.cpu_count() or 1
    return max(1, min(32, count))
