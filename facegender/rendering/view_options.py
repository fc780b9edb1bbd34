"""The views of a layer and the ways to show each, by name.

Imports nothing heavy: the command line and the interface name them before anything is computed.
"""

from __future__ import annotations

from typing import Literal

View = Literal["maps", "filters", "average", "difference", "cam", "top"]
"""Feature maps, filters, their mean over the channels, the difference to another epoch, where the network looked for
each class, and the photographs that excite a channel most."""
VIEW_TITLES: dict[View, str] = {
    "maps": "feature maps",
    "filters": "filters",
    "average": "channel average",
    "difference": "difference",
    "cam": "where it looked",
    "top": "top patches",
}

ColourMap = Literal["viridis", "cividis", "inferno", "magma", "plasma", "gray"]
"""Colours of activations on the screen; files always have the first one."""

Scope = Literal["channel", "layer", "run"]
"""What shares one scale of colours: each tile has its own, all tiles of the layer, or the layer in all epochs."""
SCOPES: dict[View, tuple[Scope, ...]] = {
    "maps": ("channel", "layer", "run"),
    "filters": ("layer", "channel", "run"),
    "average": ("channel",),
    "difference": ("layer", "channel"),
    "cam": ("channel", "layer", "run"),
    "top": ("channel",),
}
"""The scopes of each view, its usual one first. A tile of "cam" is a class."""

Variant = Literal["colours", "weights", "maps", "filters", "patches", "photographs"]
VARIANTS: dict[View, tuple[Variant, ...]] = {
    "filters": ("colours", "weights"),
    "difference": ("maps", "filters"),
    "top": ("patches", "photographs"),
}
"""Ways to show a view, the usual one first. Only filters of the layer that sees the photograph have colours."""
