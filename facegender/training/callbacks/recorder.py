"""The callback that reports what training does. It puts reports into a queue and returns; other threads do the rest.

On the training thread it opens no file, draws nothing and does not wait for the device: it hands over tensors, and the
thread that takes them from the queue waits for their numbers. A step costs it microseconds, so it wakes no thread and
asks Lightning nothing there.
"""

from __future__ import annotations

import itertools
import time
from collections import deque
from collections.abc import Callable
from typing import Any

import msgspec
import numpy as np
import torch
from pytorch_lightning import Callback, LightningModule, Trainer
from torch import Tensor

from facegender.data.datamodule import FaceDataModule
from facegender.data.dataset import CLASSES
from facegender.interpret.activations import compute_activations, layer_frames, numpy_of
from facegender.interpret.layers import Layer, maps_of, trace
from facegender.network.model import normalise, parameter_count
from facegender.network.module import FaceGenderModule
from facegender.runs.events import EpochFinished, EpochStarted, LayerInfo, RunStarted
from facegender.runs.frames import Frame
from facegender.runs.networks import RECIPE_NETWORK
from facegender.training.resume import FINISHED_EPOCH, ResumePoint
from facegender.training.run_setup import RunSetup
from facegender.training.session import Sink
from facegender.training.threads.journal import EpochSteps, StepDone

MAX_BACKLOG = 20_000
"""Steps that may wait while the disk does not respond; then the oldest are missing from the journal."""

SUM_EVERY = 64
"""Steps that are added to the epoch's sums at once, as adding each one alone takes several times as long."""

EPOCH_SO_FAR = "epoch_so_far"
"""In a checkpoint saved within an epoch: its loss summed over photographs, correct photographs, photographs."""


class RunRecorder(Callback):
    """Reports a run to a sink: its start, steps, epochs and frames. The photographs must have been prepared.

    It reads which epoch is the best from `Trainer.early_stopping_callback`, which is up to date once validation has
    ended.
    """

    def __init__(self, sink: Sink, setup: RunSetup, data: FaceDataModule, resume: ResumePoint | None) -> None:
        self._sink = sink
        self._setup = setup
        self._config = setup.config
        self._data = data
        self._probes = data.probes(setup.config.probes)
        self._resume = resume
        self._layers: list[Layer] = []
        self._images: Tensor | None = None
        self._epoch: int | None = None
        self._learning_rate = 0.0
        self._sums: Tensor | None = None
        self._unsummed: list[StepDone] = []
        self._steps = EpochSteps(0, 0, 0.0, 1, deque())
        self._sums_before: list[float] | None = None
        self._finished: Callable[[], EpochFinished] | None = None
        self._epoch_began = self._train_ended = 0.0
        self._images_before = 0

    # State in checkpoints ---------------------------------------------------------------------------------------------

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Add the sums of the epoch so far, of all devices, or the metrics of the epoch that just ended."""
        checkpoint[EPOCH_SO_FAR] = None if self._sums is None else self._total(trainer).tolist()
        checkpoint[FINISHED_EPOCH] = None if self._finished is None else msgspec.to_builtins(self._finished())

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Continue with these sums on the first device, as the number of devices may have changed."""
        sums = checkpoint[EPOCH_SO_FAR]
        if sums is not None:
            loss, correct, images = map(float, sums)
            self._sums_before = [loss, correct, images] if trainer.is_global_zero else None

    def _total(self, trainer: Trainer) -> Tensor:
        """(3,) the epoch's loss summed over photographs, correct photographs and photographs, of all devices.

        All processes of a run must call it together.
        """
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
            counted = rows.isfinite().all(1) | (self._config.on_nan != "skip")
            self._sums += torch.cat([rows.where(counted[:, None], 0).sum(0), counted.sum(0, keepdim=True) * images])

    # Hooks of training ------------------------------------------------------------------------------------------------

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Report the start and, if the run was resumed, the frame that a crash has cost."""
        assert isinstance(pl_module, FaceGenderModule)
        config, data, device = self._config, self._data, pl_module.device
        self._trace(pl_module)
        self._sink.put(
            RunStarted(
                time=time.time(),
                run=self._setup.folder.name,
                epochs=config.epochs,
                steps_per_epoch=int(trainer.num_training_batches),
                batch_size=config.batch_size,
                start_epoch=trainer.current_epoch,
                start_step=trainer.global_step,
                resumed=self._setup.resumed,
                recipe=config.recipe,
                network="" if config.network == RECIPE_NETWORK else config.network,
                device=str(device),
                device_name=torch.cuda.get_device_name(device) if device.type == "cuda" else device.type.upper(),
                precision=trainer.precision.partition("-")[0],
                image_size=config.image_size,
                parameters=parameter_count(pl_module.network),
                train_images=data.train_images,
                validation_images=data.validation_images,
                skipped_files=len(data.skipped),
                demo=config.demo,
                patience=config.patience,
                visualize_every=config.visualize_every,
                layers=[_layer_info(layer) for layer in self._layers],
            )
        )
        if self._resume and self._resume.missing_frame is not None:
            self.record_frame(pl_module, self._resume.missing_frame, trainer.global_step)
        if self._resume and self._resume.batch:  # Lightning calls `on_train_epoch_start` for whole epochs only
            self._begin_epoch(trainer, pl_module, self._resume.batch)

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Report the start of an epoch."""
        self._begin_epoch(trainer, pl_module, 0)

    def _begin_epoch(self, trainer: Trainer, pl_module: LightningModule, batches_before: int) -> None:
        now = time.perf_counter()
        self._epoch, self._epoch_began, self._train_ended = trainer.current_epoch, now, now
        self._learning_rate = float(trainer.optimizers[0].param_groups[0]["lr"])
        # Single precision would lose photographs above 16 million, and digits of the mean long before.
        dtype = torch.float32 if pl_module.device.type == "mps" else torch.float64
        sums = self._sums_before or [0.0, 0.0, 0.0]
        self._sums, self._images_before = torch.tensor(sums, dtype=dtype, device=pl_module.device), int(sums[2])
        self._sums_before = self._finished = None
        self._unsummed.clear()
        # Only the first process of a run on several devices has a thread that takes the steps out again.
        done = deque[StepDone](maxlen=MAX_BACKLOG if trainer.is_global_zero else 0)
        self._steps = EpochSteps(self._epoch, trainer.global_step - batches_before, now, trainer.world_size, done)
        self._sink.put(EpochStarted(time=time.time(), epoch=self._epoch, learning_rate=self._learning_rate))
        self._sink.put(self._steps)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Report a step."""
        step = StepDone(batch_idx + 1, outputs["images"], outputs["loss_sum_and_correct"], time.perf_counter())
        self._unsummed.append(step)
        if len(self._unsummed) >= SUM_EVERY:
            self._sum_up()
        self._steps.done.append(step)

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Take the time at which training paused, after the device has done what was launched."""
        if pl_module.device.type == "cuda":
            torch.cuda.synchronize(pl_module.device)
        self._train_ended = time.perf_counter()

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Record a frame if one is due."""
        if self._config.frame_is_due(trainer.current_epoch):
            self.record_frame(pl_module, trainer.current_epoch, trainer.global_step)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Report the end of an epoch."""
        assert isinstance(pl_module, FaceGenderModule)
        stopping = trainer.early_stopping_callback
        known: dict[str, Any] = {
            "time": time.time(),
            "epoch": trainer.current_epoch,
            "step": trainer.global_step,
            "classes": list(CLASSES),
            "learning_rate": self._learning_rate,
            "seconds": time.perf_counter() - self._epoch_began,
            "best": stopping is not None and stopping.wait_count == 0,
            "epochs_since_best": stopping.wait_count if stopping is not None and self._config.patience else 0,
        }
        sums, before, trained_s = self._total(trainer), self._images_before, self._train_ended - self._epoch_began
        tensors = dict(pl_module.validation_results)

        def finished() -> EpochFinished:
            loss, correct, images = sums.tolist()
            results: dict[str, Any] = {name: tensor.tolist() for name, tensor in tensors.items()}
            return EpochFinished(
                **known,
                train_loss=loss / images if images else float("nan"),
                train_accuracy=correct / images if images else float("nan"),
                validation_loss=results.pop("loss"),
                validation_accuracy=results.pop("accuracy"),
                images_per_second=(images - before) / trained_s if trained_s > 0 else 0.0,
                **results,
            )

        self._finished = finished
        self._sink.put(finished)
        self._sums = None

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Record a frame of the last epoch also where the run ended early."""
        config, epoch = self._config, self._epoch
        if epoch is not None and config.visualize_every and not config.frame_is_due(epoch):
            self.record_frame(pl_module, epoch, trainer.global_step, last=True)

    # Frames -----------------------------------------------------------------------------------------------------------

    def _trace(self, pl_module: FaceGenderModule) -> None:
        images = torch.from_numpy(np.ascontiguousarray(self._probes.images)).permute(0, 3, 1, 2)
        self._images = normalise(images.to(pl_module.device))
        self._layers = trace(pl_module.eval_network, self._images[:1])

    def record_frame(self, pl_module: LightningModule, epoch: int, step: int, *, last: bool = False) -> None:
        """Record the probes' feature maps with the weights of an epoch, after ``step`` optimiser steps."""
        assert isinstance(pl_module, FaceGenderModule)
        if self._images is None:
            self._trace(pl_module)
        assert self._images is not None
        logits, activations = compute_activations(pl_module.eval_network, self._images, self._layers)
        probabilities = logits.float().softmax(1)

        def frame() -> Frame:
            # Computes nothing with torch: on another thread torch would start a second set of worker threads, and more
            # workers than processors slow down those of the training thread.
            return Frame(
                epoch=epoch,
                step=step,
                images=self._probes.images,
                labels=self._probes.labels,
                probabilities=numpy_of(probabilities),
                classes=CLASSES,
                probe_names=self._probes.names,
                layers=layer_frames(activations),
                maps_of=maps_of(self._layers),
            )

        self._sink.submit(epoch, frame, last=last or epoch + 1 == self._config.epochs)


def _layer_info(layer: Layer) -> LayerInfo:
    _, depth, height, width = layer.conv.weight.shape
    return LayerInfo(name=layer.name, channels=layer.conv.out_channels, size=layer.size, kernel=(depth, height, width))
