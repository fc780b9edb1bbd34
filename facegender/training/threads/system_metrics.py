"""The load of the machine: processor, memory, and the GPUs of the run as far as NVIDIA's library reports them."""

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
    """One GPU, or a MIG instance of one, as NVIDIA's library can find it.

    The index does not identify it: the library counts all GPUs of the machine, torch only those that this process may
    use (``CUDA_VISIBLE_DEVICES``), in its own order.

    Attributes:
        index: torch's number.
        uuid: Without a prefix; empty if torch does not report it.
        bus: PCI address, e.g. "00000000:3B:00.0"; empty if torch does not report it.
    """

    index: int
    uuid: str = ""
    bus: str = ""

    @classmethod
    def of_torch(cls, index: int) -> GpuIdentity:
        """The identity of ``cuda:<index>``."""
        import torch  # loaded already: it trains on that GPU

        properties: Any = torch.cuda.get_device_properties(index)
        uuid = str(getattr(properties, "uuid", "")).removeprefix("GPU-").removeprefix("MIG-")
        bus = ""
        if hasattr(properties, "pci_bus_id"):  # not in every version of torch
            address = (properties.pci_domain_id, properties.pci_bus_id, properties.pci_device_id)
            bus = "{:08X}:{:02X}:{:02X}.0".format(*address)
        return cls(index, uuid, bus)


class SystemSampler:
    """Samples the load of the machine; a GPU that cannot be read is left out."""

    def __init__(self) -> None:
        self._process = psutil.Process()
        psutil.cpu_percent()  # the first call always returns 0
        self._nvml: Any = None
        self._handles: dict[GpuIdentity, Any] = {}
        try:
            import pynvml

            pynvml.nvmlInit()
            self._nvml = pynvml
        except Exception:  # no driver, no GPU or no permission: there is nothing to report
            self._nvml = None

    def sample(self, gpus: Sequence[GpuIdentity] = ()) -> System:
        """Read the load now, that of the processor since the last call.

        Args:
            gpus: The GPUs that the run uses.
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
        """The handle of NVIDIA's library for a GPU; None if it does not know it."""
        if identity not in self._handles:
            self._handles[identity] = next(self._found(identity), None)
        return self._handles[identity]

    def _found(self, identity: GpuIdentity) -> Iterator[Any]:
        nvml = self._nvml
        # A MIG instance first: its memory is all that the run can use.
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
        except nvml.NVMLError:  # e.g. a GPU in MIG mode does not report it
            utilisation = math.nan
        return Gpu(
            index=identity.index,
            name=name.decode() if isinstance(name, bytes) else str(name),
            utilisation_percent=utilisation,
            memory_used_bytes=int(memory.used),
            memory_total_bytes=int(memory.total),
        )

    def close(self) -> None:
        """Release NVIDIA's library."""
        if self._nvml is not None:
            with contextlib.suppress(self._nvml.NVMLError):
                self._nvml.nvmlShutdown()
