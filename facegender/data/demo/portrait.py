"""Draw a demo face from back to front on a larger canvas, then reduce it and add grain and the mark "demo"."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from facegender.data.demo.look import Colour, Look

Points = npt.NDArray[np.float64]
"""(N, 2): x to the right and y downwards."""

WHITE: Colour = (255, 255, 255)
INK: Colour = (34, 26, 26)
MIRROR = np.array([-1.0, 1.0])
"""Multiply points by it to mirror them."""

_OVER_EARS = ("bob", "long")  # hair styles
_GRAIN = 2.5  # standard deviation in levels of 255


def draw_portrait(look: Look, side: int, seed: int) -> Image.Image:
    """Draw a face as a square RGB picture, whose grain a seed decides; it is the same picture at every size."""
    scale = 2 if side >= 192 else 3
    pen = Pen(look, side * scale)
    pen.fill(oval(0.0, 0.0, 1.4, 1.4), mix(look.backdrop, WHITE, 0.4))
    _draw_back_hair(pen, look)
    _draw_body(pen, look)
    _draw_head(pen, look)
    _draw_eyes(pen, look)
    if look.beard == "full":
        _draw_beard(pen, look)
    _draw_mouth(pen, look)
    if look.style != "bald":
        _draw_front_hair(pen, look)
    if look.glasses:
        _draw_glasses(pen, look)
    pixels = np.asarray(pen.image.reduce(scale), dtype=np.float32)
    grain = _GRAIN * np.random.default_rng(seed).standard_normal((side, side, 1), dtype=np.float32)
    return _mark(Image.fromarray(np.clip(pixels + grain, 0, 255).astype(np.uint8)))


def _draw_body(pen: Pen, look: Look) -> None:
    neck = look.neck
    shoulders = 2.0 * neck + 0.55
    outline = [(neck, 1.24), (0.62 * shoulders, 1.42), (0.95 * shoulders, 1.62), (1.15 * shoulders, 3.0)]
    pen.fill(symmetric((0.0, 1.26), *outline, (0.0, 3.0)), look.clothes)
    throat = symmetric((0.0, 0.3), (neck, 0.4), (neck, 1.1), (1.1 * neck, 1.26), (0.7 * neck, 1.42), (0.0, 1.6))
    pen.fill(throat, shade(look.skin, 0.3))


def _draw_head(pen: Pen, look: Look) -> None:
    """Draw ears, face, cheeks and nose."""
    width, jaw, nose, skin = look.width, look.jaw, look.nose, shade(look.skin, 0.06)
    for x in (-width, width):
        pen.fill(oval(1.05 * x, 0.08, 0.1, 0.19), shade(skin, 0.16))
    skull = [(0.0, -1.0), (0.5 * width, -0.92), (0.87 * width, -0.62), (width, -0.15), (0.965 * width, 0.25)]
    pen.fill(symmetric(*skull, (jaw, 0.62), (0.52 * jaw, 0.92), (0.0, 1.0)), skin)
    for x in (-0.43, 0.43):
        pen.fill(oval(x, 0.36, 0.16, 0.1), mix(skin, (214, 74, 74), 0.08 + 0.12 * look.make_up))
    pen.line(curve((0.02, -0.05), (nose, 0.38), (0.5 * nose, 0.45), (-0.5 * nose, 0.45)), 0.035, shade(skin, 0.3))


def _draw_eyes(pen: Pen, look: Look) -> None:
    """Draw eyes and brows: the right of the picture, and its mirror image."""
    x, y, width, height = 0.345, 0.04, look.eye, 0.52 * look.eye
    inner, outer = x - width, x + width
    upper = curve((inner, y + 0.018), (x - 0.4 * width, y - 0.8 * height), (x + 0.15 * width, y - height), (outer, y))
    lower = curve((outer, y), (x + 0.3 * width, y + 0.62 * height), (x - 0.4 * width, y + 0.6 * height), (inner, y))
    brow = curve((inner - 0.02, -0.155), (x - 0.3 * width, -0.2), (x + 0.55 * width, -0.225), (outer + 0.05, -0.15))
    lashes = mix(shade(look.skin, 0.5), INK, min(1.0, 0.2 + look.make_up))
    for side in (np.ones(2), MIRROR):
        pen.fill(np.concatenate([upper, lower]) * side, (246, 243, 240))
        for radius, colour in ((0.5, look.iris), (0.21, INK)):
            pen.fill(oval(x, y - 0.06 * width, radius * width, radius * width) * side, colour)
        pen.line(upper * side, 0.02 + 0.04 * look.make_up, lashes)
        pen.line(brow * side, look.brow, mix(look.hair, INK, 0.35))


def _draw_mouth(pen: Pen, look: Look) -> None:
    y, width, lips, corner = 0.655, 0.27, look.lips, 0.655 - look.smile
    lipstick = mix(look.skin, (172, 46, 60), 0.38 + 0.4 * min(1.0, look.make_up))
    bow = [(0.14 * width, y - 0.8 * lips), (0.5 * width, y - 0.6 * lips), (width, corner)]
    below = [(0.55 * width, y + 0.75 * lips), (0.0, y + lips + 0.3 * look.smile)]
    pen.fill(symmetric((0.0, y - 0.6 * lips), *bow, *below), lipstick)
    middle = curve((-width, corner), (-0.4 * width, y + 0.012), (0.4 * width, y + 0.012), (width, corner))
    pen.line(middle, 0.018, shade(lipstick, 0.6))


def _draw_back_hair(pen: Pen, look: Look) -> None:
    """Draw the hair that neck and shoulders partly hide."""
    dark = shade(look.hair, 0.28)
    if look.style == "bun":
        pen.fill(oval(0.25 * look.part, -1.14 - look.volume, 0.27, 0.24), dark)
    elif look.style in _OVER_EARS:
        wide = look.width + look.volume + 0.06
        end = look.length if look.style == "long" else 0.95
        top = [(0.0, -1.1 - look.volume), (0.8 * wide, -0.9), (1.04 * wide, -0.2), (1.1 * wide, 0.4 * end)]
        pen.fill(symmetric(*top, (1.08 * wide, 0.93 * end), (0.75 * wide, end), (0.0, end + 0.02)), dark)


def _draw_front_hair(pen: Pen, look: Look) -> None:
    """Draw the hair over the skull, and beside the face where it covers the ears."""
    width, crown, hairline = look.width, _crown(look), _hairline(look)
    pen.fill(np.concatenate([crown, hairline]), look.hair)
    if look.style == "curls":
        for i, (x, y) in enumerate([*crown[::6], *0.88 * crown[3:-3:6], *hairline[8:-8:6]]):
            pen.fill(oval(x, y - 0.03, 0.13, 0.13), mix(look.hair, WHITE, 0.06 * (i % 3)))
    if look.style in _OVER_EARS:
        end, outer = 0.72 if look.style == "bob" else 1.05, width + look.volume
        inside = [(0.7 * width, -0.62), (0.93 * width, -0.2), (0.95 * width, 0.3), (0.92 * width, end)]
        outside = [(1.1 * outer, 0.96 * end), (1.12 * outer, 0.35), (1.02 * outer, -0.25), (0.86 * outer, -0.7)]
        lock = curve(*inside, *outside, closed=True)
        pen.fill(lock, look.hair)
        pen.fill(lock * MIRROR, look.hair)


def _draw_beard(pen: Pen, look: Look) -> None:
    width, jaw = look.width, look.jaw
    cheek = [(0.0, 0.5), (0.3, 0.53), (0.4, 0.62), (0.55 * width + 0.12, 0.44), (0.9 * width, 0.14)]
    edge = [(0.96 * width, 0.08), (0.94 * width, 0.3), (jaw - 0.02, 0.67), (0.5 * jaw, 0.99), (0.0, 1.07)]
    moustache = [(0.0, 0.5), (0.16, 0.485), (0.3, 0.56), (0.36, 0.66), (0.24, 0.6), (0.0, 0.585)]
    for part in ([*cheek, *edge], moustache):
        pen.fill(symmetric(*part), mix(look.hair, INK, 0.15))


def _crown(look: Look) -> Points:
    """The outer edge of the hair from the left ear over the skull to the right ear."""
    volume, over_ears = look.volume, look.style in _OVER_EARS
    # Ears stay free under short hair: there the sides lie close and only the top stands up.
    side = look.width + (0.75 * volume if over_ears else volume if look.style == "curls" else 0.02 + 0.12 * volume)
    top = [(0.45 * look.width + 0.4 * volume, -0.98 - 0.8 * volume), (0.88 * side + 0.1 * volume, -0.64 - 0.3 * volume)]
    half = [*top, (1.02 * side, -0.25), (side, 0.12 if over_ears else 0.0)]
    return curve(*((-x, y) for x, y in reversed(half)), (0.0, -1.05 - volume), *half)


def _hairline(look: Look) -> Points:
    """The lower edge of the hair from the right ear over the forehead to the left ear."""
    width, over_ears = look.width, look.style in _OVER_EARS
    fringe = 0.0 if look.style == "bun" else (0.42 if over_ears else 0.3) * look.fringe
    right = [(0.95 * width, 0.12 if over_ears else 0.0), (0.88 * width, -0.2), (0.74 * width, -0.44 + 0.3 * fringe)]
    part = 0.55 * width * look.part
    top = [(0.3 * part + 0.4 * width, -0.6 + 0.7 * fringe), (part, -0.7 + 0.9 * fringe)]
    top += [(0.3 * part - 0.4 * width, -0.6 + 0.8 * fringe)]
    return curve(*right, *top, *((-x, y) for x, y in reversed(right)))


def _draw_glasses(pen: Pen, look: Look) -> None:
    frame = (58, 46, 42)
    for side in (np.ones(2), MIRROR):
        pen.line(oval(0.345, 0.06, 0.25, 0.2) * side, 0.032, frame)
        pen.line(np.array([(0.59, 0.02), (look.width + 0.03, -0.02)]) * side, 0.035, frame)
    pen.line(curve((-0.1, 0.03), (0.0, -0.01), (0.1, 0.03)), 0.03, frame)


def _mark(image: Image.Image) -> Image.Image:
    """Write "demo" in the lower right corner, so that the picture itself says what it is."""
    size = max(7, round(image.width / 20))
    corner = (image.width - size / 3, image.width - size / 3)
    font = ImageFont.load_default(size)
    draw = ImageDraw.Draw(image)
    left, top, right, bottom = draw.textbbox(corner, "demo", font, "rb")
    draw.rectangle((left - size / 4, top - size / 4, right + size / 4, bottom + size / 4), (60, 60, 60))
    draw.text(corner, "demo", "white", font, "rb")
    return image


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

    def _pixels(self, points: Points) -> list[float]:
        """Pixel coordinates in a row: x, y, x, y, …."""
        pixels: list[float] = (points @ self._matrix + self._origin).ravel().tolist()
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
