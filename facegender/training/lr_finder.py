"""The sweep over learning rates, by Lightning's own tuner, in a folder that goes away."""

from __future__ import annotations

import contextlib
import io
import math
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
import torch
from pytorch_lightning.tuner.tuning import Tuner
from torch import Tensor

from facegender.data.datamodule import FaceDataModule
from facegender.data.dataset import CLASSES
from facegender.network.module import FaceGenderModule
from facegender.runs.config import TrainConfig, validate
from facegender.support.errors import UserError, print_error
from facegender.training.failures import describe, is_out_of_memory
from facegender.training.hardware import Hardware, choose_hardware
from facegender.training.stop import Stopped, StopSwitch, signals_handled
from facegender.training.trainer import build_trainer, configure_torch, silence_lightning

Numbers = npt.NDArray[np.float64]

SMOOTHING_DECADES = 0.25
"""Standard deviation of the Gaussian that the losses are averaged with."""
CLEAR = 4.5
"""How many standard errors of an averaged loss it has to fall by: of pure noise nine curves in ten fall by less."""
CLEAR_SHARE = 0.005
"""Share of itself that it has to fall by."""
LEAST_POINTS = 10
BOUND = 10.0
"""How many times the highest loss of the first points a loss counts for at most."""
_ROWS = 20
_PLOT_WIDTH = 40


@dataclass(frozen=True)
class RateCurve:
    """Losses of batches at learning rates that rise by the same factor from each to the next.

    After Smith, "Cyclical Learning Rates for Training Neural Networks", 2017, https://arxiv.org/abs/1506.01186: a good
    learning rate is where the loss falls well, and below where it is lowest, since from there on it soon grows. The
    suggestion is in the middle of that, between where half of the fall is done for good and the lowest loss. Of single
    points, such as the one with the steepest fall, chance moves most by more than a factor of ten.

    Batches are averaged on both sides of a learning rate: an average of those before it alone would be late.

    Attributes:
        rates: (N,) of batches with a finite loss.
        losses: (N,) of these batches.
    """

    rates: Numbers
    losses: Numbers

    @classmethod
    def of(cls, rates: list[float], losses: list[float]) -> RateCurve:
        """The curve of some batches, up to the first whose loss is no number; what follows it is none either."""
        count = next((index for index, loss in enumerate(losses) if not math.isfinite(loss)), len(losses))
        count = min(count, len(rates))
        return cls(np.asarray(rates[:count], np.float64), np.asarray(losses[:count], np.float64))

    def averaged(self) -> Numbers:
        """(N,) losses without the chance of single batches."""
        decades = np.log10(self.rates)
        weights = np.exp(-0.5 * ((decades[:, None] - decades[None, :]) / SMOOTHING_DECADES) ** 2)
        # A single loss beyond all bounds would be seen wherever its weight is not quite nothing.
        bounded = np.minimum(self.losses, BOUND * self.losses[:LEAST_POINTS].max())
        averaged: Numbers = weights @ bounded / weights.sum(1)
        return averaged

    @property
    def can_be_judged(self) -> bool:
        """Whether there are points enough."""
        return len(self.losses) >= LEAST_POINTS

    def lowest(self) -> int:
        """Where the averaged loss is lowest."""
        return int(self.averaged().argmin())

    def suggested(self) -> int | None:
        """Where the suggested learning rate is; None where the loss does not clearly fall."""
        if not self.can_be_judged:
            return None
        averaged, lowest = self.averaged(), self.lowest()
        highest = int(averaged[: lowest + 1].argmax())
        fall = averaged[highest] - averaged[lowest]
        if fall <= max(CLEAR * self._standard_error(lowest), CLEAR_SHARE * averaged[highest]):
            return None
        # From the last time on that it was higher: a dip in between is not where the loss is low.
        higher = np.flatnonzero(averaged[highest : lowest + 1] > averaged[highest] - fall / 2)
        return (highest + int(higher[-1]) + 1 + lowest) // 2

    def _standard_error(self, until: int) -> float:
        """What chance makes of an averaged loss, judged by how the losses differ from one batch to the next."""
        steps = np.diff(self.losses[: max(until, LEAST_POINTS) + 1])
        deviation = math.sqrt(float(np.mean(steps**2)) / 2)
        step_decades = float(np.log10(self.rates[-1] / self.rates[0])) / (len(self.rates) - 1)
        batches = max(1.0, 2 * math.sqrt(math.pi) * SMOOTHING_DECADES / step_decades)
        return deviation / math.sqrt(batches)

    def suggestion(self) -> float | None:
        """The suggested learning rate, with two digits; None where there is none."""
        index = self.suggested()
        return None if index is None else float(f"{self.rates[index]:.1e}")

    def objection(self) -> str:
        """Why there is none, and what to do, as a clause."""
        if not self.can_be_judged:
            return f"the loss was a number for {len(self.losses)} batches only; try --precision 32"
        return "the loss did not clearly fall at any; give more photographs, more --batches, or a larger --batch-size"

    def lines(self) -> list[str]:
        """A table with a small plot, from the lowest learning rate to the highest. Plain characters only."""
        averaged, lowest, suggested = self.averaged(), self.lowest(), self.suggested()
        marks = {lowest: "lowest"} if suggested is None else {lowest: "lowest", suggested: "suggested"}
        every = max(1, round(len(averaged) / _ROWS))
        rows = {index for index in range(0, len(averaged), every) if all(abs(index - at) >= every / 2 for at in marks)}
        low = float(averaged[lowest])
        # What lies far above where it began, as it does once the loss grows without bound, would flatten all the rest.
        span = max(1e-9, 1.5 * (float(averaged[: lowest + 1].max()) - low))
        table = ["learning rate     loss"]
        for index in sorted(rows | set(marks)):
            column = round((float(averaged[index]) - low) / span * (_PLOT_WIDTH - 1))
            plot = " " * column + "*" if column < _PLOT_WIDTH else " " * (_PLOT_WIDTH - 1) + ">"
            note = f"<- {marks[index]}" if index in marks else ""
            table.append(f"{self.rates[index]:>13.1e} {averaged[index]:>8.3f}  {plot:<{_PLOT_WIDTH}} {note}".rstrip())
        return table


TOLD_EVERY_S = 5.0


def find_learning_rate(config: TrainConfig, root: Path, batches: int) -> RateCurve:
    """Train one network for some batches, each with a higher learning rate than the one before.

    Args:
        config: What to train, on one device whatever it says.
        root: Where photographs are looked for that the configuration does not name.
        batches: How many learning rates are tried; fewer, where the loss grows beyond all bounds before.

    Raises:
        UserError: The configuration, the data or the device cannot be used.
        KeyboardInterrupt: Somebody asked to end, by whatever signal; nothing is left behind.
    """
    if os.environ.get("WORLD_SIZE", "1") != "1":
        raise UserError("a learning rate is looked for in one process: start find-lr without torchrun")
    config = msgspec.structs.replace(validate(config), devices="1", num_nodes=1, strategy="auto")
    stop = StopSwitch()
    try:
        with signals_handled(stop, lambda: stop.request("SIGHUP")):
            return sweep(config, root, batches, _Progress().tell)
    except Stopped:
        raise KeyboardInterrupt from None
    except Exception as error:
        if is_out_of_memory(error):
            raise UserError(describe(error)) from error
        raise


class _Progress:
    """Says now and then how far the preparation of the photographs is."""

    def __init__(self) -> None:
        self._told_at = time.monotonic()

    def tell(self, done: int, count: int) -> None:
        now = time.monotonic()
        if now - self._told_at >= TOLD_EVERY_S:
            self._told_at = now
            print_error(f"preparing photographs: {done} of {count}")


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


def sweep(config: TrainConfig, root: Path, batches: int, report: Callable[[int, int], None]) -> RateCurve:
    """Try learning rates from `LOWEST` to `HIGHEST` on a new network of the configuration's recipe.

    Args:
        config: Of one device.

    Raises:
        UserError: The data or the device cannot be used.
    """
    hardware = choose_hardware(config)
    data = FaceDataModule(config, root, progress=lambda _, done, count: report(done, count))
    silence_lightning()
    try:
        data.prepare()
        _check_count(data, batches)
        configure_torch(config, hardware)
        return curve_of(SweptModule(config, CLASSES, data.train_images), data, batches, hardware)
    finally:
        data.close()


def curve_of(module: SweptModule, data: FaceDataModule, batches: int, hardware: Hardware) -> RateCurve:
    """Sweep with a module, whose weights are afterwards what they were before."""
    epochs = math.ceil(batches / data.steps_per_epoch) + 1
    with tempfile.TemporaryDirectory(prefix="facegender-") as folder, _bar_for_people():
        # Lightning's finder validates after each epoch, whatever is said of how much, unless it is never time for it.
        trainer = build_trainer(hardware, Path(folder), epochs, check_val_every_n_epoch=epochs + 1)
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
