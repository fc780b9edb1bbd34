"""What data loaders tell: number, order and files of their images, and how long training waits for them."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from pytorch_lightning import Trainer
from pytorch_lightning.profilers import PassThroughProfiler
from torch.utils.data import BatchSampler, DataLoader, DistributedSampler, IterableDataset, SequentialSampler, Subset

from facegender.runs.photographs import Photographs


def first_loader(loaders: Any) -> Any:
    """The first of several data loaders, or the only one."""
    if isinstance(loaders, Mapping):
        loaders = list(loaders.values())
    return next(iter(loaders), None) if isinstance(loaders, list | tuple) else loaders


def image_count(loader: Any) -> int | None:
    """Number of images of a data loader; None for a stream."""
    try:
        return len(loader.dataset)
    except (AttributeError, TypeError, NotImplementedError):
        return None


def image_order(loader: Any) -> Literal["listed", "stream", "other"]:
    """Tell the order in which a data loader gives the images of its data set.

    Returns:
        "listed": as the data set lists them; with several processes, as `DistributedSampler` divides them.
        "stream": nothing lists them, such as an `IterableDataset` or a data set of whole batches.
        "other": perhaps another one each time.
    """
    if (
        not isinstance(loader, DataLoader)
        or loader.batch_sampler is None
        or isinstance(loader.dataset, IterableDataset)
    ):
        return "stream"
    sampler = loader.sampler
    in_order = isinstance(sampler, SequentialSampler) or (type(sampler) is DistributedSampler and not sampler.shuffle)
    return "listed" if in_order and type(loader.batch_sampler) is BatchSampler else "other"


def positions_in_subset(loader: Any) -> npt.NDArray[np.int64] | None:
    """Tell where the images of a data set are in the `Subset` of it that a data loader reads.

    Returns:
        For each index into the data set the position in the subset, -1 for images that do not belong to it. None if the
        loader reads the data set itself.
    """
    _, indices = _without_subsets(getattr(loader, "dataset", None))
    if indices is None:
        return None
    positions = np.full(int(indices.max(initial=-1)) + 1, -1, np.int64)
    positions[indices] = np.arange(len(indices))
    return positions


def listed_photographs(train: Any, validation: Any) -> tuple[str, Photographs] | None:
    """Find the names of the files that data loaders read, as `ImageFolder` of torchvision lists them.

    Args:
        train: A data loader.
        validation: Likewise; its images are listed only if it gives them in the order of its data set.

    Returns:
        The folder that has all files, and their names relative to it. None if no data set lists files.
    """
    parts = [_files_of(train), _files_of(validation) if image_order(validation) == "listed" else None]
    roots = [part[0] for part in parts if part is not None]
    if not roots:
        return None
    folder = Path(os.path.commonpath(roots))
    train_names, validation_names = ([] if part is None else _below(folder, *part) for part in parts)
    return str(folder), Photographs(validation=validation_names, train=train_names)


def _without_subsets(dataset: Any) -> tuple[Any, npt.NDArray[np.int64] | None]:
    """The data set below any `Subset`, and the indices that these choose; None if there is none."""
    chosen: npt.NDArray[np.int64] | None = None
    while isinstance(dataset, Subset):
        indices = np.asarray(dataset.indices, np.int64)
        chosen = indices if chosen is None else indices[chosen]
        dataset = dataset.dataset
    return dataset, chosen


def _files_of(loader: Any) -> tuple[Path, list[str]] | None:
    """The root of a data set that lists its files, and the names below it of those that a data loader reads."""
    dataset, chosen = _without_subsets(getattr(loader, "dataset", None))
    samples, root = getattr(dataset, "samples", None), getattr(dataset, "root", None)
    if not isinstance(samples, list) or not samples or not isinstance(root, str | os.PathLike):
        return None
    start = os.fspath(root).rstrip("/") + "/"
    files = [sample[0] if isinstance(sample, tuple) else None for sample in samples]
    if not all(isinstance(file, str) and file.startswith(start) for file in files):
        return None
    names = [file[len(start) :] for file in files if file]
    return Path(root).absolute(), names if chosen is None else [names[index] for index in chosen.tolist()]


def _below(folder: Path, root: Path, names: list[str]) -> list[str]:
    """Turn names below ``root`` into names below ``folder``."""
    return names if root == folder else [f"{root.relative_to(folder).as_posix()}/{name}" for name in names]


class FetchTimer(PassThroughProfiler):
    """Measures how long training waits for its batches; Lightning tells profilers when it fetches one."""

    _FETCH = "[_TrainingEpochLoop].train_dataloader_next"

    def __init__(self) -> None:
        super().__init__()
        self._began = self._waited_s = 0.0

    def attach(self, trainer: Trainer) -> None:
        """Become the profiler of a Trainer that has none."""
        if type(trainer.profiler) is PassThroughProfiler:  # type: ignore[attr-defined]  # Lightning sets it elsewhere
            trainer.profiler = self  # type: ignore[attr-defined]

    def detach(self, trainer: Trainer) -> None:
        """Give the Trainer a profiler that does nothing again."""
        if trainer.profiler is self:  # type: ignore[attr-defined]
            trainer.profiler = PassThroughProfiler()  # type: ignore[attr-defined]

    def start(self, action_name: str) -> None:
        """Note when a fetch begins."""
        if action_name == self._FETCH:
            self._began = time.perf_counter()

    def stop(self, action_name: str) -> None:
        """Add the time since the fetch began."""
        if action_name == self._FETCH:
            self._waited_s += time.perf_counter() - self._began

    def take_s(self) -> float:
        """Return the seconds waited since the last call."""
        waited_s, self._waited_s = self._waited_s, 0.0
        return waited_s
