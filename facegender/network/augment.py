"""Random augmentation of training photographs, a whole batch at a time on its device."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

LUMA = (0.299, 0.587, 0.114)
"""Weights of red, green and blue in luma, from ITU-R BT.601."""


def generator_for(seed: int, epoch: int, batch: int, rank: int, device: torch.device) -> torch.Generator:
    """Seed a generator with these numbers alone, so that a resumed run draws the same as an uninterrupted one."""
    digest = hashlib.blake2b(f"augment {seed} {epoch} {batch} {rank}".encode(), digest_size=7).digest()
    return torch.Generator(device).manual_seed(int.from_bytes(digest, "big"))


@dataclass(frozen=True)
class Augmentation:
    """How much photographs are changed. Each photograph of a batch draws its own amounts.

    Attributes:
        flip: Probability of mirroring left to right.
        min_crop: Smallest side of a crop, as a multiple of the photograph's side.
        max_crop: Largest side of a crop. Above 1 the photograph is shrunk and surrounded by its mirror images, because
            photographs from other sources often show more than a face.
        stretch: Largest relative change of width against height.
        degrees: Largest rotation to either side.
        brightness: Largest change, as a share of the range.
        contrast, saturation: Largest relative change.
        grey: Probability of removing all colour.
        blur: Probability of blurring, by a random amount: photographs from other sources are often less sharp.
        erase: Probability of covering a rectangle with grey.
        max_erased: Largest side of that rectangle, as a share of the photograph's side.
    """

    flip: float = 0.5
    min_crop: float = 0.6
    max_crop: float = 2.0
    stretch: float = 0.1
    degrees: float = 12.0
    brightness: float = 0.2
    contrast: float = 0.3
    saturation: float = 0.4
    grey: float = 0.1
    blur: float = 0.3
    erase: float = 0.3
    max_erased: float = 0.4

    @torch.no_grad()
    def __call__(self, images: Tensor, generator: torch.Generator, side: int | None = None) -> Tensor:
        """Augment a batch.

        Args:
            images: (N, 3, S, S) float32 in [-1, 1].
            generator: On the images' device.
            side: Side in pixels of the result, at most S; None for S.

        Returns:
            (N, 3, side, side) float32 in [-1, 1], channels last in memory.
        """
        chance = torch.rand((17, len(images)), generator=generator, device=images.device)
        # In full precision, also inside automatic mixed precision.
        with torch.autocast(images.device.type, enabled=False):
            if side is not None and side < images.shape[-1]:
                images = F.interpolate(images, (side, side), mode="bilinear", antialias=True)
            images = self._transform(images, chance[:6])
            images = self._blur(images, chance[6:8])
            images = self._change_colours(images, chance[8:12])
            return self._erase(images, chance[12:]).contiguous(memory_format=torch.channels_last)

    def _transform(self, images: Tensor, chance: Tensor) -> Tensor:
        """Crop, stretch, rotate and mirror in one interpolation. Beyond its edges a photograph is reflected."""
        mirror = torch.where(chance[0] < self.flip, -1.0, 1.0)
        low, high = math.log(self.min_crop), math.log(self.max_crop)
        side = (low + (high - low) * chance[1]).exp()
        stretch = _around_one(chance[2], self.stretch)
        angle = (chance[3] * 2 - 1) * math.radians(self.degrees)
        width, height = side * stretch, side / stretch
        max_shift = (1 - side).abs()
        cos, sin = angle.cos(), angle.sin()
        rows = [
            torch.stack([mirror * width * cos, -height * sin, (chance[4] * 2 - 1) * max_shift], 1),
            torch.stack([mirror * width * sin, height * cos, (chance[5] * 2 - 1) * max_shift], 1),
        ]
        grid = F.affine_grid(torch.stack(rows, 1), list(images.shape), align_corners=False)
        sampled = F.grid_sample(images, grid, padding_mode="reflection", align_corners=False)
        return sampled.contiguous(memory_format=torch.channels_last)

    def _blur(self, images: Tensor, chance: Tensor) -> Tensor:
        amount = torch.where(chance[0] < self.blur, chance[1], 0.0)
        # A convolution, because average pooling took ten times as long on a CPU.
        kernel = images.new_full((3, 1, 3, 3), 1 / 9)
        means = F.conv2d(F.pad(images, (1, 1, 1, 1), "replicate"), kernel, groups=3)
        return images.lerp(means, _per_image(amount))

    def _change_colours(self, images: Tensor, chance: Tensor) -> Tensor:
        """Change brightness, contrast and saturation."""
        red, green, blue = images.unbind(1)
        grey = (LUMA[0] * red + LUMA[1] * green + LUMA[2] * blue).unsqueeze(1)
        saturation = torch.where(chance[3] < self.grey, 0.0, _around_one(chance[2], self.saturation))
        contrast = _per_image(_around_one(chance[1], self.contrast))
        brightness = _per_image((chance[0] * 2 - 1) * 2 * self.brightness)
        level = grey.mean((2, 3), keepdim=True)
        mixed = grey.lerp(images, _per_image(saturation))
        return mixed.sub_(level).mul_(contrast).add_(level + brightness).clamp_(-1, 1)

    def _erase(self, images: Tensor, chance: Tensor) -> Tensor:
        side = images.shape[-1]
        position = (torch.arange(side, device=images.device) + 0.5) / side
        half = 0.5 * self.max_erased * (0.25 + 0.75 * chance[:2])
        across = (position - chance[2][:, None]).abs() < half[0][:, None]
        down = (position - chance[3][:, None]).abs() < half[1][:, None]
        covered = down[:, :, None] & across[:, None, :] & _per_image(chance[4] < self.erase)[:, 0]
        return images.masked_fill_(covered[:, None], 0.0)


def _around_one(chance: Tensor, max_change: float) -> Tensor:
    return 1 + (chance * 2 - 1) * max_change


def _per_image(values: Tensor) -> Tensor:
    """Reshape (N,) to (N, 1, 1, 1)."""
    return values[:, None, None, None]
