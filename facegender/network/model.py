"""The network of the `reference` recipe: three strided convolutions, a max-pool and two linear layers."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

import torch
from torch import Tensor, nn

MEAN = 0.5
STD = 0.5


def normalise(images: Tensor) -> Tensor:
    """Scale photographs to the range of the networks.

    Args:
        images: (N, 3, H, W) uint8, 0 to 255, on any device.

    Returns:
        (N, 3, H, W) float32 in [-1, 1] on the same device, channels last in memory.
    """
    scaled = images.to(torch.float32, memory_format=torch.channels_last)
    return scaled.mul_(1 / (255 * STD)).sub_(MEAN / STD)


class FaceGenderNet(nn.Sequential):
    """Map photographs (N, 3, S, S) float in [-1, 1] to (N, classes) logits.

    With an image size of 512: 3×512×512 → conv 7×7 (256²) → conv 5×5 (128²) → conv 3×3 (64²), each of stride 2 with
    batch normalisation and ReLU → max-pool 2×2 (32²) → linear 256 → ReLU → dropout → linear ``classes``.

    Args:
        image_size: Side of the square input in pixels, at least 9, so that the max-pool leaves a pixel.
        widths: Output channels of the three convolutions.
        classes: Number of logits.
    """

    def __init__(self, image_size: int = 512, widths: Sequence[int] = (32, 64, 128), classes: int = 2) -> None:
        first, second, third = widths
        side = -(-image_size // 8) // 2  # of the max-pool's output
        layers: dict[str, nn.Module] = {
            "conv1": nn.Conv2d(3, first, 7, stride=2, padding=3),
            "bn1": nn.BatchNorm2d(first),
            "relu1": nn.ReLU(inplace=True),
            "conv2": nn.Conv2d(first, second, 5, stride=2, padding=2),
            "bn2": nn.BatchNorm2d(second),
            "relu2": nn.ReLU(inplace=True),
            "conv3": nn.Conv2d(second, third, 3, stride=2, padding=1),
            "bn3": nn.BatchNorm2d(third),
            "relu3": nn.ReLU(inplace=True),
            "pool": nn.MaxPool2d(2),
            "flatten": nn.Flatten(),
            "fc1": nn.Linear(third * side * side, 256),
            "relu4": nn.ReLU(inplace=True),
            "dropout": nn.Dropout(0.5),
            "fc2": nn.Linear(256, classes),
        }
        super().__init__(OrderedDict(layers))


def parameter_count(network: nn.Module) -> int:
    """Number of weights and biases."""
    return sum(parameter.numel() for parameter in network.parameters())
