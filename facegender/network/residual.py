"""The network of the `tuned` recipe: residual blocks and global pooling instead of a large linear layer."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

from torch import Tensor, nn


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
        self.shortcut = _shortcut(inputs, outputs) if downsample else nn.Identity()
        self.relu2 = nn.ReLU(inplace=True)
        # A block starts as its shortcut alone: Goyal et al., 2017, https://arxiv.org/abs/1706.02677, section 5.1.
        nn.init.zeros_(self.bn2.weight)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, inputs, H, W) to (N, outputs, H, W), or to (N, outputs, ⌈H/2⌉, ⌈W/2⌉)."""
        y = self.relu1(self.bn1(self.conv1(x)))
        out: Tensor = self.relu2(self.bn2(self.conv2(y)) + self.shortcut(x))
        return out


def _shortcut(inputs: int, outputs: int) -> nn.Module:
    """The shortcut of a block that changes the shape: average pooling, then a 1×1 convolution.

    Pooling first, so that no pixel is skipped, is ResNet-D of He et al., "Bag of Tricks for Image Classification with
    Convolutional Neural Networks", CVPR 2019, https://arxiv.org/abs/1812.01187
    """
    layers: dict[str, nn.Module] = {
        "pool": nn.AvgPool2d(2, ceil_mode=True, count_include_pad=False),
        "conv": nn.Conv2d(inputs, outputs, 1, bias=False),
        "bn": nn.BatchNorm2d(outputs),
    }
    return nn.Sequential(OrderedDict(layers))


class ResidualNet(nn.Sequential):
    """Map photographs (N, 3, S, S) float in [-1, 1] to (N, classes) logits.

    With an image size of 128: 3×128×128 → conv 3×3 stride 2 (64²) → three stages of two blocks, each halving the side
    (32², 16², 8²) → conv 1×1 → global average pooling → dropout → linear ``classes``. Global pooling makes the weights
    independent of the image size.

    Args:
        widths: Output channels of the three stages; the first convolution has those of the first stage.
        classes: Number of logits.
    """

    def __init__(self, widths: Sequence[int], classes: int) -> None:
        first, second, third = widths
        layers: dict[str, nn.Module] = {
            "stem": nn.Conv2d(3, first, 3, stride=2, padding=1, bias=False),
            "stem_bn": nn.BatchNorm2d(first),
            "stem_relu": nn.ReLU(inplace=True),
            "stage1": _stage(first, first),
            "stage2": _stage(first, second),
            "stage3": _stage(second, third),
            "head": nn.Conv2d(third, third, 1, bias=False),
            "head_bn": nn.BatchNorm2d(third),
            "head_relu": nn.ReLU(inplace=True),
            "pool": nn.AdaptiveAvgPool2d(1),
            "flatten": nn.Flatten(),
            "dropout": nn.Dropout(0.2),
            "fc": nn.Linear(third, classes),
        }
        super().__init__(OrderedDict(layers))


def _stage(inputs: int, outputs: int) -> nn.Module:
    return nn.Sequential(Block(inputs, outputs, downsample=True), Block(outputs, outputs, downsample=False))
