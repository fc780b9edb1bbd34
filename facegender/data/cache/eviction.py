"""The sets of decoded photographs in the cache folder: listing them, and removing some to make room."""

from __future__ import annotations

import contextlib
import errno
import shutil
import stat
import time
from dataclasses import dataclass
from pathlib import Path

from facegender.data.cache.file import SUFFIX, PhotoFile, remove
from facegender.support.cache_dir import cache_folder
from facegender.support.files import nearest_existing
from facegender.support.text import size_in_words

MAX_BYTES = 20 * 2**30
ABANDONED_AFTER_S = 7 * 86_400.0
"""How long a set that an interrupted process has begun is kept."""


@dataclass(frozen=True)
class Entry:
    """A set in the cache folder.

    Attributes:
        size_bytes: What it takes of the disk; while it is decoded, what it will take.
        used: When it was last used, or written to, in seconds since 1970.
        busy: A process decodes it at this moment.
        photos: What is in it, closed; None if it is damaged or of another layout.
    """

    path: Path
    size_bytes: int
    used: float
    busy: bool
    photos: PhotoFile | None

    @property
    def is_useless(self) -> bool:
        """Whether no run will use it: it was abandoned, or cannot be read."""
        abandoned = not self.busy and time.time() - self.used > ABANDONED_AFTER_S
        return self.photos is None or (abandoned and len(self.photos.missing_rows) > 0)


def entries() -> list[Entry]:
    """List all sets, the most recently used first; none where the folder cannot be read."""
    found: list[Entry] = []
    with contextlib.suppress(OSError):
        for path in cache_folder().glob("*" + SUFFIX):
            with contextlib.suppress(OSError):
                status = path.lstat()
                if not stat.S_ISREG(status.st_mode):
                    continue
                busy, photos = False, None
                with contextlib.suppress(OSError, ValueError), contextlib.closing(PhotoFile.open(path)) as file:
                    photos, busy = file, file.is_locked()
                # An interrupted build has holes, which take no room.
                size = status.st_size if busy else min(status.st_size, status.st_blocks * 512)
                found.append(Entry(path, size, status.st_mtime, busy, photos))
    return sorted(found, key=lambda entry: -entry.used)


def allowed_bytes(used: int) -> int:
    """Bytes that all sets together may take: `MAX_BYTES`, or a fifth of what would be free without them.

    Args:
        used: Bytes that they take now.
    """
    return min(MAX_BYTES, (shutil.disk_usage(nearest_existing(cache_folder())).free + used) // 5)


def make_room(needed: int, *, keep: Path | None = None) -> None:
    """Remove sets until ``needed`` bytes fit into what the cache may take of the disk.

    Useless sets go in any case, then the least recently used ones; no more if ``needed`` can never fit.

    Args:
        keep: A file that is part of what is needed.

    Raises:
        OSError: They do not fit.
    """
    found = [entry for entry in entries() if entry.path != keep]
    used = sum(entry.size_bytes for entry in found)
    allowed = allowed_bytes(used)
    for entry in sorted(found, key=lambda entry: (not entry.is_useless, entry.used)):
        if entry.is_useless or needed <= allowed < used + needed:
            with contextlib.suppress(OSError):  # another user's, in a folder that is shared
                if remove(entry.path):
                    used -= entry.size_bytes
    if used + needed > allowed:
        raise OSError(errno.ENOSPC, f"at most {size_in_words(allowed)} of the disk are for the cache")
