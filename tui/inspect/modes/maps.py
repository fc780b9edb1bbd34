"""The activations of a layer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tui.inspect.modes.base import ChannelStatistics, Scale, ViewMode

if TYPE_CHECKING:
    from facegender.runs.frames import FrameReader
    from facegender.support.arrays import UInt8Array


class FeatureMaps(ViewMode):
    """The activations of a layer for a probe photograph: one tile per channel, each over its own range."""

    title = "feature maps"

    def tiles(self, frame: FrameReader, layer: str, probe: int, channel: int | None) -> tuple[UInt8Array, Scale]:
        """Read the feature maps of a probe."""
        maps, low, high = frame.maps(layer, probe)
        if channel is None:
            return maps, Scale(float(low.min()), float(high.max()), own_ranges=True)
        channel = min(channel, len(maps) - 1)
        row = frame.tensor(f"stats/{layer}", probe)[channel].tolist()
        # A newer or a damaged file may have other columns.
        statistics = ChannelStatistics(row[0], row[3], row[4]) if len(row) == 5 else None
        return maps, Scale(float(low[channel]), float(high[channel]), own_ranges=True, statistics=statistics)
