"""A checkpoint as a classifier of photographs. Needs torch, but neither Lightning nor the training code."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
import torch
from PIL import Image

from facegender.data.image import open_image, resize
from facegender.interpret.activations import Activations, compute_activations
from facegender.interpret.cam import grad_cam
from facegender.interpret.layers import Layer, trace
from facegender.network.checkpoint_file import DamagedCheckpoint, network_weights, read_checkpoint, require_count
from facegender.network.model import normalise
from facegender.network.recipes import RECIPES, build_network
from facegender.support.errors import UserError
from facegender.support.text import one_line, printable


class Prediction(msgspec.Struct, frozen=True, kw_only=True):
    """What the network says of one photograph.

    Attributes:
        classes: Names in the order of the labels.
        probabilities: The softmax of the logits, in the same order.
        label: The class of the highest probability.
        confidence: That probability, in [0, 1].
        epoch: The epoch that the checkpoint was saved in, counted from 0.
        checkpoint: Its file.
    """

    classes: tuple[str, ...]
    probabilities: tuple[float, ...]
    label: str
    confidence: float
    epoch: int
    checkpoint: Path

    def lines(self) -> list[str]:
        """The three lines that a person reads."""
        shares = (
            f"{name.capitalize()}: {share:.2%}" for name, share in zip(self.classes, self.probabilities, strict=True)
        )
        return [
            f"Predicted: {self.label}",
            f"Confidence: {self.confidence:.2%}",
            f"Probabilities: {', '.join(shares)}",
        ]


class Classifier:
    """A trained network, ready to be asked.

    Attributes:
        classes: Names in the order of the labels.
        image_size: Side in pixels that photographs are resized to.
        epoch: The epoch that the checkpoint was saved in, counted from 0.
        step: Optimiser steps that it was trained for.
        checkpoint: Its file.
        network: In evaluation mode, on the processor.
        recipe: What the network was made by.
        widths: As in `facegender.runs.config.TrainConfig`.
    """

    def __init__(
        self,
        network: torch.nn.Module,
        classes: Sequence[str],
        image_size: int,
        epoch: int,
        step: int,
        checkpoint: Path,
        *,
        recipe: str,
        widths: Sequence[int],
    ) -> None:
        self.network = network.eval()
        self.recipe = recipe
        self.widths = tuple(widths)
        self.classes = tuple(classes)
        self.image_size = image_size
        self.epoch = epoch
        self.step = step
        self.checkpoint = checkpoint

    def pixels(self, image: Image.Image) -> npt.NDArray[np.uint8]:
        """An RGB photograph as (S, S, 3) uint8."""
        return resize(image, self.image_size)

    def tensor(self, pixels: npt.NDArray[np.uint8]) -> torch.Tensor:
        """(S, S, 3) uint8 as the network takes it: (1, 3, S, S) float32 in [-1, 1]."""
        # A copy, because torch refuses to promise anything about memory that it may not write.
        return normalise(torch.from_numpy(np.array(pixels)).permute(2, 0, 1)[None])

    def classify(self, photograph: Image.Image | Path) -> Prediction:
        """Classify one photograph.

        Args:
            photograph: A file, or an upright RGB image.

        Raises:
            facegender.data.image.UnreadableImage: The file holds no photograph.
            UserError: The network's answer is no number.
        """
        image = photograph if isinstance(photograph, Image.Image) else open_image(photograph)
        with torch.inference_mode():
            logits: torch.Tensor = self.network(self.tensor(self.pixels(image)))
        return self.prediction(logits)

    def activations(self, pixels: npt.NDArray[np.uint8]) -> tuple[Activations, list[Layer]]:
        """What every convolution makes of (S, S, 3) uint8, and the convolutions."""
        image = self.tensor(pixels)
        layers = trace(self.network, image)
        return compute_activations(self.network, image, layers), layers

    def heatmap(self, pixels: npt.NDArray[np.uint8], label: int) -> npt.NDArray[np.float32]:
        """Where the network looked for a class in (S, S, 3) uint8: (S, S) float32 in [0, 1]."""
        heat: npt.NDArray[np.float32] = grad_cam(self.network, self.tensor(pixels), label).cpu().numpy()
        return heat

    def prediction(self, logits: torch.Tensor) -> Prediction:
        """What (1, classes) logits say.

        Raises:
            UserError: They are not finite.
        """
        shares = logits[0].float().softmax(0)
        if not bool(torch.isfinite(shares).all()):
            raise UserError(
                f"{printable(self.checkpoint)}: answers NaN, its training diverged; choose another checkpoint"
            )
        probabilities = tuple(shares.tolist())
        best = max(range(len(probabilities)), key=probabilities.__getitem__)
        return Prediction(
            classes=self.classes,
            probabilities=probabilities,
            label=self.classes[best],
            confidence=probabilities[best],
            epoch=self.epoch,
            checkpoint=self.checkpoint,
        )


def load_classifier(checkpoint: Path) -> Classifier:
    """The network of a checkpoint.

    Only tensors and plain values are read, so that a file from a stranger cannot run code.

    Args:
        checkpoint: ``last.ckpt`` or ``best.ckpt`` of a run.

    Raises:
        UserError: The file is missing, damaged or no checkpoint of this program.
    """
    name = printable(checkpoint)
    remedy = "give a run, or a .ckpt file that `facegender train` wrote"
    try:
        content = read_checkpoint(checkpoint)
    except FileNotFoundError:
        raise UserError(f"{name}: no such file; {remedy}") from None
    except (OSError, DamagedCheckpoint) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else "damaged, or no checkpoint"
        raise UserError(f"{name}: {reason}; {remedy}") from None
    try:
        parameters = content["hyper_parameters"]
        classes, image_size = _class_names(parameters["classes"]), int(parameters["image_size"])
        if not 16 <= image_size <= 4096:
            raise ValueError(f"image size {image_size}")
        epoch, step = require_count(content["epoch"], "epoch"), require_count(content["global_step"], "step")
        recipe, widths = parameters["recipe"], [require_count(width, "width") for width in parameters["widths"]]
        if isinstance(recipe, str) and recipe not in RECIPES:
            raise UserError(
                f"{name}: made by the recipe {one_line(recipe)[:64]!r}, which this version does not know; {remedy}"
            )
        with torch.device("meta"):
            network = build_network(recipe, image_size, widths, len(classes))
        network.load_state_dict(network_weights(content["state_dict"], network), assign=True)
        # Copies, so that nothing depends on the mapped file any more, and trainable as far as Grad-CAM cares.
        network = network.to(torch.float32).to(memory_format=torch.channels_last)
        _own(network)
        return Classifier(network, classes, image_size, epoch, step, checkpoint, recipe=recipe, widths=widths)
    except (DamagedCheckpoint, LookupError, TypeError, ValueError, ArithmeticError, AttributeError, RuntimeError):
        raise UserError(f"{name}: not a checkpoint of this network; {remedy}") from None


def _class_names(values: Any) -> list[str]:
    """The names of the classes, safe to show.

    Raises:
        ValueError: They are none, or cannot be told apart.
    """
    names = [one_line(value) for value in values if isinstance(value, str)]
    if not 2 <= len(names) == len(values) == len(set(names)) or not all(0 < len(name) <= 64 for name in names):
        raise ValueError("no names of classes")
    return names


def _own(network: torch.nn.Module) -> None:
    """Let every tensor have memory of its own instead of pages of the checkpoint's file."""
    for tensor in [*network.parameters(), *network.buffers()]:
        tensor.data = tensor.data.clone()
