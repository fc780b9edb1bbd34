"""Draws one demo face, by its label and a seed, or again by its name in a run."""

from __future__ import annotations

import random
import re

from PIL import Image

from facegender.data.dataset import CLASSES
from facegender.data.demo.look import Look
from facegender.data.demo.portrait import draw_portrait
from facegender.support.text import printable


def draw_face(label: int, seed: int, side: int) -> Image.Image:
    """Draw the face of nobody, with the word "demo" in a corner.

    Args:
        label: 0 female, 1 male: the odds that the traits are drawn with.
        seed: Another seed gives another face.
        side: Of the square RGB picture, in pixels.
    """
    rng = random.Random(f"face {label} {seed}")
    return draw_portrait(Look(label, rng), side, rng.getrandbits(32))


def draw_demo_photograph(name: str, side: int, seed: int) -> Image.Image:
    """Draw a photograph of a run on demo faces again.

    Args:
        name: As in ``photographs.json``, e.g. "female/demo_00003.jpg".
        side: Image size of the run.
        seed: Seed of the run.

    Raises:
        ValueError: No demo face has that name.
    """
    match = re.fullmatch(r"(female|male)/demo_(\d{5,9})\.jpg", name)
    if match is None:
        raise ValueError(f"no demo face is named {printable(name)}")
    return draw_nth_face(side, seed, 2 * int(match[2]) + CLASSES.index(match[1]))


def draw_nth_face(side: int, seed: int, index: int) -> Image.Image:
    """Draw a face of a data set by its index; the classes take turns."""
    return draw_face(index % 2, seed * 1_000_003 + index // 2, side)


def nth_name(index: int) -> str:
    """The file name of a face of a data set, relative to its folder."""
    return f"{CLASSES[index % 2]}/demo_{index // 2:05d}.jpg"
