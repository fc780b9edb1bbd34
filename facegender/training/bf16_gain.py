"""Whether a processor is faster in bf16."""

from __future__ import annotations

import functools
import time
from collections.abc import Mapping

import torch

SIDE = 256
"""Of the matrices that are multiplied: done in less than a millisecond."""
ROUNDS = 20


def processor_has_bf16() -> bool:
    """Whether it has instructions for bf16."""
    # Older torch has no such function.
    capabilities: Mapping[str, object] = getattr(torch.cpu, "get_capabilities", dict)()
    return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))


@functools.cache
def bf16_gain() -> float:
    """How many times as fast as in single precision this processor multiplies in bf16.

    Measured, as having them tells little: those of AVX-512 pay on some processors and halve the speed of others, e.g.
    where a virtual machine hides the AMX that a processor was made to do it with.
    """
    single = torch.ones(SIDE, SIDE)
    half = single.to(torch.bfloat16)
    threads = torch.get_num_threads()
    # What one thread itself works does not depend on what else the machine does, and the fastest of each counts.
    torch.set_num_threads(1)
    try:
        times = [(_seconds(single), _seconds(half)) for _ in range(ROUNDS)]
    finally:
        torch.set_num_threads(threads)
    return min(time for time, _ in times) / min(time for _, time in times)


def _seconds(matrix: torch.Tensor) -> float:
    began = time.thread_time()
    torch.mm(matrix, matrix)
    return time.thread_time() - began
