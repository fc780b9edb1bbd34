"""The load of the machine: processor, memory, and GPUs where NVIDIA's library answers."""

from __future__ import annotations

import contextlib
import math
import time
from typing import Any

import psutil

from facegender.runs.events import Gpu, System


class SystemSampler:
    """Samples the machine; a part that cannot be read is left out without a word."""

    def __init__(self) -> None:
        self._process = psutil.Process()
        psutil.cpu_percent()  # the first answer of each process is always 0
        self._nvml: Any = None
        self._gpus: list[Any] = []
        try:
            import pynvml

            pynvml.nvmlInit()
            self._nvml = pynvml
            self._gpus = [pynvml.nvmlDeviceGetHandleByIndex(index) for index in range(pynvml.nvmlDeviceGetCount())]
        except Exception:  # no driver, no GPU, no permission: all of them mean there is nothing to show
            self._gpus = []

    def sample(self) -> System:
        """The load now; the processor's since the last call."""
        memory = psutil.virtual_memory()
        return System(
            time=time.time(),
            cpu_percent=psutil.cpu_percent(),
            memory_used_bytes=memory.total - memory.available,
            memory_total_bytes=memory.total,
            process_memory_bytes=self._process_memory(),
            gpus=[gpu for index, handle in enumerate(self._gpus) if (gpu := self._gpu(index, handle))],
        )

    def _process_memory(self) -> int:
        total = 0
        with contextlib.suppress(psutil.Error):
            for process in [self._process, *self._process.children(recursive=True)]:
                with contextlib.suppress(psutil.Error):
                    total += process.memory_info().rss
        return total

    def _gpu(self, index: int, handle: Any) -> Gpu | None:
        nvml = self._nvml
        try:
            memory = nvml.nvmlDeviceGetMemoryInfo(handle)
            name = nvml.nvmlDeviceGetName(handle)
        except nvml.NVMLError:
            return None
        try:
            utilisation = float(nvml.nvmlDeviceGetUtilizationRates(handle).gpu)
        except nvml.NVMLError:  # e.g. a GPU in MIG mode does not tell
            utilisation = math.nan
        return Gpu(
            index=index,
            name=name.decode() if isinstance(name, bytes) else str(name),
            utilisation_percent=utilisation,
            memory_used_bytes=int(memory.used),
            memory_total_bytes=int(memory.total),
        )

    def close(self) -> None:
        """Let NVIDIA's library go."""
        if self._nvml is not None:
            with contextlib.suppress(self._nvml.NVMLError):
                self._nvml.nvmlShutdown()
