"""What of a run's pictures is selected, what the layer pane requests of it, and what it gets.

Plain data, so that the first screen does not wait for numpy.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from tui.graphics.geometry import Area
from tui.graphics.terminal import Terminal
from tui.inspect.layout import Layout
from tui.inspect.modes import MODES, ViewMode

if TYPE_CHECKING:
    from facegender.rendering.history import ChannelCurve
    from facegender.rendering.views import Scope, Variant
    from tui.graphics.picture import Picture


@dataclass(frozen=True)
class Selection:
    """What of a run's pictures is selected. All numbers count from 0.

    Attributes:
        epoch: The epoch, or None for the latest one.
        layer: Index of the layer.
        probe: Index of the probe photograph.
        mode: The view.
        channel: Index of the channel under the cursor, or None if there is no cursor; it may be beyond the last one.
        zoomed: Show only that channel.
        tile: Without a cursor, a tile of the page to show.
        scope: What shares a scale of colours; None for what is usual in the view.
        variant: The way to show the view; None for the usual one.
        reference: The epoch that "difference" compares with; None for the first one that has pictures.
    """

    epoch: int | None = None
    layer: int = 0
    probe: int = 0
    mode: ViewMode = MODES[0]
    channel: int | None = None
    zoomed: bool = False
    tile: int = 0
    scope: Scope | None = None
    variant: Variant | None = None
    reference: int | None = None

    @property
    def follows_live(self) -> bool:
        """Whether a newer epoch is shown as soon as it has pictures."""
        return self.epoch is None

    def epoch_in(self, frames: tuple[int, ...]) -> int | None:
        """Return the epoch to show of those with pictures: the chosen one, or the nearest earlier one."""
        if not frames:
            return None
        if self.epoch is None:
            return frames[-1]
        return max((frame for frame in frames if frame <= self.epoch), default=frames[0])

    def moved_epoch(self, frames: tuple[int, ...], by: int) -> Selection:
        """Move by `by` frames. Moving to the last one follows live again."""
        shown = self.epoch_in(frames)
        if shown is None:
            return self
        index = max(0, frames.index(shown) + by)
        return replace(self, epoch=None if index >= len(frames) - 1 and by > 0 else frames[min(index, len(frames) - 1)])

    def moved_layer(self, layers: int, by: int) -> Selection:
        """Move by `by` layers, stopping at either end. The cursor stays at its channel, where the layer has it."""
        layer = min(max(0, self.layer + by), max(0, layers - 1))
        return self if layer == self.layer else replace(self, layer=layer, tile=0)

    def moved_probe(self, probes: int, by: int) -> Selection:
        """Move by `by` probe photographs, wrapping around."""
        return replace(self, probe=(self.probe + by) % max(1, probes))

    def moved_channel(self, channels: int, by: int) -> Selection:
        """Move the cursor by `by` channels, stopping at either end; the first move only shows it, on this page."""
        if self.channel is None:
            return replace(self, channel=min(self.tile, max(0, channels - 1)))
        channel = min(self.channel, channels - 1) + by
        return replace(self, channel=min(max(0, channel), max(0, channels - 1)), tile=0 if self.zoomed else self.tile)

    def next_mode(self) -> Selection:
        """Switch to the next view, wrapping around. The cursor stays at its channel."""
        return replace(self, mode=MODES[(MODES.index(self.mode) + 1) % len(MODES)], zoomed=False, tile=0)

    def frozen(self, epoch: int) -> Selection:
        """Compare with an epoch, or no longer with it if that is the reference already."""
        return replace(self, reference=None if self.reference == epoch else epoch)


class NotComposed(Exception):
    """The picture cannot be composed; the message is one line that says why."""


@dataclass(frozen=True)
class ChannelStatistics:
    """What a frame says of one channel.

    Attributes:
        mean, std, low, high: Of its activation for the probe.
        zero: The share of its map that is zero.
        units: Over the validation photographs: the mean of its activation, its maximum, and the share of photographs
            that it reacts to; None if the frame does not have them.
    """

    mean: float
    std: float
    low: float
    high: float
    zero: float
    units: tuple[float, float, float] | None = None


@dataclass(frozen=True)
class LayerRequest:
    """Which picture of which size is wanted.

    Attributes:
        file: The frame file.
        selection: With the epoch of that file; of a classified photograph, the checkpoint's.
        pane: The size of the pane without its border and padding.
        terminal: The terminal to show it on.
        caption: The text beside a classified photograph; None for a run's probe, whose caption is in the frame.
        written_at: When the journal announced the file, 0 if unknown: a resumed run may write it again.
        heatmap: Blend the heatmap over the photograph if the frame has one.
        aspect: Width over height of the photograph before it was resized to a square.
        fill: Tiles fill the pane, as the link can afford it.
        history: Epochs of the run and their frame files, if the picture depends on them.
        reference: The frame file that "difference" compares with; None if there is none.
        patches: The file of the channel's patches, once there is one.
        no_patches: Why there are no patches (yet).
    """

    file: Path
    selection: Selection
    pane: Area
    terminal: Terminal
    caption: str | None = None
    written_at: float = 0.0
    heatmap: bool = False
    aspect: float = 1.0
    fill: bool = True
    history: tuple[tuple[int, Path], ...] = ()
    reference: Path | None = None
    patches: Path | None = None
    no_patches: str = ""


@dataclass(frozen=True)
class Scale:
    """What the colours of a mosaic mean.

    Attributes:
        low, high: The values that they begin and end with: those of the channel under the cursor if each tile has its
            own, else of all tiles.
        scope: What shares a scale.
        colours: Hexadecimal colours from low to high; empty for photographs.
    """

    low: float
    high: float
    scope: Scope
    colours: tuple[str, ...]


@dataclass(frozen=True)
class LayerPicture:
    """A composed picture and what its title, legend and caption say.

    Attributes:
        layout: How the pane is divided.
        mosaic: The tiles of the page; None if there is only ``text`` to show.
        photograph: The probe photograph; None if the layout has no room for it.
        layers: Names of all layers in the order of the network.
        channels: The channels, filters or classes of the layer.
        tiles: The tiles of all pages.
        first: Index of the first tile of the page.
        labels: What each tile of the page is.
        highs: The value at the upper end of each of their scales.
        cursor: Index of the channel under the cursor, or None.
        probes: Number of probe photographs.
        label: The probe's annotated class, or empty.
        name: The probe's file name.
        probabilities: The network's probability of each class, by name.
        note: What else the legend says.
        text: Lines in the place of the tiles, if there are none.
        details: What stands beside patches: of each what is known of it, and the name of the photograph.
        statistics: Of the channel under the cursor; None without a cursor.
        curve: Of that channel over the epochs, if it is shown alone.
    """

    request: LayerRequest
    layout: Layout
    mosaic: Picture | None
    photograph: Picture | None
    layers: tuple[str, ...]
    channels: int
    tiles: int
    first: int
    labels: tuple[str, ...]
    highs: tuple[float, ...]
    cursor: int | None
    probes: int
    scale: Scale
    label: str
    name: str
    probabilities: dict[str, float]
    note: str = ""
    text: tuple[str, ...] = ()
    details: tuple[tuple[str, str], ...] = ()
    statistics: ChannelStatistics | None = None
    curve: ChannelCurve | None = None
