"""Classify photographs with a checkpoint. Needs torch, but neither Lightning nor the training code."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
import torch
from PIL import Image

from facegender.data.image import resize
from facegender.interpret.activations import LayerActivation, compute_activations
from facegender.interpret.cam import layer_cam
from facegender.interpret.layers import Layer, trace
from facegender.network.checkpoint_file import DamagedCheckpoint, network_weights, read_checkpoint, require_count
from facegender.network.model import normalise
from facegender.network.recipes import RECIPES, build_network
from facegender.runs.networks import NETWORKS, RECIPE_NETWORK, network_problem
from facegender.support.errors import UserError
from facegender.support.text import one_line, printable


class Prediction(msgspec.Struct, frozen=True):
    """The network's answer for one photograph.

    Attributes:
        classes: Names in the order of the labels.
        probabilities: Softmax of the logits, in the same order.
    """

    classes: tuple[str, ...]
    probabilities: tuple[float, ...]

    @property
    def confidence(self) -> float:
        """The highest probability, in [0, 1]."""
        return max(self.probabilities)

    @property
    def label(self) -> str:
        """The class with the highest probability."""
        return self.classes[self.probabilities.index(self.confidence)]

    def lines(self) -> list[str]:
        """The three lines that ``facegender predict`` prints."""
        pairs = zip(self.classes, self.probabilities, strict=True)
        return [
            f"Predicted: {self.label}",
            f"Confidence: {self.confidence:.2%}",
            f"Probabilities: {', '.join(f'{name.capitalize()}: {share:.2%}' for name, share in pairs)}",
        ]


@dataclass(frozen=True)
class Classifier:
    """A trained network with what it needs to classify photographs.

    Attributes:
        network: In evaluation mode, on the CPU.
        classes: Names in the order of the labels.
        image_size: Side in pixels that photographs are resized to.
        epoch: The epoch in which the checkpoint was saved, counted from 0.
        step: Optimiser steps until then.
        checkpoint: The checkpoint file.
        recipe, widths: As in `facegender.runs.config.TrainConfig`.
        network_name: Its field ``network``.
    """

    network: torch.nn.Module
    classes: tuple[str, ...]
    image_size: int
    epoch: int
    step: int
    checkpoint: Path
    recipe: str
    widths: tuple[int, ...]
    network_name: str = RECIPE_NETWORK

    def pixels(self, image: Image.Image) -> npt.NDArray[np.uint8]:
        """Resize an RGB photograph to the network's input size: (S, S, 3) uint8."""
        return resize(image, self.image_size)

    def tensor(self, pixels: npt.NDArray[np.uint8]) -> torch.Tensor:
        """Convert (S, S, 3) uint8 to the network's input: (1, 3, S, S) float32 in [-1, 1]."""
        # A copy, because torch warns about memory that it may not write.
        return normalise(torch.from_numpy(np.array(pixels)).permute(2, 0, 1)[None])

    def classify(self, image: Image.Image) -> Prediction:
        """Classify one upright RGB photograph.

        Raises:
            UserError: The network answers NaN.
        """
        with torch.inference_mode():
            logits: torch.Tensor = self.network(self.tensor(self.pixels(image)))
        return self.prediction(logits)

    @functools.cached_property
    def layers(self) -> list[Layer]:
        """The convolutions that a forward pass reaches."""
        return trace(self.network, self.tensor(np.zeros((self.image_size, self.image_size, 3), np.uint8)))

    def activations(self, pixels: npt.NDArray[np.uint8]) -> tuple[torch.Tensor, list[LayerActivation]]:
        """For (S, S, 3) uint8: (1, classes) float32 logits, and the feature maps of `layers`."""
        return compute_activations(self.network, self.tensor(pixels), self.layers)

    def heatmap(self, pixels: npt.NDArray[np.uint8], label: str) -> npt.NDArray[np.uint8]:
        """The LayerCAM heatmap of a class for (S, S, 3) uint8: (S, S) uint8, 255 is the most influence."""
        heat = layer_cam(self.network, self.tensor(pixels), self.classes.index(label), self.layers)
        return (heat * 255).round().byte().numpy()

    def prediction(self, logits: torch.Tensor) -> Prediction:
        """Convert logits (1, classes) to a prediction.

        Raises:
            UserError: They are not finite.
        """
        shares = logits[0].float().softmax(0)
        if not bool(torch.isfinite(shares).all()):
            raise UserError(
                f"{printable(self.checkpoint)}: answers NaN because its training diverged; choose another checkpoint"
            )
        return Prediction(self.classes, tuple(shares.tolist()))


def load_classifier(checkpoint: Path) -> Classifier:
    """Load the network of a checkpoint.

    Only tensors and plain values are read, so that a file from a stranger cannot run code.

    Args:
        checkpoint: A file that ``facegender train`` wrote.

    Raises:
        UserError: The file is missing, damaged or not a checkpoint of this program.
    """
    name = printable(checkpoint)
    remedy = "give a run, or a .ckpt file that `facegender train` wrote"
    try:
        content = read_checkpoint(checkpoint)
    except FileNotFoundError:
        raise UserError(f"{name}: no such file; {remedy}") from None
    except (OSError, DamagedCheckpoint) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else "damaged, or not a checkpoint"
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
                f"{name}: has the recipe {one_line(recipe)[:64]!r}, which this version does not know; {remedy}"
            )
        network_name = parameters.get("network", RECIPE_NETWORK)  # checkpoints of earlier versions lack it
        if isinstance(network_name, str) and network_problem(network_name):
            raise UserError(
                f"{name}: has the network {one_line(network_name)[:64]!r}, which this version does not know; {remedy}"
            )
        # A RegNet is built in memory before its weights are compared with the file's.
        if network_name in NETWORKS and checkpoint.stat().st_size < NETWORKS[network_name].parameters:
            raise DamagedCheckpoint("is smaller than its network")
        with torch.device("meta"):
            network = build_network(recipe, image_size, widths, len(classes), network_name)
        network.load_state_dict(network_weights(content["state_dict"], network), assign=True)
        network = network.to(torch.float32).to(memory_format=torch.channels_last).eval()
        for tensor in [*network.parameters(), *network.buffers()]:
            tensor.data = tensor.data.clone()  # so far it is a part of the mapped file, which may be replaced
        return Classifier(network, classes, image_size, epoch, step, checkpoint, recipe, tuple(widths), network_name)
    except (DamagedCheckpoint, LookupError, TypeError, ValueError, ArithmeticError, AttributeError, RuntimeError):
        raise UserError(f"{name}: not a checkpoint of this network; {remedy}") from None


def _class_names(values: Any) -> tuple[str, ...]:
    """The names of the classes, safe to show.

    Raises:
        ValueError: They are missing, too long, or not distinct.
    """
    names = tuple(one_line(value) for value in values if isinstance(value, str))
    if not 2 <= len(names) == len(values) == len(set(names)) or not all(0 < len(name) <= 64 for name in names):
        raise ValueError("not the names of classes")
    return names
