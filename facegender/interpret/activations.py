"""Computes the feature maps and statistics of a network's convolutions, and turns them into layers of a frame."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from facegender.interpret.layers import Layer, hooked, output_hook
from facegender.runs.frames import MAX_MAP_SIDE_PX, LayerFrame


@dataclass(frozen=True)
class LayerActivation:
    """Output of one layer for N images, and a copy of the convolution's weights, on the network's device.

    Attributes:
        maps: (N, C, h, w) float32, average-pooled to at most `MAX_MAP_SIDE_PX` a side.
        filters: (O, I, kh, kw) float32.
        stats: (N, C, 5) float32, computed before pooling, in the order of `facegender.runs.frames.STATISTICS`.
    """

    name: str
    maps: Tensor
    filters: Tensor
    stats: Tensor


def compute_activations(
    model: nn.Module, images: Tensor, layers: Sequence[Layer]
) -> tuple[Tensor, list[LayerActivation]]:
    """Run a forward pass and keep the output of each layer. Copies nothing from the device and does not wait for it.

    Args:
        model: Any network whose forward pass returns logits.
        images: (N, 3, H, W) float as the network takes them, on its device.
        layers: Layers from `trace`.

    Returns:
        (N, classes) float32 logits, and the layers in the same order.
    """
    kept: dict[str, LayerActivation] = {}

    def keep(layer: Layer, output: Tensor) -> None:
        # Summarised at once, because a later layer may overwrite this tensor in place.
        kept[layer.name] = _summarise(layer, output)

    with torch.no_grad(), hooked(model, images, [output_hook(layer, keep) for layer in layers]):
        logits = model(images)
    return logits, [kept[layer.name] for layer in layers if layer.name in kept]


def _summarise(layer: Layer, output: Tensor) -> LayerActivation:
    values = output.detach().float()
    low, high = values.amin((2, 3)), values.amax((2, 3))
    zero = (values == 0).float().mean((2, 3))
    std, mean = torch.std_mean(values, (2, 3), correction=0)
    height, width = values.shape[2:]
    scale = MAX_MAP_SIDE_PX / max(height, width)
    if scale < 1:
        maps = F.adaptive_avg_pool2d(values, (max(1, round(height * scale)), max(1, round(width * scale))))
    else:
        maps = values.clone()
    filters = layer.conv.weight.detach().float().clone()
    return LayerActivation(layer.name, maps, filters, torch.stack([mean, std, low, high, zero], dim=2))


def layer_frames(activations: Sequence[LayerActivation]) -> list[LayerFrame]:
    """Copy activations and filters from the device as layers of a frame."""
    return [
        LayerFrame(
            name=layer.name,
            maps=numpy_of(layer.maps),
            filters=numpy_of(layer.filters),
            stats=numpy_of(layer.stats),
        )
        for layer in activations
    ]


def numpy_of(tensor: Tensor) -> npt.NDArray[np.float32]:
    """Copy a tensor from its device to a contiguous float32 array."""
    return np.ascontiguousarray(tensor.detach().float().cpu().numpy())
