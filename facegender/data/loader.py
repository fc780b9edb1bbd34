"""Whole batches from decoded photographs, in an order that only the seed and the epoch decide."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, Sampler, get_worker_info

from facegender.data.cache.file import Indices
from facegender.data.cache.photos import DecodedPhotos
from facegender.runs.config import TrainConfig
from facegender.support.errors import UserError
from facegender.support.machine import available_memory, available_processors
from facegender.support.text import size_in_words

Batch = tuple[torch.Tensor, torch.Tensor]
"""Images ``(B, 3, S, S)`` uint8 in channels-last memory, and labels ``(B,)`` int64."""

GPU_SHARE = 0.5
"""Share of the GPU's free memory that photographs may take: network, gradients and activations are allocated later."""

MEMORY_SHARE = 0.5
"""The same for the machine's memory."""

MAX_WORKERS = 8
CPU = torch.device("cpu")

_CHUNK_BYTES = 64 * 2**20

_BATCHES_BEFORE_MOVING = 3
"""After so many batches a training step has allocated what it needs, and the GPU's free memory is known."""


@dataclass(frozen=True)
class DataLocation:
    """Where batches are read from.

    Attributes:
        storage: "disk" reads the cache's file, "memory" copies it, "gpu" copies it to the device.
        device: Where batches go.
        workers: Processes that load batches; only from the disk.
        requested: The user asked for it.
    """

    storage: Literal["disk", "memory", "gpu"]
    device: torch.device = CPU
    workers: int = 0
    requested: bool = False

    def describe(self, size_bytes: int) -> str:
        """Say in one sentence for the log where the photographs are."""
        if self.workers:
            processes = "process" if self.workers == 1 else "processes"
            pinned = " with pinned memory" if self.device.type == "cuda" else ""
            where = f"on the disk, read by {self.workers} worker {processes}{pinned}"
        else:
            where = {"gpu": f"on {self.device}", "memory": "in memory", "disk": "on the disk"}[self.storage]
        reason = "as requested" if self.requested else "--cache auto"
        return f"photographs are held {where}: {size_in_words(size_bytes)} ({reason})"


def choose_location(config: TrainConfig, size_bytes: int, device: torch.device, processes: int) -> DataLocation:
    """Choose where to read batches from.

    Args:
        config: What the user asked for.
        size_bytes: Size of all photographs.
        device: Where batches go.
        processes: Processes on this machine that each hold the photographs.

    Raises:
        UserError: What the user asked for is not possible.
    """
    free, available = free_memory(device), available_memory()
    if config.cache == "gpu" and device.type == "cpu":
        raise UserError("--cache gpu: this run uses no GPU; leave it out")
    if config.cache == "gpu" and free is not None and size_bytes > free:
        raise UserError(
            f"--cache gpu: the photographs take {size_in_words(size_bytes)}, and {device} has {size_in_words(free)} "
            "free; leave it out, or choose --cache memory"
        )
    if config.cache == "memory" and size_bytes * processes > available:
        raise UserError(
            f"--cache memory: the photographs take {size_in_words(size_bytes * processes)}, and "
            f"{size_in_words(available)} of memory are free; leave it out, or choose --cache disk"
        )
    if config.cache != "auto" or config.workers:
        return DataLocation("disk" if config.cache == "auto" else config.cache, device, config.workers, requested=True)
    if free is not None and size_bytes <= GPU_SHARE * free:
        return DataLocation("gpu", device)
    if size_bytes * processes <= MEMORY_SHARE * available:
        return DataLocation("memory", device)
    # The system keeps a file in memory that nobody else needs. Reading is slow only where it does not fit.
    workers = 0 if size_bytes <= available else min(MAX_WORKERS, max(1, available_processors() // processes - 1))
    return DataLocation("disk", device, workers)


def free_memory(device: torch.device) -> int | None:
    """Bytes that a device has free; None where that is not known."""
    return torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else None


class BatchFetcher(Dataset[Batch]):
    """Fetches batches: ``fetcher[indices]`` is a `Batch`.

    The loaders of a run share one fetcher, as a copy in memory or on the GPU has all photographs.

    Attributes:
        notice: What the user should know; or empty.
    """

    def __init__(self, photos: DecodedPhotos, location: DataLocation) -> None:
        """Copy nothing yet."""
        self.photos = photos
        self.location = location
        self.notice = ""
        self._batches = 0
        self._copy: Batch | None = None

    def __getitem__(self, indices: Indices) -> Batch:
        if self._batches == _BATCHES_BEFORE_MOVING:
            self._copy = self._copied()
        self._batches += 1
        # A GPU copies from pinned memory by itself; from other memory the copy would wait for all the work that it has
        # queued. A worker process must not touch it: the loader pins its batches.
        pin = self.location.device.type == "cuda" and get_worker_info() is None
        wanted = torch.from_numpy(indices)
        if self._copy is not None and self.location.storage == "gpu":
            wanted = (wanted.pin_memory() if pin else wanted).to(self.location.device, non_blocking=True)
            images, labels = (part.index_select(0, wanted) for part in self._copy)
        else:
            side = self.photos.side
            images = torch.empty((len(indices), side, side, 3), dtype=torch.uint8, pin_memory=pin)
            if self._copy is None:
                self.photos.read(indices, images.numpy())
            else:
                torch.index_select(self._copy[0], 0, wanted, out=images)
            labels = torch.from_numpy(self.photos.labels[indices])
            labels = labels.pin_memory() if pin else labels
        return images.permute(0, 3, 1, 2), labels

    def _copied(self) -> Batch | None:
        """Copy all photographs to the memory or to the GPU; None leaves them where they are."""
        photos, storage = self.photos, self.location.storage
        if storage == "disk" or (storage == "memory" and photos.in_memory):
            return None
        device = self.location.device if storage == "gpu" else CPU
        try:
            images = torch.empty((len(photos), photos.side, photos.side, 3), dtype=torch.uint8, device=device)
        except torch.OutOfMemoryError:
            if self.location.requested:
                raise
            self.notice = f"the photographs do not fit on {device} after all: they are read from the disk"
            return None
        for chunk in np.array_split(np.arange(len(photos)), -(-photos.size_bytes // _CHUNK_BYTES)):
            images[chunk[0] : chunk[-1] + 1].copy_(torch.from_numpy(photos.read(chunk)))
        return images, torch.from_numpy(photos.labels).to(device)


@dataclass(eq=False)
class ShuffledBatches(Sampler[Indices]):
    """Batches of training indices, shuffled anew each epoch by (seed, epoch) alone.

    In a distributed run each rank takes every ``world``-th index of the same permutation; a few of its first indices
    are repeated at the end so that all ranks have equally many.

    Attributes:
        start: The epoch that a resumed run stopped in, with which this begins, and how many of its batches are trained
            already: only the rest is given, while ``len`` stays.
    """

    indices: Indices
    batch_size: int
    seed: int
    rank: int = 0
    world: int = 1
    start: tuple[int, int] = (0, 0)

    def __post_init__(self) -> None:
        self.set_epoch(self.start[0])

    def set_epoch(self, epoch: int) -> None:
        """Choose the permutation of the next iteration; Lightning calls it."""
        self._epoch = epoch

    def __len__(self) -> int:
        return -(-len(self.indices) // (self.world * self.batch_size))

    def order(self, epoch: int) -> tuple[Indices, int]:
        """Return this rank's indices in the order of an epoch, and how many at their end are repeated ones."""
        order = np.random.default_rng((self.seed, epoch)).permutation(self.indices)
        padded = np.resize(order, -(-len(order) // self.world) * self.world)
        mine = padded[self.rank :: self.world]
        return mine, len(mine) - len(order[self.rank :: self.world])

    def __iter__(self) -> Iterator[Indices]:
        # Lightning makes an iterator first and sets the epoch after it: this body runs at the first `next`.
        mine, _ = self.order(self._epoch)
        first = self.start[1] if self._epoch == self.start[0] else 0
        for start in range(first * self.batch_size, len(mine), self.batch_size):
            yield mine[start : start + self.batch_size]


def ordered_batches(indices: Indices, batch_size: int, *, rank: int = 0, world: int = 1) -> list[Indices]:
    """Batches of validation indices in a fixed order; each index goes to exactly one rank.

    All ranks get equally many batches, since a forward pass can make the ranks wait for each other: a rank with fewer
    indices ends with an empty batch.
    """
    mine = indices[rank::world]
    count = -(-len(indices) // (world * batch_size))
    return [mine[start : start + batch_size] for start in range(0, count * batch_size, batch_size)]


class BatchLoader(DataLoader[Batch]):
    """A loader of whole batches that can continue in the middle of an epoch.

    Its state is empty because `FaceDataModule.resume_from` needs nothing but the epoch and the batch, which Lightning
    keeps anyway. Having the two methods tells Lightning that a checkpoint from the middle of an epoch is fine.

    Args:
        seed: Of the workers, so that the loader draws nothing from the global generator.
    """

    def __init__(self, fetcher: BatchFetcher, sampler: ShuffledBatches | Sequence[Indices], seed: int) -> None:
        workers = fetcher.location.workers
        super().__init__(
            fetcher,
            batch_size=None,
            sampler=sampler,
            num_workers=workers,
            pin_memory=fetcher.location.device.type == "cuda" and workers > 0,
            persistent_workers=workers > 0,
            prefetch_factor=2 if workers > 0 else None,
            generator=torch.Generator().manual_seed(seed),
        )

    def state_dict(self) -> dict[str, Any]:
        """Return nothing; see above."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Load nothing; see above."""
