"""Which photographs excite each channel most, and where: collected while validation runs, without a second pass."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from facegender.interpret.activations import numpy_of
from facegender.interpret.layers import Layer
from facegender.runs.frames import TOP, TopPatches
from facegender.support.arrays import Float32Array

_LOW_BITS = 32
_EMPTY = torch.iinfo(torch.int64).min
_MAX_INDEX = torch.iinfo(torch.int32).max
_SIDE = 1 << 15
"""More rows or columns than any map has; positions are `row * _SIDE + column`, which orders them as the map does."""


class ChannelTotals(NamedTuple):
    """What was seen of the C channels of all layers, on the network's device. `merged` adds those of several processes.

    Attributes:
        photographs: () int64.
        mean_sum: (C,) float64, the sum of the mean activation of each photograph; float32 where there is no float64.
        highest: (C,) float32.
        active: (C,) int64, photographs on which the channel is not zero everywhere.
        keys: (C, K) int64 in descending order; value and photograph as one number, see `_key`.
        positions: (C, K) int64, where in the map.
    """

    photographs: Tensor
    mean_sum: Tensor
    highest: Tensor
    active: Tensor
    keys: Tensor
    positions: Tensor


@dataclass(frozen=True)
class LayerUnits:
    """How the C channels of a layer respond to the validation photographs, on the network's device.

    Attributes:
        units: (C, 3) float32: the mean of the activation, its maximum, and the share of photographs in which it is not
            zero anywhere.
        value: (C, K) float32, the largest activations on different photographs in descending order; NaN where there
            are fewer photographs.
        image: (C, K) int64, the index of the photograph; -1 where there are fewer.
        at: (C, K, 2) int64, row and column in the layer's map before pooling.
    """

    units: Tensor
    value: Tensor
    image: Tensor
    at: Tensor

    def arrays(self) -> tuple[Float32Array, TopPatches]:
        """Copy them from the device as they are stored in a frame."""
        image, at = self.image.cpu().numpy().astype(np.int32), self.at.cpu().numpy().astype(np.int16)
        return numpy_of(self.units), TopPatches(value=numpy_of(self.value), image=image, at=at)


class ChannelTracker:
    """Collects what excites the channels of layers from the forward passes of a validation.

    It needs memory for the largest activations only, and does not wait for the device. What it looks at is the output
    of `Layer.shown`, before pooling.

    ::

        tracker = ChannelTracker(trace(network, image))
        with tracker.watch():
            for indices, images in batches:
                network(images)
                tracker.add(indices)
        by_layer = tracker.result()
    """

    def __init__(self, layers: Sequence[Layer]) -> None:
        """Begin with no photographs. There must be a layer."""
        self._layers = layers
        self._channels = [layer.conv.out_channels for layer in layers]
        self._layer_at = {(layer.shown, layer.call): layer for layer in layers}
        self._calls: Counter[nn.Module] = Counter()
        self._seen: dict[str, tuple[Tensor, Tensor, Tensor, Tensor]] = {}
        channels, device = sum(self._channels), layers[0].conv.weight.device
        dtype = torch.float32 if device.type == "mps" else torch.float64
        self.totals = ChannelTotals(
            photographs=torch.zeros((), dtype=torch.int64, device=device),
            mean_sum=torch.zeros(channels, dtype=dtype, device=device),
            highest=torch.full((channels,), -torch.inf, device=device),
            active=torch.zeros(channels, dtype=torch.int64, device=device),
            keys=torch.full((channels, TOP), _EMPTY, device=device),
            positions=torch.zeros(channels, TOP, dtype=torch.int64, device=device),
        )

    def watch(self) -> contextlib.ExitStack:
        """Register the forward hooks. The returned context manager removes them; `ExitStack.close` does the same."""
        handles = contextlib.ExitStack()
        for module in {layer.shown for layer in self._layers}:
            handles.enter_context(module.register_forward_hook(self._hook))
        return handles

    def _hook(self, module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        layer = self._layer_at.get((module, self._calls[module]))
        self._calls[module] += 1
        # A forward pass of its own may give a layer something else: a single image, or an empty batch.
        if layer is not None and isinstance(output, Tensor) and output.ndim == 4 and output.numel():
            # Summarised at once, because a later layer may overwrite this tensor in place.
            self._seen[layer.name] = _summarise(output.detach())

    def add(self, indices: Tensor) -> bool:
        """Count the photographs of the batch that the network has just seen.

        Args:
            indices: (N,) int64, the index of each photograph, of any device; a photograph with a negative index does
                not count, for example one that a distributed sampler repeats. A batch whose size differs from N is
                left out.

        Returns:
            Whether the batch was counted.
        """
        self._calls.clear()
        seen, self._seen = self._seen, {}
        batches = [seen[layer.name] for layer in self._layers if layer.name in seen]
        if len(batches) < len(self._layers) or any(len(batch[0]) != len(indices) for batch in batches):
            return False
        # (N, C) each, for the channels of all layers: a handful of operations for all instead of for every layer.
        value, position, mean, active = (torch.cat(parts, 1) for parts in zip(*batches, strict=True))
        indices = indices.to(value.device, non_blocking=True)[:, None]
        counted = indices >= 0
        keys = torch.where(counted & ~value.isnan(), _key(value, indices), _EMPTY)
        batch = ChannelTotals(
            photographs=counted.sum(),
            mean_sum=mean.where(counted, 0).sum(0, dtype=self.totals.mean_sum.dtype),
            highest=value.where(counted, -torch.inf).amax(0),
            active=(active & counted).sum(0),
            keys=keys.T,
            positions=position.T,
        )
        self.totals = merged([self.totals, batch])
        return True

    def result(self) -> dict[str, LayerUnits]:
        """What was collected, by the name of the layer; NaN if there was no photograph."""
        photographs, mean_sum, highest, active, keys, positions = self.totals
        units = torch.stack([(mean_sum / photographs).float(), highest, active / photographs], 1)
        value, image = _value_and_index(keys)
        at = torch.stack([positions // _SIDE, positions % _SIDE], 2)
        parts = zip(*(torch.split(tensor, self._channels) for tensor in (units, value, image, at)), strict=True)
        return {layer.name: LayerUnits(*tensors) for layer, tensors in zip(self._layers, parts, strict=True)}


def merged(parts: Sequence[ChannelTotals]) -> ChannelTotals:
    """Combine what was seen of different photographs, such as the shares of several processes.

    The result does not depend on the order, but for the last digits of sums: of equal values that of the photograph
    with the lower index comes first.
    """
    keys, positions = torch.cat([part.keys for part in parts], 1), torch.cat([part.positions for part in parts], 1)
    largest = keys.topk(TOP, 1)
    return ChannelTotals(
        photographs=torch.stack([part.photographs for part in parts]).sum(0),
        mean_sum=torch.stack([part.mean_sum for part in parts]).sum(0),
        highest=torch.stack([part.highest for part in parts]).amax(0),
        active=torch.stack([part.active for part in parts]).sum(0),
        keys=largest.values,
        positions=positions.gather(1, largest.indices),
    )


def _summarise(maps: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """For maps (N, C, H, W): maximum, its position, mean, and whether there is anything but zeros; (N, C) each."""
    height, width = maps.shape[2:]
    if maps.device.type == "cpu":  # there it is several times as fast as `max`, and as slow on GPUs
        highest, index = (tensor.flatten(1) for tensor in F.adaptive_max_pool2d(maps, 1, return_indices=True))
    else:
        highest, index = maps.flatten(2).max(2)
    total = maps.sum((2, 3), dtype=torch.float32)
    # Where the maximum is zero, no value is positive, and they are all zero if and only if their sum is.
    active = (highest != 0) | (total != 0)
    return highest.float(), index // width * _SIDE + index % width, total / (height * width), active


def _key(value: Tensor, indices: Tensor) -> Tensor:
    """Write a value and an index below 2³¹ as one integer, greater for greater values and then for lower indices.

    The bits of positive floats are ordered as integers are; those of negative ones are in reverse.
    """
    bits = (value + 0.0).view(torch.int32)  # -0.0 becomes 0.0
    return (_ordered(bits).long() << _LOW_BITS) | (_MAX_INDEX - indices)


def _value_and_index(keys: Tensor) -> tuple[Tensor, Tensor]:
    """Undo `_key`; NaN and -1 where a key is empty."""
    value = _ordered((keys >> _LOW_BITS).int()).view(torch.float32)
    index = _MAX_INDEX - (keys & ((1 << _LOW_BITS) - 1))
    empty = keys == _EMPTY
    return value.where(~empty, torch.nan), index.where(~empty, -1)


def _ordered(bits: Tensor) -> Tensor:
    """Reverse the order of the negative ones of float bits (int32); its own inverse."""
    return bits ^ ((bits >> 31) & _MAX_INDEX)
