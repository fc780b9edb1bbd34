"""A set of photographs: from the disk's cache where it is there, else decoded in the background and put there."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt

from facegender.data.cache import eviction
from facegender.data.cache import file as store
from facegender.data.cache.decoder import Building, Indices
from facegender.data.cache.file import Busy, Bytes, Description, Unfinished
from facegender.data.cache.places import Places, refusal
from facegender.data.cache.survey import survey
from facegender.data.image import decode_image, read_bytes, resize
from facegender.runs.folder import Skipped
from facegender.support.cache_dir import cache_folder
from facegender.support.text import printable

Report = Callable[[int, int], None]
Progress = Callable[[str, int, int], None]
"""Is told what is being done, how many files that is done for, and how many there are; by one thread at a time."""

CHECKING = "checking"
DECODING = "decoding"
WAITING = "another process is decoding"

PIXELS = 2
"""Counts the ways to make pixels of a file: what was kept before another one came does not count any more."""

STALLED_AFTER_S = 60.0
"""How long a process that builds the same set may do nothing before this one builds it for itself."""

_LOOK_EVERY_S = 0.2
_TOUCH_EVERY_S = 5.0


class Photographs:
    """The photographs of some files, resized to squares, each in its place, in the order of the files.

    Every file that looks like a photograph has a place, and hash, label and path of it are known at once. Whether it
    is one is known for sure when it is decoded: `wait` tells. So what is decided by places, such as who validates, does
    not depend on whether the photographs are decoded already.

    Attributes:
        labels: (N,) int64.
        digests: N hashes of the files' contents.
        paths: N files.
        cached: All came from the cache.
    """

    def __init__(
        self, description: Description, source: Bytes | Building, key: str, files: Sequence[Path], names: Sequence[str],
        labels: Sequence[int],
    ) -> None:  # fmt: skip
        self.labels: npt.NDArray[np.int64] = np.asarray([labels[index] for index in description.kept], dtype=np.int64)
        self.digests = description.digests
        self.paths = [files[index] for index in description.kept]
        self.cached = not isinstance(source, Building)
        self._description = description
        self._names = names
        self._key = key
        self._building = source if isinstance(source, Building) else None
        self._images: Bytes | None = None if isinstance(source, Building) else source
        self._readable = np.ones(len(self.paths), bool)
        self._readable[list(description.damaged)] = False

    @property
    def images(self) -> Bytes:
        """(N, S, S, 3) uint8, in memory or as a read-only memory map; what `wait` has not said yes to is undefined.

        It may be another array the next time, with the same photographs.
        """
        if self._images is None:
            assert self._building is not None
            if not self._building.over:
                return self._building.places.images
            # Under its final name worker processes can map it too. If it was removed meanwhile, it stays mapped here.
            stored = store.load(self._key) if self._building.stored else None
            self._images = self._building.places.images if stored is None else stored[0]
        return self._images

    @property
    def skipped(self) -> list[Skipped]:
        """Files that gave no photograph, as far as is known; their names are safe to show."""
        reasons = dict(self._description.refused)
        damaged = self._description.damaged if self._building is None else dict(self._building.damaged)
        reasons |= {self._description.kept[place]: reason for place, reason in damaged.items()}
        return [Skipped(file=printable(self._names[index]), reason=reasons[index]) for index in sorted(reasons)]

    @property
    def notice(self) -> str:
        """Something the person should know, e.g. that the cache could not be written; or empty."""
        if self._building is None or not (problem := self._building.places.problem):
            return ""
        return f"the decoded photographs are kept in memory only, {printable(cache_folder())} {problem}"

    @property
    def finished(self) -> bool:
        """All are decoded."""
        return self._building is None or self._building.finished

    def prefer(self, places: Indices) -> None:
        """Decode these next, in this order."""
        if self._building is not None:
            self._building.prefer(places)

    def wait(self, places: Indices) -> npt.NDArray[np.bool_]:
        """Wait until these are decoded, and tell for each whether there is a photograph.

        Raises:
            UserError: Neither the disk nor the memory has room for them.
        """
        return self._readable[places] if self._building is None else self._building.wait(places)

    def complete(self) -> Photographs:
        """Wait until all are decoded, and in the cache if it takes them.

        Raises:
            UserError: Neither the disk nor the memory has room for them.
        """
        if self._building is not None:
            self._building.complete()
        return self

    def close(self) -> None:
        """Decode no more. What was decoded stays in the cache, for another time to go on with."""
        if self._building is not None:
            self._building.close()


def photographs_of(
    files: Sequence[Path],
    labels: Sequence[int],
    image_size: int,
    *,
    progress: Progress | None = None,
    folder: Path | None = None,
) -> Photographs:
    """The photographs of some files. Where the cache has not got them, they are looked at, and decoding begins.

    Args:
        files: What to read.
        labels: The class of each.
        image_size: Side in pixels.
        progress: Where others are decoded meanwhile, it is told by a thread.
        folder: That the names in messages are relative to; without it the folder that the files have in common.

    Raises:
        UserError: Neither the disk nor the memory has room for them.
    """
    if folder is None:
        folder = Path(os.path.commonpath([path.parent for path in files])) if files else Path()
    names = [str(path.relative_to(folder)) for path in files]

    def look(report: Report) -> Description:
        digests, refused = survey(files, folder, report)
        return Description(
            side=image_size,
            kept=list(digests),
            digests=list(digests.values()),
            refused=refused,
            source=printable(folder),
        )

    def read(index: int) -> Bytes:
        return resize(decode_image(read_bytes(files[index])), image_size)

    key = _key(files, names, image_size)
    description, source = open_set(key, len(files), image_size, look, read, progress)
    return Photographs(description, source, key, files, names, labels)


def _key(files: Sequence[Path], names: Sequence[str], image_size: int) -> str:
    """Changes with any file's name, size, time of change, or whether it may be read; the folder may move."""
    listing = hashlib.blake2b(f"files {store.LAYOUT} {PIXELS} {image_size}".encode(), digest_size=20)
    for path, name in zip(files, names, strict=True):
        try:
            status = path.stat()
            state = f"{status.st_size} {status.st_mtime_ns} {os.access(path, os.R_OK)}"
        except OSError:
            state = "missing"
        listing.update(b"\0" + os.fsencode(name) + b"\0" + state.encode())
    return listing.hexdigest()


def open_set(
    key: str,
    count: int,
    side: int,
    look: Callable[[Report], Description],
    read: Callable[[int], Bytes],
    progress: Progress | None,
    threads: int | None = None,
) -> tuple[Description, Bytes | Building]:
    """Photographs from the cache, or the threads that make them and put them there.

    What an earlier process had begun is gone on with; one that is at it now is waited for.

    Args:
        key: Names the set; the same key must mean the same photographs.
        count: How many are asked for.
        side: Of each, in pixels.
        look: Describes the set; is given whom to tell of its progress.
        read: Makes the photograph of an index, see `Building`.
        progress: Is told how far it is.
        threads: See `Building`.

    Raises:
        UserError: Neither the disk nor the memory has room for them.
    """
    tell = progress or _nobody
    if (stored := store.load(key)) is not None:
        tell(DECODING, count, count)
        return stored[1], stored[0]
    file, problem = _file(key, count * side * side * 3, tell)
    try:
        if (stored := store.load(key)) is not None:  # another process has built it meanwhile
            if file is not None:
                file.remove()
                file.close()
            return stored[1], stored[0]
        description = file.description if file is not None else None
        if description is None:
            description = look(_touching(file, partial(tell, CHECKING)))
            file, problem = _begun(file, description, problem)
        places = Places(description.shape, file, problem)
    except BaseException:
        if file is not None:
            if file.description is None:
                file.remove()
            file.close()
        raise
    kept = description.kept
    return description, Building(places, lambda place: read(kept[place]), partial(tell, DECODING), threads)


def _nobody(stage: str, done: int, count: int) -> None:
    return


def _touching(file: Unfinished | None, report: Report) -> Report:
    """The same report, which also shows those who wait for the file that somebody is at work."""
    last = time.monotonic()

    def told(done: int, count: int) -> None:
        nonlocal last
        if file is not None and time.monotonic() - last > _TOUCH_EVERY_S:
            last = time.monotonic()
            file.touch()
        report(done, count)

    return told


def _begun(file: Unfinished | None, description: Description, problem: str) -> tuple[Unfinished | None, str]:
    """The file with a place for each photograph; None, and why, if that is not possible."""
    if file is None:
        return None, problem
    try:
        if description.kept:
            file.begin(description)
            return file, problem
    except OSError as error:
        problem = refusal(error)
    file.remove()
    file.close()
    return None, problem


def _file(key: str, needed: int, tell: Progress) -> tuple[Unfinished | None, str]:
    """The file that a set is built in, for this process alone; None, and why, if the cache takes none."""
    shared = True
    try:
        while True:
            try:
                file = Unfinished(key, shared=shared)
            except Busy:
                # After all that patience whoever has it may still be stopped, or hang on a disk of its own.
                shared = _ended(key, tell)
                continue
            except OSError:
                if not shared:
                    raise
                shared = False
                continue
            # What another process has finished meanwhile takes up its room already.
            if store.load(key) is not None or eviction.make_room(needed, keep=file.path):
                return file, ""
            if file.description is None:
                file.remove()
            file.close()
            return None, "has too little room or cannot be written"
    except OSError as error:
        return None, refusal(error)


def _ended(key: str, tell: Progress) -> bool:
    """Wait while another process builds a set; False if it has done nothing for long."""
    path = store.building_path(key)
    while store.is_locked(path):
        try:
            if time.time() - path.stat().st_mtime > STALLED_AFTER_S:
                return False
            done, count = store.progress_of(path)
        except OSError:
            break
        if count:
            tell(WAITING, done, count)
        time.sleep(_LOOK_EVERY_S)
    return True
