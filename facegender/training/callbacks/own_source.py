"""What a recorder knows of the program's own training."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgspec
import numpy as np
import torch
from pytorch_lightning import LightningModule, Trainer
from torch import Tensor, nn

from facegender.data.datamodule import FaceDataModule
from facegender.data.dataset import CLASSES
from facegender.network.model import normalise, parameter_count
from facegender.network.module import FaceGenderModule
from facegender.runs.networks import RECIPE_NETWORK
from facegender.runs.requests import SetRequest
from facegender.training.callbacks.checkpoints import DurableCheckpointIO
from facegender.training.callbacks.image_predictions import Predicted
from facegender.training.callbacks.source import MeasuredStep, ProbeBatch, Source
from facegender.training.failures import reason
from facegender.training.resume import ResumePoint
from facegender.training.run_setup import RunSetup
from facegender.training.session import Sink


class OwnSource(Source):
    """Reads everything from `FaceGenderModule` and `FaceDataModule`. The photographs must have been prepared.

    The epochs since the best one are those of `Trainer.early_stopping_callback`, which is up to date once validation
    has ended.
    """

    logits_per_image = len(CLASSES)

    def __init__(
        self,
        sink: Sink,
        setup: RunSetup,
        data: FaceDataModule,
        files: DurableCheckpointIO,
        resume: ResumePoint | None,
    ) -> None:
        self.sink = sink
        self._files = files
        self.run = setup.folder.name
        self.config = setup.config
        self.missing_frame = resume.missing_frame if resume else None
        self.skip_not_finite = setup.config.on_nan == "skip"
        self._setup = setup
        self._data = data
        self._probes = data.probes(setup.config.probes)
        self.validation_listed = len(data.photographs.validation)
        self.train_listed = len(data.photographs.train)
        self._order: tuple[int, Tensor] | None = None
        """An epoch, and the positions of its training photographs in the list of all."""

    def eval_network(self, pl_module: LightningModule) -> nn.Module:
        """The network that is validated and saved."""
        assert isinstance(pl_module, FaceGenderModule)
        return pl_module.eval_network

    def trained_network(self, pl_module: LightningModule) -> nn.Module:
        """The network whose weights the optimiser changes."""
        assert isinstance(pl_module, FaceGenderModule)
        return pl_module.network

    def probes(self, pl_module: LightningModule, batch: Any) -> ProbeBatch:
        """Validation photographs."""
        probes = self._probes
        images = torch.from_numpy(np.ascontiguousarray(probes.images)).permute(0, 3, 1, 2)
        return ProbeBatch(normalise(images.to(pl_module.device)), probes.images, probes.labels, probes.names)

    def description(self, trainer: Trainer, pl_module: LightningModule) -> dict[str, Any]:
        """What the configuration and the photographs say."""
        assert isinstance(pl_module, FaceGenderModule)
        config, data = self.config, self._data
        return {
            "batch_size": config.batch_size,
            "resumed": self._setup.resumed,
            "recipe": config.recipe,
            "network": "" if config.network == RECIPE_NETWORK else config.network,
            "image_size": config.image_size,
            "parameters": parameter_count(pl_module.network),
            "train_images": data.train_images,
            "validation_images": data.validation_images,
            "skipped_files": len(data.skipped),
            "demo": config.demo,
            "patience": config.patience,
        }

    def class_names(self) -> list[str]:
        """Female and male."""
        return list(CLASSES)

    def steps_done(self, trainer: Trainer) -> int:
        """Optimiser steps."""
        return trainer.global_step

    def measure_step(self, trainer: Trainer, outputs: Any, batch: Any, batch_idx: int) -> MeasuredStep:
        """Take what the training step returned. The sampler's order tells which photographs it had."""
        epoch = trainer.current_epoch
        if self._order is None or self._order[0] != epoch:
            self._order = epoch, torch.from_numpy(self._data.train_order(epoch))
        first = batch_idx * self.config.batch_size
        indices = self._order[1][first : first + self.config.batch_size]
        predicted = Predicted(outputs["logits"], batch[1], indices)
        return MeasuredStep(outputs["images"], outputs["loss_sum_and_correct"], True, predicted)

    def save_checkpoint(self, trainer: Trainer, report: Callable[[bool, str], None]) -> None:
        """Save ``last.ckpt``. After the last batch of an epoch it is saved anyway, once the epoch is validated."""
        path, number = self._setup.folder.last_checkpoint, trainer.current_epoch + 1
        what = f"{path.name} of epoch {number} after step {trainer.global_step}"
        if trainer.is_last_batch:
            report(True, f"{path.name} is saved when epoch {number} ends, after its validation")
            return
        trainer.save_checkpoint(path)
        self._files.when_flushed(
            path, lambda error: report(not error, f"{what} is saved" if not error else f"{what}: {reason(error)}")
        )

    def epochs_problem(self, trainer: Trainer, epochs: int) -> str:
        """Refuse fewer epochs than have been begun."""
        number = trainer.current_epoch + 1
        return "" if epochs >= number else f"epoch {number} is in training: epochs must be at least {number}"

    def set_epochs(self, trainer: Trainer, pl_module: LightningModule, epochs: int) -> None:
        """Tell Lightning, the network's schedule, and everything that asks this source."""
        assert isinstance(pl_module, FaceGenderModule)
        trainer.fit_loop.max_epochs = epochs
        self.config = msgspec.structs.replace(self.config, epochs=epochs)
        pl_module.set_epochs(epochs)

    def changes_to_store(self, trainer: Trainer, request: SetRequest) -> Callable[[], str]:
        """Store the epochs, and the rate that the schedule starts from, in the manifest."""
        base, folder = float(trainer.lr_scheduler_configs[0].scheduler.base_lrs[0]), self._setup.folder

        def store() -> str:
            manifest = folder.read_manifest()
            if manifest is None or folder.lock.is_lost() or not trainer.is_global_zero:
                return ""
            if request.epochs is not None:
                config = msgspec.structs.replace(manifest.config, epochs=request.epochs)
                manifest = msgspec.structs.replace(manifest, config=config)
            if request.learning_rate is not None:
                manifest = msgspec.structs.replace(manifest, base_learning_rate=base)
            try:
                folder.write_manifest(manifest)
            except OSError as error:
                return f"run.json could not be updated ({reason(error)}): a resumed run may not keep the change"
            return ""

        return store

    def image_count(self, batch: Any) -> int:
        """Number of photographs."""
        return len(batch[1])

    def on_validation_batch(
        self, trainer: Trainer, outputs: Any, batch: Any, indices: Tensor | None
    ) -> Predicted | None:
        """Take what the validation step returned."""
        return None if indices is None else Predicted(outputs.float(), batch[1], indices)

    def epoch_results(
        self, trainer: Trainer, pl_module: LightningModule
    ) -> Callable[[Mapping[str, float]], dict[str, Any]]:
        """Take what the module computed, and what early stopping counts."""
        assert isinstance(pl_module, FaceGenderModule)
        tensors, stopping = dict(pl_module.validation_results), trainer.early_stopping_callback
        waited = 0 if stopping is None else stopping.wait_count
        best = stopping is not None and waited == 0

        def results(logged: Mapping[str, float]) -> dict[str, Any]:
            values: dict[str, Any] = {name: tensor.tolist() for name, tensor in tensors.items()}
            validation = {f"validation_{name}": values.pop(name) for name in ("loss", "accuracy")}
            return {**validation, **values, "best": best, "epochs_since_best": waited if self.config.patience else 0}

        return results
