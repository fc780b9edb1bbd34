"""The sums behind an epoch's mean loss and accuracy, on the device and without waiting for it."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import torch
from pytorch_lightning import Trainer
from torch import Tensor

from facegender.training.threads.journal import StepDone

SUM_EVERY = 64
"""Steps that are added to the epoch's sums at once, as adding each one alone takes several times as long."""


class EpochSums:
    """Adds up the steps of one epoch.

    Args:
        before: Loss summed over images, correct images and images of the part of the epoch that was trained before.
        skip_not_finite: Steps whose loss is not finite do not count.
    """

    def __init__(self, device: torch.device, before: Sequence[float], *, skip_not_finite: bool) -> None:
        # Single precision would lose photographs above 16 million, and digits of the mean long before.
        dtype = torch.float32 if device.type == "mps" else torch.float64
        self._sums = torch.tensor(before, dtype=dtype, device=device)
        self._skip_not_finite = skip_not_finite
        self._unsummed: list[StepDone] = []

    def add(self, step: StepDone) -> None:
        """Count a step."""
        self._unsummed.append(step)
        if len(self._unsummed) >= SUM_EVERY:
            self._sum_up()

    def total(self, trainer: Trainer) -> Tensor:
        """(3,) loss summed over images, correct images and images, of all devices.

        All processes of a run must call it together.
        """
        self._sum_up()
        total: Tensor = trainer.strategy.reduce(self._sums.clone(), reduce_op="sum")
        return total

    def _sum_up(self) -> None:
        steps, self._unsummed = self._unsummed, []
        # Batches of one size are summed together: a size for each would have to be copied to the device.
        for images, same in itertools.groupby(steps, key=lambda step: step.images):
            rows = torch.stack([step.loss_sum_and_correct for step in same]).to(self._sums.dtype)
            counted = rows.isfinite().all(1) | (not self._skip_not_finite)
            self._sums += torch.cat([rows.where(counted[:, None], 0).sum(0), counted.sum(0, keepdim=True) * images])
