"""Whole batches at once from an array of photographs, in an order that only the seed and the epoch decide."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, Sampler

from facegender.data.building import Indices
from facegender.data.gathering import Batch, Gatherer


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
