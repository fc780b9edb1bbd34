"""A demo face from back to front at twice the size or more, then light, softness, grain and the mark."""

from __future__ import annotations

import math

import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageFont

from facegender.data.demo.brush import WHITE, Pen, mirrored, mixed, oval, shaded, smooth
from facegender.data.demo.features import draw_extras, draw_eye, draw_head, draw_mouth, draw_nose
from facegender.data.demo.hair import draw_back_hair, draw_beard, draw_front_hair
from facegender.data.demo.looks import Look


def draw_portrait(look: Look, side: int, grain: int) -> Image.Image:
    """A face as an RGB picture of side × side pixels; the same at every size but for the sharpness.

    Args:
        look: What it looks like.
        side: In pixels.
        grain: Seed of the film grain.
    """
    pen = Pen(look, side * (2 if side >= 192 else 3))
    draw_backdrop(pen)
    draw_back_hair(pen)
    draw_body(pen)
    draw_head(pen)
    draw_nose(pen)
    for sign in (-1.0, 1.0):
        draw_eye(pen, sign)
    draw_beard(pen)
    draw_mouth(pen)
    draw_front_hair(pen)
    draw_extras(pen)
    return _marked(_developed(pen, side, grain))


def draw_backdrop(pen: Pen) -> None:
    """What is behind the person."""
    near, far = pen.look.backdrop
    ramp = Image.linear_gradient("L").rotate(90 * (pen.look.part > 0)).resize((pen.canvas, pen.canvas))
    pen.image.paste(far, (0, 0), ramp)
    glow = oval(0.9 * pen.look.part, -0.5, 1.2, 1.2)
    pen.soft(glow, mixed(near, WHITE, 0.5), 0.45, 0.35)


def draw_body(pen: Pen) -> None:
    """Shoulders, clothes and neck."""
    look = pen.look
    n, s = look.neck, look.shoulders
    half = [(0.0, 1.26), (n, 1.24), (0.62 * s, 1.42), (0.95 * s, 1.62), (1.1 * s, 2.1), (1.15 * s, 3.0), (0.0, 3.0)]
    pen.fill(smooth(mirrored(half), closed=True), look.clothes)
    neck = [(0.0, 0.3), (n, 0.4), (0.97 * n, 1.0), (1.04 * n, 1.24), (0.0, 1.5)]
    deep = {"round": 1.5, "vee": 1.95, "collar": 1.6, "wide": 1.62}[look.neckline]
    opening = [(0.0, 1.0), (n * 0.96, 1.1), (n * 1.06, 1.26)]
    opening += {"vee": [(0.55 * n, 1.6)], "wide": [(1.5 * n, 1.42), (0.9 * n, 1.58)]}.get(
        look.neckline, [(0.8 * n, 1.44)]
    )
    skin = shaded(look.skin, 0.1)
    pen.fill(smooth(mirrored([*opening, (0.0, deep)]), closed=True), skin)
    throat = smooth(mirrored(neck), closed=True)
    pen.fill(throat, skin)
    with pen.clipped(throat, 0.5):
        pen.soft(oval(0.0, 0.98, look.width * 0.72, 0.26), shaded(look.skin, 0.5), 0.75, 0.07)
    if look.neckline == "collar":
        for sign in (-1.0, 1.0):
            flap = np.array([(sign * n * 1.02, 1.16), (sign * n * 1.35, 1.32), (sign * n * 0.75, 1.78), (0.0, 1.56)])
            pen.fill(flap, mixed(look.clothes, WHITE, 0.22))
            pen.stroke(flap[1:], 0.02, shaded(look.clothes, 0.4), 0.6, 0.0)
    elif look.neckline == "round":
        collar = smooth([(-n * 1.04, 1.25), (-n * 0.75, 1.44), (0.0, 1.53), (n * 0.75, 1.44), (n * 1.04, 1.25)])
        pen.stroke(collar, 0.06, shaded(look.clothes, 0.3), 0.8, 0.0)
    for sign in (-1.0, 1.0):
        fold = smooth([(sign * 0.7 * s, 1.62), (sign * 0.78 * s, 1.9), (sign * 0.74 * s, 2.3)])
        pen.stroke(fold, 0.035, shaded(look.clothes, 0.5), 0.45)


def _developed(pen: Pen, side: int, grain: int) -> Image.Image:
    """The canvas as a photograph: reduced, lit from one side, a little soft, with grain."""
    look = pen.look
    image = pen.image.reduce(pen.canvas // side)
    if look.blur * side > 0.15:
        image = image.filter(ImageFilter.GaussianBlur(look.blur * side))
    axis = np.linspace(-1.0, 1.0, side, dtype=np.float32)
    ramp = math.cos(look.light_angle) * axis[None, :] + math.sin(look.light_angle) * axis[:, None]
    gain = 1.0 + 0.55 * look.light * ramp
    noise = np.random.default_rng(grain).standard_normal((side, side), dtype=np.float32)
    noise *= look.noise
    bands = []
    for band, tint in zip(image.split(), (1.0 + look.warmth, 1.0, 1.0 - look.warmth), strict=True):
        # One channel at a time, in place: three small arrays stay in the processor's cache.
        values = np.asarray(band, dtype=np.float32) * np.float32(tint)
        values *= gain
        values += noise
        np.clip(values, 0, 255, out=values)
        bands.append(Image.fromarray(values.astype(np.uint8)))
    return Image.merge("RGB", bands)


def _marked(image: Image.Image) -> Image.Image:
    """The picture with the word "demo" in a corner, so that it says of itself what it is."""
    side = image.width
    size = max(7, round(side * 0.05))
    font = ImageFont.load_default(size)
    draw = ImageDraw.Draw(image, "RGBA")
    left, top, right, bottom = draw.textbbox((0, 0), "demo", font=font)
    margin, pad = max(1, side // 64), max(1, side // 100)
    x, y = side - margin - pad - right, side - margin - pad - bottom
    box = (x + left - pad, y + top - pad, x + right + pad, y + bottom + pad)
    draw.rounded_rectangle(box, radius=pad * 2, fill=(0, 0, 0, 110))
    draw.text((x, y), "demo", font=font, fill=(255, 255, 255, 235))
    return image
