"""Finds the convolutions that a forward pass of any network reaches, and the module whose output to show for each.

Hooks are removed and the mode of each module is restored afterwards, also after an exception.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
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
        name: Name as in ``named_modules()``.
        chain: Names of the convolution and of the normalisations and activations that follow it directly.
        shown: The last module of the chain.
        call: Which call of ``shown`` in a forward pass, counted from 0; a module can be called several times.
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
    """Switch to evaluation mode, and restore the mode of every module afterwards."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training


@contextlib.contextmanager
def hooked(hooks: list[tuple[nn.Module, Hook]]) -> Iterator[None]:
    """Register forward hooks, and remove them afterwards."""
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
    """Disable automatic mixed precision that the caller may have enabled."""
    with torch.autocast(images.device.type, enabled=False):
        yield


def _is_norm_or_activation(module: nn.Module) -> bool:
    """Whether a module is a normalisation or an activation, whose output still belongs to the convolution before."""
    if isinstance(module, _NORMALISATIONS):
        return True
    return type(module).__module__ == "torch.nn.modules.activation" and not isinstance(module, nn.MultiheadAttention)


def _write_count(tensor: Tensor) -> int:
    """Count the in-place operations on a tensor's memory.

    torch keeps this counter for the "in-place correctness checks" that its notes on autograd describe, but gives it no
    public name. Comparing values instead would need a copy of every activation.
    """
    return tensor._version


class _Tracer:
    """Follows the output of each convolution, by object identity, through one forward pass."""

    def __init__(self, names: dict[nn.Module, str]) -> None:
        self._names = names
        self._calls: dict[nn.Module, int] = {}
        # For each convolution: its latest tensor, that tensor's write count, and the layer so far. After an in-place
        # operation of others (a residual `+=`) the tensor no longer belongs to this convolution.
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
                self._open[module] = output, _write_count(output), Layer(name, module, (name,), module, call, size)
            return
        in_place = bool(inputs) and inputs[0] is output
        for conv, (tensor, version, layer) in self._open.items():
            if inputs and inputs[0] is tensor and _write_count(tensor) == version + in_place:
                chain = (*layer.chain, self._names[module])
                extended = replace(layer, chain=chain, shown=module, call=call)
                self._open[conv] = output, _write_count(output), extended

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
    watched = [module for module in names if isinstance(module, nn.Conv2d) or _is_norm_or_activation(module)]
    with evaluating(model), torch.no_grad(), full_precision(images), hooked([(m, tracer.hook) for m in watched]):
        model(images)
    return tracer.layers()


def filters(layers: list[Layer]) -> dict[str, Tensor]:
    """Copy the weights of each convolution by layer: (O, I, kh, kw) float32 on the network's device."""
    return {layer.name: layer.conv.weight.detach().float().clone() for layer in layers}


def maps_of(layers: list[Layer]) -> dict[str, str]:
    """Describe the feature maps of each layer by the modules that produce them, e.g. "conv1, bn1, relu1"."""
    return {layer.name: ", ".join(layer.chain) for layer in layers}
