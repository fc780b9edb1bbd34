"""A moving average of a network's weights, which classifies more steadily than the weights of any one step."""

from __future__ import annotations

import copy

from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn


class EmaNetwork(nn.Module):
    """A copy of a network whose weights are the exponential moving average of those that are trained.

    Running means of normalisations are averaged too: they belong to the averaged weights. torch's own `AveragedModel`
    does the same, but asks the device at every step how many there have been.

    Attributes:
        network: The copy.
        count: Steps that have been averaged.
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        """Copy a network.

        Args:
            decay: Share of the average that stays at a step. At first less stays, so that the early epochs are not
                those of the random weights that training began with.
        """
        super().__init__()
        self.network = copy.deepcopy(network).requires_grad_(False)
        self.decay = decay
        self.count = 0

    def update(self, network: nn.Module) -> None:
        """Take the weights of a step into the average; nothing waits for the device."""
        decay = min(self.decay, (1 + self.count) / (10 + self.count)) if self.count else 0.0
        pairs = list(zip(_numbers(self.network), _numbers(network), strict=True))
        floating = [(mean, value) for mean, value in pairs if mean.is_floating_point()]
        average = get_ema_multi_avg_fn(decay)  # type: ignore[no-untyped-call]  # torch has left out its types
        average([mean for mean, _ in floating], [value for _, value in floating], self.count)
        for mean, value in pairs:
            if not mean.is_floating_point():
                mean.copy_(value)
        self.count += 1


def _numbers(network: nn.Module) -> list[Tensor]:
    return [tensor.detach() for tensor in (*network.parameters(), *network.buffers())]
