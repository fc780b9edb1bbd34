"""Measures the health of convolutions: gradients, updates, unhealthy channels, and values that are not finite.

What is measured on the device stays there as tensors, without waiting, until `layer_health` makes numbers of it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile

import numpy as np
import torch
from torch import Tensor, nn

from facegender.interpret.layers import Layer
from facegender.runs.events import MAX_LISTED, LayerHealth
from facegender.runs.frames import STATISTICS
from facegender.support.arrays import Float32Array

SAMPLES = 4
"""Optimiser steps of an epoch whose gradients and updates are measured."""
MIN_SIMILARITY = 0.98
"""Cosine similarity from which two filters count as duplicates."""
MAX_PAIRS = 16
"""Of duplicate filters, for each layer."""
SATURATED = 0.01
"""Share of an activation's range within which a channel counts as stuck at its bound."""

_BLOCK = 256
"""Filters that are compared with all others at once, so that memory grows with their number and not its square."""

_FROZEN = -1.0
"""Stands for the gradient norm of weights that are not trained."""


# Gradients and updates ------------------------------------------------------------------------------------------------


def sampled_steps(steps: float) -> frozenset[int]:
    """Choose the optimiser steps of an epoch to measure, counted from 0.

    Args:
        steps: Optimiser steps of the epoch; infinite if unknown.

    Returns:
        The first, the last and some between; if the number is unknown the first and the powers of 4.
    """
    if math.isinf(steps):
        return frozenset([0, *(4**power for power in range(16))])
    return frozenset(round(part * (steps - 1) / (SAMPLES - 1)) for part in range(SAMPLES))


@dataclass(frozen=True)
class UpdateHealth:
    """Means over the measured steps of an epoch, on the network's device.

    Attributes:
        gradient_norm: (layers,) float32, the L2 norm of the gradient; 0 without a gradient, NaN for weights that are
            not trained.
        update_ratio: (layers,) float32, the L2 norm of the update divided by that of the weights; NaN for weights that
            are not trained and for those that are all zero.
        finite: (layers,) bool, whether all measured gradients are.
    """

    gradient_norm: Tensor
    update_ratio: Tensor
    finite: Tensor


class UpdateSampler:
    """Measures the gradient and the update of each convolution's weights at some optimiser steps.

    Call `before_step` after the backward pass and `after_step` after the optimiser's step. Nothing waits for the
    device.
    """

    def __init__(self, layers: Sequence[str]) -> None:
        """Measure the convolutions of these names, as in ``named_modules()`` of the network that is trained."""
        self._layers = layers
        self._pending: tuple[list[Tensor], Tensor] | None = None
        self._samples: list[Tensor] = []

    def before_step(self, model: nn.Module) -> None:
        """Measure the gradients and copy the weights."""
        weights = self._weights(model)
        if weights:
            norms = torch.stack([_gradient_norm(weight) for weight in weights])
            self._pending = [weight.detach().clone() for weight in weights], norms

    def after_step(self, model: nn.Module) -> None:
        """Measure how far the weights have moved since `before_step`; without one, do nothing."""
        if self._pending is None:
            return
        (before, gradient_norms), self._pending = self._pending, None
        weights = self._weights(model)
        moved = [_norm(after.detach() - weight) for after, weight in zip(weights, before, strict=True)]
        ratios = torch.stack(moved) / torch.stack([_norm(weight) for weight in before])
        self._samples.append(torch.stack([gradient_norms, ratios]))

    def take(self) -> UpdateHealth | None:
        """Return the means of the samples and forget them; None if there are none."""
        samples, self._samples, self._pending = self._samples, [], None
        if not samples:
            return None
        gradient_norms, ratios = torch.stack(samples, 1)
        frozen = gradient_norms == _FROZEN
        return UpdateHealth(
            gradient_norm=gradient_norms.where(~frozen, math.nan).mean(0),
            update_ratio=ratios.where(~frozen, math.nan).mean(0),
            finite=gradient_norms.isfinite().all(0),
        )

    def _weights(self, model: nn.Module) -> list[Tensor]:
        return [model.get_parameter(f"{name}.weight") for name in self._layers]


def _gradient_norm(weight: Tensor) -> Tensor:
    if weight.grad is not None:
        return _norm(weight.grad)
    return torch.full((), 0.0 if weight.requires_grad else _FROZEN, device=weight.device)


def _norm(tensor: Tensor) -> Tensor:
    wide = torch.promote_types(tensor.dtype, torch.float32)  # a sum of squares overflows in half precision
    norm: Tensor = torch.linalg.vector_norm(tensor.detach(), dtype=wide).float()
    return norm


# Weights --------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class WeightHealth:
    """What the weights of the layers say, on the network's device.

    Attributes:
        finite: (layers,) bool, whether all weights are.
        similarity: (layers, `MAX_PAIRS`) float32, of the most similar pairs of filters, in descending order; lower than
            -1 where there are fewer pairs.
        pairs: (layers, `MAX_PAIRS`, 2) int64, the two filters, the lower index first.
    """

    finite: Tensor
    similarity: Tensor
    pairs: Tensor


def weight_health(layers: Sequence[Layer]) -> WeightHealth:
    """Examine the weights of one layer or more. Does not wait for the device."""
    with torch.no_grad():
        weights = [layer.conv.weight for layer in layers]
        similar = [similar_filters(layer.conv.weight, layer.conv.groups) for layer in layers]
        similarity, pairs = (torch.stack(parts) for parts in zip(*similar, strict=True))
        return WeightHealth(torch.stack([weight.isfinite().all() for weight in weights]), similarity, pairs)


def similar_filters(filters: Tensor, groups: int = 1) -> tuple[Tensor, Tensor]:
    """Find the most similar pairs of filters by the cosine of the angle between them.

    Args:
        filters: (O, I, kh, kw) float.
        groups: Of the convolution. Filters of different groups see different inputs and are not compared.

    Returns:
        (`MAX_PAIRS`,) float32 similarities and (`MAX_PAIRS`, 2) int64 indices, as in `WeightHealth`.
    """
    flat = filters.detach().float().flatten(1)
    unit = torch.nan_to_num(torch.nn.functional.normalize(flat, dim=1), nan=0.0)
    count, per_group = len(unit), len(unit) // groups
    number = torch.arange(count, device=unit.device)
    best = torch.full((MAX_PAIRS,), -2.0, device=unit.device)
    pairs = torch.zeros(MAX_PAIRS, 2, dtype=torch.int64, device=unit.device)
    if per_group < 2:
        return best, pairs
    for start in range(0, count, _BLOCK):
        first, second = number[start : start + _BLOCK, None], number[start:]
        compared = (first < second) & (first // per_group == second // per_group)
        cosine = (unit[start : start + _BLOCK] @ unit[start:].T).where(compared, -2.0).flatten()
        values, at = cosine.topk(min(MAX_PAIRS, len(cosine)))
        best, order = torch.cat([best, values]).topk(MAX_PAIRS)
        pairs = torch.cat([pairs, start + torch.stack([at // len(second), at % len(second)], 1)])[order]
    return best, pairs


# Activations ----------------------------------------------------------------------------------------------------------


def dead_channels(units: Float32Array) -> list[int]:
    """The channels whose activation is zero everywhere on every photograph.

    Args:
        units: (C, 3) float32 as in a frame.
    """
    return [int(channel) for channel in np.flatnonzero(units[:, 2] == 0)]


def saturated_channels(stats: Float32Array, activation: nn.Module) -> list[int]:
    """The channels whose activation is stuck at a bound of the activation function, on every probe.

    Stuck means that all values are within 1 % of the function's range of that bound. Unbounded functions such as ReLU
    have no such channels, and the zero of ReLU6 is no such bound: a channel that is always zero is dead.

    Args:
        stats: (P, C, 5) float32 as in a frame.
        activation: The module whose output the statistics are of.
    """
    bounds = _bounds(activation)
    if bounds is None:
        return []
    low, high = bounds
    margin = SATURATED * (high - low)
    lowest = stats[:, :, STATISTICS.index("min")].min(axis=0)
    highest = stats[:, :, STATISTICS.index("max")].max(axis=0)
    stuck = lowest >= high - margin
    if not isinstance(activation, nn.ReLU6):
        stuck |= (highest <= low + margin) & (highest != 0)
    return [int(channel) for channel in np.flatnonzero(stuck)]


def _bounds(activation: nn.Module) -> tuple[float, float] | None:
    if isinstance(activation, nn.Hardtanh):  # ReLU6 is one
        return activation.min_val, activation.max_val
    if isinstance(activation, nn.Sigmoid | nn.Hardsigmoid):
        return 0.0, 1.0
    return (-1.0, 1.0) if isinstance(activation, nn.Tanh | nn.Softsign) else None


# Everything together --------------------------------------------------------------------------------------------------


def layer_health(
    layers: Sequence[Layer],
    weights: WeightHealth,
    updates: UpdateHealth | None,
    units: Mapping[str, Float32Array],
    stats: Mapping[str, Float32Array],
) -> tuple[list[LayerHealth], str]:
    """Make numbers of what was measured. Waits for the device.

    Args:
        layers: In the order of the forward pass.
        weights: From `weight_health`.
        updates: From `UpdateSampler.take`.
        units: (C, 3) float32 by layer, as in a frame; empty without validation.
        stats: (P, C, 5) float32 by layer, as in a frame; empty without one.

    Returns:
        The health of each layer, and the name of the first one with a weight, gradient or activation that is NaN or
        infinite, or "".
    """
    finite, similarity, pairs = (part.tolist() for part in (weights.finite, weights.similarity, weights.pairs))
    if updates is not None:
        norms, ratios = updates.gradient_norm.tolist(), updates.update_ratio.tolist()
        finite = [both[0] and both[1] for both in zip(finite, updates.finite.tolist(), strict=True)]
    else:
        norms = ratios = [math.nan] * len(layers)
    healths, first_not_finite = [], ""
    for index, layer in enumerate(layers):
        dead = dead_channels(units[layer.name]) if layer.name in units else []
        saturated = saturated_channels(stats[layer.name], layer.shown) if layer.name in stats else []
        similar = takewhile(lambda found: found[0] >= MIN_SIMILARITY, zip(similarity[index], pairs[index], strict=True))
        healths.append(
            LayerHealth(
                name=layer.name,
                gradient_norm=norms[index],
                update_ratio=ratios[index],
                channels=layer.conv.out_channels,
                dead_count=len(dead),
                dead=dead[:MAX_LISTED],
                saturated=saturated[:MAX_LISTED],
                duplicates=[(first, second, cosine) for cosine, (first, second) in similar],
            )
        )
        arrays = [arrays[layer.name] for arrays in (units, stats) if layer.name in arrays]
        if not first_not_finite and not (finite[index] and all(np.isfinite(array).all() for array in arrays)):
            first_not_finite = layer.name
    return healths, first_not_finite
