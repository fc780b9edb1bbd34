"""How many processors and how much memory there are to work with."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import psutil


def complete_streams() -> None:
    """Let closed standard streams lead nowhere: reading finds an end, and what is written is not kept.

    Python has None in their place, and the next file that is opened would get the number of one of them.
    """
    for number, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # gets the lowest number that is free
        if getattr(sys, name) is None:
            stream = open(number, mode, encoding="utf-8", closefd=False)  # noqa: SIM115 - until the end
            setattr(sys, name, stream)
            setattr(sys, f"__{name}__", stream)


CONTROL_GROUP = Path("/sys/fs/cgroup")


def available_processors() -> int:
    """Processors that this process may use, which may be fewer than the machine has."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not on every system
        return os.cpu_count() or 1


def available_memory() -> int:
    """Bytes of memory that this process can have without others losing theirs, within a container's limit."""
    available = int(psutil.virtual_memory().available)
    group = CONTROL_GROUP
    try:
        limit = int((group / "memory.max").read_text(encoding="ascii"))
        used = int((group / "memory.current").read_text(encoding="ascii"))
        counts = dict(line.split() for line in (group / "memory.stat").read_text(encoding="ascii").splitlines())
        return max(0, min(available, limit - used + int(counts["inactive_file"])))
    except (OSError, ValueError, KeyError):  # no container, or none with a limit, which is the word "max"
        return available
