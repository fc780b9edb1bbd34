"""Finds the logits in whatever a network's forward pass returns."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from torch import Tensor


def logits_of(output: Any) -> Tensor:
    """Find the logits in the output of a network.

    Args:
        output: A tensor; a tuple, list or mapping; or an object with an attribute ``logits``, as the models of
            Hugging Face return. They may be nested.

    Returns:
        The first tensor with two dimensions and floating-point numbers: (N, classes), the same object.

    Raises:
        TypeError: There is none.
    """
    for tensor in _tensors(output):
        if tensor.ndim == 2 and tensor.is_floating_point():
            return tensor
    raise TypeError(f"the forward pass returns {type(output).__name__} without logits (a float tensor (N, classes))")


def _tensors(output: Any) -> Iterator[Tensor]:
    if isinstance(output, Tensor):
        yield output
    elif hasattr(output, "logits"):
        yield from _tensors(output.logits)
    elif isinstance(output, Mapping):
        for value in output.values():
            yield from _tensors(value)
    elif isinstance(output, tuple | list):
        for value in output:
            yield from _tensors(value)
