"""Paths as people type them, and looking at paths without an exception where a disk does not answer."""

from __future__ import annotations

import os
import shlex
from pathlib import Path

KAGGLE_DATASET = "ashwingupta3012/male-and-female-faces-dataset"


def exists(path: Path) -> bool:
    """Whether something is there; False also where that cannot be told, e.g. on a network disk that is away."""
    return os.path.exists(path)  # noqa: PTH110 - Path.exists raises there


def is_folder(path: Path) -> bool:
    """Whether it is a folder; False also where that cannot be told."""
    return os.path.isdir(path)  # Path.is_dir raises there


def is_file(path: Path) -> bool:
    """Whether it is a file; False also where that cannot be told."""
    return os.path.isfile(path)  # noqa: PTH113 - Path.is_file raises there


def expanded(path: Path | str) -> Path:
    """The path with the home folder in the place of a leading ``~``; that of an unknown user stays as it is."""
    return Path(os.path.expanduser(path))  # noqa: PTH111 - Path.expanduser raises for an unknown user


def typed_path(text: str, base: Path) -> Path:
    """The path that somebody typed, dragged or pasted.

    A text that is the name of something is taken as it is. In any other, what a shell needs and a drag and drop
    therefore makes is undone: quotes, and backslashes before spaces.

    Args:
        text: ``~`` stands for the home folder.
        base: Where a relative path begins.
    """
    text = text.strip()
    path = base / expanded(text)
    if exists(path):
        return path
    try:
        words = shlex.split(text)
    except ValueError:  # an odd quote, as in the name of a file
        return path
    return base / expanded(words[0]) if len(words) == 1 else path


def kaggle_cache() -> Path:
    """Where kagglehub keeps the reference data set. The same rule as kagglehub's, which takes long to import."""
    cache = os.environ.get("KAGGLEHUB_CACHE") or os.path.expanduser("~/.cache/kagglehub")  # noqa: PTH111 - never raises
    return Path(cache) / "datasets" / KAGGLE_DATASET
