"""The network as Lightning trains it: loss, validation metrics and optimiser."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
import torch
import torch.nn.functional as F
from pytorch_lightning import LightningModule
from pytorch_lightning.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn
from torchmetrics import MeanMetric, MetricCollection
from torchmetrics.classification import (
    MulticlassAccuracy,
    MulticlassConfusionMatrix,
    MulticlassF1Score,
    MulticlassPrecision,
    MulticlassRecall,
)

from facegender.network.model import FaceGenderNet, normalise
from facegender.network.recipes import RECIPES
from facegender.runs.config import TrainConfig


class FaceGenderModule(LightningModule):
    """Trains and validates a `FaceGenderNet` on uint8 photographs.

    Nothing here waits for the device during an epoch: steps return tensors, metrics are updated where they are and
    computed once, when validation ends.

    Attributes:
        network: The CNN.
        validation_results: The metrics of the last validation as tensors on the device: loss, accuracy, precision,
            recall, f1, macro_f1, confusion. Empty before the first.
        validation_accuracy: The last validation's, for checkpoints; None before the first.
    """

    def __init__(self, config: TrainConfig, classes: Sequence[str]) -> None:
        super().__init__()
        plain = msgspec.json.decode(msgspec.json.encode(config))
        self.save_hyperparameters(
            {
                "image_size": config.image_size,
                "widths": list(config.widths),
                "classes": list(classes),
                "recipe": config.recipe,
                "config": plain,
            }
        )
        self._config = config
        self.network = FaceGenderNet(config.image_size, config.widths, len(classes))
        self.network.to(memory_format=torch.channels_last)
        self.loss = nn.CrossEntropyLoss()
        count = len(classes)
        # Without checks of the arguments: they would wait for the device at every batch.
        self.metrics = MetricCollection(
            {
                "accuracy": MulticlassAccuracy(count, average="micro", validate_args=False),
                "precision": MulticlassPrecision(count, average=None, validate_args=False),
                "recall": MulticlassRecall(count, average=None, validate_args=False),
                "f1": MulticlassF1Score(count, average=None, validate_args=False),
                "macro_f1": MulticlassF1Score(count, average="macro", validate_args=False),
                "confusion": MulticlassConfusionMatrix(count, validate_args=False),
            }
        )
        self.validation_loss = MeanMetric(nan_strategy="disable")
        self.validation_results: dict[str, Tensor] = {}
        self.validation_accuracy: float | None = None

    def forward(self, images: Tensor) -> Tensor:
        """(N, 3, S, S) uint8 to (N, classes) logits."""
        logits: Tensor = self.network(normalise(images))
        return logits

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> dict[str, Tensor]:
        """One batch.

        Returns:
            ``loss``, the mean cross-entropy to descend, and ``outcome``, (2,) float32 of the summed cross-entropy
            and the number of photographs classified as annotated, cut off from the graph and never written to again.
        """
        images, labels = batch
        logits = self(images)
        loss: Tensor = self.loss(logits, labels)
        correct = (logits.detach().argmax(1) == labels).sum()
        return {"loss": loss, "outcome": torch.stack([loss.detach().float() * len(labels), correct.float()])}

    def validation_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        """Adds one batch to the metrics."""
        images, labels = batch
        logits = self(images)
        if not len(labels):  # of a device that has fewer than others, see `OrderedBatches`
            return
        # One value a photograph: with this strategy MeanMetric (torchmetrics 1.9) forgets the weight of a batch's mean.
        self.validation_loss.update(F.cross_entropy(logits, labels, reduction="none"))
        self.metrics.update(logits, labels)

    def on_validation_epoch_end(self) -> None:
        """Computes the metrics and starts them afresh."""
        self.validation_results = {"loss": self.validation_loss.compute(), **self.metrics.compute()}
        self.validation_loss.reset()
        self.metrics.reset()

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Adds the accuracy that the saved weights reached in the last validation."""
        checkpoint["validation_accuracy"] = self.validation_accuracy

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Takes that accuracy up again."""
        self.validation_accuracy = checkpoint.get("validation_accuracy")

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """The recipe's optimiser and schedule."""
        recipe = RECIPES[self._config.recipe]
        optimiser = recipe.optimiser(self.network.parameters(), self._config)
        return {
            "optimizer": optimiser,
            "lr_scheduler": {"scheduler": recipe.schedule(optimiser, self._config), "interval": "epoch"},
        }
