"""What this process may use of the machine: processors and memory within a container's limits, standard streams."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path


def complete_streams() -> None:
    """Open closed standard streams on ``/dev/null``.

    Python leaves None in their place, and the next file that is opened would get the descriptor of one of them.
    """
    for number, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # gets the lowest free descriptor
        if getattr(sys, name) is None:
            stream = open(number, mode, encoding="utf-8", closefd=False)  # noqa: SIM115 - stays open
            setattr(sys, name, stream)
            setattr(sys, f"__{name}__", stream)


OPENMP_WAITING = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME")
"""Variables that say how long an OpenMP thread spins before it sleeps."""


def let_waiting_threads_sleep() -> None:
    """Make torch's OpenMP threads sleep while they wait for each other, unless the user has set how they wait.

    They spin by default, which takes the processor from the very thread that they wait for once other processes are
    busy too. docs/benchmarks.md has figures. OpenMP reads the variable when torch is loaded: call this before.
    """
    if not any(name in os.environ for name in OPENMP_WAITING):
        os.environ["OMP_WAIT_POLICY"] = "passive"


def import_numpy() -> None:
    """Import numpy without the threads of its linear algebra, unless the user has set their number.

    OpenBLAS starts one per processor, and they spin for a while, which takes the processors from the programs beside
    this one. It reads the variable when it is loaded; processes that are started later do not inherit it.
    """
    if "OPENBLAS_NUM_THREADS" in os.environ:
        return
    os.environ["OPENBLAS_NUM_THREADS"] = "1"
    import numpy  # noqa: F401 - for its effect

    del os.environ["OPENBLAS_NUM_THREADS"]


CONTROL_GROUP = Path("/sys/fs/cgroup")
_MEMBERSHIP = Path("/proc/self/cgroup")


def available_processors() -> int:
    """Count the processors that this process may use: by its affinity and by the CPU quotas of its control groups."""
    try:
        count = len(os.sched_getaffinity(0))
    except AttributeError:  # not on every system
        count = os.cpu_count() or 1
    quotas = (_cpu_quota(group) for group in _control_groups("cpu"))
    return max(1, int(min([count, *(quota for quota in quotas if quota is not None)])))


def available_memory() -> int:
    """Bytes of memory that this process can have without others losing theirs, within its control groups' limits."""
    import psutil  # here, because the first screen waits for this module

    free = (_free_memory(group) for group in _control_groups("memory"))
    return max(0, min([int(psutil.virtual_memory().available), *(size for size in free if size is not None)]))


def _control_groups(controller: str) -> Iterator[Path]:
    """Yield the folders of this process's control groups with a controller, and of all groups that contain them.

    Slurm and systemd nest groups, and each may have a limit. A container may see its own group as the root, so a folder
    need not exist.
    """
    try:
        lines = _MEMBERSHIP.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    except OSError:
        lines = ["0::/"]
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers and controller not in controllers.split(","):
            continue
        root = CONTROL_GROUP / controller if controllers else CONTROL_GROUP  # version 1, version 2
        group = root / path.lstrip("/")
        yield group
        while group != root:
            group = group.parent
            yield group


def _cpu_quota(group: Path) -> float | None:
    """How many processors a control group may use at a time; None where it has no limit."""
    try:
        if (version_2 := group / "cpu.max").exists():
            quota, period = version_2.read_text(encoding="ascii").split()
        else:
            quota, period = ((group / f"cpu.cfs_{name}_us").read_text(encoding="ascii") for name in ("quota", "period"))
        return int(quota) / int(period) if int(quota) > 0 else None
    except (OSError, ValueError):  # no such group, or "max"
        return None


def _free_memory(group: Path) -> int | None:
    """Bytes that a control group may still use; None where it has no limit."""
    names = ("memory.max", "memory.current", "inactive_file")
    if not (group / names[0]).exists():
        names = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
    limit, used, reclaimable = names
    try:
        counts = dict(line.split() for line in (group / "memory.stat").read_text(encoding="ascii").splitlines())
        limit_bytes, used_bytes = (int((group / name).read_text(encoding="ascii")) for name in (limit, used))
        return limit_bytes - used_bytes + int(counts[reclaimable])
    except (OSError, ValueError, KeyError):  # no such group, or "max"
        return None


M_TRIM_THRESHOLD = -1
M_MMAP_MAX = -4
"""Options of mallopt(3), from glibc's `malloc.h`."""

MIN_FREE_BYTES = 8 * 2**30


def keep_large_buffers() -> bool:
    """Make glibc keep freed memory for the next training step or photograph.

    By default glibc maps each large buffer anew and returns it to the system afterwards, so that every step waits until
    the kernel has cleared gigabytes of pages: a quarter of a step of the reference recipe at 512 px. The price is
    fragmentation, because buffers of different sizes leave gaps.

    Returns:
        False if nothing was changed: another C library, or too little free memory.
    """
    if sys.platform != "linux" or available_memory() < MIN_FREE_BYTES:
        return False
    import ctypes  # here, for the same reason as psutil

    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):  # e.g. musl
        return False
    return all(mallopt(option, value) == 1 for option, value in ((M_MMAP_MAX, 0), (M_TRIM_THRESHOLD, -1)))
