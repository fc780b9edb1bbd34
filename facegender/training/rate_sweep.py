"""The sweep over learning rates, by Lightning's own tuner, in a folder that goes away."""

from __future__ import annotations

import contextlib
import io
import math
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from pytorch_lightning.tuner.tuning import Tuner
from torch import Tensor

from facegender.data.cache.photos import Report
from facegender.data.datamodule import FaceDataModule
from facegender.data.dataset import CLASSES
from facegender.network.module import FaceGenderModule
from facegender.runs.config import TrainConfig
from facegender.support.errors import UserError
from facegender.training.hardware import Hardware, hardware
from facegender.training.rate_curve import RateCurve
from facegender.training.trainer import prepare, quieten, trainer_on

LOWEST = 1e-5
HIGHEST = 1.0
MOST_EPOCHS = 50
"""How often a photograph may be seen: of few photographs that are learnt by heart the loss falls at any rate."""


class SweptModule(FaceGenderModule):
    """Keeps the loss of every batch.

    Lightning's finder keeps an average of those before, in which the first count too little, and suggests where that
    falls most by the learning rate itself. Rates lie so much closer together at the low end that it is always there.

    Attributes:
        losses: What was descended, one a batch, still on the device.
    """

    def __init__(self, config: TrainConfig, classes: Sequence[str], train_images: Mapping[str, int]) -> None:
        super().__init__(config, classes, train_images)
        self.losses: list[Tensor] = []

    def on_train_batch_end(self, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Keeps one."""
        self.losses.append(outputs["loss"].detach())


def sweep(config: TrainConfig, root: Path, batches: int, report: Report) -> RateCurve:
    """Try learning rates from `LOWEST` to `HIGHEST` on a new network of the configuration's recipe.

    Args:
        config: Of one device.

    Raises:
        UserError: The data or the device cannot be used.
    """
    place = hardware(config)
    data = FaceDataModule(config, root, progress=lambda _, done, count: report(done, count))
    quieten()
    try:
        data.prepare()
        _check_count(data, batches)
        prepare(config, place)
        return curve_of(SweptModule(config, CLASSES, data.train_images), data, batches, place)
    finally:
        data.close()


def curve_of(module: SweptModule, data: FaceDataModule, batches: int, place: Hardware) -> RateCurve:
    """Sweep with a module, whose weights are afterwards what they were before."""
    epochs = math.ceil(batches / data.steps_per_epoch) + 1
    with tempfile.TemporaryDirectory(prefix="facegender-") as folder, _bar_for_people():
        # Lightning's finder validates after each epoch, whatever is said of how much, unless it is never time for it.
        trainer = trainer_on(place, Path(folder), epochs, check_val_every_n_epoch=epochs + 1)
        found = Tuner(trainer).lr_find(
            module, datamodule=data, min_lr=LOWEST, max_lr=HIGHEST, num_training=batches, update_attr=False
        )
    rates = found.results["lr"] if found is not None else []
    return RateCurve.of(rates, torch.stack(module.losses).tolist() if module.losses else [])


def _check_count(data: FaceDataModule, batches: int) -> None:
    """There are enough photographs.

    Raises:
        UserError: There are not.
    """
    epochs = math.ceil(batches / data.steps_per_epoch)
    if epochs > MOST_EPOCHS:
        count = sum(data.train_images.values())
        raise UserError(
            f"{count} photographs to train on are too few for {batches} batches of {data.config.batch_size}, as each "
            f"would be seen {epochs} times: give more photographs, a smaller --batch-size, or fewer --batches"
        )


@contextlib.contextmanager
def _bar_for_people() -> Iterator[None]:
    """Lightning's finder draws a progress bar on stderr and cannot be told not to; in a file it is in the way."""
    if sys.stderr.isatty():
        yield
        return
    with contextlib.redirect_stderr(io.StringIO()):
        yield
