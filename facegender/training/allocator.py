"""How the C library deals with the memory that training on a processor frees at every step."""

from __future__ import annotations

import ctypes
import sys

from facegender.support.machine import available_memory

M_TRIM_THRESHOLD = -1
M_MMAP_MAX = -4
"""Of glibc's `malloc.h`, see mallopt(3)."""

ROOM_BYTES = 8 * 2**30


def keep_large_buffers() -> bool:
    """Let freed memory stay with the process, for the next step to take it again.

    By default glibc asks the system for every large buffer and hands it back, so that each step of training waits for
    gigabytes of pages to be cleared: of the reference recipe's steps at 512 px that is a quarter. The price is memory,
    as buffers of different sizes leave gaps between them.

    Returns:
        Whether it does: not with another C library, nor where memory is scarce.
    """
    if sys.platform != "linux" or available_memory() < ROOM_BYTES:
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):  # e.g. musl
        return False
    return all(mallopt(option, value) == 1 for option, value in ((M_MMAP_MAX, 0), (M_TRIM_THRESHOLD, -1)))
