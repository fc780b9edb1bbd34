"""From tensors on a device to the arrays of a frame."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
from torch import Tensor

from facegender.network.introspect import Activations
from facegender.runs.frames import LayerFrame


def numpy_of(tensor: Tensor) -> npt.NDArray[np.float32]:
    """A float tensor's values in memory that numpy can use, row after row."""
    return np.ascontiguousarray(tensor.detach().float().cpu().numpy())


def layer_frames(activations: Activations, filters: Mapping[str, Tensor]) -> list[LayerFrame]:
    """What a forward pass left of each layer, copied from the device."""
    return [
        LayerFrame(
            name=layer.name,
            maps=numpy_of(layer.maps),
            filters=numpy_of(filters[layer.name]),
            stats=numpy_of(layer.stats),
        )
        for layer in activations.layers
    ]
