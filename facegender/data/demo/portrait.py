"""Draw a demo face from back to front on a larger canvas, then reduce it and add light, grain and the mark "demo"."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from facegender.data.demo.hair import draw_back_hair, draw_beard, draw_front_hair
from facegender.data.demo.look import Look
from facegender.data.demo.pen import INK, MIRROR, WHITE, Pen, curve, mix, oval, shade, symmetric


def draw_portrait(look: Look, side: int, seed: int) -> Image.Image:
    """Draw a face as a square RGB picture; it is the same picture at every size.

    Args:
        look: The traits of the face.
        side: In pixels.
        seed: Seed of the grain.
    """
    scale = 2 if side >= 192 else 3
    pen = Pen(look, side * scale)
    pen.soft(oval(0.0, -0.3, 1.4, 1.4), mix(look.backdrop, WHITE, 0.5), 0.5, 0.4)
    draw_back_hair(pen, look)
    _draw_body(pen, look)
    _draw_head(pen, look)
    _draw_eyes(pen, look)
    draw_beard(pen, look)
    _draw_mouth(pen, look)
    draw_front_hair(pen, look)
    if look.glasses:
        _draw_glasses(pen, look)
    pixels = np.asarray(pen.image.reduce(scale), dtype=np.float32)
    gain = 1.0 + look.light * np.linspace(-1.0, 1.0, side, dtype=np.float32)[None, :, None]
    grain = look.grain * np.random.default_rng(seed).standard_normal((side, side, 1), dtype=np.float32)
    return _mark(Image.fromarray(np.clip(pixels * gain + grain, 0, 255).astype(np.uint8)))


def _draw_body(pen: Pen, look: Look) -> None:
    neck, skin = look.neck, shade(look.skin, 0.12)
    shoulders = 2.0 * neck + 0.55
    outline = [(neck, 1.24), (0.62 * shoulders, 1.42), (0.95 * shoulders, 1.62), (1.15 * shoulders, 3.0)]
    pen.fill(symmetric((0.0, 1.26), *outline, (0.0, 3.0)), look.clothes)
    pen.fill(symmetric((0.0, 1.0), (neck, 1.1), (1.1 * neck, 1.26), (0.7 * neck, 1.42), (0.0, look.neckline)), skin)
    pen.fill(symmetric((0.0, 0.3), (neck, 0.4), (0.97 * neck, 1.0), (1.04 * neck, 1.24), (0.0, 1.5)), skin)
    pen.soft(oval(0.0, 1.0, 0.8 * neck, 0.22), shade(look.skin, 0.5), 0.8, 0.07)
    collar = curve((1.12 * neck, 1.25), (0.7 * neck, 1.43), (0.0, look.neckline))
    for half in (collar, collar * MIRROR):
        pen.line(half, 0.05, shade(look.clothes, 0.3), 0.8, 0.0)


def _draw_head(pen: Pen, look: Look) -> None:
    """Draw ears, face, cheeks and nose."""
    width, skin = look.width, look.skin
    for x in (-width, width):
        pen.fill(oval(1.05 * x, 0.08, 0.1, 0.19), shade(skin, 0.14))
        pen.fill(oval(1.07 * x, 0.08, 0.05, 0.11), shade(skin, 0.32), 0.7)
        if look.earrings:
            pen.fill(oval(1.08 * x, 0.31, 0.042, 0.05), (226, 190, 96))
    skull = [(0.0, -1.0), (0.5 * width, -0.92), (0.87 * width, -0.62), (width, -0.15), (0.965 * width, 0.25)]
    pen.fill(symmetric(*skull, (look.jaw, 0.62), (0.52 * look.jaw, 0.92), (0.0, 1.0)), shade(skin, 0.1))
    lit = 1.0 if look.light > 0 else -1.0
    pen.soft(oval(lit * 0.08, -0.02, 0.74 * width, 0.8), mix(skin, WHITE, 0.06), 0.95, 0.12)
    for sign in (-1.0, 1.0):
        pen.soft(oval(sign * 0.43, 0.36, 0.15, 0.1), mix(skin, (214, 74, 74), 0.5), 0.3 + 0.3 * look.make_up, 0.07)
        pen.soft(oval(sign * 0.345, -0.03, 0.2, 0.11), shade(skin, 0.4), 0.4, 0.05)
    nose, tip, dark = look.nose, 0.43, shade(skin, 0.42)
    flank = curve(
        (-0.05, -0.08), (-0.07, 0.15), (-nose, tip - 0.08), (-0.8 * nose, tip + 0.02), (0.0, tip), closed=True
    )
    pen.soft(flank * np.array([lit, 1.0]), dark, 0.55, 0.025)
    pen.soft(oval(lit * 0.02, 0.2, 0.03, 0.17), mix(skin, WHITE, 0.7), 0.4, 0.03)
    wing = [(nose, tip - 0.05), (0.85 * nose, tip + 0.01)]
    pen.line(curve(*wing, (0.0, tip + 0.03), *((-x, y) for x, y in reversed(wing))), 0.028, dark, 0.9)


def _draw_eyes(pen: Pen, look: Look) -> None:
    """Draw eyes and brows: the right of the picture, and its mirror image."""
    x, y, width, height = 0.345, 0.04, look.eye, 0.52 * look.eye
    inner, outer = x - width, x + width
    upper = curve((inner, y + 0.018), (x - 0.4 * width, y - 0.8 * height), (x + 0.15 * width, y - height), (outer, y))
    lower = curve((outer, y), (x + 0.3 * width, y + 0.62 * height), (x - 0.4 * width, y + 0.6 * height), (inner, y))
    crease = curve((outer, y - 0.5 * height), (x, y - 1.75 * height), (inner, y - 0.4 * height))
    brow = curve((inner - 0.02, -0.155), (x - 0.3 * width, -0.2), (x + 0.55 * width, -0.225), (outer + 0.05, -0.15))
    lid = mix(shade(look.skin, 0.15), (110, 70, 120), 0.6 * look.make_up)
    lashes = mix(shade(look.skin, 0.7), INK, min(1.0, 0.2 + look.make_up))
    for sign in (-1.0, 1.0):
        side = np.array([sign, 1.0])
        pen.fill(np.concatenate([upper, lower]) * side, (246, 243, 240))
        for radius, colour in ((0.5, shade(look.iris, 0.35)), (0.42, look.iris), (0.21, INK)):
            pen.fill(oval(sign * x, y - 0.06 * width, radius * width, radius * width), colour)
        pen.fill(oval(sign * x - 0.15 * width, y - 0.22 * width, 0.08 * width, 0.08 * width), WHITE, 0.95)
        pen.fill(np.concatenate([upper, crease]) * side, lid)
        pen.line(upper * side, 0.03 + 0.025 * look.make_up, lashes, 0.95, 0.6)
        pen.line(lower * side, 0.014, shade(look.skin, 0.7), 0.55)
        pen.line(brow * side, look.brow, mix(look.hair, INK, 0.35), 0.88, 0.9)


def _draw_mouth(pen: Pen, look: Look) -> None:
    y, width, lips, corner = 0.655, 0.27, look.lips, 0.655 - look.smile
    lipstick = mix(look.skin, (172, 46, 60), 0.38 + 0.4 * min(1.0, look.make_up))
    pen.soft(oval(0.0, y + lips + 0.07, 0.16, 0.035), shade(look.skin, 0.45), 0.5, 0.03)
    bow = [
        (0.14 * width, y - 0.8 * lips),
        (0.5 * width, y - 0.6 * lips),
        (width, corner),
        (0.55 * width, y + 0.75 * lips),
    ]
    pen.fill(symmetric((0.0, y - 0.6 * lips), *bow, (0.0, y + lips + 0.3 * look.smile)), mix(lipstick, INK, 0.1))
    middle = curve((-width, corner), (-0.4 * width, y + 0.012), (0.4 * width, y + 0.012), (width, corner))
    pen.fill(oval(0.0, y + 0.55 * lips + 0.2 * look.smile, 0.35 * width, 0.2 * lips), mix(lipstick, WHITE, 0.35), 0.7)
    pen.line(middle, 0.018, shade(lipstick, 0.7), 0.8)


def _draw_glasses(pen: Pen, look: Look) -> None:
    frame = (58, 46, 42)
    for sign in (-1.0, 1.0):
        rim = oval(sign * 0.345, 0.06, 0.25, 0.2)
        pen.fill(rim, WHITE, 0.1)
        pen.line(rim, 0.032, frame, 1.0, 0.0)
        pen.line(np.array([(sign * 0.59, 0.02), (sign * (look.width + 0.03), -0.02)]), 0.035, frame, 1.0, 0.0)
    pen.line(curve((-0.1, 0.03), (0.0, -0.01), (0.1, 0.03)), 0.03, frame, 1.0, 0.0)


def _mark(image: Image.Image) -> Image.Image:
    """Write "demo" in the lower right corner, so that the picture itself says what it is."""
    size = max(7, round(image.width / 20))
    corner = (image.width - size / 3, image.width - size / 3)
    font = ImageFont.load_default(size)
    ImageDraw.Draw(image).text(corner, "demo", "white", font, "rb", stroke_width=size / 10, stroke_fill=(60, 60, 60))
    return image
