"""Where the photographs are, which files there are, and which of them are kept for validation."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from facegender.runs.data_folders import default_data_folders
from facegender.support.errors import UserError
from facegender.support.files import exists, expanded, is_folder
from facegender.support.text import printable

CLASSES = ("female", "male")

# Enough for a data set with its owner, versions and editions; a wrong --data such as / still ends at once.
_MAX_DEPTH = 7
_MAX_FOLDERS = 20_000
_SYSTEM_NAMES = {"thumbs.db", "desktop.ini", "ehthumbs.db", "icon\r", "__macosx", "$recycle.bin"}


def find_data_folder(data: str | None, root: Path) -> Path:
    """The folder that holds the two class folders.

    Looks in ``data``, or without it in ``datasets/`` below the root and then in kagglehub's cache; each time for the
    shallowest folder that has both class folders. Never uses the network.

    Args:
        data: A folder that a person named, or None.
        root: The folder that the program works in.

    Raises:
        UserError: There is no such folder; the message says where was looked, and what to do.
    """
    if data is not None:
        return _find_named(expanded(data))
    places = default_data_folders(root)
    for place in places:
        if (found := shallowest_data_folder(place)) is not None:
            return found
    looked = " and ".join(printable(place) for place in places)
    raise UserError(
        f"no photographs found: looked for a folder with female/ and male/ in {looked}; "
        "name one with --data DIR, or use --demo for faces that the program draws"
    )


def _find_named(folder: Path) -> Path:
    if not exists(folder):
        raise UserError(
            f"--data {printable(folder)}: no such folder; name one that holds female/ and male/, or use --demo"
        )
    if not is_folder(folder):
        raise UserError(f"--data {printable(folder)}: is a file; name the folder that holds female/ and male/")
    if not os.access(folder, os.R_OK | os.X_OK):
        raise UserError(f"--data {printable(folder)}: permission denied; make the folder readable or name another")
    found = shallowest_data_folder(folder)
    if found is not None:
        return found
    alone = [(path, classes) for path, classes in _walk(folder) if classes]
    if alone:
        path, classes = alone[0]
        have = next(iter(classes))
        missing = next(name for name in CLASSES if name != have)
        raise UserError(
            f"--data {printable(folder)}: no folder {missing}/ beside {printable(classes[have])}; "
            f"put the {missing} photographs into {printable(path / missing)}"
        )
    if folder.name.lower() in CLASSES:
        raise UserError(f"--data {printable(folder)}: is a class folder itself; name the folder above it")
    raise UserError(
        f"--data {printable(folder)}: has no folders female/ and male/, also not further down; "
        "name the folder that holds them, or use --demo"
    )


def shallowest_data_folder(folder: Path) -> Path | None:
    """The shallowest folder at or below ``folder`` that has both class folders; of several versions the newest."""
    return next((path for path, classes in _walk(folder) if len(classes) == len(CLASSES)), None)


def other_data_folder(folder: Path, used: Path) -> Path | None:
    """Another folder at or below ``folder`` that has both class folders, beside the one that is used."""
    found = (path for path, classes in _walk(folder) if len(classes) == len(CLASSES))
    return next((path for path in found if path != used), None)


def class_folders(folder: Path) -> dict[str, Path]:
    """The class folders directly in a folder, by class; "male", "Male" and "Male Faces" are the same class."""
    found: dict[str, Path] = {}
    for path in _folders(folder):
        name = _class_of(path.name)
        if name is not None:
            # On a file system that tells case apart, the plainest spelling wins.
            if name in found and found[name].name == name:
                continue
            found[name] = path
    return {name: found[name] for name in CLASSES if name in found}


def list_labelled_files(folder: Path) -> list[tuple[Path, int]]:
    """Every file of the class folders and their sub-folders with its label, in an order that only names decide.

    System files are in the list too: `system_file_reason` says which those are, so that they are reported and not lost.

    Args:
        folder: What `find_data_folder` gave.

    Raises:
        UserError: A class folder has no file.
    """
    folders = class_folders(folder)
    files: list[tuple[Path, int]] = []
    for label, name in enumerate(CLASSES):
        if name not in folders:
            raise UserError(f"{printable(folder)}: no folder {name}/; put the {name} photographs there")
        # A link that leads up and into the other class's folder must not bring its photographs in here.
        barred = set[tuple[int, int]]()
        for path in (folder, *(path for other, path in folders.items() if other != name)):
            _is_new(path, barred)
        found = sorted(_files(folders[name], barred), key=lambda path: os.fsencode(path.relative_to(folder)))
        if not found:
            raise UserError(f"{printable(folders[name])}: is empty; put the {name} photographs there, or use --demo")
        files += [(path, label) for path in found]
    return files


def system_file_reason(path: Path, folder: Path) -> str:
    """Why a file below ``folder`` is none of the photographs, judged by its name; empty if it may be one."""
    *above, name = path.relative_to(folder).parts
    if is_system_name(name):
        return "hidden file" if name.startswith(".") else "system file"
    return "in a hidden folder" if any(map(is_system_name, above)) else ""


def split_indices(
    labels: npt.NDArray[np.int64], digests: Sequence[str], val_split: float, seed: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Which photographs to train on and which to validate with: stratified, and the same for the same contents.

    Each photograph's side is decided by a hash of its content and the seed. So the order of the files says nothing,
    exact duplicates stay together (also where somebody filed one under both classes), and photographs that are added
    later move few of the others.

    Args:
        labels: (N,) int64.
        digests: N content hashes.
        val_split: Share of each class to validate with, in (0, 1).
        seed: Another seed is another split.

    Returns:
        Indices for training and for validation, each (n,) int64 and ascending.

    Raises:
        UserError: A class has too few different photographs to have some on both sides.
    """
    groups: dict[str, list[int]] = {}
    for index, digest in enumerate(digests):
        groups.setdefault(digest, []).append(index)
    ranks = {digest: hashlib.blake2b(f"{seed}:{digest}".encode(), digest_size=16).digest() for digest in groups}
    validation: list[int] = []
    for label, name in enumerate(CLASSES):
        # A group that is filed under both classes counts for the first.
        mine = [digest for digest, members in groups.items() if min(labels[i] for i in members) == label]
        mine.sort(key=ranks.__getitem__)
        total = sum(len(groups[digest]) for digest in mine)
        target = min(max(1, round(total * val_split)), total - 1)
        taken: list[str] = []
        room = target
        for digest in mine:
            if len(groups[digest]) <= room:
                taken.append(digest)
                room -= len(groups[digest])
        if not taken and len(mine) > 1:
            taken = [min(mine, key=lambda digest: len(groups[digest]))]
        if not taken:
            raise UserError(too_few_message(name))
        validation += [index for digest in taken for index in groups[digest]]
    chosen = np.zeros(len(labels), dtype=bool)
    chosen[validation] = True
    for label, name in enumerate(CLASSES):
        of_class = labels == label
        if not (of_class & chosen).any() or not (of_class & ~chosen).any():
            raise UserError(too_few_message(name))
    return np.flatnonzero(~chosen), np.flatnonzero(chosen)


def too_few_message(name: str) -> str:
    """What is said where a class has too little for two sides."""
    return f"too few different {name} photographs: at least two are needed, one to train on and one to validate with"


def _class_of(folder_name: str) -> str | None:
    """The class whose folder a name is; the reference data set has its classes in "Female Faces" and "Male Faces"."""
    name = re.sub(r"[ _-]faces$", "", folder_name.casefold())
    return name if name in CLASSES else None


def is_system_name(name: str) -> bool:
    """Whether a file or folder is hidden, or an operating system's own, judged by its name."""
    return name.startswith(".") or name.lower() in _SYSTEM_NAMES


def _walk(folder: Path) -> Iterator[tuple[Path, dict[str, Path]]]:
    """Folders at and below a folder with the class folders in each, level by level."""
    level, seen, count = [folder], set[tuple[int, int]](), 0
    for _ in range(_MAX_DEPTH + 1):
        below: list[Path] = []
        for path in level:
            if not _is_new(path, seen):
                continue
            count += 1
            if count > _MAX_FOLDERS:
                return
            classes = class_folders(path)
            yield path, classes
            below += [
                child for child in _folders(path) if child not in classes.values() and not is_system_name(child.name)
            ]
        level = below


def _folders(folder: Path) -> list[Path]:
    """The folders in a folder, by name, but version numbers from the newest; none where it cannot be read."""
    try:
        with os.scandir(folder) as entries:
            names = [entry.name for entry in entries if _is_folder(entry)]
    except OSError:
        return []
    names.sort(key=lambda name: (0, -int(name), "") if name.isdecimal() else (1, 0, name))
    return [folder / name for name in names]


def _files(folder: Path, seen: set[tuple[int, int]]) -> Iterator[Path]:
    """All that is no folder, at and below a folder. A folder that was seen, also by way of a link, is left out."""
    if not _is_new(folder, seen):
        return
    try:
        with os.scandir(folder) as entries:
            found = sorted(entries, key=lambda entry: os.fsencode(entry.name))
    except OSError as error:
        raise UserError(f"{printable(folder)}: {error.strerror}; make the folder readable") from None
    for entry in found:
        if _is_folder(entry):
            yield from _files(folder / entry.name, seen)
        else:
            yield folder / entry.name


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False


def _is_new(folder: Path, seen: set[tuple[int, int]]) -> bool:
    try:
        status = folder.stat()
    except OSError:
        return False
    key = (status.st_dev, status.st_ino)
    if key in seen:
        return False
    seen.add(key)
    return True
