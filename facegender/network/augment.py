"""Random changes of training photographs, for a whole batch at once on its device."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

LUMA = (0.299, 0.587, 0.114)
"""Share of red, green and blue in brightness: ITU-R BT.601."""


def generator_for(seed: int, epoch: int, batch: int, rank: int, device: torch.device) -> torch.Generator:
    """A generator whose numbers depend on these alone, so that a resumed run draws what an uninterrupted one would."""
    digest = hashlib.blake2b(f"augment {seed} {epoch} {batch} {rank}".encode(), digest_size=7).digest()
    return torch.Generator(device).manual_seed(int.from_bytes(digest, "big"))


@dataclass(frozen=True)
class Augmentation:
    """How far photographs are changed; each of a batch by amounts of its own.

    Attributes:
        flip: Share that is mirrored left to right.
        smallest: Least share of the side that a crop keeps.
        largest: How many sides a crop has at most: from 1 on the photograph itself becomes smaller, with its mirror
            images around it. Photographs from elsewhere often show more than a face.
        stretch: Largest change of width against height, as a share.
        degrees: Largest turn to either side.
        brightness: Largest change, as a share of the range.
        contrast, saturation: Largest change, as a share.
        grey: Share that loses its colours.
        blur: Share that is blurred, each as much as chance says: photographs from elsewhere are often less sharp.
        erase: Share that has a rectangle of up to `erased` of the side covered with grey.
        erased: See `erase`.
    """

    flip: float = 0.5
    smallest: float = 0.6
    largest: float = 2.0
    stretch: float = 0.1
    degrees: float = 12.0
    brightness: float = 0.2
    contrast: float = 0.3
    saturation: float = 0.4
    grey: float = 0.1
    blur: float = 0.3
    erase: float = 0.3
    erased: float = 0.4

    @torch.no_grad()
    def __call__(self, images: Tensor, generator: torch.Generator, side: int | None = None) -> Tensor:
        """Changed copies.

        Args:
            images: (N, 3, S, S) float32 in [-1, 1].
            generator: On the images' device.
            side: Of the copies, at most S; None for S.

        Returns:
            (N, 3, side, side) of the same type, range and memory format.
        """
        chance = torch.rand((17, len(images)), generator=generator, device=images.device)
        # All of it in full precision, also if the caller is inside automatic mixed precision.
        with torch.autocast(images.device.type, enabled=False):
            if side is not None and side < images.shape[-1]:
                images = F.interpolate(images, (side, side), mode="bilinear", antialias=True)
            moved = self._moved(images, chance[:6])
            blurred = self._blurred(moved, chance[6:8])
            coloured = self._coloured(blurred, chance[8:12])
            return self._erased(coloured, chance[12:]).contiguous(memory_format=torch.channels_last)

    def _moved(self, images: Tensor, chance: Tensor) -> Tensor:
        """Crops, stretches, turns and mirrors in one interpolation; what lies outside is mirrored in."""
        mirror = torch.where(chance[0] < self.flip, -1.0, 1.0)
        least, most = math.log(self.smallest), math.log(self.largest)
        side = (least + (most - least) * chance[1]).exp()
        stretch = _around_one(chance[2], self.stretch)
        angle = (chance[3] * 2 - 1) * math.radians(self.degrees)
        width, height = side * stretch, side / stretch
        room = (1 - side).abs()
        cos, sin = angle.cos(), angle.sin()
        rows = [
            torch.stack([mirror * width * cos, -height * sin, (chance[4] * 2 - 1) * room], 1),
            torch.stack([mirror * width * sin, height * cos, (chance[5] * 2 - 1) * room], 1),
        ]
        grid = F.affine_grid(torch.stack(rows, 1), list(images.shape), align_corners=False)
        moved = F.grid_sample(images, grid, padding_mode="reflection", align_corners=False)
        return moved.contiguous(memory_format=torch.channels_last)

    def _blurred(self, images: Tensor, chance: Tensor) -> Tensor:
        amount = torch.where(chance[0] < self.blur, chance[1], 0.0)
        # A convolution, as average pooling took ten times as long on a processor.
        kernel = images.new_full((3, 1, 3, 3), 1 / 9)
        means = F.conv2d(F.pad(images, (1, 1, 1, 1), "replicate"), kernel, groups=3)
        return images.lerp(means, _each(amount))

    def _coloured(self, images: Tensor, chance: Tensor) -> Tensor:
        """Brightness, contrast and saturation as one product and one sum a channel."""
        red, green, blue = images.unbind(1)
        grey = (LUMA[0] * red + LUMA[1] * green + LUMA[2] * blue).unsqueeze(1)
        saturation = torch.where(chance[3] < self.grey, 0.0, _around_one(chance[2], self.saturation))
        contrast = _each(_around_one(chance[1], self.contrast))
        brightness = _each((chance[0] * 2 - 1) * 2 * self.brightness)
        level = grey.mean((2, 3), keepdim=True)
        mixed = grey.lerp(images, _each(saturation))
        return mixed.sub_(level).mul_(contrast).add_(level + brightness).clamp_(-1, 1)

    def _erased(self, images: Tensor, chance: Tensor) -> Tensor:
        side = images.shape[-1]
        at = (torch.arange(side, device=images.device) + 0.5) / side
        half = 0.5 * self.erased * (0.25 + 0.75 * chance[:2])
        across = (at - _column(chance[2])).abs() < _column(half[0])
        down = (at - _column(chance[3])).abs() < _column(half[1])
        covered = down[:, :, None] & across[:, None, :] & _each(chance[4] < self.erase)[:, 0]
        return images.masked_fill_(covered[:, None], 0.0)


def _around_one(chance: Tensor, most: float) -> Tensor:
    return 1 + (chance * 2 - 1) * most


def _each(values: Tensor) -> Tensor:
    """(N,) to (N, 1, 1, 1)."""
    return values[:, None, None, None]


def _column(values: Tensor) -> Tensor:
    return values[:, None]
