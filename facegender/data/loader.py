"""Whole batches at once from an array of photographs, in an order that only the seed and the epoch decide."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch.utils.data import DataLoader, Dataset, Sampler, get_worker_info

from facegender.data.cache.decoder import Indices
from facegender.data.cache.file import Bytes
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


Batch = tuple[torch.Tensor, torch.Tensor]

_CHUNK_BYTES = 64 * 2**20

_BATCHES_BEFORE_MOVING = 3
"""Then a step of training has taken what memory it needs, and what is free on a GPU is free."""


class Source(Protocol):
    """Photographs, see `facegender.data.cache.photos.Photographs`."""

    @property
    def images(self) -> Bytes:
        """(N, S, S, 3) uint8."""

    @property
    def labels(self) -> npt.NDArray[np.int64]:
        """(N,) int64."""

    @property
    def finished(self) -> bool:
        """All are decoded."""

    def wait(self, places: Indices) -> npt.NDArray[np.bool_]:
        """Wait for some, and tell which of them there are."""


@dataclass
class Settled:
    """Photographs that are all decoded, as worker processes get them.

    Attributes:
        readable: (N,) whether there is a photograph.
    """

    images: Bytes
    labels: npt.NDArray[np.int64]
    readable: npt.NDArray[np.bool_]
    finished: bool = True

    def wait(self, places: Indices) -> npt.NDArray[np.bool_]:
        """Tell which of these there are."""
        return self.readable[places]

    def __getstate__(self) -> dict[str, Any]:
        # Pickling a memory map copies what it maps, gigabytes; a worker that is spawned maps the file again instead.
        state = self.__dict__.copy()
        if isinstance(self.images, np.memmap):
            state["images"] = (str(self.images.filename), self.images.shape)
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        if isinstance(self.images, tuple):
            name, shape = self.images
            self.images = np.memmap(name, dtype=np.uint8, mode="r", shape=shape)


class Gatherer:
    """Makes batches; shared by the loaders of a run, as what it holds is all photographs.

    Attributes:
        notice: Something the person should know; or empty.
    """

    def __init__(self, source: Source, residence: Residence, *, pinned: bool = False) -> None:
        """Hold nothing yet.

        Args:
            source: The photographs.
            residence: Where to hold them.
            pinned: Make batches in memory that a GPU can copy from by itself.
        """
        self.source = source
        self.notice = ""
        self._residence = residence
        self._pinned = pinned
        self._batches = 0
        self._moved = residence.place == "disk"
        self._copy: Bytes | None = None
        self._on_device: Batch | None = None

    def __call__(self, places: Indices) -> Batch:
        """Some photographs: ``(B, 3, S, S)`` uint8 in channels-last memory, and ``(B,)`` int64 labels."""
        self._batches += 1
        if not self._moved and self._batches > _BATCHES_BEFORE_MOVING and self.source.finished:
            self._moved = True
            self._move()
        return self._from_host(places) if self._on_device is None else self._from_device(places, *self._on_device)

    def _from_host(self, places: Indices) -> Batch:
        # A worker process must not touch the GPU; the loader pins what comes from one.
        pin = self._pinned and get_worker_info() is None
        images = self.source.images if self._copy is None else self._copy
        gathered = torch.empty((len(places), *images.shape[1:]), dtype=torch.uint8, pin_memory=pin)
        # With "clip" numpy copies straight to the output instead of through a buffer of the same size.
        np.take(images, places, axis=0, out=gathered.numpy(), mode="clip")
        labels = torch.from_numpy(self.source.labels[places])
        return gathered.permute(0, 3, 1, 2), labels.pin_memory() if pin else labels

    def _from_device(self, places: Indices, images: torch.Tensor, labels: torch.Tensor) -> Batch:
        wanted = torch.from_numpy(places)
        if images.device.type == "cuda":
            # From memory that is not pinned the copy would wait for all that the GPU has still to do.
            wanted = wanted.pin_memory()
        wanted = wanted.to(images.device, non_blocking=True)
        return images.index_select(0, wanted).permute(0, 3, 1, 2), labels.index_select(0, wanted)

    def _move(self) -> None:
        images = self.source.images
        if self._residence.place == "memory":
            # What the disk has not taken is in memory already.
            self._copy = np.array(images) if isinstance(images, np.memmap) else None
            return
        device = self._residence.device
        try:
            held = torch.empty(images.shape, dtype=torch.uint8, device=device)
        except torch.OutOfMemoryError:
            if self._residence.asked:
                raise
            self.notice = f"the photographs do not fit on {device} after all: they stay mapped from the disk"
            return
        chunk = max(1, _CHUNK_BYTES // max(1, images[0].nbytes))
        for start in range(0, len(images), chunk):
            held[start : start + chunk].copy_(torch.from_numpy(np.array(images[start : start + chunk])))
        self._on_device = held, torch.from_numpy(self.source.labels).to(device)


class ShuffledBatches(Sampler[Indices]):
    """Batches of training indices, shuffled anew each epoch by (seed, epoch) alone.

    In a distributed run each rank takes every ``world``-th index of the same permutation; a few of its first indices
    are repeated at the end so that all ranks have equally many.

    Attributes:
        epoch: Whose permutation the next iteration gives; Lightning sets it through `set_epoch`.
        start_epoch: The epoch that a resumed run stopped in.
        start_batch: Batches of that epoch that were trained before; only the rest is given, while ``len`` stays.
    """

    def __init__(self, indices: Indices, batch_size: int, seed: int, *, rank: int = 0, world: int = 1) -> None:
        self.indices = indices
        self.batch_size = batch_size
        self.seed = seed
        self.rank = rank
        self.world = world
        self.epoch = self.start_epoch = self.start_batch = 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the permutation of the next iteration."""
        self.epoch = epoch

    def resume_from(self, epoch: int, batch: int) -> None:
        """Begin with this epoch and leave out its first ``batch`` batches."""
        self.epoch = self.start_epoch = epoch
        self.start_batch = batch

    def __len__(self) -> int:
        return _batches(-(-len(self.indices) // self.world), self.batch_size)

    def __iter__(self) -> Iterator[Indices]:
        # Lightning makes an iterator first and sets the epoch after it: this body runs, and looks, at the first `next`.
        order = np.random.default_rng((self.seed, self.epoch)).permutation(self.indices)
        padded = np.resize(order, -(-len(order) // self.world) * self.world)
        mine = padded[self.rank :: self.world]
        first = self.start_batch if self.epoch == self.start_epoch else 0
        for start in range(first * self.batch_size, len(mine), self.batch_size):
            yield mine[start : start + self.batch_size]


class OrderedBatches(Sampler[Indices]):
    """Batches of validation indices in a fixed order; each index goes to exactly one rank.

    All ranks give equally many batches, since a forward pass can make the ranks wait for each other: whose share is
    smaller ends with an empty batch.
    """

    def __init__(self, indices: Indices, batch_size: int, *, rank: int = 0, world: int = 1) -> None:
        self.indices = indices[rank::world]
        self.batch_size = batch_size
        self._count = _batches(-(-len(indices) // world), batch_size)

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[Indices]:
        for start in range(0, self._count * self.batch_size, self.batch_size):
            yield self.indices[start : start + self.batch_size]


class PhotographBatches(Dataset[Batch]):
    """Photographs that are fetched by the batch.

    ``batches[places]`` is what `Gatherer` makes of those that can be decoded, once they are.
    """

    def __init__(self, gatherer: Gatherer, *, spare: Indices | None = None) -> None:
        """Make them.

        Args:
            gatherer: Where they come from.
            spare: Of which the first that can be decoded takes the place of a batch of which none can, so that there
                is something to train on. Without it such a batch is empty.
        """
        self.gatherer = gatherer
        self.spare = np.empty(0, np.int64) if spare is None else spare

    def __len__(self) -> int:
        return len(self.gatherer.source.labels)

    def __getitem__(self, places: Indices) -> Batch:
        found = places[self.gatherer.source.wait(places)]
        if len(places) and not len(found):
            found = next((at for at in self.spare[:, None] if self.gatherer.source.wait(at)[0]), found)
        return self.gatherer(found)


class BatchLoader(DataLoader[Batch]):
    """A loader of whole batches that can go on in the middle of an epoch.

    Its state is empty because `ShuffledBatches.resume_from` needs nothing but the epoch and the batch, which Lightning
    keeps anyway; having the two methods tells Lightning that a checkpoint from the middle of an epoch is fine.
    """

    def state_dict(self) -> dict[str, Any]:
        """Nothing; see above."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Nothing; see above."""


def batch_loader(
    batches: PhotographBatches, sampler: Sampler[Indices], *, workers: int, pinned: bool, seed: int
) -> BatchLoader:
    """The loader of a sampler's batches.

    Args:
        batches: Where the photographs come from.
        sampler: Gives the indices of one batch after another.
        workers: Processes that load; 0 loads in this one.
        pinned: Batches go to a GPU.
        seed: Of the workers, so that the loader draws nothing from the global generator.
    """
    return BatchLoader(
        batches,
        batch_size=None,
        sampler=sampler,
        num_workers=workers,
        pin_memory=pinned and workers > 0,
        persistent_workers=workers > 0,
        prefetch_factor=2 if workers > 0 else None,
        generator=torch.Generator().manual_seed(seed),
    )


def _batches(count: int, batch_size: int) -> int:
    return -(-count // batch_size)
