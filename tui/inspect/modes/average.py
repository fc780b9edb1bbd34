"""The mean of all channels of a layer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tui.inspect.modes.base import Scale, ViewMode

if TYPE_CHECKING:
    from facegender.runs.frames import FrameReader
    from facegender.support.arrays import UInt8Array
    from tui.inspect.request import LayerPicture


class ChannelAverage(ViewMode):
    """The mean of a layer's feature maps, as one tile."""

    title = "channel average"
    has_cursor = False

    def tiles(self, frame: FrameReader, layer: str, probe: int, channel: int | None) -> tuple[UInt8Array, Scale]:
        """Read the feature maps and average them."""
        from facegender.rendering.mosaics import channel_average

        tile, low, high = channel_average(*frame.maps(layer, probe))
        return tile, Scale(low, high)

    def count(self, picture: LayerPicture) -> str:
        """Return what the tile is."""
        return "mean of all channels"
