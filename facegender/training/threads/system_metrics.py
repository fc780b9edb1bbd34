"""The load of the machine: processor, memory, and the GPUs that the run uses where NVIDIA's library answers."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import psutil

from facegender.runs.events import Gpu, System


@dataclass(frozen=True)
class GpuIdentity:
    """One GPU, or the share of one, as NVIDIA's library finds it again.

    That library counts all GPUs of the machine, torch only those that this process may use (``CUDA_VISIBLE_DEVICES``)
    and in an order of its own, so that a number says nothing.

    Attributes:
        index: torch's number.
        uuid: Without a prefix; empty where torch does not tell.
        bus: Its place, e.g. "00000000:3B:00.0"; empty where torch does not tell.
    """

    index: int
    uuid: str = ""
    bus: str = ""

    @classmethod
    def of_torch(cls, index: int) -> GpuIdentity:
        """The identity of ``cuda:<index>``."""
        import torch  # loaded long since: it trains on that GPU

        properties: Any = torch.cuda.get_device_properties(index)
        uuid = str(getattr(properties, "uuid", "")).removeprefix("GPU-").removeprefix("MIG-")
        bus = ""
        if hasattr(properties, "pci_bus_id"):  # not in every version of torch
            place = (properties.pci_domain_id, properties.pci_bus_id, properties.pci_device_id)
            bus = "{:08X}:{:02X}:{:02X}.0".format(*place)
        return cls(index, uuid, bus)


class SystemSampler:
    """Samples the machine; a part that cannot be read is left out without a word."""

    def __init__(self) -> None:
        self._process = psutil.Process()
        psutil.cpu_percent()  # the first answer of each process is always 0
        self._nvml: Any = None
        self._handles: dict[GpuIdentity, Any] = {}
        try:
            import pynvml

            pynvml.nvmlInit()
            self._nvml = pynvml
        except Exception:  # no driver, no GPU, no permission: all of them mean there is nothing to show
            self._nvml = None

    def sample(self, gpus: Sequence[GpuIdentity] = ()) -> System:
        """The load now; the processor's since the last call.

        Args:
            gpus: Those that the run uses.
        """
        memory = psutil.virtual_memory()
        return System(
            time=time.time(),
            cpu_percent=psutil.cpu_percent(),
            memory_used_bytes=memory.total - memory.available,
            memory_total_bytes=memory.total,
            process_memory_bytes=self._process_memory(),
            gpus=[gpu for identity in gpus if (gpu := self._gpu(identity))],
        )

    def _process_memory(self) -> int:
        total = 0
        with contextlib.suppress(psutil.Error):
            for process in [self._process, *self._process.children(recursive=True)]:
                with contextlib.suppress(psutil.Error):
                    total += process.memory_info().rss
        return total

    def _handle(self, identity: GpuIdentity) -> Any:
        """What NVIDIA's library knows a GPU by; None where it does not know it."""
        if identity not in self._handles:
            self._handles[identity] = next(self._found(identity), None)
        return self._handles[identity]

    def _found(self, identity: GpuIdentity) -> Iterator[Any]:
        nvml = self._nvml
        # The share of a divided GPU first: its memory is all that the run can use.
        ways = [(nvml.nvmlDeviceGetHandleByUUID, f"{kind}-{identity.uuid}") for kind in ("MIG", "GPU") if identity.uuid]
        if identity.bus:
            ways.append((nvml.nvmlDeviceGetHandleByPciBusId, identity.bus))
        for find, name in ways:
            with contextlib.suppress(nvml.NVMLError):
                yield find(name)

    def _gpu(self, identity: GpuIdentity) -> Gpu | None:
        nvml = self._nvml
        if nvml is None or (handle := self._handle(identity)) is None:
            return None
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
            index=identity.index,
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
