"""Download the reference photographs from Kaggle: the only part of the program that uses the network."""

from __future__ import annotations

from pathlib import Path

from facegender.data.dataset import data_folders
from facegender.runs.data_folders import KAGGLE_DATASET
from facegender.support.errors import UserError
from facegender.support.text import one_line, printable


def download() -> Path:
    """Download the reference data set into kagglehub's cache, unless it is there already.

    kagglehub draws its own progress bar on stderr.

    Returns:
        The folder that contains the class folders.

    Raises:
        UserError: No network, no access or no disk space, or the data set has no class folders.
    """
    try:
        # Slow to import, and only a download needs it.
        import kagglehub

        path = Path(kagglehub.dataset_download(KAGGLE_DATASET))
    except Exception as error:
        # kagglehub passes on whatever its network, archive and file libraries raise.
        reason = one_line(str(error))[:200] or type(error).__name__
        raise UserError(
            f"cannot download {KAGGLE_DATASET} ({reason}): check the network and, if Kaggle asks who you are, put an "
            "API token into ~/.kaggle/kaggle.json; or name a folder with --data DIR, or use --demo"
        ) from None
    found = next(data_folders(path), None)
    if found is None:
        raise UserError(
            f"{printable(path)}: was downloaded but has no folders female/ and male/; name them with --data DIR"
        )
    return found
