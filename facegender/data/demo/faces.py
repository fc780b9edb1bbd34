"""Demo faces as a data set, so that the program can be tried without photographs and without a network."""

from __future__ import annotations

import random
import re
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from facegender.data.cache.file import LAYOUT, Pixels
from facegender.data.cache.photos import DecodedPhotos, Progress, content_hash, load_or_decode
from facegender.data.dataset import CLASSES
from facegender.data.demo.look import Look
from facegender.data.demo.portrait import draw_portrait
from facegender.support.errors import UserError
from facegender.support.text import printable

DRAWING = 8
"""Version of the drawing, part of the cache's key: raise it whenever the same seed draws another face."""

_OWN_FILE = re.compile(r"(female|male)(/demo_\d+\.jpg)?")


def draw_face(label: int, seed: int, side: int) -> Image.Image:
    """Draw the face of nobody, with the word "demo" in a corner.

    Args:
        label: 0 female, 1 male: the odds that the traits are drawn with.
        seed: Another seed gives another face.
        side: Of the square RGB picture, in pixels.
    """
    rng = random.Random(f"face {label} {seed}")
    return draw_portrait(Look(label, rng), side, rng.getrandbits(32))


def demo_photographs(per_class: int, side: int, seed: int, progress: Progress | None = None) -> DecodedPhotos:
    """Draw demo faces for training, the classes in turn, or read them from the cache if they were drawn before.

    Raises:
        UserError: Neither the disk nor the memory has room for them.
    """
    indices = range(2 * per_class)
    names, labels = map(_name, indices), [index % 2 for index in indices]
    key = content_hash(f"demo {LAYOUT} {DRAWING} {per_class} {side} {seed}".encode()).hex()
    read = partial(_read, side, seed)
    return load_or_decode(key, list(names), labels, side, read, origin="demo faces", progress=progress)


def _read(side: int, seed: int, index: int) -> tuple[Pixels, bytes]:
    # The digest is of what determines the face, as there is no file whose content could be hashed.
    digest = content_hash(f"demo {DRAWING} {side} {seed} {index}".encode())
    return np.asarray(_draw(side, seed, index)), digest


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
    return _draw(side, seed, 2 * int(match[2]) + CLASSES.index(match[1]))


def write_demo_faces(folder: Path, per_class: int, side: int, seed: int) -> int:
    """Write demo faces as JPEG files below ``female/`` and ``male/``, replacing those of an earlier call.

    Returns:
        Number of demo faces in the folder, including those of an earlier call that wrote more.

    Raises:
        UserError: The folder contains anything else, or cannot be written.
    """
    try:
        for path in sorted(folder.rglob("*")):
            if not _OWN_FILE.fullmatch(path.relative_to(folder).as_posix()):
                raise UserError(
                    f"{printable(path)}: is not a demo face; name an empty or a new folder for the demo faces"
                )
        for name in CLASSES:
            (folder / name).mkdir(parents=True, exist_ok=True)
        for index in range(2 * per_class):
            _draw(side, seed, index).save(folder / _name(index), quality=92)
        return len(list(folder.glob("*/*")))
    except OSError as error:
        raise UserError(f"{printable(folder)}: cannot be written ({error.strerror}); name another folder") from None


def _draw(side: int, seed: int, index: int) -> Image.Image:
    return draw_face(index % 2, seed * 1_000_003 + index // 2, side)


def _name(index: int) -> str:
    return f"{CLASSES[index % 2]}/demo_{index // 2:05d}.jpg"
