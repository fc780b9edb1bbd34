"""Finds a learning rate: trains with rising learning rates (Lightning's tuner) and reads the curve of the losses."""

from __future__ import annotations

import contextlib
import functools
import io
import math
import os
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
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
from facegender.support.progress import progress_in_sentences
from facegender.training.failures import describe, is_out_of_memory
from facegender.training.hardware import Hardware, choose_hardware
from facegender.training.stop import Stopped, StopSwitch, signals_handled
from facegender.training.trainer import build_trainer, configure_libraries

Float64Array = npt.NDArray[np.float64]

SMOOTHING_DECADES = 0.25
"""Standard deviation of the Gaussian that smooths the losses, in decades of the learning rate."""
MIN_FALL_ERRORS = 4.5
"""Standard errors of a smoothed loss by which the loss must fall: nine in ten curves of pure noise fall by less."""
MIN_FALL_SHARE = 0.005
"""Share of the highest loss by which it must fall."""
MIN_POINTS = 10
MAX_LOSS_RATIO = 10.0
"""Losses count as at most this many times the highest of the first `MIN_POINTS`."""
_TABLE_ROWS = 20
_PLOT_WIDTH = 40


@dataclass(frozen=True)
class RateCurve:
    """Losses of batches at learning rates that rise by a constant factor.

    After Smith, "Cyclical Learning Rates for Training Neural Networks", 2017, https://arxiv.org/abs/1506.01186: at a
    good learning rate the loss falls well, and it lies below that of the lowest loss, where the loss soon grows again.
    The suggestion is half-way between the rate where half of the fall is done and that of the lowest loss. Chance moves
    single points, such as that of the steepest fall, by more than a factor of ten.

    Attributes:
        rates: (N,) learning rates, ascending.
        losses: (N,) finite losses.
    """

    rates: Float64Array
    losses: Float64Array

    @classmethod
    def of(cls, rates: list[float], losses: list[float]) -> RateCurve:
        """Make a curve of the batches before the first loss that is not finite."""
        count = next((index for index, loss in enumerate(losses) if not math.isfinite(loss)), len(losses))
        count = min(count, len(rates))
        return cls(np.asarray(rates[:count], np.float64), np.asarray(losses[:count], np.float64))

    @functools.cached_property
    def smoothed(self) -> Float64Array:
        """(N,) losses, averaged over the batches on both sides; averaging only those before would shift the curve."""
        decades = np.log10(self.rates)
        weights = np.exp(-0.5 * ((decades[:, None] - decades[None, :]) / SMOOTHING_DECADES) ** 2)
        # An enormous loss would show wherever its weight is not quite zero.
        bounded = np.minimum(self.losses, MAX_LOSS_RATIO * self.losses[:MIN_POINTS].max())
        smoothed: Float64Array = weights @ bounded / weights.sum(1)
        return smoothed

    @property
    def has_enough_points(self) -> bool:
        """Whether the curve can be smoothed and shown."""
        return len(self.losses) >= MIN_POINTS

    @property
    def suggested_index(self) -> int | None:
        """Index of the suggested learning rate; None if the loss does not clearly fall."""
        if not self.has_enough_points:
            return None
        smoothed, lowest = self.smoothed, int(self.smoothed.argmin())
        highest = int(smoothed[: lowest + 1].argmax())
        fall = smoothed[highest] - smoothed[lowest]
        if fall <= max(MIN_FALL_ERRORS * self._standard_error(lowest), MIN_FALL_SHARE * smoothed[highest]):
            return None
        # The last time that less than half of the fall was done: the loss may dip and rise again before.
        above_half = np.flatnonzero(smoothed[highest : lowest + 1] > smoothed[highest] - fall / 2)
        return (highest + int(above_half[-1]) + 1 + lowest) // 2

    def _standard_error(self, end: int) -> float:
        """Estimate the standard error of a smoothed loss from the differences between consecutive batches."""
        differences = np.diff(self.losses[: max(end, MIN_POINTS) + 1])
        deviation = math.sqrt(float(np.mean(differences**2)) / 2)
        step_decades = float(np.log10(self.rates[-1] / self.rates[0])) / (len(self.rates) - 1)
        batches = max(1.0, 2 * math.sqrt(math.pi) * SMOOTHING_DECADES / step_decades)
        return deviation / math.sqrt(batches)

    def suggestion(self) -> float | None:
        """Return the suggested learning rate with two digits, or None if the loss does not clearly fall."""
        index = self.suggested_index
        return None if index is None else float(f"{self.rates[index]:.1e}")

    def problem(self) -> str:
        """Say as a clause why there is no suggestion, and what to do."""
        if not self.has_enough_points:
            return f"the loss was finite for only {len(self.losses)} batches; try --precision 32"
        return "the loss did not clearly fall; give more photographs, more --batches, or a larger --batch-size"

    def table(self) -> list[str]:
        """Return the lines of a table with a small plot, by ascending learning rate, in ASCII."""
        smoothed, lowest, suggested = self.smoothed, int(self.smoothed.argmin()), self.suggested_index
        marks = {lowest: "lowest"} if suggested is None else {lowest: "lowest", suggested: "suggested"}
        every = max(1, round(len(smoothed) / _TABLE_ROWS))
        rows = {index for index in range(0, len(smoothed), every) if all(abs(index - at) >= every / 2 for at in marks)}
        low = float(smoothed[lowest])
        # Losses far above the first ones, as at the highest rates, would flatten the rest of the plot.
        span = max(1e-9, 1.5 * (float(smoothed[: lowest + 1].max()) - low))
        lines = ["learning rate     loss"]
        for index in sorted(rows | set(marks)):
            column = round((float(smoothed[index]) - low) / span * (_PLOT_WIDTH - 1))
            plot = " " * column + "*" if column < _PLOT_WIDTH else " " * (_PLOT_WIDTH - 1) + ">"
            note = f"<- {marks[index]}" if index in marks else ""
            lines.append(f"{self.rates[index]:>13.1e} {smoothed[index]:>8.3f}  {plot:<{_PLOT_WIDTH}} {note}".rstrip())
        return lines


# Training with rising learning rates ---------------------------------------------------------------------------------

MIN_RATE = 1e-5
MAX_RATE = 1.0
MAX_EPOCHS = 50
"""How often a photograph may be seen: the loss of few photographs, learnt by heart, falls at any rate."""


class LossCollector(FaceGenderModule):
    """Keeps the loss of every batch.

    Lightning's finder keeps a running average of the losses, which underweights the first, and suggests the steepest
    fall by the learning rate itself. Its rates are so much denser at the low end that it always finds it there.

    Attributes:
        losses: The loss of each batch, () float32, still on the device.
        report: Is called with their number after each batch.
    """

    def __init__(self, config: TrainConfig, classes: Sequence[str], train_images: Mapping[str, int]) -> None:
        super().__init__(config, classes, train_images)
        self.losses: list[Tensor] = []
        self.report: Callable[[int], None] = lambda done: None

    def on_train_batch_end(self, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Keep the loss."""
        self.losses.append(outputs["loss"].detach())
        self.report(len(self.losses))


def find_learning_rate(config: TrainConfig, root: Path, batches: int) -> RateCurve:
    """Train a new network on some batches with learning rates from `MIN_RATE` to `MAX_RATE`. Leaves no files.

    Args:
        config: What to train; always on one device.
        root: Where photographs are looked for if the configuration names no folder.
        batches: Number of learning rates to try; fewer are tried if the loss diverges.

    Raises:
        UserError: The configuration, the data or the device cannot be used.
        KeyboardInterrupt: A signal asked to end.
    """
    if os.environ.get("WORLD_SIZE", "1") != "1":
        raise UserError("find-lr works in one process: start it without torchrun")
    config = msgspec.structs.replace(validate(config), devices="1", num_nodes=1, strategy="auto")
    stop = StopSwitch()
    try:
        with signals_handled(stop, lambda: stop.request("SIGHUP")):
            hardware = choose_hardware(config)
            progress = progress_in_sentences(print_error)
            with contextlib.closing(FaceDataModule(config, root, progress=progress)) as data:
                data.prepare()
                epochs = math.ceil(batches / data.steps_per_epoch)
                if epochs > MAX_EPOCHS:
                    raise UserError(
                        f"{sum(data.train_images.values())} photographs to train on are too few for {batches} batches "
                        f"of {config.batch_size}, as each would be seen {epochs} times: give more photographs, a "
                        "smaller --batch-size, or fewer --batches"
                    )
                configure_libraries(config, hardware)
                module = LossCollector(config, CLASSES, data.train_images)
                # Without a terminal `measure_curve` replaces the standard error, because the finder draws a bar there.
                tried = progress_in_sentences(partial(print_error, file=sys.stderr), "learning rates")
                module.report = lambda done: tried("trying", done, batches)
                return measure_curve(module, data, batches, hardware)
    except Stopped:
        raise KeyboardInterrupt from None
    except Exception as error:
        if is_out_of_memory(error):
            raise UserError(describe(error)) from error
        raise


def measure_curve(module: LossCollector, data: FaceDataModule, batches: int, hardware: Hardware) -> RateCurve:
    """Train a module with rising learning rates, then restore its weights."""
    epochs = math.ceil(batches / data.steps_per_epoch) + 1
    # The finder has no switch for its progress bar, which is for terminals only.
    bar_output = sys.stderr if sys.stderr.isatty() else io.StringIO()
    with tempfile.TemporaryDirectory(prefix="facegender-") as folder, contextlib.redirect_stderr(bar_output):
        # Lightning's finder validates after each epoch, whatever its limits, unless no validation is ever due.
        trainer = build_trainer(data.config, hardware, Path(folder), epochs, check_val_every_n_epoch=epochs + 1)
        data.choose_location(trainer.strategy.root_device)
        found = Tuner(trainer).lr_find(
            module, datamodule=data, min_lr=MIN_RATE, max_lr=MAX_RATE, num_training=batches, update_attr=False
        )
    rates = found.results["lr"] if found is not None else []
    return RateCurve.of(rates, torch.stack(module.losses).tolist() if module.losses else [])
