"""What the layer pane requests, and the picture that it gets.

Plain data, so that the first screen does not wait for numpy.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from facegender.rendering.view_options import ColourMap, Scope
from tui.colours import DEFAULT_PICTURE_COLOURS, PictureColours
from tui.graphics.geometry import Area
from tui.graphics.terminal import Terminal
from tui.inspect.layout import Layout
from tui.inspect.selection import Selection
from tui.settings import Settings

if TYPE_CHECKING:
    from facegender.rendering.history import ChannelCurve
    from tui.graphics.picture import Picture


class NotComposed(Exception):
    """The picture cannot be composed; the message is one line that says why."""


class ChannelStatistics(msgspec.Struct, frozen=True):
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


class LayerRequest(msgspec.Struct, frozen=True):
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
        levels: Number of colours of a mosaic.
        colour_map: The name of the colour map of activations.
        monochrome: Show signed values in grey as well, as NO_COLOR asks.
        colours: RGB colours of the gaps between tiles, and of the frame around the one under the cursor.
        no_patches: Why there are no patches (yet).
        tiles_only: Show no photograph beside the tiles.
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
    tiles_only: bool = False
    levels: int = Settings().levels
    colour_map: ColourMap = "viridis"
    monochrome: bool = False
    colours: PictureColours = DEFAULT_PICTURE_COLOURS


class Scale(msgspec.Struct, frozen=True):
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


class LayerPicture(msgspec.Struct, frozen=True):
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
        patch_lines: What stands beside the patches: a description of each, and the name of its photograph.
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
    patch_lines: tuple[tuple[str, str], ...] = ()
    statistics: ChannelStatistics | None = None
    curve: ChannelCurve | None = None
