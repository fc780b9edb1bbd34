"""The two colour maps of the pictures, interpolated between a few colours, so that drawing imports nothing heavy.

Both are matplotlib's: viridis (Smith, van der Walt and Firing, CC0) for activations, and RdBu reversed (ColorBrewer
2.0, Cynthia Brewer and Mark Harrower, Apache 2.0) for signed weights. The tests compare them with matplotlib.
"""

from __future__ import annotations

import numpy as np

from facegender.support.arrays import UInt8Array

Palette = UInt8Array
"""(levels, 3) uint8 RGB."""


def _interpolated(colours: str) -> Palette:
    """Make 256 colours from evenly spaced ones, which are written in hexadecimal."""
    known = np.frombuffer(bytes.fromhex(colours), np.uint8).reshape(-1, 3)
    positions = np.linspace(0, len(known) - 1, 256)
    channels = [np.interp(positions, np.arange(len(known)), channel) for channel in known.T]
    return np.rint(np.stack(channels, axis=1)).astype(np.uint8)


VIRIDIS = _interpolated(
    "44015446085c471063481769481d6f482475472a7a46307e453781433d844142873f48893d4e8a3a538b38598c355e8d33638d31688e"
    "2e6d8e2c718e2a768e297b8e27808e25848e23898e218e8d20928c1f978b1e9c891fa18821a58524aa8328ae802eb37c35b7793dbc74"
    "46c06f50c46a5ac86465cb5e70cf577cd25089d54895d840a2da37b0dd2fbddf26cae11fd8e219e5e419f1e51dfde725"
)
"""(256, 3) uint8 RGB; dark purple is low, bright yellow is high."""

DIVERGING = _interpolated("053061 2166ac 4393c3 92c5de d1e5f0 f7f7f7 fddbc7 f4a582 d6604d b2182b 67001f")
"""(256, 3) uint8 RGB; blue is negative, near white is zero (between 127 and 128), red is positive."""


GREYS = np.repeat(np.arange(256, dtype=np.uint8)[:, None], 3, axis=1)
"""(256, 3) uint8 RGB from black to white: of the red, green and blue of a picture alike."""


def reduced(palette: Palette, levels: int) -> Palette:
    """Return ``levels`` colours evenly spaced over a palette, (levels, 3) uint8."""
    chosen: Palette = palette[np.linspace(0, len(palette) - 1, levels).round().astype(int)]
    return chosen
