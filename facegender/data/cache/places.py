"""Room for the photographs of a set while they are decoded: in a file of the cache, or in memory if it takes none."""

from __future__ import annotations

import threading

import numpy as np

from facegender.data.cache.file import Bytes, Unfinished
from facegender.support.cache_dir import CACHE_VARIABLE, cache_folder
from facegender.support.errors import UserError
from facegender.support.machine import available_memory
from facegender.support.text import printable

MEMORY_SHARE = 0.8
"""Of the memory that is available, what a set may take that the disk does not."""


class Places:
    """Takes each photograph once, from any thread: to the disk as long as that works, from then on to memory.

    Attributes:
        images: (N, S, S, 3) uint8; only what was put there, or is `held`, may be read. After a failure of the disk it
            is another array.
        problem: Why the photographs are not on the disk, as what is to be said of the cache folder; or empty.
    """

    def __init__(self, shape: tuple[int, int, int, int], file: Unfinished | None, problem: str = "") -> None:
        """Make room.

        Args:
            shape: Of all photographs.
            file: Begun, and closed with the places.
            problem: Why there is no file.

        Raises:
            UserError: There is no file, and not enough memory.
        """
        self.problem = problem
        self._shape = shape
        self._lock = threading.Lock()
        self._open = self._file = file
        self._filled = np.zeros(shape[0], bool)
        self.images: Bytes = self._room() if file is None else file.images

    def held(self, place: int) -> bool:
        """Whether a photograph is in the file, since an earlier process has put it there."""
        file = self._file
        if file is None or not file.holds(place):
            return False
        self._settle(place, None)
        return bool(self._filled[place])

    def put(self, place: int, pixels: Bytes) -> None:
        """Take a photograph, (S, S, 3) uint8.

        Raises:
            UserError: The disk does not take it, and there is not enough memory.
        """
        if (file := self._file) is not None:
            try:
                file.write(place, pixels)
            except OSError as error:
                self._move_to_memory(error)
        self._settle(place, pixels)

    def _settle(self, place: int, pixels: Bytes | None) -> None:
        with self._lock:
            if self._file is not None:
                self._filled[place] = True
            elif pixels is not None:
                self.images[place] = pixels
                self._filled[place] = True

    def sync(self) -> None:
        """Let the disk write while photographs are decoded, so that little is left for the end."""
        if (file := self._file) is not None:
            file.sync()

    def finish(self, damaged: dict[int, str]) -> bool:
        """Put the file in its place in the cache.

        Args:
            damaged: Why places are empty.

        Returns:
            Whether there is such a file; if not, the photographs are in memory.

        Raises:
            UserError: The disk does not take it, and there is not enough memory.
        """
        if self._file is not None:
            try:
                self._file.finish(damaged)
                return True
            except OSError as error:
                self._move_to_memory(error)
        return False

    def discard(self) -> None:
        """Remove the file."""
        if self._file is not None:
            self._file.remove()

    def close(self) -> None:
        """Let go of the file. Nobody may be putting anything any more."""
        self._file = None
        if self._open is not None:
            self._open.close()
            self._open = None

    def _move_to_memory(self, error: OSError) -> None:
        """Take back what went to the disk before it refused, and remove it there."""
        with self._lock:
            if (file := self._file) is None:  # another thread was refused before
                return
            file.remove()
            memory = self._room()
            try:
                for place in np.flatnonzero(self._filled):
                    memory[place] = file.read(int(place))
            except OSError:
                raise UserError(
                    f"{printable(cache_folder())}: {refusal(error)}, in the middle of decoding; "
                    f"make room, or set {CACHE_VARIABLE} to a folder on another disk"
                ) from None
            # It stays open, as other threads may be writing to it.
            self.images, self._file, self.problem = memory, None, refusal(error)

    def _room(self) -> Bytes:
        """Memory for all photographs.

        Raises:
            UserError: There is not enough.
        """
        needed = int(np.prod(self._shape, dtype=np.int64))
        if needed > MEMORY_SHARE * available_memory():
            raise UserError(
                f"{self._shape[0]} photographs of {self._shape[1]} px need {needed / 2**30:.1f} GiB, which neither the "
                f"cache folder {printable(cache_folder())} nor the memory has: choose a smaller --image-size, make "
                f"room, or set {CACHE_VARIABLE} to a folder on a larger disk"
            )
        return np.zeros(self._shape, np.uint8)


def refusal(error: OSError) -> str:
    """What is to be said of a cache folder that cannot be written."""
    return f"cannot be written ({error.strerror})"
