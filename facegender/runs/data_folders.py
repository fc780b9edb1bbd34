"""Where photographs are looked for when nobody names a folder: one list for the trainer and for the interface."""

from __future__ import annotations

import os
from pathlib import Path

KAGGLE_DATASET = "ashwingupta3012/male-and-female-faces-dataset"


def default_data_folders(root: Path) -> list[Path]:
    """``datasets/`` below the root, then the reference data set in kagglehub's cache.

    The cache is where kagglehub puts it; importing kagglehub to ask it takes seconds.
    """
    cache = os.environ.get("KAGGLEHUB_CACHE") or os.path.expanduser("~/.cache/kagglehub")  # noqa: PTH111 - never raises
    return [root / "datasets", Path(cache) / "datasets" / KAGGLE_DATASET]
