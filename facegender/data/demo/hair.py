"""Hair behind and in front of the head, and beards."""

from __future__ import annotations

import numpy as np

from facegender.data.demo.look import Look
from facegender.data.demo.pen import INK, MIRROR, WHITE, Pen, Points, curve, mix, oval, shade, symmetric

_OVER_EARS = ("bob", "long")


def draw_back_hair(pen: Pen, look: Look) -> None:
    """Draw the hair that neck and shoulders partly hide."""
    dark = shade(look.hair, 0.28)
    if look.style == "bun":
        pen.fill(oval(0.25 * look.part, -1.14 - look.volume, 0.27, 0.24), dark)
    elif look.style in _OVER_EARS:
        wide = look.width + look.volume + 0.06
        end = look.length if look.style == "long" else 0.95
        top = [(0.0, -1.1 - look.volume), (0.8 * wide, -0.9), (1.04 * wide, -0.2), (1.1 * wide, 0.4 * end)]
        pen.fill(symmetric(*top, (1.08 * wide, 0.93 * end), (0.75 * wide, end), (0.0, end + 0.02)), dark)


def draw_front_hair(pen: Pen, look: Look) -> None:
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


def draw_beard(pen: Pen, look: Look) -> None:
    """Draw a beard with a moustache, or stubble."""
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
