"""Demo faces as a data set, so that the program can be tried without photographs and without a network."""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path

import numpy as np

from facegender.data.cache.file import LAYOUT, Pixels
from facegender.data.cache.photos import DecodedPhotos, Progress, content_hash, load_or_decode
from facegender.data.dataset import CLASSES
from facegender.data.demo.photograph import draw_nth_face, nth_name
from facegender.support.errors import UserError
from facegender.support.text import printable

DRAWING = 8
"""Version of the drawing, part of the cache's key: raise it whenever the same seed draws another face."""

_OWN_FILE = re.compile(r"(female|male)(/demo_\d+\.jpg)?")


def demo_photographs(per_class: int, side: int, seed: int, progress: Progress | None = None) -> DecodedPhotos:
    """Draw demo faces for training, the classes in turn, or read them from the cache if they were drawn before.

    Raises:
        UserError: Neither the disk nor the memory has room for them.
    """
    indices = range(2 * per_class)
    names, labels = map(nth_name, indices), [index % 2 for index in indices]
    key = content_hash(f"demo {LAYOUT} {DRAWING} {per_class} {side} {seed}".encode()).hex()
    read = partial(_read, side, seed)
    return load_or_decode(key, list(names), labels, side, read, origin="demo faces", progress=progress)


def _read(side: int, seed: int, index: int) -> tuple[Pixels, bytes]:
    # The digest is of what determines the face, as there is no file whose content could be hashed.
    digest = content_hash(f"demo {DRAWING} {side} {seed} {index}".encode())
    return np.asarray(draw_nth_face(side, seed, index)), digest


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
            draw_nth_face(side, seed, index).save(folder / nth_name(index), quality=92)
        return len(list(folder.glob("*/*")))
    except OSError as error:
        raise UserError(f"{printable(folder)}: cannot be written ({error.strerror}); name another folder") from None
