"""Opening the files of a run folder, which may be anything: whoever made the folder may not have been this program."""

from __future__ import annotations

import errno
import io
import os
import stat
from pathlib import Path


class NotRegular(OSError):
    """A folder, a pipe, a socket or a device stands in the place of a file."""


def open_regular(path: Path, *, append: bool = False) -> io.FileIO:
    """Open a regular file for reading bytes, unbuffered, or for appending to it.

    Opening a named pipe waits until somebody opens its other end, which may be never, and reading a terminal or another
    device waits for input. Nothing that lies in a run folder may hold up a command or the interface, so the file is
    opened without waiting and looked at before anything is read. It is the open file that is looked at and not the
    path, which might mean something else a moment later.

    Args:
        append: Open for appending instead, and make the file where it is missing.

    Raises:
        NotRegular: There is something else of that name.
        OSError: It is missing or cannot be opened.
    """
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT if append else os.O_RDONLY
    try:
        descriptor = os.open(path, flags | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC, 0o644)
    except OSError as error:
        if error.errno == errno.ENXIO:  # a socket, or a pipe without a reader
            raise NotRegular(f"{path.name} is no regular file") from None
        raise
    try:
        _check(os.fstat(descriptor), path)
        # Regular files do not know O_NONBLOCK, but a child that inherits the descriptor should not either.
        os.set_blocking(descriptor, True)
        return io.FileIO(descriptor, "ab" if append else "rb")
    except BaseException:
        os.close(descriptor)
        raise


def read_regular(path: Path) -> bytes:
    """All bytes of a regular file.

    Raises:
        NotRegular: There is something else of that name.
        OSError: It is missing or cannot be read.
    """
    with open_regular(path) as file:
        return file.readall()


def _check(status: os.stat_result, path: Path) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise NotRegular(f"{path.name} is no regular file")
