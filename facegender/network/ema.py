"""Exponential moving average (EMA) of a network's weights, whose accuracy fluctuates less than that of single steps."""

from __future__ import annotations

import copy

from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn


class EmaNetwork(nn.Module):
    """A copy of a network whose weights and running statistics are the exponential moving average of the original's.

    torch's `AveragedModel` does the same, but reads its step count from the device at every step, which has to wait.

    Attributes:
        network: The copy.
        count: Steps that have been averaged.
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        """Copy a network.

        Args:
            decay: Share of the average that remains at each step. It starts lower, so that the average of the early
                epochs is not that of the random initial weights.
        """
        super().__init__()
        self.network = copy.deepcopy(network).requires_grad_(False)
        self.decay = decay
        self.count = 0

    def update(self, network: nn.Module) -> None:
        """Add the weights after a step to the average, without waiting for the device."""
        decay = min(self.decay, (1 + self.count) / (10 + self.count)) if self.count else 0.0
        pairs = list(zip(_tensors(self.network), _tensors(network), strict=True))
        floating = [(mean, value) for mean, value in pairs if mean.is_floating_point()]
        average = get_ema_multi_avg_fn(decay)  # type: ignore[no-untyped-call]  # torch has no types for it
        average([mean for mean, _ in floating], [value for _, value in floating], self.count)
        for mean, value in pairs:
            if not mean.is_floating_point():
                mean.copy_(value)
        self.count += 1


def _tensors(network: nn.Module) -> list[Tensor]:
    return [tensor.detach() for tensor in (*network.parameters(), *network.buffers())]
