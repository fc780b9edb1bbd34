"""Which part of an image a unit of a layer sees, found by differentiating the network."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from facegender.interpret.layers import NORMALISATIONS, Hook, Layer, hooked, output_hook

MAX_SIDE_PX = 2048
"""Of the image on which a receptive field is searched; a layer that sees all of it counts as one that sees everything.
"""
EFFECTIVE = 0.01
"""Share of the largest gradient from which a pixel belongs to the receptive field of a layer that sees everything."""

_SHORT_SIDE_PX = 96
"""Of the image on which one direction is searched, so that it takes little time."""


@dataclass(frozen=True)
class ReceptiveField:
    """The part of an image that each unit of a layer sees, in pixels.

    Attributes:
        top, left: Of the box of the unit in row 0 and column 0; negative where padding belongs to it.
        height, width: Of every box.
        vertical_stride, horizontal_stride: How far the boxes of neighbours are apart.
        effective: The boxes are the parts that influence a unit most: the layer sees the whole image, because of
            attention or squeeze-and-excitation for instance, or the network takes images of one size only.
    """

    top: int
    left: int
    height: int
    width: int
    vertical_stride: int
    horizontal_stride: int
    effective: bool = False

    def box(self, row: int, column: int) -> tuple[int, int, int, int]:
        """The box that a unit sees: (top, left, height, width). It may reach beyond the image."""
        return (
            self.top + row * self.vertical_stride,
            self.left + column * self.horizontal_stride,
            self.height,
            self.width,
        )


@torch.inference_mode(False)
def receptive_field(model: nn.Module, layer: Layer, image_size: int, channels: int = 3) -> ReceptiveField:
    """Find what the units of a layer see. It takes some tenths of a second on a CPU, whatever device the network is on.

    The gradient of a unit shows which pixels it depends on if nothing cancels out and no activation is saturated: all
    weights are replaced with positive constants, and normalisations are left out. Max-pooling passes the gradient to
    one pixel alone; an image that becomes brighter in one direction makes it the outermost one.

    Args:
        model: Any network; its weights and modes stay as they are.
        layer: A layer of it from `trace`.
        image_size: Side of the square images that the network takes, in pixels.
        channels: Input channels of the network.
    """
    try:
        rows = _search(model, layer, image_size, channels, vertical=True)
        columns = _search(model, layer, image_size, channels, vertical=False)
    except (RuntimeError, ValueError, AssertionError):  # raised by networks that take images of one size only
        rows = columns = None
    if rows is None or columns is None:
        return _effective_field(model, layer, image_size, channels)
    (top, height, vertical_stride), (left, width, horizontal_stride) = rows, columns
    return ReceptiveField(top, left, height, width, vertical_stride, horizontal_stride)


def _search(
    model: nn.Module, layer: Layer, image_size: int, channels: int, *, vertical: bool
) -> tuple[int, int, int] | None:
    """In one direction: where the box of the first unit begins, the size of the boxes and their distance.

    Returns:
        None if the layer sees everything.
    """
    length, across = image_size, min(image_size, _SHORT_SIDE_PX)
    while length <= MAX_SIDE_PX:
        brightness = torch.linspace(0.5, 1, length, dtype=torch.float64)
        images = torch.stack([brightness, brightness.flip(0)])[:, None, :, None].expand(2, channels, length, across)
        images = images if vertical else images.mT
        maps = _differentiable_maps(model, layer, images.requires_grad_())
        maps_along = maps if vertical else maps.mT
        middle, spans = maps_along.shape[2] // 2, []
        for unit in (middle, min(middle + 1, maps_along.shape[2] - 1)):
            gradient = _gradient(images, maps_along[:, :, unit, maps_along.shape[3] // 2])
            seen = gradient.sum(1 if vertical else 0).nonzero()
            if not len(seen):
                return None
            spans.append((int(seen[0]), int(seen[-1])))
        (first, last), (next_first, next_last) = spans
        if first > 0 and next_last < length - 1 and next_first > first:
            stride = next_first - first
            return first - middle * stride, last - first + 1, stride
        length *= 2
    return None


def _effective_field(model: nn.Module, layer: Layer, image_size: int, channels: int) -> ReceptiveField:
    """The box of the pixels that influence the unit in the middle most."""
    images = torch.ones(1, channels, image_size, image_size, dtype=torch.float64, requires_grad=True)
    maps = _differentiable_maps(model, layer, images)
    rows, columns = maps.shape[2:]
    gradient = _gradient(images, maps[:, :, rows // 2, columns // 2])
    influential = (gradient > 0) & (gradient >= EFFECTIVE * gradient.max())
    seen = influential.nonzero()
    if not len(seen):  # an activation is saturated
        return ReceptiveField(0, 0, image_size, image_size, 0, 0, effective=True)
    (top, left), (bottom, right) = seen.amin(0).tolist(), seen.amax(0).tolist()
    vertical, horizontal = round(image_size / rows), round(image_size / columns)
    first = top - rows // 2 * vertical, left - columns // 2 * horizontal
    return ReceptiveField(*first, bottom - top + 1, right - left + 1, vertical, horizontal, effective=True)


def _gradient(images: Tensor, unit: Tensor) -> Tensor:
    """Sum the gradients of a unit, over all images, with respect to the pixels: (H, W)."""
    (gradient,) = torch.autograd.grad(unit.sum(), images, retain_graph=True)
    return gradient.abs().sum((0, 1))


class _Reached(Exception):
    """Ends a forward pass where the layer's output is known."""


def _differentiable_maps(model: nn.Module, layer: Layer, images: Tensor) -> Tensor:
    """Compute a layer's output for float64 images with constant weights and without normalisation."""
    reached: list[Tensor] = []

    def stop(layer: Layer, output: Tensor) -> None:
        reached.append(output)
        raise _Reached

    def skip(module: nn.Module, inputs: tuple[Any, ...], output: Any) -> Any:
        return inputs[0].clone()  # so that an activation in place does not overwrite what others need

    norms = [module for module in model.modules() if isinstance(module, (*NORMALISATIONS, nn.LayerNorm))]
    hooks: list[tuple[nn.Module, Hook]] = [*((module, skip) for module in norms), output_hook(layer, stop)]
    with contextlib.suppress(_Reached), torch.enable_grad(), hooked(model, images, hooks):
        torch.func.functional_call(model, dict(_constant_weights(model)), (images,))
    return reached[0]


def _constant_weights(model: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """Parameters and buffers in float64 on the CPU; each unit computes a mean of what it sees."""
    for prefix, module in model.named_modules():
        mixes = isinstance(module, (nn.Conv1d, nn.Conv2d, nn.ConvTranspose2d, nn.Linear))
        for name, parameter in module.named_parameters(prefix, recurse=False):
            is_bias = mixes and parameter.ndim == 1
            share = 0.0 if is_bias else 1 / parameter[0].numel() if mixes else 1.0
            yield name, torch.full(parameter.shape, share, dtype=torch.float64)
        for name, buffer in module.named_buffers(prefix, recurse=False):
            yield name, buffer.cpu().double() if buffer.is_floating_point() else buffer.cpu()
