"""What a view of a layer is: what it reads from a frame, how that is coloured, what its title and legend say.

Modes are imported with the first screen, which must not wait for numpy: they import what they compute with when they
are called, which happens in a thread.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal, NamedTuple

from rich.text import Text

from tui import format as fmt

if TYPE_CHECKING:
    from facegender.rendering.colormaps import Palette
    from facegender.runs.frames import FrameReader
    from facegender.support.arrays import UInt8Array
    from tui.inspect.request import LayerPicture

LEGEND_COLOURS = 9
"""Cells of the colour scale in a legend."""


class ChannelStatistics(NamedTuple):
    """Statistics of one channel's activations for one probe."""

    mean: float
    maximum: float
    zero_share: float


@dataclass(frozen=True)
class Scale:
    """What the values of a mosaic's tiles mean.

    Attributes:
        low, high: The values that 0 and 255 stand for; those of the channel under the cursor if each tile has its own.
        own_ranges: Each tile is scaled over its own range.
        statistics: Of the channel under the cursor.
    """

    low: float
    high: float
    own_ranges: bool = False
    statistics: ChannelStatistics | None = None


class ViewMode(ABC):
    """A view of one layer: what it reads from a frame, how it is coloured, and what the title and the legend say."""

    title: ClassVar[str]
    """Its name in the title of the pane."""
    noun: ClassVar[str] = "channel"
    """What one tile shows."""
    colormap: ClassVar[Literal["viridis", "diverging"]] = "viridis"
    has_cursor: ClassVar[bool] = True
    """Whether a channel can be chosen and enlarged."""
    shows_probe: ClassVar[bool] = True
    """Whether the view depends on the probe photograph."""

    @abstractmethod
    def tiles(self, frame: FrameReader, layer: str, probe: int, channel: int | None) -> tuple[UInt8Array, Scale]:
        """Read the (C, h, w) uint8 tiles of a layer. The channel under the cursor may be beyond the last one."""

    def enlarged(self, frame: FrameReader, layer: str, tiles: UInt8Array, channel: int) -> UInt8Array:
        """Return the (N, h, w) uint8 tiles to show of one channel alone."""
        return tiles[channel : channel + 1]

    def palette(self) -> Palette:
        """Return the (256, 3) uint8 RGB colour map."""
        from facegender.rendering.colormaps import DIVERGING, VIRIDIS

        return DIVERGING if self.colormap == "diverging" else VIRIDIS

    def legend(self, picture: LayerPicture) -> Text:
        """Return what the picture shows, with the scale of its colours."""
        out = Text(no_wrap=True, overflow="ellipsis")
        if picture.cursor is None:
            out.append(f"{self.count(picture)}  ")
        else:
            out.append(f"{self.noun} {picture.cursor + 1}", "bold").append(f" of {picture.channels}  ", "dim")
        scale = picture.scale
        if (found := scale.statistics) is not None:
            mean, maximum = fmt.significant(found.mean), fmt.significant(found.maximum)
            out.append(f"mean {mean}  max {maximum}  zero {100 * found.zero_share:.0f} %  ", "dim")
        out.append(self.legend_note(picture), "dim")
        if scale.own_ranges and picture.cursor is None:
            return out.append("low ").append_text(self._colour_scale()).append(" high, each map over its own range")
        out.append(f"{fmt.significant(scale.low)} ").append_text(self._colour_scale())
        return out.append(f" {fmt.significant(scale.high)}")

    def count(self, picture: LayerPicture) -> str:
        """Return how many channels the picture shows."""
        return f"{picture.channels} {self.noun}s"

    def legend_note(self, picture: LayerPicture) -> str:
        """Return what else the legend says, ending with two spaces unless empty."""
        return ""

    def _colour_scale(self) -> Text:
        from facegender.rendering.colormaps import reduced

        colours = reduced(self.palette(), LEGEND_COLOURS).tolist()
        return Text.assemble(*(("█", "#{:02x}{:02x}{:02x}".format(*colour)) for colour in colours))
