"""How many processors there are to work with."""

from __future__ import annotations

import os


def available_processors() -> int:
    """Processors that this process may use, which may be fewer than the machine has."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not on every system
        return os.cpu_count() or 1
