"""What a `RunRecorder` has to know of the training that it watches, and what differs between two kinds of training.

`OwnSource` is for ``facegender train``, `ScriptSource` for any LightningModule in somebody's own script.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from pytorch_lightning import LightningModule, Trainer
from torch import Tensor, nn

from facegender.runs.config import TrainConfig
from facegender.runs.events import Status
from facegender.runs.requests import SetRequest
from facegender.support.arrays import UInt8Array
from facegender.training.callbacks.image_predictions import Predicted
from facegender.training.session import Sink


@dataclass(frozen=True)
class ProbeBatch:
    """The images whose feature maps are kept.

    Attributes:
        inputs: (P, C, H, W) as the network takes them, on its device.
        images: (P, H, W, 3) uint8, the same as pictures to show.
        labels: (P,) int64.
        names: What to call each.
    """

    inputs: Tensor
    images: UInt8Array
    labels: npt.NDArray[np.int64]
    names: Sequence[str]


class MeasuredStep(NamedTuple):
    """A training step.

    Attributes:
        images: How many there were.
        loss_sum_and_correct: (2,) float32: the loss summed over them, and how many were classified as labelled.
        is_trained: It was trained, rather than skipped.
        predicted: What the network said of the images; None if their positions in a list are not known.
    """

    images: int
    loss_sum_and_correct: Tensor
    is_trained: bool
    predicted: Predicted | None = None


class Source:
    """What a recorder asks about the training. Methods that raise NotImplementedError have to be overridden.

    Attributes:
        sink: Takes the reports; None while nothing is recorded.
        run: Name of the run folder.
        config: Says how many epochs are planned, 0 if nobody knows, and which of them get a frame.
        missing_frame: Epoch whose frame was lost in a crash; it is recorded before a resumed run continues.
        validation_size: Number of validation images if a sampler divides them among processes and repeats some.
        logits_per_image: K, if predictions of single images are recorded; else 0.
        validation_listed: Number of validation images whose predictions are recorded; None counts them.
        train_listed: Number of training images, whose margins are recorded if batches tell their indices.
        train_positions: For each index that batches tell, the position of the image in the list of training images;
            None if indices are positions.
        tolerant: An error of the recorder becomes a notice in the journal. Otherwise it ends the training, which is
            right where recording is what the program is for.
        metrics_come_late: The module may log metrics of an epoch after the callbacks' `on_train_epoch_end`.
        skip_not_finite: Steps whose loss is not finite do not count for the means of an epoch.
    """

    sink: Sink | None = None
    run = ""
    config = TrainConfig()
    missing_frame: int | None = None
    validation_size: int | None = None
    logits_per_image = 0
    validation_listed: int | None = 0
    train_listed = 0
    train_positions: npt.NDArray[np.int64] | None = None
    tolerant = False
    metrics_come_late = False
    skip_not_finite = False

    def open(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begin a run, where the recorder owns the run folder; sets `sink`, `run` and `config`."""

    def close(self, status: Status, error: str = "") -> None:
        """End a run that `open` began, and remove all hooks; nothing is recorded from then on."""

    def eval_network(self, pl_module: LightningModule) -> nn.Module:
        """The network whose layers are recorded; it maps `ProbeBatch.inputs` to logits."""
        return pl_module

    def trained_network(self, pl_module: LightningModule) -> nn.Module:
        """The network that is trained, whose modules have the same names as those of `eval_network`."""
        return pl_module

    def probes(self, pl_module: LightningModule, batch: Any) -> ProbeBatch | None:
        """Choose the probes.

        Args:
            batch: The first training batch, or None before it.

        Returns:
            None if there are no images, or if they have to wait for the first training batch.
        """
        raise NotImplementedError

    def isolated(self, pl_module: LightningModule) -> contextlib.AbstractContextManager[None]:
        """Keep the forward passes of probes from changing anything that training depends on."""
        return contextlib.nullcontext()

    def begin(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Prepare to measure, just before the first batch."""

    def description(self, trainer: Trainer, pl_module: LightningModule) -> dict[str, Any]:
        """The fields of `RunStarted` that the recorder does not know itself."""
        raise NotImplementedError

    def class_names(self) -> list[str]:
        """Names of the classes in the order of the labels."""
        raise NotImplementedError

    def steps_done(self, trainer: Trainer) -> int:
        """Steps since the run began."""
        raise NotImplementedError

    def before_batch(self) -> None:
        """Prepare for a training batch, or one of the first validation loader."""

    def measure_step(self, trainer: Trainer, outputs: Any, batch: Any, batch_idx: int) -> MeasuredStep:
        """Measure a training step without waiting for the device."""
        raise NotImplementedError

    def stop_if_requested(self, trainer: Trainer, batch_idx: int) -> None:
        """End training after this batch if somebody asked for it; all processes of a run call it together."""

    def save_checkpoint(self, trainer: Trainer, report: Callable[[bool, str], None]) -> None:
        """Save a checkpoint on request; all processes of a run call it together.

        Args:
            report: Called once, from any thread, with whether it was saved, and the text of the answer.
        """
        raise NotImplementedError

    def epochs_problem(self, trainer: Trainer, epochs: int) -> str:
        """Return why the run cannot train this many epochs in total, as a clause; empty if it can."""
        raise NotImplementedError

    def set_epochs(self, trainer: Trainer, pl_module: LightningModule, epochs: int) -> None:
        """Train this many epochs in total; only called if `epochs_problem` is empty."""
        raise NotImplementedError

    def changes_to_store(self, trainer: Trainer, request: SetRequest) -> Callable[[], str]:
        """Collect what a resumed run must know about a request that was carried out.

        Returns:
            A function that stores it, for a thread that may wait for the disk; it returns what went wrong as a clause,
            empty if nothing did.
        """
        return str

    def image_count(self, batch: Any) -> int:
        """Number of images in a batch."""
        raise NotImplementedError

    def on_validation_start(self) -> None:
        """Forget the last validation."""

    def on_validation_batch(
        self, trainer: Trainer, outputs: Any, batch: Any, indices: Tensor | None
    ) -> Predicted | None:
        """Measure a batch of the first validation loader, also one of the sanity check.

        Args:
            outputs: What the validation step returned.
            indices: See `RunRecorder.validation_indices`; None if the images could not be counted.

        Returns:
            What the network said of its images, if that is known.
        """
        return None

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Compute the results of a validation; all processes of a run call it together."""

    def epoch_results(
        self, trainer: Trainer, pl_module: LightningModule
    ) -> Callable[[Mapping[str, float]], dict[str, Any]]:
        """Take the results of the epoch that ends.

        Returns:
            Makes the validation's fields of `EpochFinished`, ``best`` and ``epochs_since_best``, given the metrics that
            the module logged. It is called on another thread and may wait for the device.
        """
        raise NotImplementedError

    def logged_metrics(self, trainer: Trainer) -> dict[str, Tensor]:
        """What the training module logged in the epoch that ended last, each () of any type, by name."""
        return {}
