"""Where the numbers of a network stop being finite."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from facegender.interpret.layers import hooked


def first_non_finite_layer(model: nn.Module, images: Tensor) -> str | None:
    """Run a forward pass in evaluation mode and name the first layer whose output has a NaN or an infinity.

    Weights and running statistics that are not finite show in the output of their layer too. Waits for the device.

    Args:
        images: (N, 3, H, W) float as the network takes them, on its device.

    Returns:
        The layer as in ``named_modules()``, or None if every output is finite.
    """
    names = {module: name for name, module in model.named_modules() if not list(module.children())}
    found: list[str] = []

    def hook(module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        if not found and isinstance(output, Tensor) and not bool(output.isfinite().all()):
            found.append(names[module])

    with torch.no_grad(), hooked(model, images, [(module, hook) for module in names]):
        model(images)
    return found[0] if found else None
