"""The traits of a demo face, drawn at random with odds that differ between the classes but always overlap."""

from __future__ import annotations

import random
from collections.abc import Sequence

from PIL import ImageColor

Colour = tuple[int, int, int]

SKIN_TONES = ("#fadecc", "#f2ccb2", "#e4b696", "#d09c76", "#b6805a", "#966446", "#744c36", "#583a2c")
HAIR_COLOURS = ("#1e191b", "#34241e", "#54361f", "#6e4628", "#7c4e2e", "#964628", "#d8b070", "#aaa4a2")
IRIS_COLOURS = ("#523622", "#684e2c", "#4e6c58", "#4e6e92")
BACKDROPS = ("#cedae4", "#e2d6c6", "#c6d6ca", "#dcceda", "#a6b8c8", "#eed4b6")
# The odds of each value, for (female, male); only their proportions count.
CLOTHES = ("#2e3e5c", "#646e7a", "#486656", "#e2ded6", "#cea04c", "#be4c44", "#865a82", "#de9692")
CLOTHES_ODDS = ((1, 1, 2, 2, 3, 5, 4, 4), (5, 4, 4, 2, 2, 1, 1, 1))
HAIR_STYLES = ("bald", "short", "curls", "bob", "long", "bun")
HAIR_ODDS = ((1, 4, 7, 28, 45, 15), (20, 69, 7, 1, 2, 1))
BEARDS = ("none", "full")
BEARD_ODDS = ((99, 1), (50, 50))


class Look:
    """The traits of one face. Lengths are in half face heights: the chin is at y = 1, the top of the skull at y = -1.

    Args:
        label: 0 female, 1 male; chooses the odds. No trait belongs to one class alone.
        rng: Draws the traits.
    """

    def __init__(self, label: int, rng: random.Random) -> None:
        def around(female: float, male: float, spread: float) -> float:
            """A value within `spread` of the class's mean, most often near it."""
            return (female, male)[label] + rng.triangular(-spread, spread)

        def choice(values: Sequence[str], odds: Sequence[Sequence[int]]) -> str:
            return rng.choices(values, odds[label])[0]

        def near(name: str) -> Colour:
            """The colour, a little lighter or darker."""
            shift = rng.gauss(0.0, 7.0)
            red, green, blue = (max(0, min(255, round(value + shift))) for value in ImageColor.getrgb(name)[:3])
            return red, green, blue

        self.skin = near(rng.choice(SKIN_TONES))
        self.hair = near(rng.choice(HAIR_COLOURS))
        self.iris = near(rng.choice(IRIS_COLOURS))
        self.backdrop = near(rng.choice(BACKDROPS))
        self.clothes = near(choice(CLOTHES, CLOTHES_ODDS))
        self.style = choice(HAIR_STYLES, HAIR_ODDS)
        self.beard = choice(BEARDS, BEARD_ODDS)
        self.glasses = rng.random() < 0.2
        self.width = around(0.7, 0.77, 0.06)  # half the width of the face
        self.jaw = self.width * around(0.74, 0.87, 0.08)
        self.neck = around(0.35, 0.47, 0.08)
        self.volume = rng.uniform(0.08, 0.2)  # how far the hair stands off the skull
        self.length = rng.uniform(1.2, 1.8)  # where long hair ends
        self.part = rng.uniform(-0.8, 0.8)  # where the hair is parted, -1 to 1
        self.fringe = max(0.0, rng.uniform(-0.6, 1.0))  # how far the hair falls over the forehead, 0 to 1
        self.brow = around(0.06, 0.09, 0.03)
        self.eye = around(0.17, 0.156, 0.025)
        self.nose = around(0.145, 0.17, 0.035)
        self.lips = around(0.095, 0.06, 0.025)
        self.make_up = max(0.0, around(0.65, 0.03, 0.45))
        self.smile = around(0.05, 0.04, 0.055)  # how far the corners of the mouth rise
        self.turn = rng.triangular(-0.1, 0.1)  # radians
        self.centre = rng.triangular(0.47, 0.53), rng.triangular(0.47, 0.53)  # shares of the picture's side
        self.scale = rng.triangular(0.29, 0.33)  # half the height of the face, as a share of the picture's side
