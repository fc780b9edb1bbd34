"""LayerCAM: which parts of an image raise the score of a class.

Jiang et al., "LayerCAM: Exploring Hierarchical Class Activation Maps for Localization", IEEE Transactions on Image
Processing 30, 2021, https://doi.org/10.1109/TIP.2021.3089943. Grad-CAM weights a channel by its mean gradient, which
loses where in the image it matters if linear layers follow; `benchmarks.cam` compares the two.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from facegender.interpret.activations import LayerActivation, numpy_of, pooled, summary_hooks
from facegender.interpret.layers import Hook, Layer, hooked, output_hook, trace
from facegender.interpret.logits import logits_of
from facegender.support.arrays import Float32Array

MAX_CLASSES = 16
"""With at most this many classes, each has a heatmap; with more, only labels and predictions have one."""


@dataclass(frozen=True)
class ClassCams:
    """Heatmaps of P images for some classes, on the network's device.

    Attributes:
        classes: (S,) int64, the index of each class; an index can occur several times.
        heat: (S, P, h, w) float32, not negative and not normalised, of the size in which the layer's maps are kept.
        method: How they were computed, e.g. "LayerCAM at conv3".
    """

    classes: Tensor
    heat: Tensor
    method: str


def compute_activations_and_cams(
    model: nn.Module, images: Tensor, layers: Sequence[Layer], labels: Tensor
) -> tuple[Tensor, list[LayerActivation], ClassCams | None]:
    """Run one forward pass that keeps the output of each layer, and explain its logits at the last one.

    Copies nothing from the device and does not wait for it. Only the part after the last convolution is differentiated.

    Args:
        model: Any network whose forward pass returns logits, see `logits_of`.
        images: (P, 3, H, W) float as the network takes them, on its device.
        layers: Layers from `trace`.
        labels: (P,) int64 on the same device; -1 where the class is not known.

    Returns:
        (P, classes) float32 logits, the layers in the same order, and the heatmaps of every class, or of the labels and
        predictions if there are more than `MAX_CLASSES`. No heatmaps if there is no layer, or if the network computes
        the logits without gradients.
    """
    hooks, kept = summary_hooks(layers, images)
    if not layers:
        with torch.no_grad(), hooked(model, images, hooks):
            return logits_of(model(images)).float(), [], None
    last = layers[-1]
    logits, activation = _forward(model, images, last, hooks)
    activations = [kept[layer.name] for layer in layers if layer.name in kept]
    if not logits.requires_grad:
        return logits, activations, None
    if logits.shape[1] <= MAX_CLASSES:
        classes = torch.arange(logits.shape[1], device=logits.device)
    else:
        predictions = logits.detach().argmax(1)
        classes = torch.cat([labels.where(labels >= 0, predictions), predictions])
    heat = pooled(_heat(logits, activation, classes), kept[last.name].maps.shape[2:])
    return logits.detach(), activations, ClassCams(classes, heat, f"LayerCAM at {last.name}")


def cams_by_class(cams: ClassCams, names: Sequence[str]) -> dict[str, Float32Array]:
    """Copy heatmaps from the device: (P, h, w) float32 by the name of their class."""
    classes, heat = cams.classes.cpu().numpy(), numpy_of(cams.heat)
    return {names[label]: of_class for label, of_class in zip(classes, heat, strict=True)}


def layer_cam(model: nn.Module, image: Tensor, label: int, layers: Sequence[Layer] = ()) -> Tensor:
    """Compute which parts of an image raise the logit of a class, by the last convolution of the forward pass.

    Args:
        model: Any network whose forward pass returns logits, see `logits_of`.
        image: (1, 3, H, W) or (3, H, W) float as the network takes it, on its device.
        label: Index of the class.
        layers: From `trace`, which is called without them.

    Returns:
        (H, W) float32 in [0, 1] on the network's device; all zero if no part raises the logit.

    Raises:
        IndexError: The network has no convolution.
    """
    image = image.reshape(1, *image.shape[-3:]).detach()
    logits, activation = _forward(model, image, (layers or trace(model, image))[-1], [])
    with torch.inference_mode(False), torch.no_grad():
        heat = _heat(logits, activation, torch.tensor([label], device=logits.device))
        heat = F.interpolate(heat, image.shape[-2:], mode="bilinear", align_corners=False)[0, 0]
        heat = torch.nan_to_num(heat, nan=0.0, posinf=0.0)
        return (heat / heat.max().clamp_min(torch.finfo(heat.dtype).tiny)).clamp(0, 1)


def _forward(
    model: nn.Module, images: Tensor, last: Layer, hooks: Iterable[tuple[nn.Module, Hook]]
) -> tuple[Tensor, Tensor]:
    """Run a forward pass that is recorded for differentiation only after a layer.

    Returns:
        (N, classes) float32 logits, and the layer's output (N, C, h, w), by which they can be differentiated.
    """
    started: list[Tensor] = []

    def start_graph(layer: Layer, output: Tensor) -> Tensor:
        started.append(output.detach().clone().requires_grad_())
        return started[0].clone()  # so that no later layer overwrites the kept tensor

    # Without gradients of the weights nothing is recorded before the layer, and it works for frozen weights too.
    # Validation runs in inference mode, in which nothing can be differentiated.
    weights = {name: parameter.detach() for name, parameter in model.named_parameters()}
    with (
        torch.inference_mode(False),
        torch.enable_grad(),
        hooked(model, images, [*hooks, output_hook(last, start_graph)]),
    ):
        logits = logits_of(torch.func.functional_call(model, weights, (images,)))
        return logits.float(), started[0]


def _heat(logits: Tensor, activation: Tensor, classes: Tensor) -> Tensor:
    """Weight each value of the activation by the positive gradient of a class's logit: (S, N, h, w), for S classes."""
    heats = []
    with torch.inference_mode(False), torch.enable_grad():
        scores = logits.index_select(1, classes.clone()).sum(0)  # a clone is no tensor of inference mode
        for score in scores:
            (gradient,) = torch.autograd.grad(score, activation, retain_graph=True, materialize_grads=True)
            heats.append(F.relu((F.relu(gradient.float()) * activation.detach().float()).sum(1)))
    return torch.stack(heats)
