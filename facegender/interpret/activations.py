"""Computes the feature maps and statistics of a network's convolutions, and turns them into layers of a frame."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from facegender.interpret.layers import Hook, Layer, hooked, output_hook
from facegender.interpret.logits import logits_of
from facegender.runs.frames import LayerFrame, map_sizes


@dataclass(frozen=True)
class LayerActivation:
    """Output of one layer for N images, and a copy of the convolution's weights, on the network's device.

    Attributes:
        maps: (N, C, h, w) float32, average-pooled to what `map_sizes` allows.
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
        model: Any network whose forward pass returns logits, see `logits_of`.
        images: (N, 3, H, W) float as the network takes them, on its device.
        layers: Layers from `trace`.

    Returns:
        (N, classes) float32 logits, and the layers in the same order.
    """
    hooks, kept = summary_hooks(layers, images)
    with torch.no_grad(), hooked(model, images, hooks):
        logits = logits_of(model(images)).float()
    return logits, [kept[layer.name] for layer in layers if layer.name in kept]


def summary_hooks(
    layers: Sequence[Layer], images: Tensor
) -> tuple[list[tuple[nn.Module, Hook]], dict[str, LayerActivation]]:
    """Make the hooks that keep the output of each layer, and the dictionary into which they put it, by its name."""
    kept: dict[str, LayerActivation] = {}
    sizes = map_sizes(
        [(layer.conv.out_channels, *layer.size) for layer in layers], 3 * images.shape[2] * images.shape[3]
    )
    size_of = {layer.name: size for layer, size in zip(layers, sizes, strict=True)}

    def keep(layer: Layer, output: Tensor) -> None:
        # Summarised at once, because a later layer may overwrite this tensor in place.
        kept[layer.name] = _summarise(layer, output, size_of[layer.name])

    return [output_hook(layer, keep) for layer in layers], kept


def _summarise(layer: Layer, output: Tensor, size: tuple[int, int]) -> LayerActivation:
    values = output.detach().float()
    low, high = values.amin((2, 3)), values.amax((2, 3))
    zero = (values == 0).float().mean((2, 3))
    mean = values.mean((2, 3))
    # Several times as fast as `torch.std_mean` on a CPU.
    std = (values - mean[:, :, None, None]).square_().mean((2, 3)).sqrt()
    filters = layer.conv.weight.detach().float().clone()
    stats = torch.stack([mean, std, low, high, zero], dim=2)
    return LayerActivation(layer.name, pooled(values, size), filters, stats)


def pooled(maps: Tensor, size: Sequence[int]) -> Tensor:
    """Copy maps (N, C, H, W) and average-pool them to at most (height, width)."""
    height, width = min(maps.shape[2], size[0]), min(maps.shape[3], size[1])
    if (height, width) == maps.shape[2:]:
        return maps.clone()
    return F.adaptive_avg_pool2d(maps, (height, width))


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
