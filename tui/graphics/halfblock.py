"""Pictures from half blocks: each cell shows two pixels, the upper as foreground, the lower as background."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
from rich.color import Color
from rich.segment import Segment
from rich.style import Style

from tui.graphics.picture import Picture, Pixels
from tui.graphics.terminal import Colours

UPPER_HALF = "▀"

_CUBE_LEVELS = np.array([0, 95, 135, 175, 215, 255], np.int32)
_GREY_LEVELS = np.arange(8, 239, 10, dtype=np.int32)
_SIXTEEN = np.array(
    [
        (0, 0, 0), (128, 0, 0), (0, 128, 0), (128, 128, 0), (0, 0, 128), (128, 0, 128), (0, 128, 128), (192, 192, 192),
        (128, 128, 128), (255, 0, 0), (0, 255, 0), (255, 255, 0), (0, 0, 255), (255, 0, 255), (0, 255, 255),
        (255, 255, 255),
    ],
    np.int32,
)  # fmt: skip
"""The sixteen colours as most terminals draw them (they may be themed)."""


def nearest_256(rgb: npt.NDArray[np.integer]) -> npt.NDArray[np.uint8]:
    """The nearest of the fixed 240 colours (16 to 255).

    Args:
        rgb: (N, 3), 0 to 255.

    Returns:
        (N,) uint8 colour numbers.
    """
    rgb = rgb.astype(np.int32)
    steps = np.abs(rgb[:, :, None] - _CUBE_LEVELS).argmin(axis=2)
    grey_step = np.abs(rgb.mean(axis=1)[:, None] - _GREY_LEVELS).argmin(axis=1)
    cube_error = ((_CUBE_LEVELS[steps] - rgb) ** 2).sum(axis=1)
    grey_error = ((_GREY_LEVELS[grey_step][:, None] - rgb) ** 2).sum(axis=1)
    cube = 16 + steps @ np.array([36, 6, 1])
    numbers: npt.NDArray[np.uint8] = np.where(grey_error < cube_error, 232 + grey_step, cube).astype(np.uint8)
    return numbers


def nearest_16(rgb: npt.NDArray[np.integer]) -> npt.NDArray[np.uint8]:
    """The nearest of the sixteen colours: (N, 3) to (N,)."""
    distance: npt.NDArray[np.int32] = ((rgb.astype(np.int32)[:, None] - _SIXTEEN) ** 2).sum(axis=2)
    numbers: npt.NDArray[np.uint8] = distance.argmin(axis=1).astype(np.uint8)
    return numbers


@dataclass(frozen=True, eq=False)
class HalfBlocks:
    """A picture as cells.

    Args:
        upper: (R, C) colour numbers of the upper pixels: 0xRRGGBB, or palette numbers below 256.
        lower: The same for the lower pixels. -1 in either is the terminal's own background.
        colours: What the numbers mean.
    """

    upper: npt.NDArray[np.int32]
    lower: npt.NDArray[np.int32]
    colours: Colours

    @cached_property
    def rows(self) -> list[str]:
        """Every row, ready to be written."""
        columns = self.upper.shape[1]
        return [self.cells(row, 0, columns) for row in range(len(self.upper))]

    def cells(self, row: int, first: int, last: int) -> str:
        """Cells `first` up to but not including `last`, with as few changes of colour as it takes."""
        out = []
        foreground = background = -2
        pairs = zip(self.upper[row, first:last].tolist(), self.lower[row, first:last].tolist(), strict=True)
        for above, below in pairs:
            codes = []
            if below != background:
                codes.append(_code(below, 40, self.colours))
                background = below
            # A space shows the background alone: no need to change the foreground.
            if above == below:
                out.append(f"\x1b[{codes[0]}m " if codes else " ")
                continue
            if above != foreground:
                codes.append(_code(above, 30, self.colours))
                foreground = above
            out.append(f"\x1b[{';'.join(codes)}m{UPPER_HALF}" if codes else UPPER_HALF)
        return "".join(out) + "\x1b[0m"

    def segments(self, row: int) -> list[Segment]:
        """The row as Rich segments, for recordings and tests: they take far longer than what is written."""
        out = []
        pairs = zip(self.upper[row].tolist(), self.lower[row].tolist(), strict=True)
        for above, below in pairs:
            background = None if below < 0 else _colour(below, self.colours)
            out.append(Segment(UPPER_HALF, Style(color=_colour(above, self.colours), bgcolor=background)))
        return out


def flat_segments(picture: Picture, colours: Colours) -> list[list[Segment]]:
    """A picture as blank cells, one a pixel, that differ in their background."""
    styles = [Style(bgcolor=_colour(number, colours)) for number in _numbers(picture.palette, colours).tolist()]
    out = []
    for row in np.minimum(picture.pixels, len(styles) - 1):
        starts = np.flatnonzero(np.diff(row, prepend=row[0] ^ 1))
        lengths = np.diff(starts, append=len(row))
        out.append([Segment(" " * n, styles[i]) for i, n in zip(row[starts].tolist(), lengths.tolist(), strict=True)])
    return out


def half_blocks(
    picture: Picture, columns: int, rows: int, colours: Colours, background: tuple[int, int, int] | None = None
) -> HalfBlocks:
    """A picture as half blocks.

    Args:
        picture: At most `columns` wide and `2 * rows` high.
        columns: Cells a row.
        rows: Rows of cells.
        colours: What the terminal can show.
        background: The colour of cells that the picture leaves free; None for the terminal's own.
    """
    numbers = _numbers(picture.palette, colours)
    values = numbers[np.minimum(picture.pixels, len(numbers) - 1)]
    full = np.full((rows * 2, columns), _background_number(background, colours), np.int32)
    full[: values.shape[0], : values.shape[1]] = values
    return HalfBlocks(full[::2], full[1::2], colours)


def background_code(background: tuple[int, int, int] | None, colours: Colours) -> str:
    """The control sequence for a background colour; None for the terminal's own."""
    return f"\x1b[{_code(_background_number(background, colours), 40, colours)}m"


def _background_number(background: tuple[int, int, int] | None, colours: Colours) -> int:
    return -1 if background is None else int(_numbers(np.array([background], np.uint8), colours)[0])


def _numbers(rgb: Pixels, colours: Colours) -> npt.NDArray[np.int32]:
    """Colour numbers of (N, 3) RGB."""
    if colours == "truecolor":
        parts = rgb.astype(np.int32)
        return (parts[:, 0] << 16) | (parts[:, 1] << 8) | parts[:, 2]
    return (nearest_256 if colours == "256" else nearest_16)(rgb).astype(np.int32)


def shrunk(picture: Picture, width_px: int, height_px: int) -> Picture:
    """The picture averaged down to a few pixels. At most 256 colours remain."""
    from PIL import Image

    small: Pixels = np.asarray(
        Image.fromarray(picture.rgb()).resize((width_px, height_px), Image.Resampling.BOX), np.uint8
    )
    exact = small.reshape(-1, 3)
    colours, index = np.unique(exact, axis=0, return_inverse=True)
    if len(colours) > 256:
        return Picture.from_rgb(small)
    return Picture(index.reshape(height_px, width_px).astype(np.uint8), colours)


def _code(number: int, base: int, colours: Colours) -> str:
    if number < 0:
        return str(base + 9)
    if colours == "truecolor":
        return f"{base + 8};2;{number >> 16};{number >> 8 & 255};{number & 255}"
    if colours == "256":
        return f"{base + 8};5;{number}"
    return str(base + number if number < 8 else base + 52 + number)


def _colour(number: int, colours: Colours) -> Color:
    if colours == "truecolor":
        return Color.from_rgb(number >> 16, number >> 8 & 255, number & 255)
    return Color.from_ansi(number)
