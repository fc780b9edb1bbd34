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
from tui.inspect.modes import MODES
from tui.inspect.modes.base import Scale, ViewMode

if TYPE_CHECKING:
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
    """

    epoch: int | None = None
    layer: int = 0
    probe: int = 0
    mode: ViewMode = MODES[0]
    channel: int | None = None
    zoomed: bool = False

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
        """Move by `by` layers, stopping at either end."""
        layer = min(max(0, self.layer + by), max(0, layers - 1))
        return self if layer == self.layer else replace(self, layer=layer, channel=None, zoomed=False)

    def moved_probe(self, probes: int, by: int) -> Selection:
        """Move by `by` probe photographs, wrapping around."""
        return replace(self, probe=(self.probe + by) % max(1, probes))

    def moved_channel(self, channels: int, by: int) -> Selection:
        """Move the cursor by `by` channels, stopping at either end; the first move only shows it."""
        if self.channel is None:
            return replace(self, channel=0)
        return replace(self, channel=min(max(0, self.channel + by), max(0, channels - 1)))

    def next_mode(self) -> Selection:
        """Switch to the next view, wrapping around."""
        return replace(self, mode=MODES[(MODES.index(self.mode) + 1) % len(MODES)], zoomed=False)


class NotComposed(Exception):
    """The picture cannot be composed; the message is one line that says why."""


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
    """

    file: Path
    selection: Selection
    pane: Area
    terminal: Terminal
    caption: str | None = None
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
        channels: Tiles in the mosaic before a channel was enlarged.
        cursor: Index of the channel under the cursor, or None.
        probes: Number of probe photographs.
        label: The probe's annotated class, or empty.
        name: The probe's file name.
        probabilities: The network's probability of each class, by name.
    """

    request: LayerRequest
    layout: Layout
    mosaic: Picture
    photograph: Picture | None
    layers: tuple[str, ...]
    channels: int
    cursor: int | None
    probes: int
    scale: Scale
    label: str
    name: str
    probabilities: dict[str, float]
