"""A picture: palette indices and their colours."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

Pixels = npt.NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class Picture:
    """A palette picture. Its arrays must not be modified afterwards.

    Args:
        pixels: (H, W) uint8, indices into the palette.
        palette: (K, 3) uint8 RGB, K at most 256.
    """

    pixels: Pixels
    palette: Pixels

    def __post_init__(self) -> None:
        if self.pixels.ndim != 2 or self.pixels.dtype != np.uint8 or not self.pixels.size:
            found = f"{self.pixels.shape} {self.pixels.dtype}"
            raise ValueError(f"pixels must be a non-empty (H, W) uint8 array, not {found}")
        if self.palette.ndim != 2 or self.palette.shape[1] != 3 or not 1 <= len(self.palette) <= 256:
            raise ValueError(f"palette must be (K, 3) with 1 to 256 colours, not {self.palette.shape}")
        if self.palette.dtype != np.uint8:
            raise ValueError(f"palette must be uint8, not {self.palette.dtype}")
        if self.pixels.max() >= len(self.palette):
            raise ValueError(f"pixels have index {self.pixels.max()}, the palette {len(self.palette)} colours")

    @property
    def width_px(self) -> int:
        """Columns of pixels."""
        return int(self.pixels.shape[1])

    @property
    def height_px(self) -> int:
        """Rows of pixels."""
        return int(self.pixels.shape[0])

    @cached_property
    def key(self) -> str:
        """A digest of the content: equal pictures have equal keys."""
        digest = hashlib.blake2b(repr(self.pixels.shape).encode(), digest_size=16)
        digest.update(np.ascontiguousarray(self.palette).data)
        digest.update(np.ascontiguousarray(self.pixels).data)
        return digest.hexdigest()

    def rgb(self) -> Pixels:
        """Return the picture as (H, W, 3) uint8."""
        return np.take(self.palette, self.pixels, axis=0)

    @classmethod
    def from_rgb(cls, array: Pixels, colours: int = 256) -> Picture:
        """Choose a palette for a photograph.

        Args:
            array: (H, W, 3) uint8.
            colours: The most colours, 2 to 256. Fewer colours are fewer bytes.
        """
        from PIL import Image

        image = Image.fromarray(np.ascontiguousarray(array))
        # A thumbnail gives the same palette in a tenth of the time.
        sample = image.copy()
        sample.thumbnail((160, 160), Image.Resampling.BOX)
        chosen = sample.quantize(colours, Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
        indexed = image.quantize(palette=chosen, dither=Image.Dither.NONE)
        palette = np.array(indexed.getpalette() or [0, 0, 0], np.uint8).reshape(-1, 3)
        pixels = np.asarray(indexed, np.uint8)
        return cls(pixels, palette[: int(pixels.max()) + 1])

    def scaled_down(self, width_px: int, height_px: int) -> Picture:
        """Reduce the picture by averaging, in its own colours."""
        from PIL import Image

        small = Image.fromarray(self.rgb()).resize((width_px, height_px), Image.Resampling.BOX)
        colours = Image.new("P", (1, 1))
        colours.putpalette(self.palette.tobytes())
        indexed = np.asarray(small.quantize(palette=colours, dither=Image.Dither.NONE), np.uint8)
        return Picture(np.minimum(indexed, len(self.palette) - 1), self.palette)

    def enlarged(self, factor: int) -> Picture:
        """Repeat each pixel `factor` times in both directions."""
        if factor == 1:
            return self
        return Picture(self.pixels.repeat(factor, axis=0).repeat(factor, axis=1), self.palette)

    def rows(self, first: int, last: int, margin: int = 0) -> Picture:
        """Cut out rows of pixels.

        Args:
            first: The first row.
            last: The row after the last; rows that do not exist are left out.
            margin: Rows to add above and below. They repeat the neighbouring row, or the picture's edge.
        """
        if not margin:
            return Picture(self.pixels[first:last], self.palette)
        last = min(last, self.height_px)
        index = np.arange(first - margin, last + margin).clip(max(0, first - 1), min(last, self.height_px - 1))
        return Picture(self.pixels[index], self.palette)

    def padded(self, width_px: int, height_px: int, colour: tuple[int, int, int] | None) -> Picture:
        """Fill up to a size, to the right and below, with a colour or the nearest one in a full palette."""
        right, below = width_px - self.width_px, height_px - self.height_px
        if right <= 0 and below <= 0:
            return self
        wanted = np.array(colour or (0, 0, 0), np.int32)
        distance = ((self.palette.astype(np.int32) - wanted) ** 2).sum(axis=1)
        index, palette = int(distance.argmin()), self.palette
        if distance[index] and len(palette) < 256:
            index, palette = len(palette), np.concatenate([palette, wanted[None].astype(np.uint8)])
        pixels = np.pad(self.pixels, ((0, max(0, below)), (0, max(0, right))), constant_values=index)
        return Picture(pixels, palette)
