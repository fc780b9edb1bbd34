"""The sets of decoded photographs in the cache folder: listing them, and removing some to make room."""

from __future__ import annotations

import contextlib
import shutil
import stat
import time
from dataclasses import dataclass
from pathlib import Path

from facegender.data.cache.file import BUILDING_SUFFIX, SUFFIX, PhotoFile, is_locked, remove_unlocked
from facegender.support.cache_dir import cache_folder
from facegender.support.files import exists

MAX_BYTES = 20 * 2**30
ABANDONED_AFTER_S = 7 * 86_400.0
"""How long a set that an interrupted process has begun is kept."""


@dataclass(frozen=True)
class Entry:
    """A set in the cache folder.

    Attributes:
        size_bytes: What it takes of the disk; while it is decoded, what it will take.
        used: When it was last used, or written to, in seconds since 1970.
        finished: It is complete.
        busy: A process decodes it at this moment.
        photos: What is in it, closed; None if it is damaged or of another layout.
    """

    path: Path
    size_bytes: int
    used: float
    finished: bool
    busy: bool
    photos: PhotoFile | None

    @property
    def is_useless(self) -> bool:
        """Whether no run will use it: it was abandoned, or cannot be read."""
        abandoned = not self.finished and time.time() - self.used > ABANDONED_AFTER_S
        return not self.busy and (abandoned or self.photos is None)

    def remove(self) -> bool:
        """Remove the set unless a process decodes it.

        Raises:
            OSError: The folder cannot be written.
        """
        if not self.finished:
            return remove_unlocked(self.path)
        self.path.unlink(missing_ok=True)
        return True


def entries() -> list[Entry]:
    """List all sets, the most recently used first; none where the folder cannot be read."""
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
                found.append(Entry(path, size, status.st_mtime, finished, busy, _contents(path)))
    return sorted(found, key=lambda entry: -entry.used)


def _contents(path: Path) -> PhotoFile | None:
    try:
        with contextlib.closing(PhotoFile.open(path)) as photos:
            return photos
    except (OSError, ValueError):
        return None


def allowed_bytes(used: int, limit: int = MAX_BYTES) -> int:
    """Bytes that all sets together may take: the limit, or a fifth of what would be free without them.

    Args:
        used: Bytes that they take now.
        limit: Upper limit.

    Raises:
        OSError: There is no folder.
    """
    folder = cache_folder()
    existing = next(path for path in (folder, *folder.absolute().parents) if exists(path))
    return min(limit, (shutil.disk_usage(existing).free + used) // 5)


def make_room(needed: int, *, limit: int = MAX_BYTES, keep: Path | None = None) -> bool:
    """Remove sets until ``needed`` bytes fit into what the cache may take of the disk.

    Useless sets go in any case, then the least recently used ones; no more if ``needed`` can never fit.

    Args:
        limit: See `allowed_bytes`.
        keep: A file that is part of what is needed.

    Returns:
        Whether they fit.

    Raises:
        OSError: There is no folder.
    """
    found = [entry for entry in entries() if entry.path != keep]
    used = sum(entry.size_bytes for entry in found)
    allowed = allowed_bytes(used, limit)
    for entry in sorted(found, key=lambda entry: (not entry.is_useless, entry.used)):
        if not entry.is_useless and not needed <= allowed < used + needed:
            break
        with contextlib.suppress(OSError):  # another user's, in a folder that is shared
            if entry.remove():
                used -= entry.size_bytes
    return used + needed <= allowed


def clear() -> tuple[list[Entry], list[str]]:
    """Remove all sets but those that are being decoded, and nothing else in the folder.

    Returns:
        The sets that were removed, and a line about each that could not be removed.
    """
    removed: list[Entry] = []
    problems: list[str] = []
    for entry in entries():
        try:
            if entry.remove():
                removed.append(entry)
        except OSError as error:
            problems.append(f"{entry.path}: {error.strerror}")
    return removed, problems
