"""The machine that a figure was measured on, in one line."""

from __future__ import annotations

import os
import platform
from pathlib import Path

from facegender.support.machine import available_processors


def description() -> str:
    """Processor, cores, memory, load and Python."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        processor = next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
        memory = int(Path("/proc/meminfo").read_text(encoding="utf-8").split()[1]) / 2**20
    except (OSError, StopIteration, ValueError):
        processor, memory = platform.processor() or platform.machine(), float("nan")
    cores, load = available_processors(), os.getloadavg()[0]
    return f"{processor}, {cores} cores, {memory:.0f} GiB, load {load:.1f}, Python {platform.python_version()}"
