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
        gpus=[gpu for index in gpus if (gpu := _gpu(index))],
    )


def _process_memory() -> int:
    total = 0
    own = psutil.Process()
    with contextlib.suppress(psutil.Error):
        for process in [own, *own.children(recursive=True)]:
            with contextlib.suppress(psutil.Error):
                total += process.memory_info().rss
    return total


def _gpu(index: int) -> Gpu | None:
    """Read the load of ``cuda:<index>``; None if NVIDIA's library cannot.

    torch's own functions would start a CUDA context on each of the run's GPUs, or take its index for that of NVIDIA's
    library, which numbers them differently.
    """
    import pynvml
    import torch  # loaded already: it trains on that GPU

    properties = torch.cuda.get_device_properties(index)
    utilisation = math.nan
    try:
        pynvml.nvmlInit()  # later calls only count
        try:  # the memory of a MIG instance is all that the run can use
            handle = pynvml.nvmlDeviceGetHandleByUUID(f"MIG-{properties.uuid}")
        except pynvml.NVMLError:
            handle = pynvml.nvmlDeviceGetHandleByUUID(f"GPU-{properties.uuid}")
        memory = pynvml.nvmlDeviceGetMemoryInfo(handle)
        with contextlib.suppress(pynvml.NVMLError):  # e.g. a GPU in MIG mode does not report it
            utilisation = float(pynvml.nvmlDeviceGetUtilizationRates(handle).gpu)
    except pynvml.NVMLError:
        return None
    return Gpu(
        index=index,
        name=properties.name,
        utilisation_percent=utilisation,
        memory_used_bytes=memory.used,
        memory_total_bytes=memory.total,
    )
