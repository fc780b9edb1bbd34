"""Demo faces: drawn by the program, so that a fresh machine without a network has something to train on."""

from __future__ import annotations

import hashlib
import random
from pathlib import Path

import numpy as np
from PIL import Image

from facegender.data.cache.file import LAYOUT, Bytes, Description
from facegender.data.cache.photos import Photographs, Progress, Report, open_set
from facegender.data.cache.survey import digest_of
from facegender.data.dataset import CLASSES
from facegender.data.demo.looks import draw_look
from facegender.data.demo.portrait import draw_portrait
from facegender.support.errors import UserError
from facegender.support.files import exists, is_folder
from facegender.support.text import printable

# Part of the cache's key: raise it whenever the same seed draws another face.
DRAWING = 2


def draw_face(label: int, seed: int, side: int) -> Image.Image:
    """A face that nobody has, with the word "demo" in a corner.

    Args:
        label: 0 female, 1 male: which odds the traits are drawn with. No trait belongs to one class alone.
        seed: Another seed is another face.
        side: Of the square RGB picture, in pixels.
    """
    chance = random.Random(f"face {label} {seed}")
    look = draw_look(label, chance)
    return draw_portrait(look, side, chance.getrandbits(32))


def demo_photographs(per_class: int, side: int, seed: int, progress: Progress | None = None) -> Photographs:
    """Demo faces for training, the classes in turn; drawn once and kept in the cache like photographs.

    Args:
        per_class: How many of each class.
        side: In pixels.
        seed: Another seed is another set of faces.
        progress: See `facegender.data.cache.photos.photographs_of`.

    Raises:
        UserError: Neither the disk nor the memory has room for them.
    """
    count = 2 * per_class

    def look(report: Report) -> Description:
        # What decides how a face looks stands for its content, which nobody has seen before it is drawn.
        digests = [digest_of(f"demo {DRAWING} {side} {seed} {index}".encode()) for index in range(count)]
        return Description(side=side, kept=list(range(count)), digests=digests, refused={}, source="demo faces")

    def draw(index: int) -> Bytes:
        return np.asarray(draw_face(index % 2, _face_seed(seed, index // 2), side))

    key = hashlib.blake2b(f"demo {LAYOUT} {DRAWING} {per_class} {side} {seed}".encode(), digest_size=20)
    # Below this size drawing is mostly Python, which threads only make slower.
    threads = 1 if side < 256 else None
    description, source = open_set(key.hexdigest(), count, side, look, draw, progress, threads)
    names = [f"{CLASSES[index % 2]}/{_name(index // 2)}" for index in range(count)]
    files = [Path(name) for name in names]
    return Photographs(description, source, key.hexdigest(), files, names, [index % 2 for index in range(count)])


def write_demo_faces(folder: Path, per_class: int, side: int, seed: int) -> int:
    """Write demo faces as JPEG files below ``female/`` and ``male/``; earlier ones of the same numbers are replaced.

    Returns:
        How many there are now, with those of an earlier call that wrote more.

    Raises:
        UserError: The folder has something else in it, or cannot be written.
    """
    try:
        if exists(folder) and (other := _foreign(folder)):
            raise UserError(
                f"{printable(folder)}: has {printable(other)} in it; name an empty or a new folder for the demo faces"
            )
        for label, name in enumerate(CLASSES):
            (folder / name).mkdir(parents=True, exist_ok=True)
            for index in range(per_class):
                draw_face(label, _face_seed(seed, index), side).save(folder / name / _name(index), quality=92)
        return sum(len(list((folder / name).iterdir())) for name in CLASSES)
    except OSError as error:
        raise UserError(f"{printable(folder)}: cannot be written ({error.strerror}); name another folder") from None


def _foreign(folder: Path) -> Path | None:
    """Something in a folder that is neither a class folder nor a demo face, relative to the folder."""
    if not is_folder(folder):
        return Path(folder.name)
    for path in sorted(folder.iterdir()):
        if path.name not in CLASSES or not is_folder(path):
            return path.relative_to(folder)
        for face in sorted(path.iterdir()):
            if not (face.name.startswith("demo_") and face.suffix == ".jpg"):
                return face.relative_to(folder)
    return None


def _face_seed(seed: int, index: int) -> int:
    return seed * 1_000_003 + index


def _name(index: int) -> str:
    return f"demo_{index:05d}.jpg"
