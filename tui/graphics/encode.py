"""From a picture to what is written for it, in any protocol. Pure, and meant for a thread."""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

from tui.graphics import halfblock, kitty, sixel
from tui.graphics.geometry import Area, Placement, place
from tui.graphics.halfblock import HalfBlocks
from tui.graphics.picture import Picture
from tui.graphics.terminal import Protocol, Terminal

MOST_SIXEL_BYTES = 900_000
"""tmux drops control strings of a megabyte."""


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
        return len(self.data) + (cells * 60 if self.blocks else 0) + self.job.picture.pixels.nbytes

    @cached_property
    def coarse(self) -> HalfBlocks:
        """The picture as half blocks, whatever the protocol: shown dimmed below another screen, and in recordings."""
        if self.blocks is not None:
            return self.blocks
        columns, rows = self.placement.columns, self.placement.rows
        small = halfblock.shrunk(self.job.picture, columns, rows * 2)
        return halfblock.half_blocks(small, columns, rows, self.job.terminal.colours, self.job.ground)

    @cached_property
    def ground_code(self) -> str:
        """The control sequence that makes the colour around the picture the background."""
        return halfblock.background(self.job.ground, self.job.terminal.colours)


def encode(job: Job) -> Encoded:
    """Fit the picture into its area and encode it."""
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
    data = sixel.encode_within(picture, terminal.sixel_registers)
    if len(data) <= MOST_SIXEL_BYTES:
        return data
    width, height = picture.width_px, picture.height_px
    half = picture.scaled_down(-(-width // 2), -(-height // 2)).enlarged(2)
    return sixel.encode_within(Picture(half.pixels[:height, :width], half.palette), terminal.sixel_registers)
