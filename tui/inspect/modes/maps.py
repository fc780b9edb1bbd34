"""Feature maps: the activations of a layer for a probe photograph, each channel over its own range."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tui.inspect.modes.base import ChannelStatistics, Tiles, ViewMode

if TYPE_CHECKING:
    from facegender.runs.frames import FrameReader


class FeatureMaps(ViewMode):
    """One tile per channel."""

    title = "feature maps"

    def tiles(self, frame: FrameReader, layer: str, probe: int, channel: int | None) -> Tiles:
        """Read the feature maps of a probe."""
        maps, low, high = frame.maps(layer, probe)
        if channel is None:
            return Tiles(maps, float(low.min()), float(high.max()), own_ranges=True)
        channel = min(channel, len(maps) - 1)
        statistics = ChannelStatistics.of(frame.stats(layer, probe)[channel])
        return Tiles(maps, float(low[channel]), float(high[channel]), own_ranges=True, statistics=statistics)
