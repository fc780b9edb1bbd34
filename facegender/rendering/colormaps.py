"""The colour maps of the pictures, interpolated between a few colours, so that drawing imports nothing heavy.

All are matplotlib's: viridis, inferno, magma and plasma (Smith, van der Walt and Firing, CC0) and cividis (Nuñez,
Anderton and Renslow, 2018) for activations, and RdBu reversed (ColorBrewer 2.0, Cynthia Brewer and Mark Harrower,
Apache 2.0) for signed weights. The tests compare them with matplotlib.
"""

from __future__ import annotations

import functools

import numpy as np

from facegender.rendering.view_options import ColourMap
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


_SEQUENTIAL = {
    "cividis": (
        "00224e00255300275800295d002b62002d68002f6d0031700533710f35701637701c396f213b6e263d6e2a3f6d2e416d32436d35456c"
        "39486c3c4a6c3f4c6c424e6c45506c48526c4b546c4e566c51586d545a6d565c6d595e6e5c616e5e636f61656f646770666970696b71"
        "6c6d726e6f737172747374757676767878777b7a787e7c78807f788381798683798985788c88788f8a78928c78948e779791779a9376"
        "9d9576a09875a39a74a69c74a99f73aca172afa471b3a670b6a96fb9ab6dbcae6cbfb06bc2b369c5b568c8b866ccba64cfbd62d2c060"
        "d5c25ed9c55cdcc859dfca57e2cd54e6d051e9d34eedd54af0d846f3db42f7de3efbe138fee434fee838"
    ),
    "inferno": (
        "00000402020c0504170a072210092d160b391e0c45260c512f0a5b380962400a67490b6a510e6c59106e61136e69166e71196e781c6d"
        "801f6c88226a902568982766a02a63a82e5fb0315bb73557bf3952c63d4dcc4248d34743d94d3ddf5337e45a31e9612bed6925f1711f"
        "f47918f78212f98b0bfa9407fb9d07fca60cfcb014fbba1ffac42af8cd37f6d746f4e156f2ea69f2f27df5f992fcffa4"
    ),
    "magma": (
        "00000402020b0504160907200e0b2b140e361a104221114e29115a311165390f6e420f754a107952137c5a167e6219806a1c81721f81"
        "792282812581892881912b81992d80a1307eaa337db2357bba3878c23b75ca3e72d2426fd9466be04c67e75263ec5860f1605df4695c"
        "f7725cf97b5dfb8560fc8e64fd9869fea16efeaa74feb47bfebd82fec68afecf92fed89afde2a3fdebacfcf4b6fcfdbf"
    ),
    "plasma": (
        "0d08871b068d2605912f059638049a41049d4903a05102a35901a56100a76900a87100a87801a88004a88707a68e0ca49511a19c179e"
        "a21d9aa82296ae2892b42e8dba3388bf3984c43e7fc9447acd4a76d24f71d6556dda5b69de6164e26660e66c5ce97257ed7953f07f4f"
        "f3854bf58c46f79342f99a3efba139fca835fdaf31feb72dfebe2afdc627fcce25fbd724f8df25f6e826f3f027f0f921"
    ),
}


@functools.cache
def sequential(name: ColourMap) -> Palette:
    """Return the colour map of a name, for activations; (256, 3) uint8 RGB from low to high."""
    if name == "viridis":
        return VIRIDIS
    return GREYS if name == "gray" else _interpolated(_SEQUENTIAL[name])


def reduced(palette: Palette, levels: int) -> Palette:
    """Return ``levels`` colours evenly spaced over a palette, (levels, 3) uint8."""
    chosen: Palette = palette[np.linspace(0, len(palette) - 1, levels).round().astype(int)]
    return chosen
