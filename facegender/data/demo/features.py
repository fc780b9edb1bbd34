"""Head, nose, eyes, mouth and what is worn on them."""

from __future__ import annotations

import math

import numpy as np

from facegender.data.demo.brush import INK, WHITE, Pen, face_outline, mixed, oval, shaded, smooth


def draw_head(pen: Pen) -> None:
    """Ears, face, its shadows, cheeks, wrinkles and freckles."""
    look = pen.look
    for sign in (-1.0, 1.0):
        ear = oval(sign * (look.width + 0.035), 0.08, 0.1, 0.19)
        pen.fill(ear, shaded(look.skin, 0.12))
        pen.fill(oval(sign * (look.width + 0.05), 0.08, 0.05, 0.11), shaded(look.skin, 0.3), 0.7)
    pen.fill(face_outline(look), look.skin)
    toward = math.cos(look.light_angle)
    away = -1.0 if toward > 0 else 1.0
    strength = 0.25 + 0.45 * abs(toward)
    crescent = smooth(
        [
            (away * 0.55 * look.width, -0.8),
            (away * 0.94 * look.width, -0.2),
            (away * 0.92 * look.width, 0.3),
            (away * look.jaw * look.width, 0.62),
            (away * 0.3, 0.93),
            (away * 0.5 * look.width, 0.6),
            (away * 0.72 * look.width, 0.1),
        ],
        closed=True,
    )
    with pen.clipped(face_outline(look), 0.3):
        pen.soft(crescent, shaded(look.skin, 0.45), strength, 0.09)
    pen.soft(oval(-away * 0.2, -0.5, 0.3, 0.2), mixed(look.skin, WHITE, 0.6), 0.3, 0.12)
    rosy = mixed(look.skin, (214, 74, 74), 0.5)
    for sign in (-1.0, 1.0):
        pen.soft(oval(sign * 0.43, 0.36, 0.15, 0.1), rosy, 0.18 + look.blush, 0.07)
        pen.soft(oval(sign * look.eye_gap, -0.03, 0.2, 0.11), shaded(look.skin, 0.4), 0.4, 0.05)
        if look.wrinkles > 0:
            line = smooth([(sign * 0.2, 0.4), (sign * 0.29, 0.5), (sign * 0.33, 0.6)])
            pen.stroke(line, 0.022, shaded(look.skin, 0.4), 0.75 * look.wrinkles)
            pen.stroke(
                smooth([(sign * 0.22, 0.17), (sign * 0.33, 0.2), (sign * 0.45, 0.16)]),
                0.02,
                shaded(look.skin, 0.4),
                0.6 * look.wrinkles,
            )
    if look.wrinkles > 0.3:
        for y in (-0.52, -0.42):
            pen.stroke(
                smooth([(-0.3, y), (0.0, y - 0.03), (0.3, y)]), 0.018, shaded(look.skin, 0.4), 0.6 * look.wrinkles
            )
    if look.freckles:
        golden = np.arange(26) * 2.399963
        for i, angle in enumerate(golden):
            spread = math.sqrt(i / 26)
            x = 0.5 * spread * math.cos(angle)
            pen.fill(oval(x, 0.28 + 0.12 * spread * math.sin(angle), 0.012, 0.012, 8), shaded(look.skin, 0.45), 0.5)


def draw_nose(pen: Pen) -> None:
    """The nose: mostly a shadow and a light."""
    look = pen.look
    w, y = look.nose, look.nose_length
    dark = shaded(look.skin, 0.42)
    away = -1.0 if math.cos(look.light_angle) > 0 else 1.0
    flank = smooth(
        [(away * 0.05, -0.08), (away * 0.07, 0.15), (away * w, y - 0.08), (away * 0.8 * w, y + 0.02), (0.0, y)]
    )
    pen.soft(flank, dark, 0.55, 0.025)
    pen.soft(oval(-away * 0.02, 0.2, 0.03, 0.17), mixed(look.skin, WHITE, 0.7), 0.4, 0.03)
    pen.soft(oval(0.0, y - 0.06, 0.6 * w, 0.05), mixed(look.skin, WHITE, 0.5), 0.3, 0.03)
    base = [(-w, y - 0.05), (-0.85 * w, y + 0.01), (-0.4 * w, y + 0.005), (0.0, y + 0.035)]
    base += [(0.4 * w, y + 0.005), (0.85 * w, y + 0.01), (w, y - 0.05)]
    pen.stroke(smooth(base), 0.028, dark, 0.9)
    for sign in (-1.0, 1.0):
        pen.fill(oval(sign * 0.48 * w, y - 0.002, 0.26 * w, 0.02, 16), shaded(look.skin, 0.65), 0.85)


def draw_eye(pen: Pen, sign: float) -> None:
    """One eye with lid, lashes and brow; ``sign`` is -1 for the one on the left of the picture."""
    look = pen.look
    x, y, w = sign * look.eye_gap, 0.04, look.eye
    h = w * look.eye_open
    inner, outer = x - sign * w, x + sign * w
    upper = [(inner, y + 0.018), (x - sign * 0.4 * w, y - 0.8 * h), (x + sign * 0.15 * w, y - h), (outer, y - 0.012)]
    lower = [(x + sign * 0.3 * w, y + 0.62 * h), (x - sign * 0.4 * w, y + 0.6 * h)]
    shape = smooth([*upper, *lower], closed=True)
    if look.lid_tint:
        tint = mixed(mixed(look.skin, (120, 60, 110), 0.55), INK, 0.15)
        pen.soft(
            smooth([*upper, (outer, y - 1.3 * h), (x, y - 2.0 * h), (inner, y - 0.9 * h)], closed=True),
            tint,
            look.lid_tint,
            0.02,
        )
    pen.fill(shape, (246, 243, 240))
    with pen.clipped(shape):
        gaze, r = x + look.gaze * w, 0.56 * w
        pen.fill(oval(gaze, y - 0.12 * h, r, r), shaded(look.iris, 0.35))
        pen.fill(oval(gaze, y - 0.12 * h, 0.84 * r, 0.84 * r), look.iris)
        pen.fill(oval(gaze, y + 0.1 * h, 0.55 * r, 0.4 * r), mixed(look.iris, WHITE, 0.3), 0.5)
        pen.fill(oval(gaze, y - 0.12 * h, 0.42 * r, 0.42 * r), (14, 12, 14))
        pen.fill(oval(gaze - 0.3 * r, y - 0.12 * h - 0.35 * r, 0.17 * r, 0.17 * r), WHITE, 0.95)
        pen.stroke(smooth(upper) + np.array([0.0, 0.02]), 0.05, INK, 0.25)
    line = shaded(look.skin, 0.75)
    pen.stroke(smooth(upper), 0.022 + 0.026 * look.lashes, INK if look.lashes > 0.4 else line, 0.95, 0.7)
    pen.stroke(smooth([(outer, y), *lower, (inner, y + 0.01)]), 0.013, line, 0.55)
    crease = smooth([(inner, y - 0.5 * h), (x, y - 1.5 * h), (outer, y - 0.55 * h)])
    pen.stroke(crease, 0.016, shaded(look.skin, 0.5), 0.6)
    if look.lashes > 0.45:
        for share in (0.72, 0.86, 1.0):
            root = np.array([x + sign * (2 * share - 1) * w, y - 0.012 - h * (1 - share) * 2.2])
            tip = root + np.array([sign * 0.05 * look.lashes, -0.05 * look.lashes])
            pen.stroke(np.linspace(root, tip, 3), 0.018, INK, 0.9, 0.6)
    brow_y, arch = y - look.brow_lift, look.brow_arch
    brow = smooth(
        [
            (x - sign * 1.15 * w, brow_y + 0.035),
            (x - sign * 0.3 * w, brow_y - 0.3 * arch),
            (x + sign * 0.55 * w, brow_y - arch),
            (x + sign * 1.35 * w, brow_y + 0.03),
        ]
    )
    colour = mixed(look.hair_colour, INK, 0.45 if sum(look.hair_colour) < 420 else 0.3)
    pen.stroke(brow, 2.0 * look.brow, colour, 0.88, 0.9)


def draw_mouth(pen: Pen) -> None:
    """Lips, the line between them, and teeth."""
    look = pen.look
    y, w, smile = 0.655, look.mouth, look.smile
    up, low = look.lips * 0.8, look.lips
    tint = mixed(mixed(look.skin, (166, 56, 66), 0.5), (176, 30, 56), look.lip_tint)
    tint = mixed(tint, shaded(look.skin, 0.35), max(0.0, 0.6 - look.lip_tint))
    corner = y - smile
    pen.soft(oval(0.0, y + low + 0.07, 0.16, 0.035), shaded(look.skin, 0.45), 0.5, 0.03)
    top = [(-w, corner), (-0.5 * w, y - 0.75 * up), (-0.14 * w, y - up), (0.0, y - 0.72 * up)]
    top += [(0.14 * w, y - up), (0.5 * w, y - 0.75 * up), (w, corner)]
    gap = 0.045 if look.teeth and smile > 0.02 else 0.0
    bottom = [(0.55 * w, y + 0.75 * low + gap), (0.0, y + low + gap + 0.3 * smile), (-0.55 * w, y + 0.75 * low + gap)]
    pen.fill(smooth([*top, *bottom], closed=True), mixed(tint, INK, 0.1))
    middle = smooth(
        [(-0.94 * w, corner), (-0.4 * w, y + 0.012), (0.0, y + 0.004), (0.4 * w, y + 0.012), (0.94 * w, corner)]
    )
    below = smooth(
        [(0.5 * w, y + 0.3 * low + gap), (0.0, y + 0.3 * low + gap + 0.2 * smile), (-0.5 * w, y + 0.3 * low + gap)]
    )
    if gap:
        pen.fill(np.concatenate([middle, below]), (92, 30, 34))
        pen.fill(
            np.concatenate([middle[3:-3], below * np.array([0.85, 1.0]) - np.array([0.0, 0.012])]), (248, 244, 238)
        )
    lip = smooth(
        [
            (0.6 * w, y + 0.35 * low + gap),
            (0.0, y + low + gap + 0.3 * smile),
            (-0.6 * w, y + 0.35 * low + gap),
            (0.0, y + 0.32 * low + gap),
        ],
        closed=True,
    )
    pen.fill(lip, mixed(tint, WHITE, 0.1), 0.8)
    pen.fill(oval(0.0, y + 0.62 * low + gap + 0.2 * smile, 0.3 * w, 0.16 * low, 16), WHITE, 0.2 + 0.25 * look.lip_tint)
    pen.stroke(middle, 0.018, mixed(shaded(tint, 0.6), INK, 0.3), 0.8)


def draw_extras(pen: Pen) -> None:
    """Earrings and glasses."""
    look = pen.look
    if look.earrings and look.hair not in ("long", "waves"):
        for sign in (-1.0, 1.0):
            pen.fill(oval(sign * (look.width + 0.05), 0.31, 0.042, 0.05, 16), (226, 190, 96))
            pen.fill(oval(sign * (look.width + 0.04), 0.295, 0.014, 0.016, 10), WHITE, 0.8)
    if look.glasses == "none":
        return
    frame = (40, 38, 44) if look.glasses != "round" else (120, 84, 48)
    w, h = (0.25, 0.2) if look.glasses == "round" else (0.27, 0.175)
    for sign in (-1.0, 1.0):
        angle = np.linspace(0.0, 2 * math.pi, 49)
        power = 1.0 if look.glasses == "round" else 0.55
        cos, sin = np.cos(angle), np.sin(angle)
        rim = np.stack(
            [
                sign * look.eye_gap + w * np.sign(cos) * np.abs(cos) ** power,
                0.06 + h * np.sign(sin) * np.abs(sin) ** power,
            ],
            axis=1,
        )
        pen.fill(rim, (20, 22, 28) if look.glasses == "dark" else WHITE, 0.88 if look.glasses == "dark" else 0.1)
        pen.stroke(rim, 0.032, frame, 1.0, 0.0)
        glint = smooth([(sign * look.eye_gap - 0.13, 0.06), (sign * look.eye_gap - 0.05, -0.06)])
        pen.stroke(glint, 0.03, WHITE, 0.4)
        pen.stroke(
            np.array([(sign * (look.eye_gap + w), 0.02), (sign * (look.width + 0.03), -0.02)]), 0.035, frame, 1.0, 0.0
        )
    bridge = smooth([(-(look.eye_gap - w), 0.03), (0.0, -0.01), (look.eye_gap - w, 0.03)])
    pen.stroke(bridge, 0.03, frame, 1.0, 0.0)
