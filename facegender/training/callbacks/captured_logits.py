"""Takes the logits of forward passes that happen anyway, by hooks on the modules that return them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from facegender.interpret.layers import hooked
from facegender.interpret.logits import logits_of


class CapturedLogits:
    """The logits that one of some modules returned last.

    A step may call the LightningModule, or a network within it, so all modules that return the same logits are watched.
    """

    def __init__(self) -> None:
        self._hooks = contextlib.ExitStack()
        self._logits: Tensor | None = None

    def watch(self, modules: Iterable[nn.Module]) -> None:
        """Register the hooks; `remove` takes them off again."""
        for module in modules:
            self._hooks.enter_context(module.register_forward_hook(self._keep))

    def _keep(self, module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        with contextlib.suppress(TypeError):
            self._logits = logits_of(output).detach()

    def take(self, count: int) -> Tensor | None:
        """Return and forget the logits (count, K) of the last forward pass; None if it had no such logits."""
        logits, self._logits = self._logits, None
        return logits if logits is not None and len(logits) == count else None

    def clear(self) -> None:
        """Forget what was captured."""
        self._logits = None

    def remove(self) -> None:
        """Remove the hooks."""
        self._hooks.close()
        self.clear()


def modules_with_logits(model: nn.Module, inputs: Tensor) -> tuple[Tensor, list[nn.Module]]:
    """Run a forward pass in evaluation mode, and find the modules within a model that return its logits.

    Returns:
        The logits, and the modules whose output has the same tensor in it, the model among them.

    Raises:
        TypeError: The forward pass returns no logits, see `logits_of`.
    """
    returned: list[tuple[nn.Module, Tensor]] = []

    def hook(module: nn.Module, arguments: tuple[Any, ...], output: Any) -> None:
        with contextlib.suppress(TypeError):
            returned.append((module, logits_of(output)))

    with torch.no_grad(), hooked(model, inputs, [(module, hook) for module in model.modules()]):
        logits = logits_of(model(inputs))
    return logits, list(dict.fromkeys(module for module, found in returned if found is logits))
