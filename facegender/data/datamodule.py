"""The photographs of a training run: found or drawn, decoded, split, and given to Lightning in batches."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice, zip_longest
from pathlib import Path

import msgspec
import numpy as np
import numpy.typing as npt
import pytorch_lightning as pl
import torch

from facegender.data.cache.file import Indices, Pixels
from facegender.data.cache.photos import DecodedPhotos, Progress, content_hash, load_photos
from facegender.data.dataset import CLASSES, data_folders, find_data_folder, list_labelled_files, split_indices
from facegender.data.demo.faces import demo_photographs
from facegender.data.duplicates import find_near_copies, group_names
from facegender.data.loader import (
    BatchFetcher,
    BatchLoader,
    DataLocation,
    ShuffledBatches,
    choose_location,
    ordered_batches,
)
from facegender.runs.config import TrainConfig
from facegender.runs.folder import Skipped
from facegender.runs.photographs import Photographs
from facegender.support.errors import UserError
from facegender.support.files import expanded
from facegender.support.text import printable

DEMO_SOURCE = "demo faces"


class Probes(msgspec.Struct, frozen=True, kw_only=True):
    """The validation photographs whose feature maps are kept.

    Attributes:
        images: (P, S, S, 3) uint8.
        labels: (P,) int64.
        names: P file names relative to the data folder, safe to show.
    """

    images: Pixels
    labels: npt.NDArray[np.int64]
    names: list[str]


class FaceDataModule(pl.LightningDataModule):
    """The photographs of one run.

    Call `prepare` before there is a Trainer: it reports problems of the data before anything has started. Create
    the Trainer with ``use_distributed_sampler=False``, because the samplers here share the work among ranks.
    Batches are ``(B, 3, S, S)`` uint8 in channels-last memory and ``(B,)`` int64; normalising is the model's work, on
    its device. ``batch_size`` is per device.

    Attributes:
        source: The folder that is read, or "demo faces".
        digest: Hash of the ordered contents and labels; changes when the data has changed.
        train_images: Photographs per class in the training part.
        validation_images: The same for validation.
        photographs: The files of both parts, those of validation in the order of its batches: rank r of w validates
            the indices r, r + w and so on.
        photos: All of them; None before `prepare`.
        near_copies: Groups of content hashes that show the same photograph, see `find_near_copies`.
        skipped: Files that gave no photograph, named relative to the folder.
    """

    def __init__(
        self,
        config: TrainConfig,
        root: Path,
        *,
        progress: Progress | None = None,
        near_copies: list[list[str]] | None = None,
    ) -> None:
        """Describe the data; `prepare` reads it.

        Args:
            near_copies: The groups that a resumed run began with, which keep its split; None searches for them.
        """
        super().__init__()
        self.config = config
        self.root = root
        self.source = ""
        self.digest = ""
        self.train_images: dict[str, int] = {}
        self.validation_images: dict[str, int] = {}
        self.photographs = Photographs([], [])
        self.photos: DecodedPhotos | None = None
        self.near_copies = near_copies
        self.skipped: list[Skipped] = []
        self._progress = progress
        self._data_notices: list[str] = []
        self._train = np.empty(0, np.int64)
        self._validation = np.empty(0, np.int64)
        self._start = (0, 0)
        self._location = DataLocation("disk", workers=config.workers)
        self._fetcher: BatchFetcher | None = None

    def prepare(self) -> None:
        """Find, decode and split the photographs; a second call does nothing.

        Raises:
            UserError: There are none, too few, or no room for them.
        """
        if self.photos is not None:
            return
        config = self.config
        if config.demo:
            photos = demo_photographs(config.demo_faces, config.image_size, config.seed, self._progress)
            self.source = DEMO_SOURCE
            names = photos.names
        else:
            folder = find_data_folder(config.data, self.root)
            paths, labels = zip(*list_labelled_files(folder), strict=True)
            photos = load_photos(paths, labels, config.image_size, progress=self._progress, folder=folder)
            names = [str(paths[row].relative_to(folder)) for row in photos.rows]
            self.source = str(folder)
            found = data_folders(expanded(config.data)) if config.data else iter(())
            if other := next((path for path in found if path != folder), None):
                self._data_notices.append(
                    f"the photographs are those of {printable(folder)}; {printable(other)} has folders female/ and "
                    "male/ too, and is left out: name the folder that you mean with --data"
                )
        try:
            _check_classes(photos, self.source)
            if self.near_copies is None:  # drawn faces look alike without being copies
                self.near_copies = [] if config.demo else find_near_copies(photos.hashes, photos.digests)
            groups = group_names(photos.digests, self.near_copies)
            self._train, self._validation = split_indices(photos.labels, groups, config.val_split, config.seed)
        except BaseException:
            photos.close()
            raise
        self.train_images = _per_class(photos.labels[self._train])
        self.validation_images = _per_class(photos.labels[self._validation])
        self.photographs = Photographs(
            validation=[names[index] for index in self._validation], train=[names[index] for index in self._train]
        )
        self.digest = _digest(photos)
        self._data_notices += [*([photos.notice] if photos.notice else []), *_copies_notices(photos, groups)]
        self.skipped = photos.skipped
        self.photos = photos

    def choose_location(self, device: torch.device, processes: int = 1) -> str:
        """Choose where batches are read from, see `loader.choose_location`, and describe it in one sentence."""
        size_bytes = self._prepared().size_bytes
        self._location = choose_location(self.config, size_bytes, device, processes)
        return self._location.describe(size_bytes)

    @property
    def notices(self) -> list[str]:
        """What the user should know about the data, a sentence each."""
        moved = self._fetcher.notice if self._fetcher else ""
        return [*self._data_notices, *([moved] if moved else [])]

    def close(self) -> None:
        """Close the file of the photographs."""
        if self.photos is not None:
            self.photos.close()

    @property
    def steps_per_epoch(self) -> int:
        """Training batches an epoch, of each device."""
        return len(self._sampler())

    def resume_from(self, epoch: int, batch: int) -> None:
        """Let the training loader begin in the middle of an epoch.

        Call it before ``Trainer.fit(ckpt_path=...)``: Lightning restores how many batches of the epoch are done but
        fetches from the loader's start, so the loader has to leave those out itself.

        Args:
            epoch: The epoch that the checkpoint was saved in, counted from 0.
            batch: Batches of it that are done.
        """
        self._start = (epoch, batch)

    def train_order(self, epoch: int) -> Indices:
        """The positions in ``photographs.train`` of what this process trains in an epoch, batch after batch.

        Returns:
            (number of its photographs,), -1 for one that is repeated because ranks get equally many.
        """
        order, repeated = self._sampler().order(epoch)
        positions = np.empty(len(self._prepared()), np.int64)
        positions[self._train] = np.arange(len(self._train))
        order = positions[order]
        order[len(order) - repeated :] = -1
        return order

    def train_dataloader(self) -> BatchLoader:
        """Shuffled batches of the training part."""
        return self._loader(self._sampler())

    def val_dataloader(self) -> BatchLoader:
        """Batches of the validation part, always in the same order."""
        rank, world = self._rank_and_world()
        return self._loader(ordered_batches(self._validation, self.config.batch_size, rank=rank, world=world))

    def probes(self, count: int) -> Probes:
        """Choose validation photographs, the classes in turn: the same ones whenever data and seed are the same.

        Args:
            count: Upper limit; there are fewer where validation has fewer different photographs.
        """
        photos = self._prepared()
        different = {photos.digests[index]: int(index) for index in self._validation[::-1]}
        seed = self.config.seed
        ranked = sorted(different, key=lambda digest: content_hash(f"probe {seed} {digest}".encode()))
        indices = [different[digest] for digest in ranked]
        by_class = [[index for index in indices if photos.labels[index] == label] for label in range(len(CLASSES))]
        in_turn = (index for turn in zip_longest(*by_class) for index in turn if index is not None)
        chosen: Indices = np.array(list(islice(in_turn, count)), np.int64)
        return Probes(
            images=photos.read(chosen), labels=photos.labels[chosen], names=[photos.names[index] for index in chosen]
        )

    def _sampler(self) -> ShuffledBatches:
        (rank, world), config = self._rank_and_world(), self.config
        return ShuffledBatches(self._train, config.batch_size, config.seed, rank=rank, world=world, start=self._start)

    def _loader(self, sampler: ShuffledBatches | Sequence[Indices]) -> BatchLoader:
        if self._fetcher is None:
            self._fetcher = BatchFetcher(self._prepared(), self._location)
        return BatchLoader(self._fetcher, sampler, self.config.seed)

    def _prepared(self) -> DecodedPhotos:
        if self.photos is None:
            raise RuntimeError("prepare() comes first")
        return self.photos

    def _rank_and_world(self) -> tuple[int, int]:
        """This process's rank and the number of ranks; 0 and 1 without a Trainer."""
        return (0, 1) if self.trainer is None else (self.trainer.global_rank, self.trainer.world_size)


def _check_classes(photos: DecodedPhotos, source: str) -> None:
    """Raise if a class has no photograph, with an example of what is wrong."""
    for label, name in enumerate(CLASSES):
        if not (photos.labels == label).any():
            reasons = [f"{file.file}: {file.reason}" for file in photos.skipped if file.file.lower().startswith(name)]
            example = f" ({reasons[0]})" if reasons else ""
            raise UserError(f"{printable(source)}: no {name} photograph can be read{example}; put some there")


def _per_class(labels: npt.NDArray[np.int64]) -> dict[str, int]:
    return {name: int((labels == label).sum()) for label, name in enumerate(CLASSES)}


def _digest(photos: DecodedPhotos) -> str:
    lines = (f"{digest} {label}\n" for digest, label in zip(photos.digests, photos.labels, strict=True))
    return content_hash("".join(lines).encode()).hex()


def _copies_notices(photos: DecodedPhotos, groups: Sequence[str]) -> list[str]:
    """Say how many photographs are copies of others, and how many are filed under both classes."""
    labels: dict[str, set[int]] = {}
    for group, label in zip(groups, photos.labels.tolist(), strict=True):
        labels.setdefault(group, set()).add(label)
    contents = len(set(photos.digests))
    counts = {
        "are exact copies of others and stay on the same side of the split": len(photos) - contents,
        "are near-copies of others and stay on the same side of the split": contents - len(labels),
        "are filed under both classes": sum(len(of_group) > 1 for of_group in labels.values()),
    }
    return [f"photographs that {what}: {count}" for what, count in counts.items() if count]
