"""Find the data folder, list its files with their labels, and split them into training and validation."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NoReturn

import numpy as np
import numpy.typing as npt

from facegender.runs.data_folders import default_data_folders
from facegender.support.errors import UserError
from facegender.support.files import exists, expanded, is_folder, require_utf8
from facegender.support.text import printable

CLASSES = ("female", "male")

# Deep enough for a data set in folders of its owner, version and edition; a wrong --data such as / still ends at once.
_MAX_DEPTH = 7
_MAX_FOLDERS = 20_000
_SYSTEM_NAMES = {"thumbs.db", "desktop.ini", "ehthumbs.db", "icon\r", "__macosx", "$recycle.bin"}


def find_data_folder(data: str | None, root: Path) -> Path:
    """Find the folder that contains the two class folders, without using the network.

    Args:
        data: The folder to search. None searches ``datasets/`` below the root, and then kagglehub's cache.
        root: The folder that the program works in.

    Returns:
        The shallowest folder with both class folders.

    Raises:
        UserError: No such folder; the message says where it was looked for, and what to do.
    """
    searched = default_data_folders(root) if data is None else [expanded(data)]
    for folder in searched:
        if found := next(data_folders(folder), None):
            return require_utf8(found, "--data")
    if data is not None:
        raise UserError(f"--data {printable(searched[0])}: {_why_unusable(searched[0])}")
    names = " and ".join(map(printable, searched))
    raise UserError(
        f"no photographs found: looked for a folder with female/ and male/ in {names}; "
        "name one with --data DIR, or use --demo for faces that the program draws"
    )


def _why_unusable(folder: Path) -> str:
    """What is wrong with a folder that has no two class folders, and what to do."""
    if not exists(folder):
        return "no such folder; name one that holds female/ and male/"
    if not is_folder(folder):
        return "is a file; name the folder that holds female/ and male/"
    if not os.access(folder, os.R_OK | os.X_OK):
        return "permission denied; make the folder readable or name another"
    for path, classes in _walk(folder):
        for missing in CLASSES:
            if classes and missing not in classes:
                (present,) = classes.values()
                there = f"put the {missing} photographs into {printable(path / missing)}"
                return f"no folder {missing}/ beside {printable(present)}; {there}"
    if folder.name.lower() in CLASSES:
        return "is a class folder itself; name the folder above it"
    return "has no folders female/ and male/, also not further down; name the folder that holds them"


def data_folders(folder: Path) -> Iterator[Path]:
    """The folders at or below a folder that contain both class folders.

    The shallowest comes first; among folders with version numbers for names the newest does.
    """
    return (path for path, classes in _walk(folder) if len(classes) == len(CLASSES))


def _class_folders(folder: Path) -> dict[str, Path]:
    """The class folders directly in a folder, by class; "male", "Male" and "Male Faces" name the same class."""
    # Where a file system distinguishes case, the exact name of the class comes last and wins.
    folders = sorted(_subfolders(folder), key=lambda path: path.name in CLASSES)
    found = {class_named_by(path.name): path for path in folders}
    return {name: found[name] for name in CLASSES if name in found}


def class_named_by(folder: str) -> str:
    """The class that the name of a folder stands for: that of "Male Faces" is "male"."""
    return re.sub(r"[ _-]faces$", "", folder.casefold())


def list_labelled_files(folder: Path) -> list[tuple[Path, int]]:
    """List all files in the class folders and their subfolders with their labels, sorted by name within each class.

    System files are listed too, so that they are reported as skipped; see `system_file_reason`.

    Args:
        folder: The result of `find_data_folder`.

    Raises:
        UserError: A class folder is missing or empty.
    """
    folders = _class_folders(folder)
    files: list[tuple[Path, int]] = []
    for label, name in enumerate(CLASSES):
        if name not in folders:
            raise UserError(f"{printable(folder)}: no folder {name}/; put the {name} photographs there")
        # Do not follow a link that leads up and into the folder of the other class.
        visited = {os.path.realpath(path) for path in (folder, *folders.values()) if path != folders[name]}
        found = sorted(_files(folders[name], visited), key=lambda path: os.fsencode(path.relative_to(folder)))
        if not found:
            raise UserError(f"{printable(folders[name])}: is empty; put the {name} photographs there")
        files += [(path, label) for path in found]
    return files


def system_file_reason(path: Path, folder: Path) -> str:
    """Why a file below `folder` is not a photograph, going by its name, e.g. "hidden file"; empty if it may be one."""
    *above, name = path.relative_to(folder).parts
    if is_system_name(name):
        return "hidden file" if name.startswith(".") else "system file"
    return "in a hidden folder" if any(map(is_system_name, above)) else ""


def split_indices(
    labels: npt.NDArray[np.int64], groups: Sequence[str], val_split: float, seed: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Split photographs into training and validation, stratified by class.

    A hash of its group and the seed decides the side of each photograph. So the order of the files has no influence,
    a group stays together (even one that is filed under both classes), and photographs that are added later move few
    of the others.

    Args:
        labels: (N,) int64.
        groups: The group of each of the N photographs: the hash of its content, or one that copies of it share.
        val_split: Share of each class for validation, in (0, 1).
        seed: Another seed gives another split.

    Returns:
        Indices for training and for validation, each (n,) int64 and ascending.

    Raises:
        UserError: A class has too few different photographs for both sides.
    """
    members: dict[str, list[int]] = {}
    for index, group in enumerate(groups):
        members.setdefault(group, []).append(index)
    ranks = {group: hashlib.blake2b(f"{seed}:{group}".encode(), digest_size=16).digest() for group in members}
    in_validation = np.zeros(len(labels), dtype=bool)
    for label, name in enumerate(CLASSES):
        # A group that is filed under both classes counts for the first.
        of_class = [group for group, indices in members.items() if min(labels[i] for i in indices) == label]
        of_class.sort(key=ranks.__getitem__)
        total = sum(len(members[group]) for group in of_class)
        room = min(max(1, round(total * val_split)), total - 1)
        chosen: list[str] = []
        for group in of_class:
            if len(members[group]) <= room:
                chosen.append(group)
                room -= len(members[group])
        if not chosen and len(of_class) > 1:
            chosen = [min(of_class, key=lambda group: len(members[group]))]
        if not chosen:
            raise UserError(
                f"too few different {name} photographs: at least two are needed, one to train on and one to validate "
                "with"
            )
        in_validation[[index for group in chosen for index in members[group]]] = True
    return np.flatnonzero(~in_validation), np.flatnonzero(in_validation)


def is_system_name(name: str) -> bool:
    """Whether a file or folder is hidden or belongs to an operating system, going by its name."""
    return name.startswith(".") or name.lower() in _SYSTEM_NAMES


def _walk(folder: Path) -> Iterator[tuple[Path, dict[str, Path]]]:
    """Yield the folders at and below a folder, level by level, each with the class folders in it."""
    level, visited = [folder], set[str]()
    for _ in range(_MAX_DEPTH + 1):
        below: list[Path] = []
        for path in level:
            if (real := os.path.realpath(path)) in visited:
                continue
            visited.add(real)
            if len(visited) > _MAX_FOLDERS:
                return
            classes = _class_folders(path)
            yield path, classes
            others = (child for child in _subfolders(path) if child not in classes.values())
            below += [child for child in others if not is_system_name(child.name)]
        level = below


def _subfolders(folder: Path) -> list[Path]:
    """The folders in a folder: version numbers from the newest, then names in order; empty if it cannot be read."""
    _, names, _ = next(os.walk(folder), ("", [], []))
    names.sort(key=lambda name: (0, -int(name), "") if name.isdecimal() else (1, 0, name))
    return [folder / name for name in names]


def _files(folder: Path, visited: set[str]) -> Iterator[Path]:
    """Yield all files at and below a folder, but none of folders that were visited, be it by way of a link."""

    def refuse(error: OSError) -> NoReturn:
        raise UserError(f"{printable(error.filename)}: {error.strerror}; make the folder readable")

    for path, folders, names in os.walk(folder, onerror=refuse, followlinks=True):
        if (real := os.path.realpath(path)) in visited:
            folders.clear()
            continue
        visited.add(real)
        folders.sort(key=os.fsencode)
        yield from (Path(path, name) for name in names)
