"""Grad-CAM: which parts of an image raise the score of a class."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from facegender.interpret.layers import Layer, hooked, output_hook, trace


def grad_cam(model: nn.Module, image: Tensor, label: int) -> Tensor:
    """Compute which parts of an image raise the logit of a class, by the last convolution of the forward pass.

    Selvaraju et al., "Grad-CAM: Visual Explanations from Deep Networks via Gradient-based Localization", ICCV 2017,
    https://arxiv.org/abs/1610.02391

    Args:
        model: Any network whose forward pass returns logits (1, classes).
        image: (1, 3, H, W) or (3, H, W) float as the network takes it, on its device.
        label: Index of the class.

    Returns:
        (H, W) float32 in [0, 1] on the network's device; all zero if no part raises the logit.
    """
    image = image.reshape(1, *image.shape[-3:]).detach()
    layer = trace(model, image)[-1]
    kept: list[Tensor] = []

    def keep(layer: Layer, output: Tensor) -> Tensor:
        kept.append(output)
        return output.clone()  # so that no later layer overwrites the kept tensor

    # The input requires a gradient so that the graph exists for networks with frozen weights too.
    with torch.enable_grad(), hooked(model, image, [output_hook(layer, keep)]):
        logits = model(image.clone().requires_grad_(True))
        activation = kept[0]
        (gradient,) = torch.autograd.grad(logits[0, label], activation)
    with torch.no_grad():
        weights = gradient.float().mean((2, 3), keepdim=True)
        heat = F.relu((weights * activation.float()).sum(1, keepdim=True))
        heat = F.interpolate(heat, image.shape[-2:], mode="bilinear", align_corners=False)[0, 0]
        heat = torch.nan_to_num(heat, nan=0.0, posinf=0.0)
        return (heat / heat.max().clamp_min(torch.finfo(heat.dtype).tiny)).clamp(0, 1)
