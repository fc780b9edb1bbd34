"""Hair behind and before the head, and beards."""

from __future__ import annotations

import math

import numpy as np

from facegender.data.demo.brush import INK, WHITE, Pen, Points, face_outline, mirrored, mixed, oval, shaded, smooth
from facegender.data.demo.looks import Look

_OVER_EARS = ("long", "waves", "bob")


def draw_back_hair(pen: Pen) -> None:
    """What is seen of the hair behind neck and shoulders."""
    look = pen.look
    dark = shaded(look.hair_colour, 0.28)
    wide = look.width + look.volume + 0.06
    if look.hair in _OVER_EARS:
        end = {"bob": 0.78 + 0.25 * (look.length - 1), "long": look.length, "waves": look.length}[look.hair]
        flare = 1.0 if look.hair == "long" else 1.12
        half = [(0.0, -1.1 - look.volume), (0.8 * wide, -0.9), (1.04 * wide, -0.2)]
        if look.hair == "waves":
            count = 5
            for i in range(1, count + 1):
                y = -0.2 + (end + 0.2) * i / count
                half.append((wide * (1.08 + 0.09 * (-1) ** i + 0.05 * i / count), y))
        else:
            half += [(1.06 * wide * flare, 0.4 * end), (1.0 * wide * flare, 0.93 * end), (0.75 * wide, end)]
        half.append((0.0, end + 0.02))
        pen.fill(smooth(mirrored(half), closed=True), dark)
    elif look.hair == "afro":
        pen.fill(_cloud(0.0, -0.42, look.width + 0.26 + look.volume, 0.98 + look.volume, 17, 0.16), dark)
    elif look.hair == "bun":
        x = 0.25 * look.part
        pen.fill(oval(x, -1.16 - look.volume, 0.27, 0.24), dark)
        pen.stroke(
            smooth([(x - 0.15, -1.2 - look.volume), (x, -1.28 - look.volume), (x + 0.14, -1.18 - look.volume)]),
            0.03,
            mixed(look.hair_colour, WHITE, 0.25),
            0.5,
        )


def draw_front_hair(pen: Pen) -> None:
    """Crown, fringe and the locks beside the face."""
    look = pen.look
    if look.hair == "bald":
        side = -0.2 if math.cos(look.light_angle) < 0 else 0.2
        pen.soft(oval(side, -0.78, 0.16, 0.09), WHITE, 0.45, 0.06)
        return
    outer, inner = _crown(look)
    cap = np.concatenate([outer, inner])
    if look.hair == "buzz":
        pen.fill(cap, mixed(look.hair_colour, look.skin, 0.25), 0.72)
        return
    pen.soft(_shadow_band(inner), shaded(look.skin, 0.5), 0.4, 0.04)
    pen.fill(cap, look.hair_colour)
    if look.hair in ("curls", "afro"):
        _draw_curls(pen, outer, inner)
        return
    if look.hair in _OVER_EARS:
        for sign in (-1.0, 1.0):
            _draw_lock(pen, sign, float(outer[:, 0].max()))
    _draw_strands(pen, outer, inner)


def _crown(look: Look) -> tuple[Points, Points]:
    """The outer edge of the hair from ear over skull to ear, and the hairline back again."""
    a, over_ears = look.width, look.hair in _OVER_EARS
    v = {"afro": 0.2, "buzz": 0.035}.get(look.hair, look.volume)
    # Ears stay free under short hair, and there the sides lie close while the top stands up.
    low = 0.12 if over_ears else -0.06 if look.hair == "buzz" else 0.0
    o = a + (0.75 * v if over_ears else v if look.hair == "curls" else 0.02 + 0.12 * v)
    half = [
        (0.0, -1.02 - v),
        (0.5 * a + 0.6 * v, -0.97 - 0.9 * v),
        (0.9 * o + 0.25 * v, -0.64 - 0.4 * v),
        (1.02 * o, -0.25),
        (1.0 * o, low),
    ]
    outer = smooth([*((-x, y) for x, y in reversed(half[1:])), *half])
    if look.hair == "quiff":
        lift = np.exp(-(((outer[:, 0] - 0.3 * look.part) / 0.4) ** 2)) * (outer[:, 1] < -0.5)
        outer[:, 1] -= (0.1 + 0.5 * v) * lift
    droop = (0.42 if over_ears else 0.3) * look.fringe
    if look.hair in ("buzz", "quiff", "bun", "afro"):
        droop = 0.0
    rise, p = look.hairline, 0.55 * a * look.part
    temple = 0.86 * a if over_ears else 0.9 * a
    hairline = [
        (0.95 * a, low),
        (temple, -0.2),
        (0.74 * a, rise + 0.16 + 0.3 * droop),
        (0.4 * a + 0.3 * p, rise + 0.7 * droop),
        (p, rise - 0.1 + 0.9 * droop),
        (-0.4 * a + 0.3 * p, rise + 0.02 + 0.8 * droop),
        (-0.74 * a, rise + 0.16 + 0.3 * droop),
        (-temple, -0.2),
        (-0.95 * a, low),
    ]
    return outer, smooth(hairline)


def _draw_curls(pen: Pen, outer: Points, inner: Points) -> None:
    colour = pen.look.hair_colour
    size = 0.13 if pen.look.hair == "curls" else 0.1
    for x, y in outer[::5]:
        pen.fill(oval(x, y, size, size, 20), colour)
    for x, y in inner[6:-6:5]:
        pen.fill(oval(x, y - 0.04, 0.8 * size, 0.8 * size, 20), mixed(colour, WHITE, 0.04))
    for i, (x, y) in enumerate(outer[2:-2:5]):
        curl = oval(0.86 * x, 0.88 * y - 0.03, 0.055, 0.045, 12)[i % 3 : 8 + i % 3]
        pen.stroke(curl, 0.022, mixed(colour, WHITE, 0.25), 0.55)


def _draw_lock(pen: Pen, sign: float, reach: float) -> None:
    """Hair that falls over one ear; ``reach`` is how far the crown goes to the side."""
    look = pen.look
    a, v = look.width, look.volume
    end = 0.72 if look.hair == "bob" else min(1.15, 0.75 * look.length)
    sway = 0.06 if look.hair == "waves" else 0.0
    edge = [
        (0.74 * a, -0.62),
        (0.93 * a, -0.2),
        (0.97 * a - sway, 0.25),
        (0.9 * a + sway, 0.62 * end + 0.2),
        (0.95 * a, end),
        (1.18 * a + v, 0.96 * end),
        (1.17 * a + v + sway, 0.35),
        (1.02 * reach, -0.25),
        (0.88 * reach, -0.7),
    ]
    strand = [
        (0.88 * reach, -0.6),
        (0.98 * reach, -0.1),
        (1.08 * a + 0.5 * v, 0.5 * end),
        (1.06 * a + 0.5 * v, 0.9 * end),
    ]
    side = np.array([sign, 1.0])
    pen.fill(smooth(edge, closed=True) * side, look.hair_colour)
    pen.stroke(smooth(strand) * side, 0.03, shaded(look.hair_colour, 0.35), 0.6)


def _draw_strands(pen: Pen, outer: Points, inner: Points) -> None:
    """Strands from the parting to the hairline, and the shine on the crown."""
    look, colour = pen.look, pen.look.hair_colour
    top = float(outer[:, 1].min())
    part = 0.55 * look.width * look.part
    root_x, root_y = 1.1 * part, 0.1 + 0.93 * top
    for i, (x, y) in enumerate(inner[8:-8:4]):
        middle = ((0.55 * x + 0.45 * root_x) * 1.08, 0.45 * y + 0.55 * root_y - 0.05)
        tone = mixed(colour, WHITE, 0.2) if i % 3 else shaded(colour, 0.4)
        pen.stroke(smooth([(root_x, root_y), middle, (x, y - 0.02)]), 0.022, tone, 0.3)
    shine = mixed(colour, WHITE, 0.32)
    lit = np.array([1.0 if look.part < 0 else -1.0, 1.0])
    o, v = look.width, look.volume
    for offset, strength in ((0.42, 0.5), (0.62, 0.35), (0.2, 0.3)):
        y = -0.84 + 0.1 * offset - offset * v
        arc = smooth([(-0.62 * o, y), (-0.25 * o, y - 0.06), (0.12 * o, y - 0.07)])
        pen.stroke(arc * lit, 0.035, shine, strength)
    if look.hair != "bun":
        end = float(inner[np.abs(inner[:, 0] - part).argmin(), 1])
        pen.stroke(smooth([(root_x, root_y), (part, -0.9), (part, end)]), 0.022, shaded(colour, 0.45), 0.6)


def draw_beard(pen: Pen) -> None:
    """Beard and moustache, or the shadow of one."""
    look = pen.look
    if look.beard == "none":
        return
    a, colour = look.width, mixed(look.hair_colour, INK, 0.15)
    opacity = 0.93
    if look.beard == "shadow":
        colour, opacity = mixed(shaded(look.skin, 0.45), (60, 62, 74), 0.35), 0.42
    if look.beard in ("full", "shadow"):
        drop = 0.07 if look.beard == "full" else 0.0
        outer = [
            (0.985 * a, 0.05),
            (0.99 * a, 0.3),
            ((look.jaw + 0.02) * a, 0.64 + drop),
            ((look.chin + 0.03) * a, 0.94 + drop),
        ]
        inner = [(0.0, 0.5), (0.3, 0.53), (0.4, 0.62), (0.55 * a + 0.12, 0.42), (0.9 * a, 0.12)]
        half = [(0.0, 1.01 + drop), *reversed(outer), *reversed(inner)]
        shape = smooth(mirrored(half), closed=True)
        if look.beard == "shadow":
            with pen.clipped(face_outline(look), 0.2):
                pen.soft(shape, colour, opacity, 0.05)
        else:
            pen.soft(shape, colour, 0.6, 0.04)
            pen.fill(shape, colour, opacity)
    if look.beard == "goatee":
        half = [(0.0, 1.07), (0.17, 1.02), (0.22, 0.86), (0.17, 0.76), (0.0, 0.78)]
        pen.fill(smooth(mirrored(half), closed=True), colour, opacity)
    if look.beard in ("moustache", "goatee", "full"):
        half = [(0.0, 0.5), (0.16, 0.485), (0.3, 0.56), (0.36, 0.66), (0.24, 0.6), (0.0, 0.585)]
        pen.fill(smooth(mirrored(half), closed=True), colour, opacity)


def _cloud(x: float, y: float, width: float, height: float, lobes: int, depth: float) -> Points:
    """An ellipse with a scalloped edge."""
    angle = np.linspace(0.0, 2 * math.pi, 16 * lobes, endpoint=False)
    radius = 1.0 - depth * 0.5 + depth * 0.5 * np.abs(np.sin(angle * lobes / 2))
    return np.stack([x + width * radius * np.cos(angle), y + height * radius * np.sin(angle)], axis=1)


def _shadow_band(inner: Points) -> Points:
    """The narrow band under a hairline that hair throws its shadow on."""
    return np.concatenate([inner, inner[::-1] + np.array([0.0, 0.1])])
