"""The sets of decoded photographs in the cache folder: listing them, and removing some to make room."""

from __future__ import annotations

import contextlib
import shutil
import stat
import time
from pathlib import Path

import msgspec

from facegender.data.cache.file import BUILDING_SUFFIX, SUFFIX, PhotoFile, is_locked, remove_unlocked
from facegender.support.cache_dir import cache_folder, make_cache_folder
from facegender.support.files import exists

MAX_BYTES = 20 * 2**30
ABANDONED_AFTER_S = 7 * 86_400.0
"""How long a set that an interrupted process has begun is kept."""


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """A set in the cache folder.

    Attributes:
        size_bytes: What it takes of the disk; while it is decoded, what it will take.
        used: When it was last used, or written to, in seconds since 1970.
        finished: It is complete.
        busy: A process decodes it at this moment.
        readable: It is of the present layout; the attributes below are known.
        done: Files that are decoded.
        count: Files that will be decoded; those that are no photographs included until it is complete.
        side: Of the square photographs in pixels.
        source: Where they come from; safe to show.
    """

    path: Path
    size_bytes: int
    used: float
    finished: bool
    busy: bool
    readable: bool = False
    done: int = 0
    count: int = 0
    side: int = 0
    source: str = ""


class Cleared(msgspec.Struct, frozen=True, kw_only=True):
    """What `clear` removed.

    Attributes:
        count: Sets.
        freed_bytes: What they took of the disk.
        busy: Sets that are being decoded, which were left.
        problems: What could not be removed, and why.
    """

    count: int
    freed_bytes: int
    busy: int
    problems: list[str]


def entries() -> list[Entry]:
    """All sets, the most recently used first; none where the folder cannot be read."""
    found: list[Entry] = []
    with contextlib.suppress(OSError):
        for path in cache_folder().iterdir():
            finished = path.name.endswith(SUFFIX)
            if not finished and not (path.name.startswith(".") and path.name.endswith(BUILDING_SUFFIX)):
                continue
            with contextlib.suppress(OSError):
                status = path.lstat()
                if not stat.S_ISREG(status.st_mode):  # not ours, and opening a named pipe would block
                    continue
                busy = not finished and is_locked(path)
                # An interrupted build has holes, which take no room.
                size = status.st_size if finished or busy else min(status.st_size, status.st_blocks * 512)
                entry = Entry(path=path, size_bytes=size, used=status.st_mtime, finished=finished, busy=busy)
                found.append(_described(entry))
    return sorted(found, key=lambda entry: -entry.used)


def _described(entry: Entry) -> Entry:
    try:
        file = PhotoFile.open(entry.path)
    except (OSError, ValueError):
        return entry
    with contextlib.closing(file):
        done = len(file.decoded_rows)
        return msgspec.structs.replace(
            entry, readable=True, done=done, count=file.count, side=file.side, source=file.source
        )


def allowed_bytes() -> int:
    """Bytes that all sets together may take: `MAX_BYTES`, or a fifth of what would be free without them.

    Raises:
        OSError: There is no folder.
    """
    return _allowed_bytes(sum(entry.size_bytes for entry in entries()), MAX_BYTES)


def _allowed_bytes(used: int, limit: int) -> int:
    folder = cache_folder()
    existing = next(path for path in (folder, *folder.absolute().parents) if exists(path))
    return min(limit, (shutil.disk_usage(existing).free + used) // 5)


def make_room(needed: int, *, limit: int = MAX_BYTES, keep: Path | None = None) -> bool:
    """Remove sets until ``needed`` bytes fit into what the cache may take of the disk.

    Abandoned sets and those of another layout go in any case, then the least recently used ones; nothing more is
    removed if ``needed`` can never fit.

    Args:
        limit: Used instead of `MAX_BYTES`.
        keep: A file that is part of what is needed.

    Returns:
        Whether they fit.

    Raises:
        OSError: There is no folder.
    """
    make_cache_folder()
    kept = [entry for entry in entries() if entry.path != keep and not (_is_useless(entry) and _remove(entry))]
    used = sum(entry.size_bytes for entry in kept)
    allowed = _allowed_bytes(used, limit)
    while kept and needed <= allowed < used + needed:
        entry = kept.pop()
        if _remove(entry):
            used -= entry.size_bytes
    return used + needed <= allowed


def clear() -> Cleared:
    """Remove all sets but those that are being decoded, and nothing else in the folder."""
    count = freed = busy = 0
    problems: list[str] = []
    for entry in entries():
        try:
            removed = _unlink(entry)
        except OSError as error:
            problems.append(f"{entry.path}: {error.strerror}")
            continue
        count += removed
        freed += entry.size_bytes if removed else 0
        busy += not removed
    return Cleared(count=count, freed_bytes=freed, busy=busy, problems=problems)


def _is_useless(entry: Entry) -> bool:
    abandoned = not entry.finished and time.time() - entry.used > ABANDONED_AFTER_S
    return not entry.busy and (abandoned or not entry.readable)


def _remove(entry: Entry) -> bool:
    try:
        return _unlink(entry)
    except OSError:
        return False


def _unlink(entry: Entry) -> bool:
    """Remove a set unless a process decodes it.

    Raises:
        OSError: The folder cannot be written.
    """
    if not entry.finished:
        return remove_unlocked(entry.path)
    entry.path.unlink(missing_ok=True)
    return True
