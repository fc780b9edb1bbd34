"""A training run's photographs: found or drawn, decoded, split, and handed to Lightning in batches."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from itertools import islice, zip_longest
from pathlib import Path

import msgspec
import numpy as np
import numpy.typing as npt
import pytorch_lightning as pl
import torch
from pytorch_lightning.accelerators import CUDAAccelerator

from facegender.data.cache.decoder import Indices
from facegender.data.cache.file import Bytes
from facegender.data.cache.photos import Photographs, Progress, photographs_of
from facegender.data.dataset import (
    CLASSES,
    data_folders,
    find_data_folder,
    list_labelled_files,
    split_indices,
    too_few_message,
)
from facegender.data.demo.faces import demo_photographs
from facegender.data.loader import (
    BatchLoader,
    Gatherer,
    OrderedBatches,
    PhotographBatches,
    Residence,
    Settled,
    ShuffledBatches,
    Source,
    batch_loader,
    choose,
)
from facegender.runs.config import TrainConfig
from facegender.runs.folder import Skipped
from facegender.support.errors import UserError
from facegender.support.files import expanded
from facegender.support.text import printable

DEMO_SOURCE = "demo faces"
LABELS = range(len(CLASSES))


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

    Photographs that nobody has decoded yet are decoded in the background, those first that are trained on first; a
    batch waits for its own. What is trained on in which order is decided by the files that look like photographs.
    Those that turn out damaged are left out of their batches, whether that is known from the cache or only then, so
    that a run does not depend on what is in the cache.

    Attributes:
        source: The folder that is read, or "demo faces".
        digest: Of the ordered contents and labels; changes when the data has changed.
        train_images: Files per class in the training part, with those that turn out damaged.
        validation_images: The same for validation.
        photographs: All of them.
    """

    def __init__(self, config: TrainConfig, root: Path, *, progress: Progress | None = None) -> None:
        super().__init__()
        self.config = config
        self.root = root
        self.source = ""
        self.digest = ""
        self.train_images: dict[str, int] = {}
        self.validation_images: dict[str, int] = {}
        self.photographs: Photographs | None = None
        self._progress = progress
        self._folder: Path | None = None
        self._left_out = self._doubtful = ""
        self._train = np.empty(0, np.int64)
        self._validation = np.empty(0, np.int64)
        self._resume: tuple[int, int] | None = None
        self._residence = Residence("disk", workers=config.workers)
        self._gatherer: Gatherer | None = None

    def prepare(self) -> None:
        """Find and split the photographs, and begin to decode them; a second call does nothing.

        Raises:
            UserError: There are none, too few, or no room for them.
        """
        if self.photographs is not None:
            return
        config = self.config
        if config.demo:
            photographs = demo_photographs(config.demo_faces, config.image_size, config.seed, self._progress)
            self.source = DEMO_SOURCE
        else:
            self._folder = find_data_folder(config.data, self.root)
            files, labels = zip(*list_labelled_files(self._folder), strict=True)
            photographs = photographs_of(files, labels, config.image_size, progress=self._progress, folder=self._folder)
            self.source = str(self._folder)
            found = data_folders(expanded(config.data)) if config.data else iter(())
            if other := next((path for path in found if path != self._folder), None):
                self._left_out = (
                    f"the photographs are those of {printable(self._folder)}; {printable(other)} has folders "
                    "female/ and male/ too, and is left out: name the one that is meant with --data"
                )
        try:
            for label, name in enumerate(CLASSES):
                if not (photographs.labels == label).any():
                    raise self._none_of(name, photographs)
            self._train, self._validation = split_indices(
                photographs.labels, photographs.digests, config.val_split, config.seed
            )
            photographs.prefer(self._order())
            self._check_parts(photographs)
        except BaseException:
            photographs.close()
            raise
        self.train_images = _per_class(photographs.labels[self._train])
        self.validation_images = _per_class(photographs.labels[self._validation])
        self.digest = _digest(photographs)
        self._doubtful = _doubtful(photographs)
        self.photographs = photographs

    def _order(self) -> npt.NDArray[np.int64]:
        """All places, those first that are needed first."""
        batches = list(self._sampler())
        return np.concatenate([*batches, self._validation])

    def _check_parts(self, photographs: Photographs) -> None:
        """Every class has a photograph on both sides.

        Raises:
            UserError: One has none that can be photographs.
        """
        for label, name in enumerate(CLASSES):
            parts = [part[photographs.labels[part] == label] for part in (self._train, self._validation)]
            found = [any(photographs.wait(part[[at]])[0] for at in range(len(part))) for part in parts]
            if not any(found):
                raise self._none_of(name, photographs)
            if not all(found):
                raise UserError(too_few_message(name))

    def reside(self, device: torch.device, processes: int = 1, *, alone: bool = True) -> str:
        """Choose where batches come from, and say so.

        Args:
            device: That batches go to.
            processes: On this machine that hold the photographs each for itself.
            alone: No other process trains along, on this machine or another.

        Raises:
            UserError: What was asked for is not possible on this machine.
        """
        photographs = self._prepared()
        self._residence = choose(self.config, photographs.images.nbytes, device, processes)
        if self._residence.workers or not alone:
            # Processes do not see what the threads of this one have photographs.
            photographs.complete()
        return self._residence.described(photographs.images.nbytes)

    @property
    def skipped(self) -> list[Skipped]:
        """Files that gave no photograph, named relative to the folder, as far as is known."""
        return [] if self.photographs is None else self.photographs.skipped

    @property
    def notices(self) -> list[str]:
        """What the person should know about the data, a sentence each."""
        if self.photographs is None:
            return []
        moved = "" if self._gatherer is None else self._gatherer.notice
        return [text for text in (self._left_out, self.photographs.notice, self._doubtful, moved) if text]

    def close(self) -> None:
        """Decode no more."""
        if self.photographs is not None:
            self.photographs.close()

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
        self._prepared().prefer(self._order())

    def setup(self, stage: str) -> None:
        """Lightning's hook: the same as `prepare`."""
        self.prepare()

    def train_dataloader(self) -> BatchLoader:
        """Shuffled batches of the training part."""
        return self._loader(self._sampler(), spare=self._train)

    def val_dataloader(self) -> BatchLoader:
        """Batches of the validation part, always in the same order."""
        rank, world = self._place()
        return self._loader(OrderedBatches(self._validation, self.config.batch_size, rank=rank, world=world))

    def probes(self, count: int) -> Probes:
        """Some validation photographs with the classes in turn: the same ones whenever data and seed are the same.

        Args:
            count: How many at most; there are fewer where validation has fewer different ones.
        """
        photographs = self._prepared()
        different = {photographs.digests[index]: int(index) for index in self._validation[::-1]}
        ranked = sorted(different.values(), key=lambda index: _rank(self.config.seed, photographs.digests[index]))
        queues = [self._readable([index for index in ranked if photographs.labels[index] == label]) for label in LABELS]
        turns = zip_longest(*queues)
        chosen = list(islice((index for turn in turns for index in turn if index is not None), count))
        names = [photographs.paths[index] for index in chosen]
        if self._folder is not None:
            names = [path.relative_to(self._folder) for path in names]
        return Probes(
            images=np.stack([photographs.images[index] for index in chosen]),
            labels=photographs.labels[chosen],
            names=[printable(name) for name in names],
        )

    def _readable(self, places: Iterable[int]) -> Iterator[int]:
        """Those that can be photographs."""
        return (place for place in places if self._prepared().wait(np.array([place]))[0])

    def _sampler(self) -> ShuffledBatches:
        rank, world = self._place()
        sampler = ShuffledBatches(self._train, self.config.batch_size, self.config.seed, rank=rank, world=world)
        if self._resume is not None:
            sampler.resume_from(*self._resume)
        return sampler

    def _loader(self, sampler: ShuffledBatches | OrderedBatches, spare: Indices | None = None) -> BatchLoader:
        if self._gatherer is None:
            self._gatherer = Gatherer(self._source(), self._residence, pinned=self._goes_to_gpu())
        return batch_loader(
            PhotographBatches(self._gatherer, spare=spare),
            sampler,
            workers=self._residence.workers,
            pinned=self._goes_to_gpu(),
            seed=self.config.seed,
        )

    def _source(self) -> Source:
        photographs = self._prepared()
        if not self._residence.workers:
            return photographs
        photographs.complete()
        everything = np.arange(len(photographs.labels))
        return Settled(photographs.images, photographs.labels, photographs.wait(everything))

    def _prepared(self) -> Photographs:
        if self.photographs is None:
            raise RuntimeError("prepare() comes first")
        return self.photographs

    def _place(self) -> tuple[int, int]:
        """This process's rank and the number of ranks; alone without a Trainer."""
        return (0, 1) if self.trainer is None else (self.trainer.global_rank, self.trainer.world_size)

    def _goes_to_gpu(self) -> bool:
        if self.trainer is not None:
            return isinstance(self.trainer.accelerator, CUDAAccelerator)
        return self.config.accelerator in ("auto", "gpu", "cuda") and torch.cuda.is_available()

    def _none_of(self, name: str, photographs: Photographs) -> UserError:
        """What is said where a class has nothing that can be read."""
        reasons = [f"{file.file}: {file.reason}" for file in photographs.skipped if _is_of(file.file, name)]
        example = f" ({reasons[0]})" if reasons else ""
        folder = printable(self._folder or Path())
        return UserError(f"{folder}: no {name} photograph can be read{example}; put some there, or use --demo")


def _is_of(file: str, class_name: str) -> bool:
    return file.lower().startswith(class_name)


def _per_class(labels: npt.NDArray[np.int64]) -> dict[str, int]:
    return {name: int((labels == label).sum()) for label, name in enumerate(CLASSES)}


def _rank(seed: int, digest: str) -> bytes:
    return hashlib.blake2b(f"probe {seed} {digest}".encode(), digest_size=16).digest()


def _digest(photographs: Photographs) -> str:
    lines = (f"{digest} {label}\n" for digest, label in zip(photographs.digests, photographs.labels, strict=True))
    return hashlib.blake2b("".join(lines).encode(), digest_size=16).hexdigest()


def _doubtful(photographs: Photographs) -> str:
    """What is said of photographs that are there more than once."""
    classes: dict[str, set[int]] = {}
    for digest, label in zip(photographs.digests, photographs.labels, strict=True):
        classes.setdefault(digest, set()).add(int(label))
    copies = len(photographs.digests) - len(classes)
    both = sum(len(labels) > 1 for labels in classes.values())
    if not copies:
        return ""
    are = "photograph is an exact copy of another" if copies == 1 else "photographs are exact copies of others"
    text = f"{copies} {are}: copies stay on one side of the split"
    return f"{text}; {both} of them are filed under both classes" if both else text
