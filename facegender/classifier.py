"""Classify photographs with a checkpoint. Needs torch, but neither Lightning nor the training code."""

from __future__ import annotations

import functools
import gc
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset

from facegender.data.image import UnreadableImage, resize
from facegender.interpret.activations import LayerActivation, compute_activations
from facegender.interpret.cam import layer_cam
from facegender.interpret.layers import Layer, trace
from facegender.network.checkpoint_file import DamagedCheckpoint, network_weights, read_checkpoint, require_count
from facegender.network.model import normalise
from facegender.network.recipes import RECIPES, build_network
from facegender.runs.calibration import read_calibration
from facegender.runs.networks import NETWORKS, RECIPE_NETWORK, network_problem
from facegender.support.arrays import Float32Array
from facegender.support.errors import UserError
from facegender.support.machine import available_memory, available_processors, keep_large_buffers
from facegender.support.text import one_line, printable

T = TypeVar("T")

MIN_BATCH = 4
MAX_BATCH = 16
MAX_BATCH_PIXELS = 2**20
"""Of all photographs of a batch: the maps of a network take dozens of times as much memory."""
MAX_PROCESSES = 32
PROCESS_BYTES = 2**30
"""Memory that a process may need."""


class Prediction(msgspec.Struct, frozen=True):
    """The network's answer for one photograph.

    Attributes:
        classes: Names in the order of the labels.
        probabilities: Softmax of the logits, in the same order; calibrated if the checkpoint is.
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
        temperature: Divides the logits before the softmax: 1, or that of the checkpoint's calibration.
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
    temperature: float = 1.0

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

    def logits(
        self, photographs: Sequence[T], read: Callable[[T], Image.Image]
    ) -> Iterator[Float32Array | UnreadableImage]:
        """Read and classify photographs, in processes that each do both, so that all processors always have work.

        Memory does not grow with the number of photographs: the processes are at most two batches ahead.

        Args:
            photographs: What ``read`` takes, e.g. paths.
            read: E.g. `facegender.data.image.open_image`: returns an upright RGB photograph, or raises
                `UnreadableImage`. It is called in the processes.

        Yields:
            For each photograph, in their order, (classes,) float32 logits or why it cannot be read.

        Raises:
            UserError: A process was killed, or the system does not allow as many.
        """
        share = -(-len(photographs) // available_processors())
        size = max(1, min(MAX_BATCH, MAX_BATCH_PIXELS // self.image_size**2, max(MIN_BATCH, share)))
        batches = [photographs[start : start + size] for start in range(0, len(photographs), size)]
        processes = min(
            MAX_PROCESSES, available_processors(), max(1, available_memory() // PROCESS_BYTES), len(batches)
        )
        workers = processes if processes > 1 else 0
        loader = DataLoader(
            _Batches(self, read),
            sampler=batches,  # a "batch of indices" is one of names here: the loader passes it on as it is
            batch_size=None,
            collate_fn=list,  # the default makes a tensor of each array, and sends each by shared memory
            num_workers=workers,
            worker_init_fn=_begin_process,
            # A new interpreter would import torch for seconds. A child uses one thread, as it must after a fork.
            multiprocessing_context="fork" if workers and sys.platform == "linux" else None,
        )
        try:
            for results in loader:
                yield from results
        except RuntimeError as error:
            if "DataLoader worker" not in str(error):
                raise
            raise UserError(
                "a process that classifies photographs was killed, as happens when memory runs out: end other programs"
            ) from None
        except OSError as error:
            raise UserError(
                f"cannot start {workers} processes that classify ({error.strerror}): end other programs, or "
                "raise the limits of processes and open files (`ulimit -u`, `ulimit -n`)"
            ) from None

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

    def prediction(self, logits: torch.Tensor | Float32Array) -> Prediction:
        """Convert logits (1, classes) to a prediction.

        Raises:
            UserError: They are not finite.
        """
        shares = (torch.as_tensor(logits)[0].float() / self.temperature).softmax(0)
        if not bool(torch.isfinite(shares).all()):
            raise UserError(
                f"{printable(self.checkpoint)}: answers NaN because its training diverged; choose another checkpoint"
            )
        return Prediction(self.classes, tuple(shares.tolist()))


class _Batches(Dataset[list[Float32Array | UnreadableImage]]):
    """Reads and classifies the photographs of a batch, in whatever process asks for it."""

    def __init__(self, classifier: Classifier, read: Callable[[Any], Image.Image]) -> None:
        self._classifier = classifier
        self._read = read

    def __getitem__(self, photographs: Sequence[Any]) -> list[Float32Array | UnreadableImage]:
        results: list[Any] = []
        pixels: list[npt.NDArray[np.uint8]] = []
        for photograph in photographs:
            try:
                pixels.append(self._classifier.pixels(self._read(photograph)))
                results.append(None)
            except UnreadableImage as error:
                results.append(error)
        if pixels:
            with torch.inference_mode():
                images = normalise(torch.from_numpy(np.stack(pixels)).permute(0, 3, 1, 2))
                logits = iter(self._classifier.network(images).float().numpy())
            results = [next(logits) if result is None else result for result in results]
        return results


def _begin_process(_: int) -> None:
    gc.freeze()  # else the collector would touch, and so copy, all memory that is shared with the parent
    keep_large_buffers()
    # Its errors are answers. Where the parent was killed, it would print only that the connection is gone.
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)


def load_classifier(checkpoint: Path) -> Classifier:
    """Load the network of a checkpoint, with its calibration where ``facegender evaluate --calibrate`` stored one.

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
        calibration = read_calibration(checkpoint, epoch, step)
        return Classifier(
            network, classes, image_size, epoch, step, checkpoint, recipe, tuple(widths), network_name,
            calibration.temperature if calibration else 1.0,
        )  # fmt: skip
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
