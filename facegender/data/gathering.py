"""Gathers batches of photographs from where they are held, and moves them there once all are decoded."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch.utils.data import get_worker_info

from facegender.data.building import Indices
from facegender.data.residence import Residence
from facegender.data.store import Bytes

Batch = tuple[torch.Tensor, torch.Tensor]

_CHUNK_BYTES = 64 * 2**20

_BATCHES_BEFORE_MOVING = 3
"""Then a step of training has taken what memory it needs, and what is free on a GPU is free."""


class Source(Protocol):
    """Photographs, see `facegender.data.cache.Photographs`."""

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
