"""What a recorder knows of the training of any LightningModule, and the run folder that it makes for it."""

from __future__ import annotations

import contextlib
import random
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import torch
import torch.nn.functional as F
from pytorch_lightning import LightningModule, Trainer
from pytorch_lightning.accelerators import CUDAAccelerator
from pytorch_lightning.strategies import DDPStrategy, SingleDeviceStrategy
from torch import Tensor, nn
from torch.utils.data import DistributedSampler
from torchmetrics import MeanMetric, MetricCollection

from facegender.network.metrics import classification_metrics
from facegender.network.model import parameter_count
from facegender.runs.config import TrainConfig
from facegender.runs.events import Status
from facegender.runs.photographs import write_photographs
from facegender.support.errors import UserError, print_error
from facegender.training.callbacks.batches import (
    Levels,
    first_of_each_class,
    indices_of,
    inputs_and_labels,
    pictures,
)
from facegender.training.callbacks.captured_logits import CapturedLogits, modules_with_logits
from facegender.training.callbacks.checkpoints import STOP_CHECK_STEPS
from facegender.training.callbacks.image_predictions import Predicted
from facegender.training.callbacks.loaders import (
    first_loader,
    image_count,
    image_order,
    listed_photographs,
    positions_in_subset,
)
from facegender.training.callbacks.source import MeasuredStep, ProbeBatch, Source
from facegender.training.failures import reason
from facegender.training.run_setup import remove_untrained, set_up_script
from facegender.training.session import Session, Sink

REQUESTED_CHECKPOINT = "requested.ckpt"

MAX_CONFUSION_CLASSES = 100
"""With more classes the journal has no confusion matrix, which would take megabytes an epoch."""


class ScriptSource(Source):
    """Reads losses, predictions and metrics from what a LightningModule does anyway.

    The arguments are those of `RunRecorder`.
    """

    tolerant = True
    metrics_come_late = True

    def __init__(
        self,
        name: str,
        classes: Sequence[str],
        root: Path,
        probes: int,
        visualize_every: int,
        mean: Levels,
        std: Levels,
    ) -> None:
        self._name = name
        self._classes = list(classes)
        self._root = root
        self._probe_count = probes
        self._visualize_every = visualize_every
        self._mean, self._std = mean, std
        self._captured = CapturedLogits()
        self._forget()

    def _forget(self) -> None:
        self._noted: set[str] = set()
        self._candidates: list[tuple[Tensor, Tensor, list[str]]] = []
        self._sanity_images = 0
        self._example: Tensor | None = None
        self._batch_size = self._steps = 0
        self.validation_size = self.train_positions = None
        self.logits_per_image = self.train_listed = self.validation_listed = 0
        self._names = self._classes
        self._metrics: MetricCollection | None = None
        self._mean_loss: MeanMetric | None = None
        self._predicted: list[tuple[Tensor, Tensor, Tensor]] = []
        self._results: dict[str, Tensor] | None = None
        self._validated = self._stopping = self._has_begun = False
        self._has_logits = True
        self._best = -1.0

    def _note(self, text: str) -> None:
        """Say something in the journal, once."""
        if text not in self._noted and self.sink is not None:
            self._noted.add(text)
            self.sink.notice(text, "warning")

    # The run folder ---------------------------------------------------------------------------------------------------

    def open(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Make the run folder and start its threads, in the first process. A folder that cannot be made is reported."""
        self._forget()
        self.sink = Sink()  # also where nothing is recorded: the processes of a run wait for each other at the ends
        self.config = TrainConfig(
            epochs=max(0, trainer.max_epochs or 0), probes=self._probe_count, visualize_every=self._visualize_every
        )
        self.run = self._name
        if not trainer.is_global_zero:
            return
        try:
            folder = set_up_script(self.config, self._root, self._name, sys.argv[0] or "an interactive session")
        except (UserError, OSError) as error:
            print_error(f"run {self._name} is not recorded, training continues: {reason(error)}")
            return
        self.run = folder.name
        self.sink = session = Session(folder)
        session.stop.preparing = False
        session.start()
        if isinstance(trainer.accelerator, CUDAAccelerator):
            session.watch(trainer.device_ids)

    def close(self, status: Status, error: str = "") -> None:
        """Write how the run ended, and remove the hooks."""
        self._captured.remove()
        sink, self.sink = self.sink, None
        if isinstance(sink, Session):
            lost = sink.stop.error
            if lost:
                status, error = "failed", lost
            elif status == "completed" and self._stopping:
                status = "stopped"
            try:
                if status == "completed" and not self._has_begun:  # `Trainer.fit` had nothing left to train
                    sink.close()
                    remove_untrained(sink.folder)
                    sink.folder.lock.release()
                else:
                    sink.close(status, error)
            except Exception as failure:  # must not fail a training that has ended well
                print_error(f"run {self.run} could not be closed: {reason(failure)}")

    def stop_if_requested(self, trainer: Trainer, batch_idx: int) -> None:
        """Set `Trainer.should_stop` after a request, in all processes at the same batch."""
        stop = self.sink.stop if isinstance(self.sink, Session) else None
        requested = stop is not None and stop.requested and not stop.error
        if trainer.world_size > 1:
            if batch_idx % STOP_CHECK_STEPS:
                return
            requested = trainer.strategy.reduce_boolean_decision(requested, all=False)
        if requested and not self._stopping:
            self._stopping = trainer.should_stop = True
            self._note("stop requested: training ends after this batch")
        if stop is not None and stop.error and stop.error not in self._noted:
            self._noted.add(stop.error)
            print_error(f"run {self.run} is recorded no longer, training continues: {stop.error}")

    def save_checkpoint(self, trainer: Trainer, report: Callable[[bool, str], None]) -> None:
        """Save Lightning's checkpoint beside the journal, under a name that this program does not take for its own."""
        folder = self.sink.folder if isinstance(self.sink, Session) else None
        path = trainer.strategy.broadcast(None if folder is None else folder.path / REQUESTED_CHECKPOINT)
        if path is None:
            return
        step = self._steps
        try:
            trainer.save_checkpoint(path)
        except OSError as error:
            report(False, f"{path.name} could not be saved: {reason(error)}")
        else:
            report(True, f"{path.name} after step {step} is saved; trainer.fit(..., ckpt_path=...) resumes from it")

    def epochs_problem(self, trainer: Trainer, epochs: int) -> str:
        """The script says how long it trains, and may have planned its schedule for that."""
        return "the number of epochs of this run is decided by its script: change max_epochs of its Trainer"

    # Looking inside ---------------------------------------------------------------------------------------------------

    def probes(self, pl_module: LightningModule, batch: Any) -> ProbeBatch | None:
        """Choose images of the sanity check if they are of several classes, else of the first training batch."""
        if not isinstance(pl_module.trainer.strategy, SingleDeviceStrategy | DDPStrategy):
            raise UserError("the weights are divided among devices (use the strategy ddp)")
        if batch is not None:
            inputs, labels = inputs_and_labels(batch)
            self._example, self._batch_size = inputs[:1], len(inputs)
            labels_seen = {label for _, labels, _ in self._candidates for label in labels.tolist()}
            if inputs.ndim == 4 and not (labels_seen and len(set(labels.tolist())) == 1):
                names = [f"training image {number}" for number in range(1, len(inputs) + 1)]
                self._candidates = [(inputs, labels, names)]
        if not self._candidates:
            return None
        labels = torch.cat([labels for _, labels, _ in self._candidates])
        if batch is None and len(set(labels.tolist())) < min(2, self._probe_count):
            return None
        chosen = first_of_each_class(labels.tolist(), self._probe_count)
        names = [name for _, _, names in self._candidates for name in names]
        # `cat` makes a copy that does not come from inference mode, as those of the validation do.
        inputs = torch.cat([inputs for inputs, _, _ in self._candidates])[chosen].clone()
        self._candidates = []
        self._example = inputs[:1]
        if inputs.shape[1] not in (1, 3):
            shown = "the first three are shown" if inputs.shape[1] > 3 else "their mean is shown"
            self._note(f"images have {inputs.shape[1]} channels: {shown}")
        return ProbeBatch(
            inputs=inputs,
            images=pictures(inputs, self._mean, self._std),
            labels=labels[chosen].cpu().numpy(),
            names=[names[index] for index in chosen],
        )

    @contextlib.contextmanager
    def isolated(self, pl_module: LightningModule) -> Iterator[None]:
        """Restore all random generators afterwards; run compiled networks as they were written, so that hooks work."""
        devices = [pl_module.device] if pl_module.device.type == "cuda" else []
        python, numpy = random.getstate(), np.random.get_state()
        with torch.random.fork_rng(devices), torch.compiler.set_stance("force_eager"):
            try:
                yield
            finally:
                random.setstate(python)
                np.random.set_state(numpy)

    # The start --------------------------------------------------------------------------------------------------------

    def begin(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Find out which modules return the logits, and make metrics for that many classes."""
        self._has_begun = True
        self._steps = trainer.fit_loop.epoch_loop.batch_progress.total.completed
        validation = first_loader(trainer.val_dataloaders)
        if isinstance(getattr(validation, "sampler", None), DistributedSampler):
            self.validation_size = image_count(validation)
        batches = trainer.num_training_batches
        if trainer.max_steps > 0 and batches not in (0, float("inf")):
            by_steps = -(-trainer.max_steps * trainer.accumulate_grad_batches // int(batches))
            self.config = msgspec.structs.replace(
                self.config, epochs=min(by_steps, self.config.epochs) if self.config.epochs else by_steps
            )
        watched: list[nn.Module] = [pl_module]
        count = len(self._classes)
        if self._example is not None:
            try:
                with self.isolated(pl_module):
                    logits, watched = modules_with_logits(pl_module, self._example)
                count = logits.shape[1]
            except Exception as error:
                self._note(f"the outputs of the network may not be recognised: {reason(error)}")
        if count < 2:
            self._note("the network gives one value for each image, not logits (N, K): no predictions are recorded")
            self._has_logits = False
            return
        if count != len(self._classes):
            self._note(f"the network gives {count} values for each image, and there are {len(self._classes)} classes")
        more = range(len(self._classes), count)
        self._names = [*self._classes, *(f"class {index}" for index in more)]
        self._number_images(trainer)
        self.logits_per_image = count
        self._captured.watch(watched)
        self._metrics = classification_metrics(max(2, len(self._names))).to(pl_module.device)
        self._mean_loss = MeanMetric(nan_strategy="disable").to(pl_module.device)

    def _number_images(self, trainer: Trainer) -> None:
        """Find out whose predictions are recorded."""
        train, validation = first_loader(trainer.train_dataloader), first_loader(trainer.val_dataloaders)
        self.train_listed, self.train_positions = image_count(train) or 0, positions_in_subset(train)
        order = image_order(validation)
        if order == "listed":
            self.validation_listed = image_count(validation)
        elif order == "stream" and trainer.world_size == 1:
            self.validation_listed = None
        elif validation is not None:
            why = "in another order than their data set" if order == "other" else "to several processes as a stream"
            self._note(f"predictions of single validation images are not recorded: they come {why}")

    def description(self, trainer: Trainer, pl_module: LightningModule) -> dict[str, Any]:
        """What the network and its data loaders tell."""
        batch_size = getattr(first_loader(trainer.train_dataloader), "batch_size", None)
        size = max(self._example.shape[2:], default=0) if self._example is not None else 0
        description = {
            "batch_size": batch_size if isinstance(batch_size, int) else self._batch_size,
            "resumed": self.steps_done(trainer) > 0,
            "recipe": "",
            "network": type(pl_module).__name__,
            "image_size": size,
            "parameters": parameter_count(pl_module),
            "train_images": self._images_of(first_loader(trainer.train_dataloader)),
            "validation_images": self._images_of(first_loader(trainer.val_dataloaders)),
        }
        self._complete_manifest(trainer, description)
        return description

    def _complete_manifest(self, trainer: Trainer, description: Mapping[str, Any]) -> None:
        """Say what is trained on, and list its files."""
        folder = self.sink.folder if isinstance(self.sink, Session) else None
        manifest = folder.read_manifest() if folder is not None else None
        if folder is None or manifest is None or folder.lock.is_lost():
            return
        known = {name: description[name] for name in ("image_size", "batch_size")}
        config = msgspec.structs.replace(self.config, **known)
        listed = None
        try:
            loaders = trainer.train_dataloader, trainer.val_dataloaders
            listed = listed_photographs(*map(first_loader, loaders))
        except Exception as error:  # of a data set that is somebody else's
            self._note(f"the files of the images cannot be listed: {reason(error)}")
        data = listed[0] if listed else manifest.data
        changed = msgspec.structs.replace(manifest, config=config, parameters=description["parameters"], data=data)
        try:
            if listed:
                write_photographs(folder, listed[1])
            folder.write_manifest(changed)
        except OSError as error:
            self._note(f"run.json or photographs.json could not be updated: {reason(error)}")

    def _images_of(self, loader: Any) -> dict[str, int]:
        """Number of images of a data loader per class, all as one where the data set lists no targets."""
        count, targets = image_count(loader), getattr(getattr(loader, "dataset", None), "targets", None)
        if count is None:
            return {}
        if isinstance(targets, Tensor):
            targets = targets.tolist()
        if isinstance(targets, list) and len(targets) == count and all(isinstance(label, int) for label in targets):
            found = Counter(targets)
            return {name: found[label] for label, name in enumerate(self._names)}
        return {"images": count}

    def class_names(self) -> list[str]:
        """As given; classes that the network has beyond those have numbers."""
        return self._names

    def steps_done(self, trainer: Trainer) -> int:
        """Training batches: with accumulated gradients, or several optimisers, there are other numbers of steps."""
        return self._steps

    # Training ---------------------------------------------------------------------------------------------------------

    def before_batch(self) -> None:
        """Forget the logits of the batch before."""
        self._captured.clear()

    def image_count(self, batch: Any) -> int:
        """Number of labels."""
        return len(inputs_and_labels(batch)[1])

    def measure_step(self, trainer: Trainer, outputs: Any, batch: Any, batch_idx: int) -> MeasuredStep:
        """Take the loss that the step returned or logged, and the logits of its forward pass."""
        self._steps += 1
        loss, correct, count, predicted = self._training_loss(trainer, outputs), None, 1, None
        is_trained = loss is not None or not trainer.lightning_module.automatic_optimization
        try:
            _, labels = inputs_and_labels(batch)
            count = len(labels)
            logits = self._captured.take(count)
            if logits is not None:
                correct = (logits.argmax(1) == labels).sum()
                if (indices := indices_of(batch, count)) is not None and count:
                    predicted = Predicted(logits.to(torch.float32, copy=True), labels, indices)
            elif is_trained and self._has_logits:
                self._note(
                    "the training accuracy is not known: training_step calls neither the module nor a network in it "
                    "that returns the logits (N, K) of the batch"
                )
        except UserError as error:
            self._note(str(error))
        device = trainer.strategy.root_device
        mean, correct_sum = (
            # A number would be copied to a GPU, which waits for it.
            torch.full((), torch.nan, device=device)
            if value is None
            else torch.as_tensor(value, dtype=torch.float32, device=device).detach()
            for value in (loss, correct)
        )
        loss_sum_and_correct = torch.stack([(mean.mean() if mean.ndim else mean) * count, correct_sum])
        is_trained = is_trained and count > 0  # an empty batch has no loss
        return MeasuredStep(max(1, count), loss_sum_and_correct, is_trained, predicted)

    def _training_loss(self, trainer: Trainer, outputs: Any) -> Any:
        """The loss of a step, as it was before Lightning divided it by the number of accumulated batches."""
        loss = outputs.get("loss") if isinstance(outputs, Mapping) else outputs
        if trainer.lightning_module.automatic_optimization:
            parts = trainer.accumulate_grad_batches
            return loss if loss is None or parts == 1 else loss * parts  # None skips a step
        if loss is None:
            loss = _logged_loss(trainer.callback_metrics)
        if loss is None:
            self._note("the training loss is not known: training_step returns none and logs none with loss in its name")
        return loss

    # Validation -------------------------------------------------------------------------------------------------------

    def on_validation_start(self) -> None:
        """Forget the last validation."""
        self._predicted.clear()
        self._sanity_images = 0

    def on_validation_batch(
        self, trainer: Trainer, outputs: Any, batch: Any, indices: Tensor | None
    ) -> Predicted | None:
        """Keep predictions and losses; of the sanity check some images of each class."""
        inputs, labels = inputs_and_labels(batch)
        if trainer.sanity_checking:
            if inputs.ndim == 4:
                chosen = first_of_each_class(labels.tolist(), self._probe_count)
                names = [f"validation image {self._sanity_images + index + 1}" for index in chosen]
                self._candidates.append((inputs[chosen], labels[chosen], names))
            self._sanity_images += len(labels)
            return None
        logits = self._captured.take(len(labels))
        if logits is None and self._has_logits:
            self._note(
                "the validation predictions are not known: validation_step calls neither the module nor a network in "
                "it that returns the logits (N, K) of the batch"
            )
        elif logits is not None and logits.shape[1] > len(self._names):
            raise UserError(
                f"the network gives {logits.shape[1]} values for each image, and at the start gave {len(self._names)}"
            )
        elif logits is not None and len(labels):
            if self.validation_size is not None and indices is not None:  # images that the sampler repeats count once
                labels = labels.where((indices >= 0).to(labels.device, non_blocking=True), -1)
            # On a GPU a label out of range would end the process; `cross_entropy` leaves out -100.
            known = (labels >= 0) & (labels < logits.shape[1])
            losses = F.cross_entropy(logits.float(), labels.where(known, -100), reduction="none")
            self._predicted.append((logits.argmax(1), labels, losses))
            if indices is not None and self.validation_listed != 0:
                # A copy, because a compiled network may use the same memory again.
                return Predicted(logits.to(torch.float32, copy=True), labels, indices)
        return None

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Compute the metrics, those of all processes together."""
        self._validated = True
        metrics, mean_loss = self._metrics, self._mean_loss
        if metrics is None or mean_loss is None or not (self._predicted or trainer.world_size > 1):
            return
        if self._predicted:
            predicted, labels, losses = map(torch.cat, zip(*self._predicted, strict=True))
            self._predicted.clear()
            known = (labels >= 0) & (labels < len(self._names))
            if known.any():
                metrics.update(predicted[known], labels[known])
                mean_loss.update(losses[known])
            else:
                self._note(f"no label of the validation is a class, one of 0 to {len(self._names) - 1}")
                if trainer.world_size == 1:
                    return
        self._results = {"loss": mean_loss.compute(), **metrics.compute()}
        metrics.reset()
        mean_loss.reset()

    def epoch_results(
        self, trainer: Trainer, pl_module: LightningModule
    ) -> Callable[[Mapping[str, float]], dict[str, Any]]:
        """Take the results of the last validation, if there was one."""
        tensors, self._results = self._results, None
        names = self._names

        def results(logged: Mapping[str, float]) -> dict[str, Any]:
            nan = float("nan")
            values: dict[str, Any] = {"macro_f1": nan, "precision": [], "recall": [], "f1": [], "confusion": []}
            loss = accuracy = nan
            if tensors is not None and tensors["confusion"].sum().item():
                values = {name: tensor.tolist() for name, tensor in tensors.items()}
                loss, accuracy = values.pop("loss"), values.pop("accuracy")
                if len(names) > MAX_CONFUSION_CLASSES:
                    values["confusion"] = []
            named = [name for name in logged if "val" in name.lower() and "loss" in name.lower()]
            if named:
                loss = logged[min(named, key=len)]
            best = accuracy > self._best
            self._best = max(self._best, accuracy) if best else self._best
            return {"validation_loss": loss, "validation_accuracy": accuracy, **values, "best": best}

        return results

    def logged_metrics(self, trainer: Trainer) -> dict[str, Tensor]:
        """Single numbers that the module logged. Those of a validation count only in the epoch that had one."""
        validated, self._validated = self._validated, False
        return {
            name: value.detach().clone()
            for name, value in trainer.callback_metrics.items()
            if value.numel() == 1 and (validated or not name.lower().startswith("val"))
        }


def _logged_loss(metrics: Mapping[str, Tensor]) -> Tensor | None:
    names = [name for name in metrics if "loss" in name.lower() and "val" not in name.lower()]
    return metrics[min(names, key=len)] if names else None
