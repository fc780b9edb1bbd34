"""Draw a demo face from back to front on a larger canvas, then reduce it and add light, grain and the mark "demo"."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from facegender.data.demo.look import Look
from facegender.data.demo.pen import INK, MIRROR, WHITE, Pen, Points, curve, mix, oval, shade, symmetric

_OVER_EARS = ("bob", "long")  # hair styles


def draw_portrait(look: Look, side: int, seed: int) -> Image.Image:
    """Draw a face as a square RGB picture, whose grain a seed decides; it is the same picture at every size."""
    scale = 2 if side >= 192 else 3
    pen = Pen(look, side * scale)
    pen.soft(oval(0.0, -0.3, 1.4, 1.4), mix(look.backdrop, WHITE, 0.5), 0.5, 0.4)
    _draw_back_hair(pen, look)
    _draw_body(pen, look)
    _draw_head(pen, look)
    _draw_eyes(pen, look)
    _draw_beard(pen, look)
    _draw_mouth(pen, look)
    _draw_front_hair(pen, look)
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
    lit = 1.0 if look.light > 0 else -1.0
    if look.style == "bald":
        pen.soft(oval(0.25 * lit, -0.76, 0.18, 0.1), WHITE, 0.45, 0.07)
        return
    crown, hairline = _crown(look), _hairline(look)
    pen.soft(np.concatenate([hairline, hairline[::-1] + np.array([0.0, 0.1])]), shade(look.skin, 0.5), 0.4, 0.04)
    pen.fill(np.concatenate([crown, hairline]), look.hair)
    if look.style == "curls":
        for i, (x, y) in enumerate([*crown[::6], *0.88 * crown[3:-3:6], *hairline[8:-8:6]]):
            pen.fill(oval(x, y - 0.03, 0.13, 0.13), mix(look.hair, WHITE, 0.03 * (i % 3)))
            pen.line(oval(x, y - 0.03, 0.07, 0.06)[18:29], 0.022, mix(look.hair, WHITE, 0.25), 0.45)
        return
    if look.style in _OVER_EARS:
        end, outer = 0.72 if look.style == "bob" else 1.05, look.width + look.volume
        lock = [
            (0.7 * look.width, -0.62),
            (0.93 * look.width, -0.2),
            (0.95 * look.width, 0.3),
            (0.92 * look.width, end),
        ]
        lock += [(1.1 * outer, 0.96 * end), (1.12 * outer, 0.35), (1.02 * outer, -0.25), (0.86 * outer, -0.7)]
        for side in (curve(*lock, closed=True), curve(*lock, closed=True) * MIRROR):
            pen.fill(side, look.hair)
    root_x, root_y = 0.6 * look.width * look.part, 0.1 + 0.93 * float(crown[:, 1].min())
    for i, (x, y) in enumerate(hairline[12:-12:5]):
        strand = curve((root_x, root_y), (0.6 * x + 0.45 * root_x, 0.45 * y + 0.55 * root_y - 0.05), (x, y - 0.02))
        pen.line(strand, 0.024, mix(look.hair, WHITE, 0.2) if i % 3 else shade(look.hair, 0.4), 0.35)
    shine = curve((0.62 * look.width, -0.86), (0.25 * look.width, -0.93), (-0.12 * look.width, -0.94))
    pen.line(shine * np.array([lit, 1.0]), 0.045, mix(look.hair, WHITE, 0.35), 0.45)


def _draw_beard(pen: Pen, look: Look) -> None:
    if look.beard == "none":
        return
    width, drop = look.width, 0.07 if look.beard == "full" else -0.06
    cheek = [(0.0, 0.5), (0.3, 0.53), (0.4, 0.62), (0.55 * width + 0.12, 0.44), (0.9 * width, 0.14)]
    edge = [(0.96 * width, 0.08), (0.94 * width, 0.3), (look.jaw - 0.02, 0.6 + drop), (0.5 * look.jaw, 0.92 + drop)]
    shape = symmetric(*cheek, *edge, (0.0, 1.0 + drop))
    if look.beard == "stubble":
        pen.soft(shape, mix(shade(look.skin, 0.5), look.hair, 0.4), 0.4, 0.03)
        return
    moustache = symmetric((0.0, 0.5), (0.16, 0.485), (0.3, 0.56), (0.36, 0.66), (0.24, 0.6), (0.0, 0.585))
    for part in (shape, moustache):
        pen.fill(part, mix(look.hair, INK, 0.15), 0.93)


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
