"""Looks inside any CNN: which tensors its convolutions lead to, their values and statistics, and Grad-CAM.

Every look leaves the network as it was, also when it fails: hooks are taken off and each module's mode is restored.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from facegender.network.version_counter import writes_to
from facegender.runs.frames import MAX_MAP_SIDE_PX

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


@dataclass(frozen=True)
class LayerActivation:
    """What one layer computed for N images; on the network's device.

    Attributes:
        maps: (N, C, h, w) float32, average-pooled to at most the side that was asked for.
        stats: (N, C, 5) float32 before pooling, in the order of `facegender.runs.frames.STATISTICS`.
    """

    name: str
    maps: Tensor
    stats: Tensor


@dataclass(frozen=True)
class Activations:
    """One forward pass.

    Attributes:
        logits: (N, classes).
        layers: In the order of ``named_modules()``.
    """

    logits: Tensor
    layers: list[LayerActivation]


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
def _full_precision(images: Tensor) -> Iterator[None]:
    """No automatic mixed precision, also if the caller is inside one."""
    with torch.autocast(images.device.type, enabled=False):
        yield


def _continues(module: nn.Module) -> bool:
    """Whether a module merely normalises or activates, so that its output is still the convolution's."""
    if isinstance(module, _NORMALISATIONS):
        return True
    return type(module).__module__ == "torch.nn.modules.activation" and not isinstance(module, nn.MultiheadAttention)


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
                self._open[module] = output, writes_to(output), Layer(name, module, (name,), module, call, size)
            return
        in_place = bool(inputs) and inputs[0] is output
        for conv, (tensor, version, layer) in self._open.items():
            if inputs and inputs[0] is tensor and writes_to(tensor) == version + in_place:
                chain = (*layer.chain, self._names[module])
                grown = Layer(layer.name, layer.conv, chain, module, call, layer.size)
                self._open[conv] = output, writes_to(output), grown

    def layers(self) -> list[Layer]:
        return [self._open[module][2] for module in self._names if module in self._open]


def trace(model: nn.Module, images: Tensor) -> list[Layer]:
    """The convolutions that a forward pass reaches and what to show for each.

    What is shown is the convolution's activation: where its output goes straight into normalisations and activation
    modules, the output of the last of them.

    Args:
        images: (N, 3, H, W) float as the network takes them; one is enough.
    """
    names = {module: name for name, module in model.named_modules()}
    tracer = _Tracer(names)
    watched = [module for module in names if isinstance(module, nn.Conv2d) or _continues(module)]
    with evaluating(model), torch.no_grad(), _full_precision(images), hooked([(m, tracer.hook) for m in watched]):
        model(images)
    return tracer.layers()


def activations(
    model: nn.Module, images: Tensor, layers: list[Layer] | None = None, max_side_px: int = MAX_MAP_SIDE_PX
) -> Activations:
    """Runs images through a network and keeps what its convolutions led to.

    Only computes: nothing is copied from the device and nothing waits for it.

    Args:
        images: (N, 3, H, W) float as the network takes them, on its device.
        layers: From `trace`; traced here if not given.
        max_side_px: Longest side of the maps that are kept.
    """
    layers = trace(model, images[:1]) if layers is None else layers
    kept: dict[str, LayerActivation] = {}

    def keeper(layer: Layer) -> Hook:
        calls = 0

        def hook(module: nn.Module, inputs: tuple[Any, ...], output: Tensor) -> None:
            nonlocal calls
            # At once, as a later layer may write into this very tensor.
            if calls == layer.call:
                kept[layer.name] = _summarise(layer.name, output, max_side_px)
            calls += 1

        return hook

    hooks = [(layer.shown, keeper(layer)) for layer in layers]
    with evaluating(model), torch.no_grad(), _full_precision(images), hooked(hooks):
        logits = model(images)
    return Activations(logits, [kept[layer.name] for layer in layers if layer.name in kept])


def _summarise(name: str, output: Tensor, max_side_px: int) -> LayerActivation:
    values = output.detach().float()
    low, high = values.amin((2, 3)), values.amax((2, 3))
    zero = (values == 0).float().mean((2, 3))
    std, mean = torch.std_mean(values, (2, 3), correction=0)
    height, width = values.shape[2:]
    scale = max_side_px / max(height, width)
    if scale < 1:
        maps = F.adaptive_avg_pool2d(values, (max(1, round(height * scale)), max(1, round(width * scale))))
    else:
        maps = values.clone()
    return LayerActivation(name, maps, torch.stack([mean, std, low, high, zero], dim=2))


def filters(layers: list[Layer]) -> dict[str, Tensor]:
    """A copy of each convolution's weights, (O, I, kh, kw) float32 on the network's device."""
    return {layer.name: layer.conv.weight.detach().float().clone() for layer in layers}


def maps_of(layers: list[Layer]) -> dict[str, str]:
    """What the maps of each layer are, in words: the modules that its output went through."""
    return {layer.name: ", ".join(layer.chain) for layer in layers}


def grad_cam(model: nn.Module, image: Tensor, label: int, layer: Layer | None = None) -> Tensor:
    """Where a network looked to decide for a class: Grad-CAM.

    Selvaraju et al., "Grad-CAM: Visual Explanations from Deep Networks via Gradient-based Localization", ICCV 2017,
    https://arxiv.org/abs/1610.02391

    Args:
        image: (1, 3, H, W) or (3, H, W) float as the network takes it, on its device.
        label: Number of the class.
        layer: From `trace`; by default the last convolution that is reached.

    Returns:
        (H, W) float32 in [0, 1] on the network's device; all zero if nothing spoke for the class.
    """
    image = image.reshape(1, *image.shape[-3:]).detach()
    if layer is None:
        layer = trace(model, image)[-1]
    kept: list[Tensor] = []
    calls = 0

    def hook(module: nn.Module, inputs: tuple[Any, ...], output: Tensor) -> Tensor | None:
        nonlocal calls
        calls += 1
        if calls - 1 != layer.call:
            return None
        kept.append(output)
        return output.clone()  # so that nothing downstream writes into the kept one

    # The gradient of the input is asked for so that networks with frozen weights work too.
    with evaluating(model), torch.enable_grad(), _full_precision(image), hooked([(layer.shown, hook)]):
        logits = model(image.clone().requires_grad_(True))
        activation = kept[0]
        (gradient,) = torch.autograd.grad(logits[0, label], activation)
    with torch.no_grad():
        weights = gradient.float().mean((2, 3), keepdim=True)
        heat = F.relu((weights * activation.float()).sum(1, keepdim=True))
        heat = F.interpolate(heat, image.shape[-2:], mode="bilinear", align_corners=False)[0, 0]
        heat = torch.nan_to_num(heat, nan=0.0, posinf=0.0)
        return (heat / heat.max().clamp_min(torch.finfo(heat.dtype).tiny)).clamp(0, 1)
