"""The network as Lightning trains it: loss, validation metrics and optimiser."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import torch
import torch.nn.functional as F
from pytorch_lightning import LightningModule
from pytorch_lightning.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn
from torchmetrics import MeanMetric

from facegender.network.augment import generator_for
from facegender.network.checkpoint_file import NETWORK_PREFIX, DamagedCheckpoint, network_weights, require_count
from facegender.network.ema import EmaNetwork
from facegender.network.metrics import classification_metrics
from facegender.network.model import normalise
from facegender.network.recipes import RECIPES, build_network, stretch_schedule, training_side
from facegender.runs.config import TrainConfig

TRAINED_WEIGHTS = "trained_weights"
"""Key of the trained weights in a checkpoint to resume from, if its ``state_dict`` has their moving average."""

EMA_STEPS = "averaged_steps"
"""Key of the number of averaged steps in the same checkpoint."""

_EMA_PREFIX = f"ema.{NETWORK_PREFIX}"


class FaceGenderModule(LightningModule):
    """Trains and validates a recipe's network on uint8 photographs.

    No step waits for the device: steps return tensors, and metrics are computed once, when validation ends.

    Attributes:
        network: The network that is trained.
        ema: The moving average of its weights; None if the recipe has none.
        validation_results: Metrics of the last validation as tensors on the device: loss, accuracy, precision, recall,
            f1, macro_f1, confusion. Empty before the first validation.
    """

    def __init__(
        self, config: TrainConfig, classes: Sequence[str], train_images: Mapping[str, int] | None = None
    ) -> None:
        """Make the network with random weights.

        Args:
            classes: Class names in the order of the labels.
            train_images: Training photographs per class, for ``class_weights``; without it all classes weigh the same.
        """
        super().__init__()
        plain = msgspec.json.decode(msgspec.json.encode(config))
        network = {name: plain[name] for name in ("image_size", "widths", "recipe", "network")}
        self.save_hyperparameters({**network, "classes": list(classes), "config": plain})
        self._config = config
        self._recipe = RECIPES[config.recipe]
        self.network = build_network(config.recipe, config.image_size, config.widths, len(classes), config.network)
        self.network.to(memory_format=torch.channels_last)
        decay = self._recipe.ema_decay
        self.ema = None if decay is None else EmaNetwork(self.network, decay)
        self.class_weights: Tensor | None
        self.register_buffer("class_weights", class_weights(config, classes, train_images), persistent=False)
        self.metrics = classification_metrics(len(classes))
        self.validation_loss = MeanMetric(nan_strategy="disable")
        self._validated: list[tuple[Tensor, Tensor, Tensor]] = []
        self.validation_results: dict[str, Tensor] = {}

    @property
    def eval_network(self) -> nn.Module:
        """The network that is validated, shown and saved: the averaged one if the recipe averages weights."""
        return self.network if self.ema is None else self.ema.network

    def forward(self, images: Tensor) -> Tensor:
        """Map (N, 3, S, S) uint8 to (N, classes) logits of `eval_network`."""
        logits: Tensor = self.eval_network(normalise(images))
        return logits

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        """Seed dropout, so that it differs between several devices and repeats in a resumed run."""
        step = (self.current_epoch, batch_idx, self.global_rank)
        seed = generator_for(self._config.seed, *step, torch.device("cpu")).initial_seed()
        if self.device.type == "cpu":  # `torch.manual_seed` seeds the generators of all devices, which takes longer
            torch.default_generator.manual_seed(seed)
        else:
            torch.get_device_module(self.device).manual_seed(seed)

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> dict[str, Any]:
        """Compute the loss of one batch.

        Returns:
            ``loss``: () float32, the loss to minimise.
            ``loss_sum_and_correct``: (2,) float32, detached: the cross-entropy summed over the batch, without label
            smoothing and class weights as in validation, and the number of photographs classified as labelled.
            ``images``: Number of photographs.
            ``logits``: (N, classes) float32, detached, with augmentation.
        """
        images, labels = batch
        inputs = normalise(images)
        recipe = self._recipe
        if recipe.augmentation is not None:
            step = (self.current_epoch, batch_idx, self.global_rank)
            side = training_side(self._config, self.current_epoch)
            inputs = recipe.augmentation(inputs, generator_for(self._config.seed, *step, inputs.device), side)
        logits = self.network(inputs).float()
        smoothing = recipe.label_smoothing
        loss = F.cross_entropy(logits, labels, self.class_weights, label_smoothing=smoothing)
        plain = loss.detach()
        if smoothing or self.class_weights is not None:
            plain = F.cross_entropy(logits.detach(), labels)
        count = len(labels)
        correct = (logits.detach().argmax(1) == labels).sum()
        loss_sum_and_correct = torch.stack([plain * count, correct.float()])
        return {"loss": loss, "loss_sum_and_correct": loss_sum_and_correct, "images": count, "logits": logits.detach()}

    def optimizer_step(self, *args: Any, **kwargs: Any) -> None:
        """Step as Lightning does, then update the moving average of the weights."""
        super().optimizer_step(*args, **kwargs)
        if self.ema is not None:
            self.ema.update(self.network)

    def validation_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        """Keep the results of one batch; updating the metrics here would wait for the device each time.

        Returns:
            (N, classes) logits.
        """
        images, labels = batch
        logits: Tensor = self(images)
        if not len(labels):  # on a device with fewer photographs than others, see `ordered_batches`
            return logits
        # One loss per photograph: with this nan_strategy MeanMetric (torchmetrics 1.9) ignores the weight of a mean.
        self._validated.append((F.cross_entropy(logits, labels, reduction="none"), logits, labels))
        return logits

    def on_validation_epoch_end(self) -> None:
        """Compute the metrics and reset them."""
        if self._validated:
            losses, logits, labels = map(torch.cat, zip(*self._validated, strict=True))
            self._validated.clear()
            self.validation_loss.update(losses)
            self.metrics.update(logits, labels)
        self.validation_results = {"loss": self.validation_loss.compute(), **self.metrics.compute()}
        self.validation_loss.reset()
        self.metrics.reset()
        self.log("validation_accuracy", self.validation_results["accuracy"], sync_dist=True)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add the accuracy of the last validation, None before one; put the averaged weights into ``state_dict``.

        Readers of a checkpoint then need to know nothing of averaging. The trained weights are stored beside them if
        the checkpoint is one to resume from.
        """
        accuracy = self.validation_results.get("accuracy")
        checkpoint["validation_accuracy"] = None if accuracy is None else float(accuracy)
        if self.ema is None:
            return
        state = checkpoint["state_dict"]
        checkpoint["state_dict"] = _renamed(state, _EMA_PREFIX, NETWORK_PREFIX)
        if "optimizer_states" in checkpoint:
            checkpoint[TRAINED_WEIGHTS] = _renamed(state, NETWORK_PREFIX, NETWORK_PREFIX)
            checkpoint[EMA_STEPS] = self.ema.count

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Restore the trained and the averaged weights.

        A schedule by steps continues at the step where the same number of epochs ends on the present devices.
        """
        at = checkpoint.get("resume_at")  # missing in those of Lightning's learning rate finder
        if self._recipe.interval == "step" and at is not None and not at["batch"]:
            (schedule,) = checkpoint["lr_schedulers"]
            steps, epochs = int(self.trainer.estimated_stepping_batches), self._config.epochs
            schedule["last_epoch"] = steps // epochs * at["epoch"]
        if self.ema is not None:
            ema_weights = network_weights(checkpoint["state_dict"], self.ema.network)
            trained = network_weights(checkpoint[TRAINED_WEIGHTS], self.network)
            state = checkpoint["state_dict"] = self.state_dict()
            state.update({_EMA_PREFIX + name: value for name, value in ema_weights.items()})
            state.update({NETWORK_PREFIX + name: value for name, value in trained.items()})
            self.ema.count = require_count(checkpoint[EMA_STEPS], "average")
            if self.ema.count > checkpoint["global_step"]:
                raise DamagedCheckpoint("its average has more steps than were trained")

    def set_epochs(self, epochs: int) -> None:
        """Change the planned number of epochs during training, after ``max_epochs`` of the Trainer."""
        self._config = msgspec.structs.replace(self._config, epochs=epochs)
        self.hparams["config"]["epochs"] = epochs
        if self._recipe.interval == "step":
            (config,) = self.trainer.lr_scheduler_configs
            stretch_schedule(config.scheduler, int(self.trainer.estimated_stepping_batches))

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """Make the recipe's optimiser and schedule."""
        recipe = self._recipe
        optimiser = recipe.optimiser(self.network.parameters(), self._config)
        steps = int(self.trainer.estimated_stepping_batches) if recipe.interval == "step" else 0
        schedule = recipe.schedule(optimiser, self._config, steps)
        return {"optimizer": optimiser, "lr_scheduler": {"scheduler": schedule, "interval": recipe.interval}}


def class_weights(config: TrainConfig, classes: Sequence[str], train_images: Mapping[str, int] | None) -> Tensor | None:
    """Weights of the classes in the loss.

    Returns:
        (classes,) float32, inversely proportional to the number of training photographs, so that all classes count the
        same, and 1 each if they have equally many. None if the configuration asks for no weights.
    """
    if config.class_weights == "none" or train_images is None:
        return None
    counts = torch.tensor([train_images[name] for name in classes], dtype=torch.float32)
    return counts.sum() / (len(classes) * counts.clamp_min(1))


def _renamed(state: Mapping[str, Tensor], prefix: str, other: str) -> dict[str, Tensor]:
    """Select the entries whose names begin with a prefix, and replace that prefix."""
    return {other + name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}
