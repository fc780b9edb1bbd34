"""What the network says of every image during an epoch, collected from the passes that happen anyway."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from pytorch_lightning import Trainer
from torch import Tensor

from facegender.interpret.activations import numpy_of
from facegender.runs.predictions import Predictions
from facegender.support.arrays import Float32Array
from facegender.support.errors import UserError

MARGINS_EVERY = 64
"""Steps whose margins are computed at once, as computing them for each step alone takes several times as long."""

MAX_VALUES = 2**24
"""Logits of one validation that are recorded at most: 64 MiB on the device, and of the disk for every epoch."""


class Predicted(NamedTuple):
    """What the network said of the images of a batch.

    Attributes:
        logits: (N, K) float32, detached.
        labels: (N,) int64, on the same device; any that is no class counts as unknown.
        indices: (N,) int64, on any device: position of each image in the list of all; any outside of the list, such
            as -1, leaves the image out.
    """

    logits: Tensor
    labels: Tensor
    indices: Tensor


class ImagePredictions:
    """Collects one epoch after another. Nothing waits for the device, except with several processes at the ends.

    Margins of training images and logits of validation images are kept in tables with a row for each image, whose last
    column is the label; NaN where an image was not seen.

    Args:
        classes: Number of logits of an image, K.
        validation_size: Number of validation images, N; None if it is known only when they have been seen; 0 if they
            are not recorded.
        train_size: Number of training images, M.
        train_positions: See `Source.train_positions`.
    """

    def __init__(
        self,
        classes: int,
        validation_size: int | None,
        train_size: int,
        train_positions: npt.NDArray[np.int64] | None = None,
    ) -> None:
        self._classes = classes
        self._validation_size = validation_size
        self._train_size = train_size
        self._train_positions = train_positions
        self._steps: list[Predicted] = []
        self._margins = _Rows()
        self._validated = _Rows()
        self._validation: Callable[[], Float32Array] | None = None

    def begin_epoch(self, before: Tensor | None) -> None:
        """Forget the epoch before.

        Args:
            before: (M, 2) float32, the table of margins of the part of the epoch that was trained before; ignored if
                the number of images has changed.
        """
        self._steps.clear()
        fits = before is not None and before.shape == (self._train_size, 2)
        self._margins = _Rows(before if fits else None)
        self._validation = None

    def add_step(self, predicted: Predicted) -> None:
        """Keep the margins of a training batch."""
        self._steps.append(predicted)
        if len(self._steps) >= MARGINS_EVERY:
            self._add_margins()

    def _add_margins(self) -> None:
        steps, self._steps = self._steps, []
        if steps:
            logits, labels = (torch.cat([step[column] for step in steps]) for column in (0, 1))
            self._margins.add(_margins(logits, labels), [step.indices for step in steps])

    def begin_validation(self) -> None:
        """Forget the validation before: of several in an epoch the last one counts."""
        self._validated = _Rows()

    def add_batch(self, predicted: Predicted) -> None:
        """Keep the logits of a validation batch."""
        logits, labels, indices = predicted
        if not len(labels):
            return
        if logits.shape[1] != self._classes:
            raise UserError(
                f"the network gives {logits.shape[1]} values for each image, and at the start {self._classes}"
            )
        if logits.numel() + self._validated.values > MAX_VALUES:
            raise UserError(f"one validation has more than {MAX_VALUES} logits")
        known = (labels >= 0) & (labels < self._classes)
        self._validated.add(torch.column_stack([logits, labels.where(known, -1)]), [indices])

    def end_validation(self, trainer: Trainer) -> None:
        """Combine what all processes have seen; they call it together."""
        if self._validation_size == 0:
            return
        self._validation = self._validated.table(trainer, self._validation_size, self._classes + 1)
        self._validated = _Rows()

    def margins(self, trainer: Trainer) -> Callable[[], Float32Array]:
        """The margins of the epoch so far, of all processes, which call it together.

        Returns:
            Makes the (M, 2) table; callable on any thread, where it waits for the device.
        """
        self._add_margins()
        return self._margins.table(trainer, self._train_size, 2, self._train_positions)

    def end_epoch(self, trainer: Trainer, epoch: int, classes: Sequence[str]) -> Callable[[], Predictions] | None:
        """Combine the epoch, of all processes, which call it together.

        Returns:
            Makes what is to be written; callable on any thread. None if nothing was seen.
        """
        margins, validation = self.margins(trainer), self._validation
        train_size = self._train_size if self._margins.values else 0
        if validation is None and not train_size:
            return None

        def predictions() -> Predictions:
            of_train = margins()[:train_size]
            empty = np.full((self._validation_size or 0, self._classes + 1), np.nan, np.float32)
            of_validation = empty if validation is None else validation()
            return Predictions(
                epoch=epoch,
                classes=list(classes)[: self._classes],
                logits=of_validation[:, :-1],
                labels=np.nan_to_num(of_validation[:, -1], nan=-1).astype(np.int64),
                margins=of_train[:, 0],
                train_labels=np.nan_to_num(of_train[:, 1], nan=-1).astype(np.int64),
            )

        return predictions


class _Rows:
    """Rows of numbers that belong to the images of a list; the last column is finite.

    Args:
        before: (N, columns) float32, a table to begin with.

    Attributes:
        values: How many numbers there are.
    """

    def __init__(self, before: Tensor | None = None) -> None:
        self._before = before
        self._rows: list[Tensor] = []
        self._indices: list[Tensor] = []
        self.values = 0 if before is None else before.numel()

    def add(self, rows: Tensor, indices: Sequence[Tensor]) -> None:
        self._rows.append(rows)
        self._indices += indices
        self.values += rows.numel()

    def table(
        self, trainer: Trainer, size: int | None, width: int, positions: npt.NDArray[np.int64] | None = None
    ) -> Callable[[], Float32Array]:
        """Return what makes the (size, width) table: of each image the row that was added last, NaN without any.

        Of an image that several processes have seen, it has their mean.

        Args:
            positions: The row of the table for each index.
        """
        rows = torch.cat(self._rows) if self._rows else torch.empty((0, width))
        indices = torch.cat(self._indices) if self._indices else torch.empty(0, dtype=torch.int64)
        before = self._before

        def own() -> Float32Array:
            at = indices.cpu().numpy()
            if positions is not None:
                at = np.where((at >= 0) & (at < len(positions)), positions[np.clip(at, 0, len(positions) - 1)], -1)
            count = int(at.max(initial=-1)) + 1 if size is None else size
            table: Float32Array = np.full((count + 1, width), np.nan, np.float32)
            if before is not None:
                table[:-1] = before.numpy()
            # The row at the end takes what belongs nowhere. Of an index that occurs twice, numpy keeps the last row.
            table[np.where((at >= 0) & (at < count), at, count)] = numpy_of(rows)
            return table[:-1]

        if trainer.world_size == 1:
            return own
        combined = _mean_of_all(trainer, own())
        return lambda: combined


def _mean_of_all(trainer: Trainer, table: Float32Array) -> Float32Array:
    """Combine the tables of all processes, which call it together."""
    seen = ~np.isnan(table[:, -1:])
    mine: Any = torch.from_numpy(np.hstack([np.where(seen, table, 0), seen]).astype(np.float32))
    total = numpy_of(trainer.strategy.reduce(mine.to(trainer.strategy.root_device), reduce_op="sum"))
    with np.errstate(invalid="ignore"):
        mean: Float32Array = total[:, :-1] / total[:, -1:]  # 0 / 0 is NaN
    return mean


def _margins(logits: Tensor, labels: Tensor) -> Tensor:
    """Compute the logit of the label minus the largest other one.

    Args:
        logits: (N, K) float32.
        labels: (N,) int64.

    Returns:
        (N, 2) float32: the margin, NaN without a label, and the label, -1 without.
    """
    known = (labels >= 0) & (labels < logits.shape[1])
    at = labels.where(known, 0)[:, None]  # on a GPU a label out of range would end the process
    others = logits.scatter(1, at, -torch.inf).amax(1)
    margin = (logits.gather(1, at)[:, 0] - others).where(known, torch.nan)
    return torch.stack([margin, labels.where(known, -1).float()], 1)
