"""Finds the convolutions that a forward pass of any network reaches, and the module whose output to show for each."""

from __future__ import annotations

import contextlib
import itertools
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

NORMALISATIONS = (nn.BatchNorm2d, nn.SyncBatchNorm, nn.InstanceNorm2d, nn.GroupNorm)

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
def hooked(model: nn.Module, images: Tensor, hooks: Iterable[tuple[nn.Module, Hook]]) -> Iterator[None]:
    """Prepare forward passes of these images: forward hooks, evaluation mode, no automatic mixed precision.

    Hooks are removed and the mode of each module is restored afterwards, also after an exception.
    """
    modes = [(module, module.training) for module in model.modules()]
    with contextlib.ExitStack() as handles, torch.autocast(images.device.type, enabled=False):
        for module, hook in hooks:
            handles.enter_context(module.register_forward_hook(hook))
        model.eval()
        try:
            yield
        finally:
            for module, training in modes:
                module.training = training


def output_hook(layer: Layer, use: Callable[[Layer, Tensor], Tensor | None]) -> tuple[nn.Module, Hook]:
    """Make a hook for `hooked` that passes the output of a layer to a function; what it returns replaces the output."""
    calls = itertools.count()

    def hook(module: nn.Module, inputs: tuple[Any, ...], output: Tensor) -> Tensor | None:
        return use(layer, output) if next(calls) == layer.call else None

    return layer.shown, hook


def _is_norm_or_activation(module: nn.Module) -> bool:
    """Whether a module is a normalisation or an activation, whose output still belongs to the convolution before."""
    if isinstance(module, NORMALISATIONS):
        return True
    return type(module).__module__ == "torch.nn.modules.activation" and not isinstance(module, nn.MultiheadAttention)


def _write_count(tensor: Tensor) -> int:
    """Count the in-place operations on a tensor's memory.

    torch keeps this counter for the "in-place correctness checks" that its notes on autograd describe, but gives it no
    public name. Comparing values instead would need a copy of every activation.
    """
    return tensor._version


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
    calls: Counter[nn.Module] = Counter()
    # For each convolution: its latest tensor, compared by identity, that tensor's write count, and the layer so far.
    # After an in-place operation of others (a residual `+=`) the tensor no longer belongs to this convolution.
    followed: dict[nn.Module, tuple[Tensor, int, Layer]] = {}

    def hook(module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        call = calls[module]
        calls[module] += 1
        if not isinstance(output, Tensor):
            return
        if isinstance(module, nn.Conv2d):
            if module not in followed:
                name, size = names[module], (int(output.shape[-2]), int(output.shape[-1]))
                followed[module] = output, _write_count(output), Layer(name, module, (name,), module, call, size)
            return
        in_place = bool(inputs) and inputs[0] is output
        for conv, (tensor, version, layer) in followed.items():
            if inputs and inputs[0] is tensor and _write_count(tensor) == version + in_place:
                extended = replace(layer, chain=(*layer.chain, names[module]), shown=module, call=call)
                followed[conv] = output, _write_count(output), extended

    watched = [module for module in names if isinstance(module, nn.Conv2d) or _is_norm_or_activation(module)]
    # In inference mode, as during validation, tensors have no write count.
    with torch.inference_mode(False), torch.no_grad(), hooked(model, images, [(module, hook) for module in watched]):
        model(images)
    return [layer for _, _, layer in followed.values()]


def maps_of(layers: list[Layer]) -> dict[str, str]:
    """Describe the feature maps of each layer by the modules that produce them, e.g. "conv1, bn1, relu1"."""
    return {layer.name: ", ".join(layer.chain) for layer in layers}
