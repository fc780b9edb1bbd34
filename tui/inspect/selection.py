"""What of a run's pictures is selected, and where the keys lead from there."""

from __future__ import annotations

from dataclasses import dataclass, replace

from tui.inspect.modes import MODES
from tui.inspect.modes.base import ViewMode


@dataclass(frozen=True)
class Selection:
    """What of a run's pictures is selected. All numbers count from 0.

    Attributes:
        epoch: The epoch, or None for the latest one.
        layer: Index of the layer.
        probe: Index of the probe photograph.
        mode: The view.
        channel: Index of the channel under the cursor, or None if there is no cursor.
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
