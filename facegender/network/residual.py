"""The network of the `tuned` recipe: residual blocks and global pooling instead of a large linear layer."""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

BLOCKS = 2
"""Residual blocks per stage."""


class Shortcut(nn.Module):
    """The shortcut of a block that changes the shape: average pooling, then a 1×1 convolution.

    Pooling first, so that no pixel is skipped, is ResNet-D of He et al., "Bag of Tricks for Image Classification with
    Convolutional Neural Networks", CVPR 2019, https://arxiv.org/abs/1812.01187
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, 1, bias=False)
        self.bn = nn.BatchNorm2d(outputs)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, inputs, H, W) to (N, outputs, ⌈H/2⌉, ⌈W/2⌉)."""
        pooled = F.avg_pool2d(x, 2, ceil_mode=True, count_include_pad=False)
        out: Tensor = self.bn(self.conv(pooled))
        return out


class Block(nn.Module):
    """Two 3×3 convolutions whose output is added to the shortcut of the input.

    He et al., "Deep Residual Learning for Image Recognition", CVPR 2016, https://arxiv.org/abs/1512.03385

    Args:
        downsample: Halve the side, as the first block of a stage does.
    """

    def __init__(self, inputs: int, outputs: int, *, downsample: bool) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride=2 if downsample else 1, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.relu1 = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.shortcut = Shortcut(inputs, outputs) if downsample else nn.Identity()
        self.relu2 = nn.ReLU(inplace=True)
        # A block starts as its shortcut alone: Goyal et al., 2017, https://arxiv.org/abs/1706.02677, section 5.1.
        nn.init.zeros_(self.bn2.weight)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, inputs, H, W) to (N, outputs, H, W), or to half the side."""
        y = self.relu1(self.bn1(self.conv1(x)))
        out: Tensor = self.relu2(self.bn2(self.conv2(y)) + self.shortcut(x))
        return out


class ResidualNet(nn.Module):
    """Map photographs to logits.

    With an image size of 128: 3×128×128 → conv 3×3 stride 2 (64²) → three stages of two blocks, each halving the side
    (32², 16², 8²) → conv 1×1 → global average pooling → dropout → linear ``classes``. Global pooling makes the weights
    independent of the image size.

    Args:
        widths: Output channels of the three stages; the first convolution has those of the first stage.
        classes: Number of logits.
        dropout: Probability of dropping a feature of the last layer's input.

    Raises:
        ValueError: `widths` are not three positive numbers.
    """

    def __init__(self, widths: Sequence[int] = (48, 96, 192), classes: int = 2, dropout: float = 0.2) -> None:
        super().__init__()
        if len(widths) != 3 or min(widths) < 1:
            raise ValueError(f"widths must be three positive numbers, not {tuple(widths)}")
        first, _, last = widths
        self.stem = nn.Conv2d(3, first, 3, stride=2, padding=1, bias=False)
        self.stem_bn = nn.BatchNorm2d(first)
        self.stem_relu = nn.ReLU(inplace=True)
        self.stage1, self.stage2, self.stage3 = (
            _stage(inputs, outputs) for inputs, outputs in zip((first, *widths), widths, strict=False)
        )
        self.head = nn.Conv2d(last, last, 1, bias=False)
        self.head_bn = nn.BatchNorm2d(last)
        self.head_relu = nn.ReLU(inplace=True)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.flatten = nn.Flatten()
        self.dropout = nn.Dropout(dropout)
        self.fc = nn.Linear(last, classes)

    def forward(self, images: Tensor) -> Tensor:
        """Map (N, 3, S, S) float in [-1, 1] to (N, classes) logits."""
        x = self.stem_relu(self.stem_bn(self.stem(images)))
        x = self.stage3(self.stage2(self.stage1(x)))
        x = self.head_relu(self.head_bn(self.head(x)))
        logits: Tensor = self.fc(self.dropout(self.flatten(self.pool(x))))
        return logits


def _stage(inputs: int, outputs: int) -> nn.Sequential:
    first = Block(inputs, outputs, downsample=True)
    return nn.Sequential(first, *(Block(outputs, outputs, downsample=False) for _ in range(BLOCKS - 1)))
