"""Chooses what a run trains on: the devices, in which precision, and how the CPU's memory is allocated."""

from __future__ import annotations

import functools
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch

from facegender.network.recipes import RECIPES
from facegender.runs.config import TrainConfig
from facegender.runs.networks import RECIPE_NETWORK
from facegender.support.errors import UserError
from facegender.support.machine import available_processors
from facegender.support.text import counted
from facegender.training.resume import ResumePoint

DeviceKind = Literal["cpu", "cuda", "mps"]

_CLUSTER_VARIABLES = ("TORCHELASTIC_RUN_ID", "SLURM_NTASKS", "MASTER_ADDR")
"""One of these is set wherever a process can find those on other machines."""


@dataclass(frozen=True)
class Hardware:
    """What `TrainConfig` asks for, as this machine has it.

    Attributes:
        devices: Number of devices on each machine.
        nodes: Number of machines.
        precision: "32", "bf16" or "16".
    """

    kind: DeviceKind
    devices: int | Literal["auto"]
    nodes: int
    precision: str


def choose_hardware(config: TrainConfig, resume: ResumePoint | None = None) -> Hardware:
    """Choose devices and precision. Under torchrun the devices are the processes that it has started.

    Args:
        resume: Where a run resumes. With precision "auto" it keeps its precision, as measuring again may differ, but
            not on another kind of device or one without that precision.

    Raises:
        UserError: This machine lacks what the configuration asks for.
    """
    kind = _device_kind(config.accelerator)
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
    if nodes > 1 and not any(name in os.environ for name in _CLUSTER_VARIABLES):
        raise UserError(
            f"--num-nodes {nodes}: nothing says where the other machines are; start it with torchrun or Slurm, "
            "or set MASTER_ADDR and NODE_RANK on each of them"
        )
    count = available_processors() if kind == "cpu" else torch.cuda.device_count() if kind == "cuda" else 1
    if devices != "auto" and 0 < count < devices:  # Lightning itself reports that there is none at all
        name = "processor" if kind == "cpu" else "GPU"
        processes = ", and each device of --accelerator cpu is a process" if kind == "cpu" else ""
        raise UserError(
            f"--devices {devices}: this machine has {counted(count, name)}{processes}; give at most {count}"
        )
    one_process = nodes == 1 and (devices == 1 or (kind == "cpu" and devices == "auto"))
    precision = _choose_precision(config, kind, resume, one_process=one_process)
    return Hardware(kind, devices, nodes, precision)


def _device_kind(accelerator: str) -> DeviceKind:
    """Predict which kind of device Lightning will choose."""
    any_gpu = accelerator in ("auto", "gpu")
    if accelerator == "cuda" or (any_gpu and torch.cuda.is_available()):
        return "cuda"
    return "mps" if accelerator == "mps" or (any_gpu and torch.backends.mps.is_available()) else "cpu"


# Precision -----------------------------------------------------------------------------------------------------------

MATRIX_SIDE = 256
"""Side of the matrices that are multiplied to compare precisions; one product takes less than a millisecond."""
ROUNDS = 20


def _has_bf16(kind: DeviceKind) -> bool:
    """Whether the devices of a kind have bf16 instructions."""
    if kind == "cpu":
        # Older versions of torch lack the function.
        capabilities: Mapping[str, object] = getattr(torch.cpu, "get_capabilities", dict)()
        return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))
    return kind == "cuda" and torch.cuda.is_available() and torch.cuda.is_bf16_supported(including_emulation=False)


@functools.cache
def bf16_speedup() -> float:
    """Measure how many times faster than in float32 this CPU multiplies matrices in bf16.

    The instructions alone tell little: those of AVX-512 speed up some CPUs and halve the speed of others, e.g. where a
    virtual machine hides the AMX unit that the CPU has for bf16.
    """
    single = torch.ones(MATRIX_SIDE, MATRIX_SIDE)
    half = single.to(torch.bfloat16)
    threads = torch.get_num_threads()
    # CPU time of one thread hardly depends on what else the machine does, and the fastest round least.
    torch.set_num_threads(1)
    try:
        times = [(_product_seconds(single), _product_seconds(half)) for _ in range(ROUNDS)]
    finally:
        torch.set_num_threads(threads)
    return min(time for time, _ in times) / min(time for _, time in times)


def _product_seconds(matrix: torch.Tensor) -> float:
    start = time.thread_time()
    torch.mm(matrix, matrix)
    return time.thread_time() - start


def _choose_precision(config: TrainConfig, kind: DeviceKind, resume: ResumePoint | None, *, one_process: bool) -> str:
    """Resolve "auto". Several CPU processes train in float32, because each could measure another speed-up.

    Raises:
        UserError: float16 is asked for without an NVIDIA GPU.
    """
    if config.precision == "16" and not (kind == "cuda" and torch.cuda.is_available()):
        raise UserError("--precision 16 needs an NVIDIA GPU: use bf16, 32 or auto")
    if config.precision != "auto":
        return config.precision
    faster = _has_bf16(kind)
    kept = resume.precision if resume and resume.kind == kind else ""
    if kept in ("32", "16") or (kept == "bf16" and faster):
        return kept
    if faster and kind == "cpu":
        # The speedup that pays was measured for the networks of the recipes only.
        minimum = RECIPES[config.recipe].min_bf16_speedup if config.network == RECIPE_NETWORK else None
        faster = one_process and minimum is not None and bf16_speedup() >= minimum
    return "bf16" if faster else "32"
