"""The weights of a layer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tui.inspect.modes.base import Scale, ViewMode

if TYPE_CHECKING:
    from facegender.runs.frames import FrameReader
    from facegender.support.arrays import UInt8Array
    from tui.inspect.request import LayerPicture


class Filters(ViewMode):
    """The weights, centred on zero: one tile per filter, averaged over its inputs; enlarged, one per input."""

    title = "filters"
    noun = "filter"
    colormap = "diverging"
    shows_probe = False

    def tiles(self, frame: FrameReader, layer: str, probe: int, channel: int | None) -> tuple[UInt8Array, Scale]:
        """Read the filters."""
        from facegender.rendering.mosaics import signed_tiles

        values, limit = signed_tiles(frame.filter_means(layer))
        return values, Scale(-limit, limit)

    def enlarged(self, frame: FrameReader, layer: str, tiles: UInt8Array, channel: int) -> UInt8Array:
        """Return the filter's kernel for each input channel."""
        from facegender.rendering.mosaics import signed_tiles

        return signed_tiles(frame.kernels(layer, channel)[0])[0]

    def legend_note(self, picture: LayerPicture) -> str:
        """Return what a tile shows."""
        return "one kernel per input  " if picture.request.selection.zoomed else "mean over inputs  "
