"""A training run's photographs: found or drawn, decoded, split, and handed to Lightning in batches."""

from __future__ import annotations

import hashlib
from pathlib import Path

import msgspec
import numpy as np
import numpy.typing as npt
import pytorch_lightning as pl
import torch
from pytorch_lightning.accelerators import CUDAAccelerator

from facegender.data.cache import Decoded, Report, decode_all
from facegender.data.dataset import CLASSES, list_files, locate, shown, split
from facegender.data.demo import demo_arrays
from facegender.data.loader import BatchLoader, OrderedBatches, PhotographBatches, ShuffledBatches, batch_loader
from facegender.data.store import Bytes
from facegender.runs.config import TrainConfig
from facegender.runs.errors import UserError
from facegender.runs.folder import Skipped
from facegender.runs.text import printable

DEMO_SOURCE = "demo faces"


class Probes(msgspec.Struct, frozen=True, kw_only=True):
    """The validation photographs whose feature maps are kept.

    Attributes:
        images: (P, S, S, 3) uint8.
        labels: (P,) int64.
        names: P file names relative to the data folder, safe to show.
    """

    images: Bytes
    labels: npt.NDArray[np.int64]
    names: list[str]


class FaceDataModule(pl.LightningDataModule):
    """The photographs of one run.

    Call `prepare` before there is a Trainer: it says what is wrong with the data while nothing has started yet. Create
    the Trainer with ``use_distributed_sampler=False``, because the samplers here share the work among ranks.
    Batches are ``(B, 3, S, S)`` uint8 in channels-last memory and ``(B,)`` int64; normalising is the model's work, on
    its device. ``batch_size`` is per device.

    Attributes:
        source: The folder that is read, or "demo faces".
        digest: Of the ordered contents and labels; changes when the data has changed.
        skipped: Files that gave no photograph, named relative to the folder.
        train_images: Photographs per class in the training part.
        validation_images: The same for validation.
        notices: What the person should know about the data, a sentence each.
        decoded: All photographs.
    """

    def __init__(self, config: TrainConfig, root: Path, *, report: Report | None = None) -> None:
        super().__init__()
        self.config = config
        self.root = root
        self.source = ""
        self.digest = ""
        self.skipped: list[Skipped] = []
        self.train_images: dict[str, int] = {}
        self.validation_images: dict[str, int] = {}
        self.notices: list[str] = []
        self.decoded: Decoded | None = None
        self._report = report
        self._folder: Path | None = None
        self._train = np.empty(0, np.int64)
        self._validation = np.empty(0, np.int64)
        self._resume: tuple[int, int] | None = None

    def prepare(self) -> None:
        """Find, decode and split the photographs; a second call does nothing.

        Raises:
            UserError: There are none, too few, or no room for them.
        """
        if self.decoded is not None:
            return
        config = self.config
        if config.demo:
            decoded = demo_arrays(config.demo_faces, config.image_size, config.seed, self._report)
            self.source = DEMO_SOURCE
        else:
            self._folder = locate(config.data, self.root)
            files, labels = zip(*list_files(self._folder), strict=True)
            decoded = decode_all(files, labels, config.image_size, report=self._report, folder=self._folder)
            self.source = str(self._folder)
            self._check_classes(decoded)
        self._train, self._validation = split(decoded.labels, decoded.digests, config.val_split, config.seed)
        self.skipped = decoded.skipped
        self.train_images = _per_class(decoded.labels[self._train])
        self.validation_images = _per_class(decoded.labels[self._validation])
        self.notices = [notice for notice in (decoded.notice, _doubtful(decoded)) if notice]
        self.digest = _digest(decoded)
        self.decoded = decoded

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
        self._resume = (epoch, batch)

    def setup(self, stage: str) -> None:
        """Lightning's hook: the same as `prepare`."""
        self.prepare()

    def train_dataloader(self) -> BatchLoader:
        """Shuffled batches of the training part."""
        return self._loader(self._sampler())

    def val_dataloader(self) -> BatchLoader:
        """Batches of the validation part, always in the same order."""
        rank, world = self._place()
        return self._loader(OrderedBatches(self._validation, self.config.batch_size, rank=rank, world=world))

    def probes(self, count: int) -> Probes:
        """Some validation photographs with the classes in turn: the same ones whenever data and seed are the same.

        Args:
            count: How many at most; there are fewer where validation has fewer different ones.
        """
        decoded = self._prepared()
        different = {decoded.digests[index]: int(index) for index in self._validation[::-1]}
        ranked = sorted(different.values(), key=lambda index: _rank(self.config.seed, decoded.digests[index]))
        queues = [[index for index in ranked if decoded.labels[index] == label] for label in range(len(CLASSES))]
        chosen: list[int] = []
        while len(chosen) < count and any(queues):
            chosen += [queue.pop(0) for queue in queues if queue]
        del chosen[count:]
        names = [decoded.paths[index] for index in chosen]
        if self._folder is not None:
            names = [path.relative_to(self._folder) for path in names]
        return Probes(
            images=np.stack([decoded.images[index] for index in chosen]),
            labels=decoded.labels[chosen],
            names=[printable(str(name)) for name in names],
        )

    def _sampler(self) -> ShuffledBatches:
        rank, world = self._place()
        sampler = ShuffledBatches(self._train, self.config.batch_size, self.config.seed, rank=rank, world=world)
        if self._resume is not None:
            epoch, batch = self._resume
            # An epoch whose batches are all done is over, and Lightning goes on with the next.
            done, left = divmod(batch, len(sampler))
            sampler.resume_from(epoch + done, left)
        return sampler

    def _loader(self, sampler: ShuffledBatches | OrderedBatches) -> BatchLoader:
        decoded = self._prepared()
        pinned = self._goes_to_gpu()
        batches = PhotographBatches(decoded.images, decoded.labels, pinned=pinned)
        return batch_loader(batches, sampler, workers=self.config.workers, pinned=pinned, seed=self.config.seed)

    def _prepared(self) -> Decoded:
        if self.decoded is None:
            raise RuntimeError("prepare() comes first")
        return self.decoded

    def _place(self) -> tuple[int, int]:
        """This process's rank and the number of ranks; alone without a Trainer."""
        return (0, 1) if self.trainer is None else (self.trainer.global_rank, self.trainer.world_size)

    def _goes_to_gpu(self) -> bool:
        if self.trainer is not None:
            return isinstance(self.trainer.accelerator, CUDAAccelerator)
        return self.config.accelerator in ("auto", "gpu", "cuda") and torch.cuda.is_available()

    def _check_classes(self, decoded: Decoded) -> None:
        """Every class has a photograph.

        Raises:
            UserError: One has none that can be read.
        """
        for label, name in enumerate(CLASSES):
            if not (decoded.labels == label).any():
                reasons = [f"{file.file}: {file.reason}" for file in decoded.skipped if _is_of(file.file, name)]
                example = f" ({reasons[0]})" if reasons else ""
                folder = shown(self._folder or Path())
                raise UserError(f"{folder}: no {name} photograph can be read{example}; put some there, or use --demo")


def _is_of(file: str, class_name: str) -> bool:
    return file.lower().startswith(class_name)


def _per_class(labels: npt.NDArray[np.int64]) -> dict[str, int]:
    return {name: int((labels == label).sum()) for label, name in enumerate(CLASSES)}


def _rank(seed: int, digest: str) -> bytes:
    return hashlib.blake2b(f"probe {seed} {digest}".encode(), digest_size=16).digest()


def _digest(decoded: Decoded) -> str:
    lines = (f"{digest} {label}\n" for digest, label in zip(decoded.digests, decoded.labels, strict=True))
    return hashlib.blake2b("".join(lines).encode(), digest_size=16).hexdigest()


def _doubtful(decoded: Decoded) -> str:
    """What is said of photographs that are there more than once."""
    classes: dict[str, set[int]] = {}
    for digest, label in zip(decoded.digests, decoded.labels, strict=True):
        classes.setdefault(digest, set()).add(int(label))
    copies = len(decoded.digests) - len(classes)
    both = sum(len(labels) > 1 for labels in classes.values())
    if not copies:
        return ""
    text = f"{copies} photographs are exact copies of others: copies stay on one side of the split"
    return f"{text}; {both} of them are filed under both classes" if both else text
