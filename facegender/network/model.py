"""The network of the `reference` recipe: three strided convolutions, a max-pool and two linear layers."""

from __future__ import annotations

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


def feature_side(image_size: int) -> int:
    """Side in pixels of the max-pool's output for a square image; 0 if nothing is left."""
    side = image_size
    for _ in range(3):
        side = -(-side // 2)
    return side // 2


class FaceGenderNet(nn.Module):
    """Map photographs to logits.

    With an image size of 512: 3×512×512 → conv 7×7 (256²) → conv 5×5 (128²) → conv 3×3 (64²), each of stride 2 with
    batch normalisation and ReLU → max-pool 2×2 (32²) → linear 256 → ReLU → dropout → linear ``classes``.

    Args:
        image_size: Side of the square input in pixels.
        widths: Output channels of the three convolutions.
        classes: Number of logits.

    Raises:
        ValueError: The image size leaves no pixel after the max-pool, or `widths` are not three positive numbers.
    """

    def __init__(self, image_size: int = 512, widths: Sequence[int] = (32, 64, 128), classes: int = 2) -> None:
        super().__init__()
        side = feature_side(image_size)
        if side < 1:
            raise ValueError(
                f"an image size of {image_size} px leaves no pixel after three strides and a max-pool: use 9 or more"
            )
        if len(widths) != 3 or min(widths) < 1:
            raise ValueError(f"widths must be three positive numbers, not {tuple(widths)}")
        first, second, third = widths
        self.conv1 = nn.Conv2d(3, first, 7, stride=2, padding=3)
        self.bn1 = nn.BatchNorm2d(first)
        self.relu1 = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(first, second, 5, stride=2, padding=2)
        self.bn2 = nn.BatchNorm2d(second)
        self.relu2 = nn.ReLU(inplace=True)
        self.conv3 = nn.Conv2d(second, third, 3, stride=2, padding=1)
        self.bn3 = nn.BatchNorm2d(third)
        self.relu3 = nn.ReLU(inplace=True)
        self.pool = nn.MaxPool2d(2)
        self.flatten = nn.Flatten()
        self.fc1 = nn.Linear(third * side * side, 256)
        self.relu4 = nn.ReLU(inplace=True)
        self.dropout = nn.Dropout(0.5)
        self.fc2 = nn.Linear(256, classes)

    def forward(self, images: Tensor) -> Tensor:
        """Map (N, 3, S, S) float in [-1, 1] to (N, classes) logits."""
        x = self.relu1(self.bn1(self.conv1(images)))
        x = self.relu2(self.bn2(self.conv2(x)))
        x = self.relu3(self.bn3(self.conv3(x)))
        x = self.flatten(self.pool(x))
        logits: Tensor = self.fc2(self.dropout(self.relu4(self.fc1(x))))
        return logits


def parameter_count(network: nn.Module) -> int:
    """Number of weights and biases."""
    return sum(parameter.numel() for parameter in network.parameters())
