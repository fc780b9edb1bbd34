"""What a run trains on: how many devices of which kind, on how many machines, in which precision."""

from __future__ import annotations

import ctypes
import functools
import os
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch

from facegender.network.recipes import RECIPES
from facegender.runs.config import TrainConfig
from facegender.support.errors import UserError
from facegender.support.machine import available_memory, available_processors
from facegender.support.text import counted

SIDE = 256
"""Of the matrices that are multiplied: done in less than a millisecond."""
ROUNDS = 20


def processor_has_bf16() -> bool:
    """Whether it has instructions for bf16."""
    # Older torch has no such function.
    capabilities: Mapping[str, object] = getattr(torch.cpu, "get_capabilities", dict)()
    return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))


@functools.cache
def bf16_speedup() -> float:
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


Kind = Literal["cpu", "cuda", "mps"]

_CLUSTERS = ("TORCHELASTIC_RUN_ID", "SLURM_NTASKS", "MASTER_ADDR")
"""Variables of which one is set wherever a process can find those on other machines."""


@dataclass(frozen=True)
class Hardware:
    """What `TrainConfig` asks for, as Lightning wants to be told.

    Attributes:
        kind: Of the devices.
        devices: On each machine.
        nodes: Machines.
        precision: "32", "bf16" or "16".
    """

    kind: Kind
    accelerator: str
    devices: int | Literal["auto"]
    nodes: int
    strategy: str
    precision: str

    def options(self) -> str:
        """The same as options of `facegender train`."""
        return f"--accelerator {self.accelerator} --devices {self.devices} --strategy {self.strategy}"


def choose_hardware(config: TrainConfig) -> Hardware:
    """What to train on.

    Under torchrun, which has started one process for each device already, that is what they are.

    Raises:
        UserError: This machine has not got it.
    """
    kind = _kind(config.accelerator)
    if kind == "cpu" and config.accelerator == "gpu":
        raise UserError("--accelerator gpu: torch finds no GPU here; leave it out, `facegender doctor` says why")
    devices: int | Literal["auto"] = "auto" if config.devices == "auto" else int(config.devices)
    nodes = config.num_nodes
    if "TORCHELASTIC_RUN_ID" in os.environ:
        local, world = int(os.environ["LOCAL_WORLD_SIZE"]), int(os.environ["WORLD_SIZE"])
        if devices not in ("auto", local):
            raise UserError(
                f"--devices {devices}: torchrun has started {local} processes on this machine; leave it out"
            )
        if nodes not in (1, world // local):
            raise UserError(f"--num-nodes {nodes}: torchrun has started {world // local}; leave it out")
        devices, nodes = local, world // local
    if nodes > 1 and not any(name in os.environ for name in _CLUSTERS):
        raise UserError(
            f"--num-nodes {nodes}: nothing says where the other machines are; start it with torchrun or Slurm, "
            "or set MASTER_ADDR and NODE_RANK on each of them"
        )
    if devices != "auto":
        _check_count(kind, devices)
    alone = nodes == 1 and (devices == 1 or (kind == "cpu" and devices == "auto"))
    return Hardware(kind, config.accelerator, devices, nodes, config.strategy, _precision(config, kind, alone))


def _kind(accelerator: str) -> Kind:
    """The kind of device that Lightning will choose."""
    if accelerator in ("cuda", "mps"):
        return "cuda" if accelerator == "cuda" else "mps"
    if accelerator != "cpu" and torch.cuda.is_available():
        return "cuda"
    if accelerator != "cpu" and torch.backends.mps.is_available():
        return "mps"
    return "cpu"


def _check_count(kind: Kind, devices: int) -> None:
    """There are as many; of those that are not there at all Lightning tells more.

    Raises:
        UserError: There are fewer.
    """
    count = available_processors() if kind == "cpu" else torch.cuda.device_count() if kind == "cuda" else 1
    name = "processor" if kind == "cpu" else "GPU"
    if 0 < count < devices:
        one_each = ", and each device of --accelerator cpu is a process" if kind == "cpu" else ""
        raise UserError(f"--devices {devices}: this machine has {counted(count, name)}{one_each}; give at most {count}")


def has_bf16(kind: Kind) -> bool:
    """Whether devices of a kind have instructions for bf16 here."""
    if kind == "cpu":
        return processor_has_bf16()
    return _has_cuda(kind) and torch.cuda.is_bf16_supported(including_emulation=False)


def _has_cuda(kind: Kind) -> bool:
    """Whether the devices are NVIDIA GPUs that torch finds; of those asked for that are not there Lightning tells."""
    return kind == "cuda" and torch.cuda.is_available()


def _precision(config: TrainConfig, kind: Kind, alone: bool) -> str:
    """What "auto" means here; of several processes on processors, each of which could measure otherwise, 32.

    Raises:
        UserError: The processor is asked for half precision.
    """
    if config.precision == "auto":
        pays = has_bf16(kind)
        if pays and kind == "cpu":
            least = RECIPES[config.recipe].min_bf16_speedup
            pays = alone and least is not None and bf16_speedup() >= least
        return "bf16" if pays else "32"
    if config.precision == "16" and not _has_cuda(kind):
        raise UserError("--precision 16 needs an NVIDIA GPU: use bf16, 32 or auto")
    return config.precision
