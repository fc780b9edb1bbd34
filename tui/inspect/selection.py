"""What of a run's pictures is looked at, and where the keys lead from there. Pure: nothing here knows a screen."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

Mode = Literal["maps", "filters", "average"]
MODES: tuple[Mode, ...] = ("maps", "filters", "average")


@dataclass(frozen=True)
class Selection:
    """What of a run's pictures is looked at.

    Attributes:
        epoch: The epoch, or None for the latest one, whichever that is.
        layer: Index in the network's order of layers.
        probe: Index of the probe photograph.
        channel: Index of the channel under the cursor, or None where there is no cursor yet.
        zoomed: Only that channel is shown.
    """

    epoch: int | None = None
    layer: int = 0
    probe: int = 0
    mode: Mode = "maps"
    channel: int | None = None
    zoomed: bool = False

    @property
    def follows_live(self) -> bool:
        """Whether the view moves on by itself when a newer epoch's pictures arrive."""
        return self.epoch is None

    def epoch_in(self, frames: tuple[int, ...]) -> int | None:
        """The epoch to show among those that have pictures: the nearest earlier one where the chosen one has none."""
        if not frames:
            return None
        if self.epoch is None:
            return frames[-1]
        return max((frame for frame in frames if frame <= self.epoch), default=frames[0])

    def moved_epoch(self, frames: tuple[int, ...], by: int) -> Selection:
        """So many pictures further; beyond the last one is the last one, which follows live again."""
        shown = self.epoch_in(frames)
        if shown is None:
            return self
        index = max(0, frames.index(shown) + by)
        return replace(self, epoch=None if index >= len(frames) - 1 and by > 0 else frames[min(index, len(frames) - 1)])

    def moved_layer(self, layers: int, by: int) -> Selection:
        """So many layers further, stopping at either end."""
        layer = min(max(0, self.layer + by), max(0, layers - 1))
        return self if layer == self.layer else replace(self, layer=layer, channel=None, zoomed=False)

    def moved_probe(self, probes: int, by: int) -> Selection:
        """So many probe photographs further, round and round."""
        return replace(self, probe=(self.probe + by) % max(1, probes))

    def moved_channel(self, channels: int, by: int) -> Selection:
        """So many channels further, stopping at either end; the first move only shows the cursor."""
        if self.channel is None:
            return replace(self, channel=0)
        return replace(self, channel=min(max(0, self.channel + by), max(0, channels - 1)))

    def next_mode(self) -> Selection:
        """Maps, filters, average, and round again."""
        return replace(self, mode=MODES[(MODES.index(self.mode) + 1) % len(MODES)], zoomed=False)
