"""Which convolutions a forward pass of any network reaches, and which module's output to show for each.

Hooks are removed and each module's mode is restored when a look ends, also by an exception.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

_NORMALISATIONS = (nn.BatchNorm2d, nn.SyncBatchNorm, nn.InstanceNorm2d, nn.GroupNorm)

Hook = Callable[[nn.Module, tuple[Any, ...], Any], Any]


@dataclass(frozen=True)
class Layer:
    """One convolution and the module whose output is shown for it.

    Attributes:
        name: As in ``named_modules()``.
        chain: The convolution and the normalisations and activations that its output goes through, by name.
        shown: The last of the chain.
        call: Which call of ``shown`` in one forward pass, as a module can serve several places; counted from 0.
        size: (height, width) of the output of ``shown`` for the traced image.
    """

    name: str
    conv: nn.Conv2d
    chain: tuple[str, ...]
    shown: nn.Module
    call: int
    size: tuple[int, int]


@contextlib.contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Evaluation mode for a while; afterwards every module has the mode it had."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training


@contextlib.contextmanager
def hooked(hooks: list[tuple[nn.Module, Hook]]) -> Iterator[None]:
    """Forward hooks for a while."""
    handles: list[RemovableHandle] = []
    try:
        for module, hook in hooks:
            handles.append(module.register_forward_hook(hook))
        yield
    finally:
        for handle in handles:
            handle.remove()


@contextlib.contextmanager
def full_precision(images: Tensor) -> Iterator[None]:
    """No automatic mixed precision, also if the caller is inside one."""
    with torch.autocast(images.device.type, enabled=False):
        yield


def _continues(module: nn.Module) -> bool:
    """Whether a module merely normalises or activates, so that its output is still the convolution's."""
    if isinstance(module, _NORMALISATIONS):
        return True
    return type(module).__module__ == "torch.nn.modules.activation" and not isinstance(module, nn.MultiheadAttention)


def _writes_to(tensor: Tensor) -> int:
    """How often something has written into a tensor's memory.

    torch counts it for its check that nothing which the backward pass needs was changed (documented under "In-place
    correctness checks" in its notes on autograd), but has no public name for the count. Comparing values instead would
    need a copy of every activation.
    """
    return tensor._version


class _Tracer:
    """Follows the output of each convolution by identity while the network runs once."""

    def __init__(self, names: dict[nn.Module, str]) -> None:
        self._names = names
        self._calls: dict[nn.Module, int] = {}
        # Per convolution: its latest tensor, that tensor's version, and the layer so far. A tensor that something
        # wrote to in between (a residual `+=`) has another version: what follows is no longer this convolution's.
        self._open: dict[nn.Module, tuple[Tensor, int, Layer]] = {}

    def hook(self, module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        call = self._calls.get(module, 0)
        self._calls[module] = call + 1
        if not isinstance(output, Tensor):
            return
        if isinstance(module, nn.Conv2d):
            if module not in self._open:
                name = self._names[module]
                size = (int(output.shape[-2]), int(output.shape[-1]))
                self._open[module] = output, _writes_to(output), Layer(name, module, (name,), module, call, size)
            return
        in_place = bool(inputs) and inputs[0] is output
        for conv, (tensor, version, layer) in self._open.items():
            if inputs and inputs[0] is tensor and _writes_to(tensor) == version + in_place:
                chain = (*layer.chain, self._names[module])
                grown = Layer(layer.name, layer.conv, chain, module, call, layer.size)
                self._open[conv] = output, _writes_to(output), grown

    def layers(self) -> list[Layer]:
        return [layer for _, _, layer in self._open.values()]


def trace(model: nn.Module, images: Tensor) -> list[Layer]:
    """Run the network once and find its convolutions and what to show for each.

    What is shown is the convolution's activation: where its output goes straight into normalisations and activation
    modules, the output of the last of them.

    Args:
        images: (N, 3, H, W) float as the network takes them; one image is enough.

    Returns:
        The convolutions that the forward pass reaches, in the order in which it first reaches them.
    """
    names = {module: name for name, module in model.named_modules()}
    tracer = _Tracer(names)
    watched = [module for module in names if isinstance(module, nn.Conv2d) or _continues(module)]
    with evaluating(model), torch.no_grad(), full_precision(images), hooked([(m, tracer.hook) for m in watched]):
        model(images)
    return tracer.layers()


def filters(layers: list[Layer]) -> dict[str, Tensor]:
    """A copy of each convolution's weights, (O, I, kh, kw) float32 on the network's device."""
    return {layer.name: layer.conv.weight.detach().float().clone() for layer in layers}


def maps_of(layers: list[Layer]) -> dict[str, str]:
    """What the maps of each layer are, in words: the modules that its output went through."""
    return {layer.name: ", ".join(layer.chain) for layer in layers}
