"""From a picture to what is written for it, in any protocol. Pure, and meant for a thread.

The encoders are imported with the first picture: the first screen does not wait for numpy.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

from rich.segment import Segment

from tui.graphics.geometry import Area, Placement, place
from tui.graphics.terminal import Protocol, Terminal

if TYPE_CHECKING:
    from tui.graphics.halfblock import HalfBlocks
    from tui.graphics.picture import Picture

MOST_SIXEL_BYTES = 900_000
"""tmux drops control strings of a megabyte."""

COARSE_COLOURS = 10


class Job(NamedTuple):
    """What there is to encode."""

    picture: Picture
    area: Area
    terminal: Terminal
    centred: bool
    ground: tuple[int, int, int] | None = None
    """The colour around the picture; None for the terminal's own."""

    @property
    def key(self) -> tuple[object, ...]:
        """Equal jobs give equal results."""
        return self.picture.key, self.area, self.terminal, self.centred, self.ground


@dataclass(frozen=True, eq=False)
class Encoded:
    """A picture ready to be written."""

    job: Job
    placement: Placement
    encode_ms: float
    data: bytes = b""
    """The sixel string or the kitty PNG; empty for half blocks."""
    blocks: HalfBlocks | None = None

    @property
    def size_bytes(self) -> int:
        """What it costs to keep."""
        cells = self.placement.columns * self.placement.rows
        return len(self.data) + (cells * 50 if self.blocks else 0) + self.job.picture.pixels.nbytes

    @cached_property
    def coarse(self) -> list[list[Segment]]:
        """The picture with one colour a cell, whatever the protocol: for where the real one cannot be drawn.

        Below another screen, that is, whose tint costs time for every segment: hence few colours and long runs.
        """
        from tui.graphics import halfblock
        from tui.graphics.palette import Unions

        columns, rows = self.placement.columns, self.placement.rows
        small = halfblock.shrunk(self.job.picture, columns, rows)
        return halfblock.flat_segments(Unions(small).reduced(COARSE_COLOURS), self.job.terminal.colours)

    @cached_property
    def ground_code(self) -> str:
        """The control sequence that makes the colour around the picture the background."""
        from tui.graphics import halfblock

        return halfblock.background(self.job.ground, self.job.terminal.colours)


def encode(job: Job) -> Encoded:
    """Fit the picture into its area and encode it."""
    from tui.graphics import halfblock, kitty

    began = time.perf_counter()
    picture, area, terminal, centred, ground = job
    placement = place(picture.width_px, picture.height_px, area, terminal, centred)
    size = placement.width_px, placement.height_px
    data, blocks = b"", None
    if terminal.protocol is Protocol.HALFBLOCK:
        if size != (picture.width_px, picture.height_px):
            picture = halfblock.shrunk(picture, *size)
        blocks = halfblock.half_blocks(
            picture.enlarged(placement.enlarge), placement.columns, placement.rows, terminal.colours, ground
        )
        _ = blocks.rows
    else:
        if size != (picture.width_px, picture.height_px):
            picture = picture.scaled_down(*size)
        if terminal.protocol is Protocol.KITTY:
            data = kitty.png_within(picture)
        else:
            data = _sixel(picture.enlarged(placement.enlarge), terminal)
    return Encoded(job, placement, (time.perf_counter() - began) * 1000, data, blocks)


def _sixel(picture: Picture, terminal: Terminal) -> bytes:
    """The sixel string; of half the resolution if the full one is more than a multiplexer would take."""
    from tui.graphics import sixel
    from tui.graphics.picture import Picture as Halved

    data = sixel.encode_within(picture, terminal.sixel_registers)
    if len(data) <= MOST_SIXEL_BYTES:
        return data
    width, height = picture.width_px, picture.height_px
    half = picture.scaled_down(-(-width // 2), -(-height // 2)).enlarged(2)
    return sixel.encode_within(Halved(half.pixels[:height, :width], half.palette), terminal.sixel_registers)
