"""What a demo face looks like: traits drawn at random, with odds that differ between the classes but always overlap."""

from __future__ import annotations

import random
from typing import TypeVar

import msgspec

Colour = tuple[int, int, int]
Kind = TypeVar("Kind")

SKINS: tuple[Colour, ...] = (
    (250, 222, 204),
    (244, 208, 184),
    (236, 194, 164),
    (224, 176, 142),
    (208, 156, 118),
    (188, 134, 96),
    (164, 110, 76),
    (138, 90, 62),
    (112, 72, 50),
    (88, 58, 42),
)
HAIRS: tuple[Colour, ...] = (
    (28, 24, 26),
    (44, 32, 28),
    (66, 44, 32),
    (92, 60, 40),
    (120, 76, 46),
    (142, 66, 38),
    (188, 140, 84),
    (220, 184, 124),
    (148, 146, 148),
    (206, 204, 202),
)
IRISES: tuple[Colour, ...] = (
    (72, 46, 30),
    (96, 66, 38),
    (110, 100, 52),
    (72, 104, 88),
    (70, 104, 142),
    (110, 124, 138),
)
BACKDROPS: tuple[Colour, ...] = (
    (206, 218, 228),
    (224, 214, 200),
    (200, 214, 200),
    (218, 204, 216),
    (176, 192, 208),
    (150, 168, 182),
    (178, 160, 146),
    (232, 230, 224),
    (238, 210, 178),
    (168, 190, 182),
)
# With odds for (female, male), as far apart as in a shop window.
CLOTHES: dict[Colour, tuple[float, float]] = {
    (46, 62, 92): (1, 5),
    (96, 108, 122): (1, 4),
    (188, 74, 66): (4, 1),
    (226, 222, 214): (2, 2),
    (70, 100, 84): (1, 3),
    (38, 38, 44): (1, 4),
    (204, 158, 72): (2, 1),
    (132, 88, 128): (4, 1),
    (88, 142, 170): (2, 2),
    (224, 152, 148): (5, 1),
    (122, 82, 58): (1, 2),
}


class Look(msgspec.Struct, frozen=True, kw_only=True):
    """One face. Lengths are in half face heights: the chin is at y = 1, the top of the skull at y = -1.

    Attributes:
        width: Half the width of the face.
        jaw: Width of the jaw's corners, as a share of ``width``.
        chin: Width of the chin, as a share of ``width``.
        hair: bald, buzz, short, quiff, curls, bob, long, waves, bun or afro.
        volume: How far the hair stands off the skull.
        length: Where the hair ends.
        part: Where it is parted, -1 to 1.
        fringe: How far it falls over the forehead, 0 to 1.
        hairline: Where it begins above the forehead.
        beard: none, shadow, moustache, goatee or full.
        turn: Rotation in radians; ``shift`` and ``scale`` place the face in the picture.
    """

    skin: Colour
    hair_colour: Colour
    iris: Colour
    backdrop: tuple[Colour, Colour]
    clothes: Colour
    neckline: str
    width: float
    jaw: float
    chin: float
    neck: float
    shoulders: float
    hair: str
    volume: float
    length: float
    part: float
    fringe: float
    hairline: float
    brow: float
    brow_lift: float
    brow_arch: float
    eye: float
    eye_open: float
    eye_gap: float
    lashes: float
    lid_tint: float
    gaze: float
    nose: float
    nose_length: float
    mouth: float
    lips: float
    lip_tint: float
    smile: float
    teeth: bool
    blush: float
    wrinkles: float
    freckles: bool
    beard: str
    glasses: str
    earrings: bool
    turn: float
    shift: tuple[float, float]
    scale: float
    light: float
    light_angle: float
    warmth: float
    blur: float
    noise: float


# Odds of a hair style for (female, male). None of them belongs to one class alone.
_HAIR_ODDS = {
    "bald": (0.004, 0.13),
    "buzz": (0.01, 0.21),
    "short": (0.07, 0.36),
    "quiff": (0.03, 0.16),
    "curls": (0.07, 0.05),
    "bob": (0.20, 0.025),
    "long": (0.28, 0.025),
    "waves": (0.20, 0.015),
    "bun": (0.11, 0.01),
    "afro": (0.026, 0.015),
}
_BEARD_ODDS = {
    "none": (0.97, 0.50),
    "shadow": (0.02, 0.20),
    "moustache": (0.005, 0.07),
    "goatee": (0.0025, 0.07),
    "full": (0.0025, 0.16),
}


def draw_look(label: int, chance: random.Random) -> Look:
    """A face of a class: 0 is female, 1 is male."""

    def about(female: float, male: float, spread: float) -> float:
        return chance.gauss((female, male)[label], spread)

    def odds(female: float, male: float) -> bool:
        return chance.random() < (female, male)[label]

    def one_of(table: dict[Kind, tuple[float, float]]) -> Kind:
        return chance.choices(list(table), [pair[label] for pair in table.values()])[0]

    hair = one_of(_HAIR_ODDS)
    old = chance.random() < 0.2
    hair_colour = chance.choice(HAIRS[7:] if old else HAIRS[:8])
    skin = chance.choice(SKINS)
    made_up = odds(0.55, 0.06)
    light_angle = chance.uniform(-2.6, -0.5)
    backdrop = chance.choice(BACKDROPS)
    far = tuple(max(0, min(255, int(value * chance.uniform(0.72, 0.92)))) for value in backdrop)
    return Look(
        skin=_varied(skin, 6, chance),
        hair_colour=_varied(hair_colour, 8, chance),
        iris=_varied(chance.choice(IRISES), 8, chance),
        backdrop=(_varied(backdrop, 8, chance), (far[0], far[1], far[2])),
        clothes=_varied(one_of(CLOTHES), 10, chance),
        neckline=chance.choice(("round", "round", "vee", "collar", "wide")),
        width=_within(about(0.725, 0.755, 0.032), 0.64, 0.84),
        jaw=_within(about(0.755, 0.835, 0.05), 0.66, 0.93),
        chin=_within(about(0.36, 0.46, 0.06), 0.24, 0.6),
        neck=_within(about(0.36, 0.45, 0.05), 0.28, 0.58),
        shoulders=_within(about(1.22, 1.45, 0.12), 1.0, 1.75),
        hair=hair,
        volume=chance.uniform(0.07, 0.2),
        length=chance.uniform(1.0, 1.75),
        part=chance.uniform(-0.8, 0.8),
        fringe=max(0.0, chance.uniform(-0.5, 1.0)),
        hairline=_within(about(-0.6, -0.63, 0.04) - (0.08 if old else 0.0), -0.8, -0.5),
        brow=_within(about(0.036, 0.055, 0.011), 0.018, 0.085),
        brow_lift=_within(about(0.245, 0.205, 0.025), 0.15, 0.31),
        brow_arch=_within(about(0.055, 0.03, 0.018), 0.0, 0.1),
        eye=_within(about(0.172, 0.155, 0.012), 0.125, 0.205),
        eye_open=_within(about(0.56, 0.48, 0.07), 0.3, 0.72),
        eye_gap=_within(chance.gauss(0.345, 0.014), 0.31, 0.385),
        lashes=_within(about(0.62, 0.22, 0.2) + 0.2 * made_up, 0.0, 1.0),
        lid_tint=chance.uniform(0.3, 0.9) if made_up else 0.0,
        gaze=_within(chance.gauss(0.0, 0.1), -0.25, 0.25),
        nose=_within(about(0.148, 0.172, 0.018), 0.1, 0.225),
        nose_length=_within(chance.gauss(0.43, 0.02), 0.37, 0.48),
        mouth=_within(chance.gauss(0.27, 0.025), 0.2, 0.34),
        lips=_within(about(0.082, 0.06, 0.015), 0.03, 0.125),
        lip_tint=_within(about(0.34, 0.16, 0.1) + 0.32 * made_up, 0.04, 0.95),
        smile=_within(chance.gauss(0.045, 0.03), -0.02, 0.11),
        teeth=chance.random() < 0.3,
        blush=_within(about(0.3, 0.16, 0.12) + 0.15 * made_up, 0.0, 0.7),
        wrinkles=chance.uniform(0.3, 0.8) if old else max(0.0, chance.uniform(-0.4, 0.3)),
        freckles=chance.random() < 0.12,
        beard=one_of(_BEARD_ODDS),
        glasses=chance.choices(("none", "round", "square", "dark"), (0.78, 0.1, 0.1, 0.02))[0],
        earrings=odds(0.36, 0.06),
        turn=_within(chance.gauss(0.0, 0.055), -0.15, 0.15),
        shift=(_within(chance.gauss(0.0, 0.02), -0.06, 0.06), _within(chance.gauss(0.0, 0.02), -0.05, 0.05)),
        scale=_within(chance.gauss(0.31, 0.016), 0.27, 0.35),
        light=chance.uniform(0.05, 0.22),
        light_angle=light_angle,
        warmth=chance.gauss(0.0, 0.016),
        blur=max(0.0, chance.gauss(0.0, 0.0012)),
        noise=chance.uniform(0.5, 4.0),
    )


def _within(value: float, low: float, high: float) -> float:
    return max(low, min(high, value))


def _varied(colour: Colour, spread: float, chance: random.Random) -> Colour:
    """Mostly lighter or darker, and a little more or less warm; channels on their own would give green skin."""
    value, warmth = chance.gauss(0.0, spread), chance.gauss(0.0, 0.35 * spread)
    red, green, blue = (
        max(0, min(255, round(channel + shift)))
        for channel, shift in zip(colour, (value + warmth, value, value - warmth), strict=True)
    )
    return red, green, blue
