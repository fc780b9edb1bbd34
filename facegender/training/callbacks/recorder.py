"""The callback that reports what training does. It puts things on a queue and returns; `writer` does the rest.

On the training thread it opens no file, draws nothing and waits for the device once an epoch: tensors are handed over
as they are, and whoever takes them from the queue waits for their numbers. What it does at a step is counted in
microseconds, so it wakes nobody and asks Lightning nothing there.
"""

from __future__ import annotations

import itertools
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from pytorch_lightning import Callback, LightningModule, Trainer
from torch import Tensor

from facegender.data.datamodule import Probes
from facegender.interpret.activations import Activations, compute_activations, layer_frames, numpy_of
from facegender.interpret.layers import Layer, filters, maps_of, trace
from facegender.network.model import normalise
from facegender.network.module import FaceGenderModule
from facegender.runs.config import TrainConfig
from facegender.runs.events import EpochFinished, EpochStarted, LayerInfo, Notice, RunStarted
from facegender.runs.frames import Frame
from facegender.training.threads.frames import PendingFrame
from facegender.training.threads.journal import EpochSteps, Item, StepDone

MAX_BACKLOG = 20_000
"""Steps that may wait for a writer whose disk does not answer."""

SUMMED_EVERY = 64
"""Steps whose pairs are added to the epoch's sums at once; alone, an addition takes several times as long."""

EPOCH_SO_FAR = "epoch_so_far"
"""In a checkpoint of the middle of an epoch: its loss summed over photographs, correct photographs, photographs."""


class Sink(Protocol):
    """Where the recorder's reports go; no method may block."""

    def put(self, item: Item) -> None:
        """Take a report."""

    def submit(self, frame: PendingFrame, *, last: bool = False) -> bool:
        """Take a frame, unless too many wait; the last one in any case."""


@dataclass(frozen=True)
class RunInfo:
    """What is trained, as far as the journal wants to know.

    Attributes:
        precision: "32", "bf16" or "16".
        parameters: Of the network.
        train_images: Photographs per class.
        validation_images: The same.
        missing_frame: The epoch that a resumed run goes on from the end of, if its frame was never written.
        batches_before: Of the epoch that a resumed run goes on in the middle of.
    """

    run: str
    config: TrainConfig
    resumed: bool
    classes: Sequence[str]
    precision: str
    parameters: int
    train_images: Mapping[str, int]
    validation_images: Mapping[str, int]
    skipped_files: int
    probes: Probes
    missing_frame: int | None = None
    batches_before: int = 0


@dataclass(frozen=True)
class FinishedEpoch:
    """An epoch's end, its metrics still on the device.

    Attributes:
        sums: (3,) over all devices: loss summed over photographs, correct photographs, photographs.
        images_before: Of those photographs the ones that were trained on before the run was resumed.
        results: As `FaceGenderModule.validation_results`.
        trained_s: What training took, without validation.
    """

    time: float
    epoch: int
    step: int
    sums: Tensor
    images_before: int
    results: Mapping[str, Tensor]
    classes: Sequence[str]
    learning_rate: float
    trained_s: float
    seconds: float
    best: bool
    epochs_since_best: int

    def event(self) -> EpochFinished:
        """Waits for the numbers."""
        loss, correct, images = self.sums.tolist()
        results: dict[str, Any] = {name: tensor.tolist() for name, tensor in self.results.items()}
        return EpochFinished(
            time=self.time,
            epoch=self.epoch,
            step=self.step,
            train_loss=loss / images if images else float("nan"),
            train_accuracy=correct / images if images else float("nan"),
            validation_loss=results["loss"],
            validation_accuracy=results["accuracy"],
            classes=list(self.classes),
            precision=results["precision"],
            recall=results["recall"],
            f1=results["f1"],
            macro_f1=results["macro_f1"],
            confusion=results["confusion"],
            learning_rate=self.learning_rate,
            images_per_second=(images - self.images_before) / self.trained_s if self.trained_s > 0 else 0.0,
            seconds=self.seconds,
            best=self.best,
            epochs_since_best=self.epochs_since_best,
        )


@dataclass(frozen=True)
class ProbeFrame:
    """A forward pass of the probes and a copy of the filters, still on the device.

    Nothing is computed with torch where it is turned into a `Frame`: in a thread of its own torch would have threads of
    its own too, and those of the training thread, which then are more than there are processors, wait less eagerly.
    """

    epoch: int
    step: int
    probes: Probes
    classes: Sequence[str]
    activations: Activations
    probabilities: Tensor
    filters: Mapping[str, Tensor]
    maps_of: dict[str, str]

    def frame(self) -> Frame:
        """Waits for the tensors and copies them."""
        return Frame(
            epoch=self.epoch,
            step=self.step,
            images=self.probes.images,
            labels=self.probes.labels,
            probabilities=numpy_of(self.probabilities),
            classes=self.classes,
            probe_names=self.probes.names,
            layers=layer_frames(self.activations, self.filters),
            maps_of=self.maps_of,
        )


def frame_is_due(config: TrainConfig, epoch: int) -> bool:
    """Whether an epoch's feature maps and filters are kept; those of the last one always, unless none are."""
    every = config.visualize_every
    return bool(every) and (epoch % every == 0 or epoch + 1 == config.epochs)


def network_layers(layers: Sequence[Layer]) -> list[LayerInfo]:
    """The traced convolutions as the journal lists them."""
    return [
        LayerInfo(
            name=layer.name,
            channels=layer.conv.out_channels,
            size=layer.size,
            kernel=(layer.conv.weight.shape[1], layer.conv.weight.shape[2], layer.conv.weight.shape[3]),
        )
        for layer in layers
    ]


class RunRecorder(Callback):
    """Reports a run to a sink.

    Args:
        sink: Takes the reports.
        info: What is trained.
        improved: Tells whether the validation that just ended is the best so far.
        epochs_since_best: Tells how much of the run's patience is used up, in epochs.
    """

    def __init__(
        self, sink: Sink, info: RunInfo, improved: Callable[[], bool], epochs_since_best: Callable[[], int] = lambda: 0
    ) -> None:
        self._sink = sink
        self._info = info
        self._improved = improved
        self._epochs_since_best = epochs_since_best
        self._layers: list[Layer] = []
        self._images: Tensor | None = None
        self._epoch: int | None = None
        self._learning_rate = 0.0
        self._sums: Tensor | None = None
        self._unsummed: list[StepDone] = []
        self._steps = EpochSteps(0, 0, 0.0, 1, deque())
        self._carried: list[float] | None = None
        self._epoch_began = self._train_ended = 0.0
        self._images_before = 0
        self._dropped = 0

    # What a checkpoint in the middle of an epoch has to remember, so that the epoch's means are those of all its steps.

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Adds the sums of the epoch so far, of all devices."""
        checkpoint[EPOCH_SO_FAR] = None if self._sums is None else self._total(trainer).tolist()

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Takes the sums up again, on the first device, as there may be another number of devices now."""
        if trainer.is_global_zero:
            self._carried = checkpoint.get(EPOCH_SO_FAR)

    def _total(self, trainer: Trainer) -> Tensor:
        """The epoch's sums over all devices, as in `FinishedEpoch`. All processes of a run must ask at once."""
        self._sum_up()
        assert self._sums is not None
        total: Tensor = trainer.strategy.reduce(self._sums.clone(), reduce_op="sum")
        return total

    def _sum_up(self) -> None:
        steps, self._unsummed = self._unsummed, []
        # Batches of one size are summed together: a size for each would have to be copied to the device.
        for images, same in itertools.groupby(steps, key=lambda step: step.images):
            assert self._sums is not None
            rows = torch.stack([step.loss_sum_and_correct for step in same]).to(self._sums.dtype)
            counted = rows.isfinite().all(1) | (self._info.config.on_nan != "skip")
            self._sums += torch.cat([rows.where(counted[:, None], 0).sum(0), counted.sum(0, keepdim=True) * images])

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Finds the layers and reports the beginning."""
        assert isinstance(pl_module, FaceGenderModule)
        info, config, device = self._info, self._info.config, pl_module.device
        images = torch.from_numpy(np.ascontiguousarray(info.probes.images)).permute(0, 3, 1, 2)
        self._images = normalise(images.to(device))
        self._layers = trace(pl_module.eval_network, self._images[:1])
        self._sink.put(
            RunStarted(
                time=time.time(),
                run=info.run,
                epochs=config.epochs,
                steps_per_epoch=int(trainer.num_training_batches),
                batch_size=config.batch_size,
                start_epoch=trainer.current_epoch,
                start_step=trainer.global_step,
                resumed=info.resumed,
                recipe=config.recipe,
                device=str(device),
                device_name=torch.cuda.get_device_name(device) if device.type == "cuda" else device.type.upper(),
                precision=info.precision,
                image_size=config.image_size,
                parameters=info.parameters,
                train_images=dict(info.train_images),
                validation_images=dict(info.validation_images),
                skipped_files=info.skipped_files,
                demo=config.demo,
                patience=config.patience,
                visualize_every=config.visualize_every,
                layers=network_layers(self._layers),
            )
        )
        if info.missing_frame is not None:
            self._take_frame(trainer, pl_module, info.missing_frame)
        if info.batches_before:  # Lightning tells of the start of whole epochs only
            self._begin_epoch(trainer, pl_module, info.batches_before)

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Reports an epoch's beginning."""
        self._begin_epoch(trainer, pl_module, 0)

    def _begin_epoch(self, trainer: Trainer, pl_module: LightningModule, batches_before: int) -> None:
        now = time.perf_counter()
        self._epoch, self._epoch_began, self._train_ended = trainer.current_epoch, now, now
        self._learning_rate = float(trainer.optimizers[0].param_groups[0]["lr"])
        # Single precision would lose photographs above 16 million and digits of the mean long before.
        dtype = torch.float32 if pl_module.device.type == "mps" else torch.float64
        self._sums = torch.zeros(3, dtype=dtype, device=pl_module.device)
        self._unsummed.clear()
        self._images_before = 0
        if self._carried:
            self._images_before = int(self._carried[2])
            self._sums += self._sums.new_tensor(self._carried)
            self._carried = None
        # Only the first process of a run on several devices has a writer that would take them out again.
        done = deque[StepDone](maxlen=None if trainer.is_global_zero else 0)
        self._steps = EpochSteps(self._epoch, trainer.global_step - batches_before, now, trainer.world_size, done)
        self._sink.put(EpochStarted(time=time.time(), epoch=self._epoch, learning_rate=self._learning_rate))
        self._sink.put(self._steps)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Reports a step."""
        step = StepDone(batch_idx + 1, outputs["images"], outputs["loss_sum_and_correct"], time.perf_counter())
        self._unsummed.append(step)
        if len(self._unsummed) >= SUMMED_EVERY:
            self._sum_up()
        waiting = self._steps.done
        if len(waiting) > MAX_BACKLOG:
            self._dropped += 1
            return
        if self._dropped:
            text = f"{self._dropped} steps are missing from the journal: the disk had not caught up"
            self._sink.put(Notice(time=time.time(), level="warning", text=text))
            self._dropped = 0
        waiting.append(step)

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Notes when training paused, once the device is at rest: what is launched is not yet done."""
        if pl_module.device.type == "cuda":
            torch.cuda.synchronize(pl_module.device)
        self._train_ended = time.perf_counter()

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Runs the probes through the network, if it is this epoch's turn."""
        assert isinstance(pl_module, FaceGenderModule)
        if frame_is_due(self._info.config, trainer.current_epoch):
            self._take_frame(trainer, pl_module, trainer.current_epoch)

    def _take_frame(self, trainer: Trainer, pl_module: FaceGenderModule, epoch: int, *, last: bool = False) -> None:
        assert self._images is not None
        activations = compute_activations(pl_module.eval_network, self._images, self._layers)
        self._sink.submit(
            ProbeFrame(
                epoch=epoch,
                step=trainer.global_step,
                probes=self._info.probes,
                classes=self._info.classes,
                activations=activations,
                probabilities=activations.logits.float().softmax(1),
                filters=filters(self._layers),
                maps_of=maps_of(self._layers),
            ),
            last=last or epoch + 1 == self._info.config.epochs,
        )

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Takes the last epoch's frame also where the run ended before the epochs that were planned."""
        assert isinstance(pl_module, FaceGenderModule)
        config, epoch = self._info.config, self._epoch
        if epoch is not None and config.visualize_every and not frame_is_due(config, epoch):
            self._take_frame(trainer, pl_module, epoch, last=True)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Reports an epoch's end."""
        assert isinstance(pl_module, FaceGenderModule)
        assert self._sums is not None
        assert self._epoch is not None
        now = time.time()
        self._sink.put(
            FinishedEpoch(
                time=now,
                epoch=self._epoch,
                step=trainer.global_step,
                sums=self._total(trainer),
                images_before=self._images_before,
                results=dict(pl_module.validation_results),
                classes=self._info.classes,
                learning_rate=self._learning_rate,
                trained_s=self._train_ended - self._epoch_began,
                seconds=time.perf_counter() - self._epoch_began,
                best=self._improved(),
                epochs_since_best=self._epochs_since_best(),
            )
        )
        self._sums = None
