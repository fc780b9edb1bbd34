"""The sets of photographs in the cache folder: which there are, how many may stay, and taking them away."""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
import struct
import time
from pathlib import Path

import msgspec

from facegender.data.cache import file as store
from facegender.data.cache.file import BUILDING_SUFFIX, SUFFIX, Description
from facegender.support.cache_dir import cache_folder
from facegender.support.files import exists

MAX_BYTES = 20 * 2**30
ABANDONED_AFTER_S = 7 * 86_400.0
"""How long a set that was not finished waits for somebody to go on with it."""

LEFT_AFTER_S = 3600.0
"""The same where nobody can, as it was built under a name of its own."""


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """A set in the cache folder.

    Attributes:
        size_bytes: What it takes of the disk.
        used: When it was last used, or built on, in seconds since 1970.
        finished: All photographs are there.
        busy: A process builds it at this moment.
        done: Photographs that are there.
        description: None if it cannot be read, e.g. as another version wrote it.
    """

    path: Path
    size_bytes: int
    used: float
    finished: bool
    busy: bool = False
    done: int = 0
    description: Description | None = None


class Cleared(msgspec.Struct, frozen=True, kw_only=True):
    """What was taken away.

    Attributes:
        count: Sets.
        freed_bytes: What they took of the disk.
        building: Sets that are being built at this moment and were left.
        problems: What could not be removed, and why.
    """

    count: int
    freed_bytes: int
    building: int
    problems: list[str]


def entries() -> list[Entry]:
    """The sets, those first that were used last; none where the folder cannot be read."""
    found = [_described(entry) for entry in _found(cache_folder())]
    return sorted(found, key=lambda entry: -entry.used)


def share() -> int:
    """How many bytes all sets together may take: `MAX_BYTES` or a fifth of what would be free without them.

    Raises:
        OSError: There is no folder.
    """
    return _share(sum(entry.size_bytes for entry in _found(cache_folder())), MAX_BYTES)


def _share(used: int, limit: int) -> int:
    folder = cache_folder()
    existing = next(path for path in (folder, *folder.absolute().parents) if exists(path))
    return min(limit, (shutil.disk_usage(existing).free + used) // 5)


def make_room(needed: int, *, limit: int = MAX_BYTES, keep: Path | None = None) -> bool:
    """Remove what was used least recently until ``needed`` bytes fit into the cache's `share` of the disk.

    Args:
        limit: Instead of `MAX_BYTES`.
        keep: A file that is part of what is needed.

    Returns:
        Whether they fit. But for what was abandoned, nothing is removed if they never can.
    """
    folder = cache_folder()
    kept: list[Entry] = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for entry in _found(folder):
            if entry.path != keep and not (_is_abandoned(entry) and _remove(entry)):
                kept.append(entry)
        used = sum(entry.size_bytes for entry in kept)
        room = _share(used, limit)
    except OSError:
        return False
    if needed > room:
        return False
    for entry in sorted(kept, key=lambda entry: entry.used):
        if used + needed <= room:
            break
        with contextlib.suppress(OSError):
            if not entry.busy and _remove(entry):
                used -= entry.size_bytes
    return used + needed <= room


def clear() -> Cleared:
    """Remove all sets but those that are being built; nothing else in the folder."""
    count = freed = building = 0
    problems: list[str] = []
    for entry in _found(cache_folder()):
        try:
            removed = not entry.busy and _remove(entry)
        except OSError as error:
            problems.append(f"{entry.path}: {error.strerror}")
            continue
        count += removed
        freed += entry.size_bytes if removed else 0
        building += not removed
    return Cleared(count=count, freed_bytes=freed, building=building, problems=problems)


def _found(folder: Path) -> list[Entry]:
    found: list[Entry] = []
    with contextlib.suppress(OSError):
        for path in folder.iterdir():
            finished = path.name.endswith(SUFFIX)
            if not finished and not (path.name.startswith(".") and path.name.endswith(BUILDING_SUFFIX)):
                continue
            with contextlib.suppress(OSError):
                status = path.lstat()
                if not stat.S_ISREG(status.st_mode):  # somebody else's, and a named pipe would hold up who opens it
                    continue
                # A file that is being built has holes, which take nothing.
                size = status.st_size if finished else min(status.st_size, status.st_blocks * 512)
                busy = not finished and store.is_locked(path)
                # What is being built will need all of its places.
                size = status.st_size if busy else size
                found.append(Entry(path=path, size_bytes=size, used=status.st_mtime, finished=finished, busy=busy))
    return found


def _described(entry: Entry) -> Entry:
    try:
        file = os.open(entry.path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            description = store.read_description(file)
            done = store.count_done(file, description)
        finally:
            os.close(file)
    except (OSError, ValueError, msgspec.DecodeError, struct.error):
        return entry
    return msgspec.structs.replace(entry, description=description, done=done)


def _is_abandoned(entry: Entry) -> bool:
    wait_s = ABANDONED_AFTER_S if store.is_shared(entry.path) else LEFT_AFTER_S
    return not entry.finished and not entry.busy and time.time() - entry.used > wait_s


def _remove(entry: Entry) -> bool:
    """Remove a set, unless a process has begun to build on it.

    Raises:
        OSError: The folder cannot be written.
    """
    if entry.finished:
        entry.path.unlink(missing_ok=True)
        return True
    return store.remove_building(entry.path)
