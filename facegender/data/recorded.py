"""Finds the photographs of a run again, by their names in ``photographs.json``. Imported without torch and numpy."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path, PurePosixPath

from PIL import Image

from facegender.data.image import UnreadableImage, open_image
from facegender.runs.folder import Manifest, RunFolder
from facegender.support.errors import UserError
from facegender.support.files import is_folder
from facegender.support.text import printable


def photograph_reader(run: RunFolder, *, at_least: int | None = None) -> Callable[[str], Image.Image]:
    """Return a function that reads a photograph of a run by its name, and raises `UserError` if it is gone.

    Args:
        at_least: As in `open_image`.

    Raises:
        UserError: The manifest is missing or cannot be read.
    """
    manifest = run.read_manifest()
    if manifest is None:
        raise UserError(f"run {run.name}: {run.manifest_path.name} is missing or cannot be read")
    if manifest.config.demo:
        return functools.partial(_draw_face, run, manifest)
    return functools.partial(_open_photograph, run, manifest, at_least)


def open_below(folder: Path, name: str, *, at_least: int | None = None) -> Image.Image:
    """Read a photograph by its name relative to a folder, see `open_image`.

    Raises:
        UnreadableImage: Also if the name leads out of the folder.
    """
    relative = PurePosixPath(name)
    if relative.is_absolute() or ".." in relative.parts:
        raise UnreadableImage("not a name below the folder of the photographs")
    return open_image(folder / relative, at_least=at_least)


def _draw_face(run: RunFolder, manifest: Manifest, name: str) -> Image.Image:
    from facegender.data.demo.photograph import draw_demo_photograph  # it imports numpy, which takes a while

    try:
        return draw_demo_photograph(name, manifest.config.image_size, manifest.config.seed)
    except ValueError as error:
        raise UserError(f"run {run.name}: {run.photographs_path.name}: {error}") from None


def _open_photograph(run: RunFolder, manifest: Manifest, at_least: int | None, name: str) -> Image.Image:
    folder = Path(manifest.data)
    try:
        return open_below(folder, name, at_least=at_least)
    except UnreadableImage as error:
        missing = "" if is_folder(folder) else ", as the folder is not there"
        raise UserError(
            f"{printable(name)}: {error}{missing}; the photographs of run {run.name} were in {printable(folder)}"
        ) from None
