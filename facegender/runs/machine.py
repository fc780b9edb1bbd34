"""How many processors and how much memory there are to work with."""

from __future__ import annotations

import os
from pathlib import Path

import psutil

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
