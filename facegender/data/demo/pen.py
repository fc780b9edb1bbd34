"""Smooth shapes, lines and soft shadows in the coordinates of a face, at any size, tilt and position."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFilter

from facegender.data.demo.look import Colour, Look

Points = npt.NDArray[np.float64]
"""(N, 2): x to the right and y downwards."""

WHITE: Colour = (255, 255, 255)
INK: Colour = (34, 26, 26)
MIRROR = np.array([-1.0, 1.0])
"""Multiply points by it to mirror them."""


class Pen:
    """Draws on a square canvas in face coordinates: the origin is the middle of the face, the chin is at y = 1."""

    def __init__(self, look: Look, side: int) -> None:
        self.image = Image.new("RGB", (side, side), look.backdrop)
        self._draw = ImageDraw.Draw(self.image)
        self._unit = look.scale * side
        self._origin = np.array(look.centre) * side
        cos, sin = math.cos(look.turn) * self._unit, math.sin(look.turn) * self._unit
        self._matrix = np.array([[cos, sin], [-sin, cos]])

    def fill(self, shape: Points, colour: Colour) -> None:
        """Fill a shape."""
        self._draw.polygon(self._pixels(shape), fill=colour)

    def line(self, path: Points, width: float, colour: Colour) -> None:
        """Draw a line."""
        self._draw.line(self._pixels(path), colour, max(1, round(width * self._unit)), joint="curve")

    def soft(self, shape: Points, colour: Colour, opacity: float, radius: float) -> None:
        """Fill a shape with edges blurred over `radius`, by a mask of about 96 pixels: blur has no detail."""
        shrink = max(1, self.image.width // 96)
        mask = Image.new("L", (-(-self.image.width // shrink),) * 2)
        ImageDraw.Draw(mask).polygon(self._pixels(shape, 1 / shrink), fill=round(255 * opacity))
        mask = mask.filter(ImageFilter.GaussianBlur(radius * self._unit / shrink))
        if box := mask.getbbox():
            patch = mask.crop(box)
            patch = patch.resize((patch.width * shrink, patch.height * shrink), Image.Resampling.BILINEAR)
            self.image.paste(colour, (box[0] * shrink, box[1] * shrink), patch)

    def _pixels(self, points: Points, scale: float = 1.0) -> list[float]:
        """Pixel coordinates in a row: x, y, x, y, …."""
        pixels: list[float] = ((points @ self._matrix + self._origin) * scale).ravel().tolist()
        return pixels


def curve(*points: tuple[float, float], closed: bool = False) -> Points:
    """A smooth curve (Catmull-Rom spline) through points, ten steps from one to the next."""
    nodes = np.array(points)
    if closed:
        nodes = np.concatenate([nodes[-1:], nodes, nodes[:2]])
    else:
        nodes = np.concatenate([2 * nodes[:1] - nodes[1:2], nodes, 2 * nodes[-1:] - nodes[-2:-1]])
    t = np.linspace(0.0, 1.0, 10)[None, :, None]
    a, b, c, d = (nodes[i : len(nodes) - 3 + i, None] for i in range(4))
    spline = 0.5 * (2 * b + (c - a) * t + (2 * a - 5 * b + 4 * c - d) * t**2 + (3 * b - a - 3 * c + d) * t**3)
    return np.asarray(spline.reshape(-1, 2))


def symmetric(*right: tuple[float, float]) -> Points:
    """A closed smooth shape from its right half, whose first and last point are on the axis."""
    return curve(*right, *((-x, y) for x, y in reversed(right[1:-1])), closed=True)


def oval(x: float, y: float, half_width: float, half_height: float) -> Points:
    """An ellipse around (x, y)."""
    angle = np.linspace(0.0, 2 * math.pi, 33)
    return np.stack([x + half_width * np.cos(angle), y + half_height * np.sin(angle)], axis=1)


def mix(colour: Colour, other: Colour, share: float) -> Colour:
    """Mix a share of another colour into a colour."""
    red, green, blue = (round(a + (b - a) * share) for a, b in zip(colour, other, strict=True))
    return red, green, blue


def shade(colour: Colour, share: float) -> Colour:
    """Darken a colour as a shadow does: towards a dark red, as grey would make skin look dead."""
    return mix(colour, (52, 22, 30), share)
