"""Pictures made of half blocks: each cell shows two pixels, the upper as foreground, the lower as background."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
from rich.color import Color, ColorSystem
from rich.segment import Segment
from rich.style import Style

from tui.graphics.picture import Picture
from tui.graphics.terminal import Colours

UPPER_HALF = "▀"

_SYSTEMS = {"truecolor": ColorSystem.TRUECOLOR, "256": ColorSystem.EIGHT_BIT, "16": ColorSystem.STANDARD}


@dataclass(frozen=True, eq=False)
class HalfBlocks:
    """A picture as cells.

    Args:
        upper: (R, C) indices of the upper pixels' colours.
        lower: (R, C) indices of the lower pixels' colours.
        colours: The colours, each different.
    """

    upper: npt.NDArray[np.intp]
    lower: npt.NDArray[np.intp]
    colours: tuple[Color, ...]

    @cached_property
    def rows(self) -> list[str]:
        """Each row as it is written."""
        columns = self.upper.shape[1]
        return [self.cells(row, 0, columns) for row in range(len(self.upper))]

    @cached_property
    def _codes(self) -> list[tuple[str, str]]:
        """The codes of each colour as foreground and as background."""
        return [(code(colour), code(colour, foreground=False)) for colour in self.colours]

    def cells(self, row: int, first: int, last: int) -> str:
        """Return cells `first` up to but not including `last`, with as few changes of colour as possible."""
        out = []
        foreground = background = -1
        pairs = zip(self.upper[row, first:last].tolist(), self.lower[row, first:last].tolist(), strict=True)
        for above, below in pairs:
            codes = []
            if below != background:
                codes.append(self._codes[below][1])
                background = below
            # A space shows only the background: no need to change the foreground.
            if above == below:
                out.append(f"\x1b[{codes[0]}m " if codes else " ")
                continue
            if above != foreground:
                codes.append(self._codes[above][0])
                foreground = above
            out.append(f"\x1b[{';'.join(codes)}m{UPPER_HALF}" if codes else UPPER_HALF)
        return "".join(out) + "\x1b[0m"


DEFAULT = Color.default()
"""The terminal's default colour."""


def half_blocks(picture: Picture, columns: int, rows: int, colours: Colours, background: Color = DEFAULT) -> HalfBlocks:
    """Convert a picture, at most `columns` wide and `2 * rows` high, to half blocks.

    Pixels outside the picture have the background's colour.
    """
    # Colours that the terminal does not tell apart share an index.
    shared: dict[str, tuple[int, Color]] = {}
    wanted = [*(colour_of(rgb, colours) for rgb in picture.palette.tolist()), background]
    index = np.array([shared.setdefault(code(colour), (len(shared), colour))[0] for colour in wanted])
    full = np.full((rows * 2, columns), index[-1])
    full[: picture.height_px, : picture.width_px] = index[picture.pixels]
    return HalfBlocks(full[::2], full[1::2], tuple(colour for _, colour in shared.values()))


def flat_segments(picture: Picture, colours: Colours) -> list[list[Segment]]:
    """Convert a picture to blank cells, one per pixel, which differ in their background."""
    styles = [Style(bgcolor=colour_of(rgb, colours)) for rgb in picture.palette.tolist()]
    out = []
    for row in picture.pixels:
        starts = np.flatnonzero(np.diff(row, prepend=row[0] ^ 1))
        lengths = np.diff(starts, append=len(row))
        out.append([Segment(" " * n, styles[i]) for i, n in zip(row[starts].tolist(), lengths.tolist(), strict=True)])
    return out


def colour_of(rgb: tuple[int, int, int] | None, colours: Colours) -> Color:
    """Return the nearest colour that the terminal supports; None is its default."""
    return DEFAULT if rgb is None else Color.from_rgb(*rgb).downgrade(_SYSTEMS[colours])


def code(colour: Color, *, foreground: bool = True) -> str:
    """Return the parameters of the control sequence that sets a colour."""
    return ";".join(colour.get_ansi_codes(foreground))
