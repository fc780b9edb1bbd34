"""The file ``lock`` in a run folder: the process that trains the run holds it with flock(2).

The kernel lets go of the lock when the process ends, however it ends, so a run without a last line in its journal whose
lock is free has crashed. The file stays, and tells people which process held it last; programs read the manifest.

Some network file systems do not share locks between machines. There, a recently written journal means that a trainer is
running, see `is_fresh`.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import socket
import time
from collections.abc import Sequence
from io import FileIO
from pathlib import Path

import msgspec

from facegender.support.files import is_open_at, open_regular

LOST_AFTER_S = 60.0
"""How long a trainer whose lock cannot be seen may write nothing before it counts as gone."""

_ATTEMPTS = 5
_RETRY_S = 0.02


class Process(msgspec.Struct, frozen=True, kw_only=True):
    """The process that trains a run, or trained it last."""

    pid: int
    host: str

    @classmethod
    def this(cls) -> Process:
        """Describe the calling process."""
        return cls(pid=os.getpid(), host=socket.gethostname())

    @property
    def is_local(self) -> bool:
        """Whether it belongs to this machine."""
        return self.host == socket.gethostname()

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}"


class LockHeld(Exception):
    """Another process holds the lock."""


class RunLock:
    """The lock of one run folder. Creating the object touches nothing."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file: FileIO | None = None

    def acquire(self) -> None:
        """Make the calling process the holder.

        Raises:
            LockHeld: Another process, or another object of this one, is.
            OSError: The folder cannot be written.
        """
        # More than one attempt: whoever calls `is_held_by_other` holds a shared lock for a moment.
        for attempt in range(_ATTEMPTS):
            time.sleep(_RETRY_S if attempt else 0.0)
            file = open_regular(self.path, append=True)
            try:
                if _try_lock(file, fcntl.LOCK_EX) is not False and is_open_at(file, self.path):
                    self._file = file
                    with contextlib.suppress(OSError):  # only people read it
                        file.truncate(0)
                        file.write(f"{Process.this()}\n".encode())
                    return
            finally:
                if self._file is not file:
                    file.close()
        raise LockHeld

    def release(self) -> None:
        """Let others have the lock. Calling it without holding the lock does nothing."""
        file, self._file = self._file, None
        if file is not None:
            with contextlib.suppress(OSError):
                file.close()

    def refresh(self) -> None:
        """Show other machines that the holder is alive, where it can write nothing else that `is_fresh` looks at."""
        if self._file is not None:
            with contextlib.suppress(OSError):
                os.utime(self._file.fileno())

    def is_held_by_other(self) -> bool | None:
        """Tell whether another process, or another object of this one, holds the lock.

        Returns:
            None where that cannot be told: there is no lock file, as in runs of an earlier version, or the file system
            has no locks.
        """
        if self._file is not None:
            return False
        try:
            with open_regular(self.path) as file:
                free = _try_lock(file, fcntl.LOCK_SH)
        except OSError:
            return None
        return None if free is None else not free

    def is_lost(self) -> bool:
        """Tell whether somebody removed, renamed or replaced the folder of a lock that this object holds.

        Returns:
            False also where the disk does not answer.
        """
        return self._file is not None and not is_open_at(self._file, self.path)


def _try_lock(file: FileIO, kind: int) -> bool | None:
    """Lock a file without waiting: whether it worked, or None where the file system has no locks."""
    try:
        fcntl.flock(file, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno in (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP):
            return None
        raise
    return True


def is_fresh(signs: Sequence[Path], now: float | None = None) -> bool:
    """Tell whether one of some files was written to lately, by the clock of the file system that they are on.

    That clock may be ahead of ours, so a file from the future is fresh. Mistaking a dead run for a live one costs a
    minute; mistaking a live run for a dead one may cost the run.
    """
    return (time.time() if now is None else now) - max(map(modified, signs)) <= LOST_AFTER_S


def modified(path: Path) -> float:
    """When a file was last written to, in seconds since 1970; 0 where it is missing or cannot be looked at."""
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0
