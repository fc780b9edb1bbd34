"""What the layer pane asks for and what it gets: plain data, so that the first screen does not wait for numpy."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tui.inspect.selection import Mode

if TYPE_CHECKING:
    from tui.graphics import Picture


class NotComposed(Exception):
    """There is no such picture; the message is one line that says why."""


@dataclass(frozen=True)
class LayerRequest:
    """Which picture is wanted, for which place.

    Attributes:
        file: The frame file.
        epoch: The epoch it is of, of the checkpoint for a classified file.
        written_at: When the file was announced, 0 where that is not known: a run that goes on may write it again.
        area_px: (width, height) of the place for the mosaic, in pixels of the terminal.
        wide_area_px: The same if what stands beside it is made narrow.
        photograph_px: The same for the probe photograph; (0, 0) for none.
        narrow_photograph_px: The same beside a mosaic in the wide place.
        terminal_enlarges: The terminal makes pictures as large as their place by itself.
        heatmap: Lay the heatmap over the photograph where the frame has one.
        aspect: Width over height of the photograph before it was resized to a square.
    """

    file: Path
    epoch: int
    layer: int
    probe: int
    mode: Mode
    channel: int | None
    zoomed: bool
    area_px: tuple[int, int]
    photograph_px: tuple[int, int] = (0, 0)
    terminal_enlarges: bool = False
    heatmap: bool = False
    aspect: float = 1.0
    written_at: float = 0.0
    wide_area_px: tuple[int, int] = (0, 0)
    narrow_photograph_px: tuple[int, int] = (0, 0)


@dataclass(frozen=True)
class LayerPicture:
    """A composed picture and what is to be said about it.

    Attributes:
        layers: Names of all layers, in the order of the network.
        channels: How many tiles the mosaic has.
        columns: How many of them lie beside each other.
        wide: The mosaic is for the wide place: in the other one the tiles would be too small.
        low, high: The values of the darkest and the brightest colour; per channel in a mosaic of maps.
        common_range: Whether all tiles share that range.
        channel_stats: Mean, standard deviation, minimum, maximum and share of zeros of the channel under the cursor.
        label: The probe's class as annotated, or empty.
        probabilities: What the network gave each class, by name.
    """

    request: LayerRequest
    mosaic: Picture
    photograph: Picture | None
    layers: tuple[str, ...]
    layer: str
    channels: int
    columns: int
    probes: int
    low: float
    high: float
    common_range: bool
    channel_stats: tuple[float, ...]
    label: str
    name: str
    probabilities: dict[str, float]
    wide: bool = False
