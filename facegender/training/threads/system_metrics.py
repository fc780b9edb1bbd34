"""The load of the machine: processor, memory, and the GPUs of the run."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Sequence

import psutil

from facegender.runs.events import Gpu, System


def sample_system(gpus: Sequence[int] = ()) -> System:
    """Read the load now, that of the processor since the last call on this thread.

    Args:
        gpus: torch's indices of the GPUs that the run uses.
    """
    memory = psutil.virtual_memory()
    return System(
        time=time.time(),
        cpu_percent=psutil.cpu_percent(),
        memory_used_bytes=memory.total - memory.available,
        memory_total_bytes=memory.total,
        process_memory_bytes=_process_memory(),
        gpus=[_gpu(index) for index in gpus],
    )


def _process_memory() -> int:
    total = 0
    own = psutil.Process()
    with contextlib.suppress(psutil.Error):
        for process in [own, *own.children(recursive=True)]:
            with contextlib.suppress(psutil.Error):
                total += process.memory_info().rss
    return total


def _gpu(index: int) -> Gpu:
    import pynvml
    import torch  # loaded already: it trains on that GPU

    properties = torch.cuda.get_device_properties(index)
    free, total = torch.cuda.mem_get_info(index)
    utilisation = math.nan
    with contextlib.suppress(pynvml.NVMLError):  # e.g. a GPU in MIG mode does not report it
        pynvml.nvmlInit()  # later calls only count
        # By UUID, because torch and NVIDIA's library number the GPUs differently; so does `torch.cuda.utilization`.
        handle = pynvml.nvmlDeviceGetHandleByUUID(f"GPU-{properties.uuid}")
        utilisation = float(pynvml.nvmlDeviceGetUtilizationRates(handle).gpu)
    return Gpu(
        index=index,
        name=properties.name,
        utilisation_percent=utilisation,
        memory_used_bytes=total - free,
        memory_total_bytes=total,
    )
