"""What the layer pane requests and what it gets: plain data, so that the first screen does not wait for numpy."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tui.graphics.terminal import Terminal
from tui.inspect.layout import PROBE_SIDE, Layout, PaneSize, Side
from tui.inspect.modes.base import ViewMode

if TYPE_CHECKING:
    from tui.graphics.picture import Picture
    from tui.inspect.modes.base import ChannelStatistics


class NotComposed(Exception):
    """The picture cannot be composed; the message is one line that says why."""


@dataclass(frozen=True)
class LayerRequest:
    """Which picture of which size is wanted.

    Attributes:
        file: The frame file.
        epoch: Its epoch, counted from 0; of a classified photograph, the checkpoint's.
        layer: Index of the layer.
        probe: Index of the probe photograph.
        channel: Index of the channel under the cursor, or None; it may be beyond the last one.
        zoomed: Show only that channel.
        pane: The size of the pane.
        side: The column beside the mosaic, with the photograph.
        terminal: The terminal to show it on.
        written_at: When the journal announced the file, 0 if unknown: a resumed run may write it again.
        heatmap: Blend the heatmap over the photograph if the frame has one.
        aspect: Width over height of the photograph before it was resized to a square.
    """

    file: Path
    epoch: int
    layer: int
    probe: int
    mode: ViewMode
    channel: int | None
    zoomed: bool
    pane: PaneSize
    terminal: Terminal
    side: Side = PROBE_SIDE
    written_at: float = 0.0
    heatmap: bool = False
    aspect: float = 1.0


@dataclass(frozen=True)
class LayerPicture:
    """A composed picture and what its title, legend and caption say.

    Attributes:
        layout: How the pane is divided.
        photograph: The probe photograph; None if the layout has no room for it.
        layers: Names of all layers in the order of the network.
        layer: The name of the one that is shown.
        channels: Tiles in the mosaic before a channel was enlarged.
        cursor: Index of the channel under the cursor, or None.
        probes: Number of probe photographs.
        low, high: The values of the darkest and the brightest colour.
        own_ranges: Each tile is scaled over its own range.
        label: The probe's annotated class, or empty.
        name: The probe's file name.
        probabilities: The network's probability of each class, by name.
    """

    request: LayerRequest
    layout: Layout
    mosaic: Picture
    photograph: Picture | None
    layers: tuple[str, ...]
    layer: str
    channels: int
    cursor: int | None
    probes: int
    low: float
    high: float
    own_ranges: bool
    statistics: ChannelStatistics | None
    label: str
    name: str
    probabilities: dict[str, float]
