"""The one place that looks behind torch's public interface."""

from __future__ import annotations

from torch import Tensor


def writes_to(tensor: Tensor) -> int:
    """How often something has written into a tensor's memory.

    torch counts it for its check that nothing which the backward pass needs was changed (documented under "In-place
    correctness checks" in its notes on autograd), but has no public name for the count. Comparing values instead would
    need a copy of every activation.
    """
    return tensor._version
