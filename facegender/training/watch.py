"""Whether a folder is still where it was, to tell a folder that somebody removed from a disk that does not answer."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path


class FolderWatch:
    """Remembers which folder a path led to.

    It is kept open meanwhile, so that a folder that takes its place cannot be given the same number.
    """

    def __init__(self, path: Path) -> None:
        """Look at a folder.

        Raises:
            OSError: There is none.
        """
        self._path = path
        self._descriptor: int | None = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        self._identity = _identity(os.fstat(self._descriptor))

    def is_gone(self) -> bool:
        """Whether it was removed or renamed, or another one is in its place; False where that cannot be told."""
        try:
            return _identity(self._path.stat()) != self._identity
        except (FileNotFoundError, NotADirectoryError):
            return True
        except OSError:
            return False

    def close(self) -> None:
        """Let it go; does nothing the second time."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            with contextlib.suppress(OSError):
                os.close(descriptor)


def _identity(status: os.stat_result) -> tuple[int, int]:
    return status.st_dev, status.st_ino
