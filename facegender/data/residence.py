"""Where decoded photographs are held while a run trains, chosen by their size: on the GPU, in memory, on the disk."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch

from facegender.runs.config import TrainConfig
from facegender.support.errors import UserError
from facegender.support.machine import available_memory, available_processors
from facegender.support.text import size_in_words

Place = Literal["disk", "memory", "gpu"]

GPU_SHARE = 0.5
"""Of the GPU's free memory, what photographs may take by themselves: network, gradients and activations come later."""

MEMORY_SHARE = 0.5
"""The same of the machine's memory."""

MAX_WORKERS = 8
CPU = torch.device("cpu")


@dataclass(frozen=True)
class Residence:
    """Where photographs are held.

    Attributes:
        place: "disk" maps the cache's file, "memory" copies it, "gpu" copies it to the device.
        device: That batches go to.
        workers: Processes that load batches; only from the disk.
        asked: It was asked for, not chosen.
    """

    place: Place
    device: torch.device = CPU
    workers: int = 0
    asked: bool = False

    def described(self, size_bytes: int) -> str:
        """One sentence for the log."""
        where = {
            "gpu": f"on {self.device}",
            "memory": "in memory",
            "disk": "on the disk, mapped into memory",
        }[self.place]
        if self.workers:
            pinned = " with pinned memory" if self.device.type == "cuda" else ""
            where = (
                f"on the disk, read by {self.workers} worker {'process' if self.workers == 1 else 'processes'}{pinned}"
            )
        how = "as --cache or --workers says" if self.asked else "--cache auto"
        return f"photographs are held {where}: {size_in_words(size_bytes)} ({how})"


def choose(config: TrainConfig, size_bytes: int, device: torch.device, processes: int) -> Residence:
    """Where to hold photographs.

    Args:
        config: What was asked for.
        size_bytes: Of all photographs.
        device: That batches go to.
        processes: On this machine that hold them each for itself.

    Raises:
        UserError: What was asked for is not possible.
    """
    if config.cache != "auto" or config.workers:
        place: Place = "disk" if config.cache == "auto" else config.cache
        if place == "gpu":
            _check_device(size_bytes, device)
        elif place == "memory":
            _check_memory(size_bytes * processes)
        return Residence(place, device, config.workers, asked=True)
    free = free_memory(device)
    if free is not None and size_bytes <= GPU_SHARE * free:
        return Residence("gpu", device)
    available = available_memory()
    if size_bytes * processes <= MEMORY_SHARE * available:
        return Residence("memory", device)
    # A mapped file costs no memory that others need. It is slow only where the system cannot keep it in memory.
    workers = 0 if size_bytes <= available else min(MAX_WORKERS, max(1, available_processors() // processes - 1))
    return Residence("disk", device, workers)


def _check_device(size_bytes: int, device: torch.device) -> None:
    """It is one, and has room.

    Raises:
        UserError: It is not, or has not.
    """
    if device.type == "cpu":
        raise UserError("--cache gpu: this run uses no GPU; leave it out")
    free = free_memory(device)
    if free is not None and size_bytes > free:
        raise UserError(
            f"--cache gpu: the photographs take {size_in_words(size_bytes)}, and {device} has {size_in_words(free)} "
            "free; leave it out, or choose --cache memory"
        )


def _check_memory(size_bytes: int) -> None:
    """The machine has it.

    Raises:
        UserError: It has not.
    """
    available = available_memory()
    if size_bytes > available:
        raise UserError(
            f"--cache memory: the photographs take {size_in_words(size_bytes)}, and {size_in_words(available)} of "
            "memory are free; leave it out, or choose --cache disk"
        )


def free_memory(device: torch.device) -> int | None:
    """Bytes that a device has free; None where that is not known."""
    return torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else None
