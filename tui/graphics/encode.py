"""Encode a picture for the terminal, in any protocol. Pure functions, to be called in a thread.

Imported with the first picture, so that the first screen does not wait for numpy.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, NamedTuple

from rich.segment import Segment

from tui.graphics import halfblock, kitty, sixel
from tui.graphics.geometry import Area, Placement, fit, slice_rows
from tui.graphics.palette import PaletteQuantizer, within_budget
from tui.graphics.picture import Picture
from tui.graphics.terminal import Protocol, Terminal

COARSE_COLOURS = 8
COARSE_SHRINK = 5
"""The factor by which a coarse picture is reduced for a kitty terminal, which enlarges it again."""
FLAT_COLOURS = 10


class Job(NamedTuple):
    """A picture to encode, and for what."""

    picture: Picture
    area: Area
    terminal: Terminal
    background: tuple[int, int, int] | None = None
    """The colour around the picture; None for the terminal's default."""
    budget_bytes: int = 0
    """The size it should not much exceed, at the cost of colours; 0 for no limit."""
    coarse: bool = False
    """A preview: the same cells in a fraction of the bytes."""

    @property
    def key(self) -> tuple[object, ...]:
        """Equal jobs give equal results."""
        return self.picture.key, *self[1:]


class Slice(NamedTuple):
    """Some rows of cells of a picture, which are written together."""

    first_row: int
    rows: int
    key: bytes
    """Equal for slices that look the same at the same size."""
    data: bytes
    """A sixel string or a kitty PNG; empty for half blocks."""
    size_bytes: int
    """The approximate number of bytes written for it."""
    margin_rows: int = 0
    """Rows of cells of a kitty picture above and below the slice that are sent but not shown."""


@dataclass(frozen=True, eq=False)
class Encoded:
    """An encoded picture."""

    job: Job
    placement: Placement
    colours: int
    """Number of colours after the palette was reduced."""
    slices: tuple[Slice, ...]
    blocks: halfblock.HalfBlocks | None = None
    """The cells, if it is shown with half blocks."""

    @property
    def limited_by(self) -> Literal["", "link", "terminal"]:
        """Why it has fewer colours than the picture, or empty."""
        if self.colours >= len(self.job.picture.palette):
            return ""
        terminal = self.job.terminal
        full = terminal.protocol is Protocol.SIXEL and self.colours >= terminal.sixel_registers
        return "link" if self.job.budget_bytes and not full else "terminal"

    @property
    def size_bytes(self) -> int:
        """Memory to keep it."""
        cells = self.placement.columns * self.placement.rows
        data = sum(len(piece.data) for piece in self.slices)
        return data + (cells * 100 if self.blocks else 0) + self.job.picture.pixels.nbytes

    def slice_of(self, row: int) -> int:
        """Return the index of the slice that contains a row of cells."""
        return row // self.slices[0].rows

    @cached_property
    def flat(self) -> list[list[Segment]]:
        """The picture with one colour per cell, for use below another screen, where the real one cannot be drawn.

        Few colours give few segments: the screen on top applies its tint to each of them.
        """
        small = self.job.picture.scaled_down(self.placement.columns, self.placement.rows)
        return halfblock.flat_segments(PaletteQuantizer(small).reduced(FLAT_COLOURS), self.job.terminal.colours)

    @cached_property
    def background_code(self) -> str:
        """The control sequence that sets the background colour around the picture."""
        colour = halfblock.colour_of(self.job.background, self.job.terminal.colours)
        return f"\x1b[{halfblock.code(colour, foreground=False)}m"


def encode(job: Job) -> Encoded:
    """Fit the picture into its area and encode it."""
    picture, protocol = job.picture, job.terminal.protocol
    placement = fit(picture.width_px, picture.height_px, job.area, job.terminal)
    if protocol is Protocol.HALFBLOCK or (job.coarse and protocol is Protocol.SIXEL):
        return _as_blocks(job, placement)
    return _as_kitty(job, placement) if protocol is Protocol.KITTY else _as_sixel(job, placement)


def _rows_of(placement: Placement, terminal: Terminal) -> list[tuple[int, int]]:
    """Return the first row and the number of rows of each slice."""
    step = slice_rows(terminal)
    return [(first, min(step, placement.rows - first)) for first in range(0, placement.rows, step)]


def _as_kitty(job: Job, placement: Placement) -> Encoded:
    picture = _fitted(job.picture, placement)
    row_px = placement.row_px
    if job.coarse:
        row_px = max(1, round(row_px / COARSE_SHRINK))
        width = max(1, placement.width_px * row_px // placement.row_px)
        small = picture.padded(placement.width_px, placement.height_px, job.background)
        picture = PaletteQuantizer(small.scaled_down(width, placement.rows * row_px)).reduced(COARSE_COLOURS)
    elif job.budget_bytes:
        picture = within_budget(picture, lambda part: len(kitty.png(part)) * 4 // 3, job.budget_bytes)
    colours = len(picture.palette)
    if not job.coarse:
        picture = picture.padded(placement.width_px, placement.height_px, job.background)
    # A terminal that enlarges a picture blends its edge with what is below. So that no line shows between two slices,
    # each has one more row of cells above and below, which repeats the neighbour's first row of pixels.
    margin = int(row_px < job.terminal.cell_height_px)
    slices = []
    for first, rows in _rows_of(placement, job.terminal):
        part = picture.rows(first * row_px, (first + rows) * row_px, margin * row_px)
        data = kitty.png(part)
        key = _digest(data, placement.columns, rows)
        slices.append(Slice(first, rows, key, data, len(data) * 4 // 3 + placement.columns * rows * 4, margin))
    return Encoded(job, placement, colours, tuple(slices))


def _as_sixel(job: Job, placement: Placement) -> Encoded:
    picture = _fitted(job.picture, placement).enlarged(placement.enlarge)
    # A multiplexer cuts sixel pictures into cells and fills those that are covered in part.
    filler = (job.background or (0, 0, 0)) if job.terminal.multiplexer else None
    registers = job.terminal.sixel_registers - (filler is not None)
    if job.budget_bytes or len(picture.palette) > registers:
        budget = job.budget_bytes or picture.pixels.size * 8
        picture = within_budget(picture, sixel.size, budget, registers)
    slices = []
    for first, rows in _rows_of(placement, job.terminal):
        part = picture.rows(first * placement.row_px, (first + rows) * placement.row_px)
        data = sixel.encode(part, filler)
        slices.append(Slice(first, rows, _digest(data, placement.columns, rows), data, len(data) + 20))
    return Encoded(job, placement, len(picture.palette), tuple(slices))


def _as_blocks(job: Job, placement: Placement) -> Encoded:
    picture, terminal = job.picture, job.terminal
    if terminal.protocol is Protocol.HALFBLOCK:
        picture = _fitted(picture, placement).enlarged(placement.enlarge)
    else:
        # Only cells that the pixels will cover completely: the rest of a cell would remain visible.
        columns = placement.width_px * placement.enlarge // terminal.cell_width_px
        halves = 2 * placement.height_px * placement.enlarge // placement.row_px
        picture = picture.scaled_down(max(1, columns), max(1, halves))
    colours = terminal.colours
    if job.coarse:
        picture = PaletteQuantizer(picture).reduced(COARSE_COLOURS)
        # The codes of the 256 colours are half as long as those of true colours.
        colours = "256" if colours == "truecolor" else colours
    # Cells that the full picture will not cover stay: the colour around it must be exact.
    background = halfblock.colour_of(job.background, terminal.colours)
    blocks = halfblock.half_blocks(picture, placement.columns, placement.rows, colours, background)
    slices = []
    for first, rows in _rows_of(placement, terminal):
        text = "".join(blocks.rows[first : first + rows])
        slices.append(Slice(first, rows, _digest(text.encode(), placement.columns, rows), b"", len(text)))
    return Encoded(job, placement, len(picture.palette), tuple(slices), blocks)


def _fitted(picture: Picture, placement: Placement) -> Picture:
    """Return the picture reduced to its placement, if it is larger."""
    width, height = min(picture.width_px, placement.width_px), min(picture.height_px, placement.height_px)
    return picture if (width, height) == (picture.width_px, picture.height_px) else picture.scaled_down(width, height)


def _digest(content: bytes, columns: int, rows: int) -> bytes:
    return hashlib.blake2b(content + b"%d %d" % (columns, rows), digest_size=16).digest()
