"""Who trains a run: enough to tell a process from a later one of the same number, and whether it is still there."""

from __future__ import annotations

import contextlib
import os
import socket
from pathlib import Path
from typing import Literal

import msgspec
import psutil

LOST_AFTER_S = 60.0
"""How long a process that cannot be seen from here may be silent before it counts as gone."""

Presence = Literal["alive", "gone", "out of sight"]

_PROC = Path("/proc")


class Process(msgspec.Struct, frozen=True, kw_only=True):
    """A process, as other processes find it again, perhaps on another machine.

    Attributes:
        started: Seconds since 1970. Moves with the wall clock on Linux, so it only decides where ``ticks`` is missing.
        boot: The kernel's name for the time since it was booted; empty where there is none.
        ticks: When the process was started, in clock ticks since then; -1 where that is not told.
        namespace: The name space that ``pid`` is a number in; empty where there is none. Containers have their own.
    """

    pid: int
    started: float
    host: str
    boot: str = ""
    ticks: int = -1
    namespace: str = ""

    @classmethod
    def this(cls) -> Process:
        """The calling process."""
        return cls.of(os.getpid())

    @classmethod
    def of(cls, pid: int) -> Process:
        """A running process of this machine."""
        boot, namespace = _place()
        _, ticks = _stat(pid)
        started = psutil.Process(pid).create_time()
        return cls(pid=pid, started=started, host=socket.gethostname(), boot=boot, ticks=ticks, namespace=namespace)

    def presence(self) -> Presence:
        """Whether it still runs, as far as that can be seen from here.

        A process of another machine, of a container, or from before this machine was booted again is out of sight.
        """
        boot, namespace = _place()
        if self.host != socket.gethostname():
            return "out of sight"
        if self.boot and boot and (self.boot, self.namespace) != (boot, namespace):
            return "out of sight"
        state, ticks = _stat(self.pid)
        if self.boot and self.ticks >= 0 and boot:
            if ticks >= 0:
                return "alive" if ticks == self.ticks and state not in "ZX" else "gone"
            return "out of sight" if _is_hidden(self.pid) else "gone"
        try:
            process = psutil.Process(self.pid)
            same = abs(process.create_time() - self.started) < 2.0
            return "alive" if same and process.status() != psutil.STATUS_ZOMBIE else "gone"
        except psutil.AccessDenied:
            return "out of sight"
        except psutil.Error:
            return "gone"


def _place() -> tuple[str, str]:
    """The boot and the name space of process numbers that this process is in; empty where the system has none."""
    boot = namespace = ""
    with contextlib.suppress(OSError):
        boot = (_PROC / "sys/kernel/random/boot_id").read_text().strip()
    with contextlib.suppress(OSError):
        namespace = str((_PROC / "self/ns/pid").readlink())
    return boot, namespace


def _stat(pid: int) -> tuple[str, int]:
    """A process's state letter and its start in clock ticks; "" and -1 where there is no telling. See proc(5)."""
    try:
        text = (_PROC / str(pid) / "stat").read_bytes()
        fields = text[text.rindex(b")") + 1 :].split()  # the name before it may hold spaces and brackets
        return fields[0].decode("ascii"), int(fields[19])
    except (OSError, ValueError, IndexError):
        return "", -1


def _is_hidden(pid: int) -> bool:
    """Whether there is such a process although /proc does not show it, as where it hides other users' processes."""
    try:
        os.kill(pid, 0)
    except PermissionError:
        return True
    except (OSError, OverflowError):
        return False
    return True
