"""Finds images and labels in the batches of any data loader, and makes pictures of images that were normalised."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import islice, zip_longest
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from facegender.support.arrays import UInt8Array
from facegender.support.errors import UserError

IMAGE_KEYS = ("image", "images", "pixel_values", "x", "input", "inputs", "img", "data")
LABEL_KEYS = ("label", "labels", "target", "targets", "y")
INDEX_KEYS = ("index", "indices")

MAX_PICTURE_SIDE_PX = 512
"""Larger probes are shown at this size."""

Levels = float | Sequence[float] | None
"""One number for all channels, or one for each."""


def inputs_and_labels(batch: Any) -> tuple[Tensor, Tensor]:
    """Find what a batch gives to the network, and the labels.

    Args:
        batch: A sequence or a mapping. In a mapping the usual keys count first; in any, the first tensor with two or
            more dimensions is the input, and the first other tensor with as many entries is the labels.

    Returns:
        (N, ...) inputs, usually images (N, C, H, W), and (N,) int64 labels, the most probable class where the batch has
        probabilities (N, K).

    Raises:
        UserError: The batch has no such tensors.
    """
    if isinstance(batch, Mapping):
        known = [batch[key] for keys in (IMAGE_KEYS, LABEL_KEYS) for key in keys if key in batch]
        values = [*known, *(value for key, value in batch.items() if key not in INDEX_KEYS)]
    else:
        values = list(batch) if isinstance(batch, tuple | list) else []
    tensors = [value for value in values if isinstance(value, Tensor)]
    inputs = next((tensor for tensor in tensors if tensor.ndim >= 2), None)
    if inputs is not None:
        for labels in tensors:
            if labels is inputs or labels.ndim not in (1, 2) or len(labels) != len(inputs):
                continue
            if labels.ndim == 2:
                labels = labels.argmax(1) if labels.shape[1] > 1 else labels[:, 0]
            return inputs, labels.long()
    raise UserError(f"a batch is {type(batch).__name__}, not (images, labels) or a dictionary with both")


def indices_of(batch: Any, count: int) -> Tensor | None:
    """Find which images of the data set a batch has.

    Args:
        batch: A mapping with the key "index" or "indices", or anything.

    Returns:
        (count,) int64; None if it does not tell.
    """
    found = next((batch[key] for key in INDEX_KEYS if key in batch), None) if isinstance(batch, Mapping) else None
    if isinstance(found, Tensor) and found.shape == (count,) and not found.is_floating_point():
        return found.long()
    return None


def first_of_each_class(labels: Sequence[int], count: int) -> list[int]:
    """Choose entries, the classes in turn.

    Returns:
        Up to ``count`` different indices.
    """
    by_class: dict[int, list[int]] = {}
    for index, label in enumerate(labels):
        by_class.setdefault(label, []).append(index)
    turns = zip_longest(*(by_class[label] for label in sorted(by_class)))
    return list(islice((index for turn in turns for index in turn if index is not None), count))


def pictures(images: Tensor, mean: Levels, std: Levels) -> UInt8Array:
    """Make pictures of images as a network takes them.

    Args:
        images: (N, C, H, W). One channel is shown grey, of two their mean; of more the first three are red, green and
            blue.
        mean, std: How they were normalised from [0, 1]. Without, uint8 images stay as they are, and of others the
            lowest value becomes black and the highest white.

    Returns:
        (N, H, W, 3) uint8 with sides of at most `MAX_PICTURE_SIDE_PX`.
    """
    values = images.detach().float()
    if mean is not None and std is not None:
        shape = (1, -1, 1, 1)
        scale, offset = (torch.as_tensor(level, device=values.device).float().reshape(shape) for level in (std, mean))
        values = values * scale + offset
    elif images.dtype == torch.uint8:
        values = values / 255
    else:
        values = values.nan_to_num(0.0, 0.0, 0.0)
        low, high = values.min(), values.max()
        values = (values - low) / (high - low).clamp_min(torch.finfo(values.dtype).tiny)
    values = values[:, :3] if values.shape[1] >= 3 else values.mean(1, keepdim=True).expand(-1, 3, -1, -1)
    scale_px = MAX_PICTURE_SIDE_PX / max(values.shape[2:])
    if scale_px < 1:
        height, width = (max(1, round(side * scale_px)) for side in values.shape[2:])
        values = F.interpolate(values, (height, width), mode="area")
    array: UInt8Array = (values.nan_to_num(0.0).clamp(0, 1) * 255).round().byte().permute(0, 2, 3, 1).cpu().numpy()
    return array
