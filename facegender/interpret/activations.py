"""Computes the feature maps and statistics of a network's convolutions, and turns them into layers of a frame."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from facegender.interpret.layers import Hook, Layer, evaluating, full_precision, hooked, trace
from facegender.runs.frames import MAX_MAP_SIDE_PX, LayerFrame


@dataclass(frozen=True)
class LayerActivation:
    """Output of one layer for N images, on the network's device.

    Attributes:
        name: Name of the layer.
        maps: (N, C, h, w) float32, average-pooled to at most ``max_side_px``.
        stats: (N, C, 5) float32, computed before pooling, in the order of `facegender.runs.frames.STATISTICS`.
    """

    name: str
    maps: Tensor
    stats: Tensor


@dataclass(frozen=True)
class Activations:
    """Results of one forward pass.

    Attributes:
        logits: (N, classes) float32.
        layers: In the order of `trace`.
    """

    logits: Tensor
    layers: list[LayerActivation]


def compute_activations(
    model: nn.Module, images: Tensor, layers: list[Layer] | None = None, max_side_px: int = MAX_MAP_SIDE_PX
) -> Activations:
    """Run a forward pass and keep the output of each layer. Copies nothing from the device and does not wait for it.

    Args:
        model: Any network whose forward pass returns logits.
        images: (N, 3, H, W) float as the network takes them, on its device.
        layers: Layers from `trace`; traced here if not given.
        max_side_px: Longest side of the returned maps.
    """
    layers = trace(model, images[:1]) if layers is None else layers
    kept: dict[str, LayerActivation] = {}

    def keeper(layer: Layer) -> Hook:
        calls = 0

        def hook(module: nn.Module, inputs: tuple[Any, ...], output: Tensor) -> None:
            nonlocal calls
            # Summarised at once, because a later layer may overwrite this tensor in place.
            if calls == layer.call:
                kept[layer.name] = _summarise(layer.name, output, max_side_px)
            calls += 1

        return hook

    hooks = [(layer.shown, keeper(layer)) for layer in layers]
    with evaluating(model), torch.no_grad(), full_precision(images), hooked(hooks):
        logits = model(images)
    return Activations(logits, [kept[layer.name] for layer in layers if layer.name in kept])


def _summarise(name: str, output: Tensor, max_side_px: int) -> LayerActivation:
    values = output.detach().float()
    low, high = values.amin((2, 3)), values.amax((2, 3))
    zero = (values == 0).float().mean((2, 3))
    std, mean = torch.std_mean(values, (2, 3), correction=0)
    height, width = values.shape[2:]
    scale = max_side_px / max(height, width)
    if scale < 1:
        maps = F.adaptive_avg_pool2d(values, (max(1, round(height * scale)), max(1, round(width * scale))))
    else:
        maps = values.clone()
    return LayerActivation(name, maps, torch.stack([mean, std, low, high, zero], dim=2))


def layer_frames(activations: Activations, filters: Mapping[str, Tensor]) -> list[LayerFrame]:
    """Copy activations and filters from the device as layers of a frame."""
    return [
        LayerFrame(
            name=layer.name,
            maps=numpy_of(layer.maps),
            filters=numpy_of(filters[layer.name]),
            stats=numpy_of(layer.stats),
        )
        for layer in activations.layers
    ]


def numpy_of(tensor: Tensor) -> npt.NDArray[np.float32]:
    """Copy a tensor from its device to a contiguous float32 array."""
    return np.ascontiguousarray(tensor.detach().float().cpu().numpy())
