"""Shapes and soft shadows in a face's own coordinates, at whatever size, tilt and place the face has."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFilter

from facegender.data.demo.looks import Colour, Look

Points = npt.NDArray[np.float64]
WHITE: Colour = (255, 255, 255)
INK: Colour = (34, 26, 26)


class Pen:
    """Draws in the face's own coordinates: its centre is the origin, its chin at y = 1, whatever its tilt and place."""

    def __init__(self, look: Look, canvas: int) -> None:
        self.look = look
        self.canvas = canvas
        self.image = Image.new("RGB", (canvas, canvas), look.backdrop[0])
        self.draw = ImageDraw.Draw(self.image, "RGBA")
        self._unit = look.scale * canvas
        self._origin = np.array([0.5 + look.shift[0], 0.49 + look.shift[1]]) * canvas
        cos, sin = math.cos(look.turn) * self._unit, math.sin(look.turn) * self._unit
        self._matrix = np.array([[cos, sin], [-sin, cos]])

    def pixels(self, points: Points) -> Points:
        """Face coordinates as pixels of the canvas."""
        placed: Points = points @ self._matrix + self._origin
        return placed

    def fill(self, points: Points, colour: Colour, opacity: float = 1.0) -> None:
        """A filled shape."""
        self.draw.polygon(
            self.pixels(points).ravel().tolist(), fill=(*colour, round(255 * max(0.0, min(1.0, opacity))))
        )

    def stroke(self, points: Points, width: float, colour: Colour, opacity: float = 1.0, taper: float = 1.0) -> None:
        """A line that is thickest in the middle; ``taper`` 0 keeps it even."""
        along = np.linspace(-1.0, 1.0, len(points))
        half = 0.5 * width * (1.0 - taper * np.abs(along) ** 2.5)[:, None]
        direction = np.gradient(points, axis=0)
        normal = np.stack([-direction[:, 1], direction[:, 0]], axis=1)
        normal /= np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-9)
        self.fill(np.concatenate([points + normal * half, (points - normal * half)[::-1]]), colour, opacity)

    def soft(self, points: Points, colour: Colour, opacity: float, radius: float) -> None:
        """A filled shape with edges blurred over ``radius``; worked out on a small canvas, since it has no detail."""
        small = 96
        mask = Image.new("L", (small, small))
        ratio = small / self.canvas
        outline = (self.pixels(points) * ratio).ravel().tolist()
        ImageDraw.Draw(mask).polygon(outline, fill=round(255 * opacity))
        mask = mask.filter(ImageFilter.GaussianBlur(radius * self._unit * ratio))
        left, top, right, bottom = mask.getbbox() or (0, 0, 0, 0)
        if right <= left:
            return
        box = tuple(round(value / ratio) for value in (left, top, right, bottom))
        part = mask.crop((left, top, right, bottom)).resize(
            (box[2] - box[0], box[3] - box[1]), Image.Resampling.BILINEAR
        )
        self.image.paste(colour, (box[0], box[1]), part)

    @contextlib.contextmanager
    def clipped(self, shape: Points, reach: float = 0.1) -> Iterator[None]:
        """What is drawn meanwhile stays within a shape, if it goes no further than ``reach`` beyond it."""
        points = self.pixels(shape)
        margin = reach * self._unit
        left, top = (max(0, int(value)) for value in points.min(axis=0) - margin)
        right, bottom = (min(self.canvas, int(value)) for value in points.max(axis=0) + margin)
        box = (left, top, right, bottom)
        before = self.image.crop(box)
        yield
        mask = Image.new("L", before.size, 255)
        ImageDraw.Draw(mask).polygon((points - (left, top)).ravel().tolist(), fill=0)
        self.image.paste(before, (left, top), mask)


def smooth(points: Sequence[tuple[float, float]], *, closed: bool = False, steps: int = 10) -> Points:
    """A Catmull-Rom curve through some points."""
    nodes = np.asarray(points, dtype=np.float64)
    if closed:
        nodes = np.concatenate([nodes[-1:], nodes, nodes[:2]])
    else:
        nodes = np.concatenate([2 * nodes[:1] - nodes[1:2], nodes, 2 * nodes[-1:] - nodes[-2:-1]])
    t = np.linspace(0.0, 1.0, steps, endpoint=False)[None, :, None]
    a, b, c, d = (nodes[i : len(nodes) - 3 + i, None] for i in range(4))
    curve = 0.5 * (2 * b + (c - a) * t + (2 * a - 5 * b + 4 * c - d) * t**2 + (3 * b - a - 3 * c + d) * t**3)
    flat = curve.reshape(-1, 2)
    return flat if closed else np.concatenate([flat, nodes[-2:-1]])


def oval(x: float, y: float, width: float, height: float, steps: int = 32) -> Points:
    """An ellipse by its centre and half axes."""
    angle = np.linspace(0.0, 2 * math.pi, steps, endpoint=False)
    return np.stack([x + width * np.cos(angle), y + height * np.sin(angle)], axis=1)


def mixed(one: Colour, other: Colour, share: float) -> Colour:
    """The first colour with a share of the second."""
    red, green, blue = (round(a + (b - a) * share) for a, b in zip(one, other, strict=True))
    return red, green, blue


def shaded(colour: Colour, share: float = 0.3) -> Colour:
    """Darker, and a little redder than grey shadows would make skin and cloth."""
    return mixed(colour, (52, 22, 30), share)


def mirrored(half: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """A closed outline from its right half, which begins and ends on the axis."""
    return [*half, *((-x, y) for x, y in reversed(half[1:-1]))]


def face_outline(look: Look) -> Points:
    """The outline of skull and jaw, clockwise from the top."""
    a = look.width
    half = [
        (0.0, -1.0),
        (0.5 * a, -0.92),
        (0.87 * a, -0.62),
        (1.0 * a, -0.15),
        (0.965 * a, 0.25),
        (look.jaw * a, 0.62),
        (look.chin * a, 0.92),
        (0.0, 1.0),
    ]
    return smooth(mirrored(half), closed=True)
