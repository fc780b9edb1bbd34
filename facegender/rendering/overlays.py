"""Heatmaps blended over photographs."""

from __future__ import annotations

import numpy as np
from PIL import Image

from facegender.rendering.colormaps import VIRIDIS, Palette
from facegender.support.arrays import UInt8Array


def heat_overlay(image: UInt8Array, heat: UInt8Array, colours: Palette = VIRIDIS) -> UInt8Array:
    """Blend a heatmap in the colours of a map over a photograph; the hotter, the more opaque, from 0.15 to 0.65.

    Args:
        image: (H, W, 3) uint8.
        heat: (h, w) uint8, 255 is hottest; stretched over the whole photograph.
        colours: (256, 3) uint8 RGB.

    Returns:
        (H, W, 3) uint8.
    """
    stretched = Image.fromarray(heat).resize((image.shape[1], image.shape[0]), Image.Resampling.BICUBIC)
    strength = np.asarray(stretched)
    opacity = 0.15 + 0.5 * (strength[:, :, None].astype(np.float32) / 255)
    blended: UInt8Array = np.rint(image * (1 - opacity) + colours[strength] * opacity).astype(np.uint8)
    return blended
