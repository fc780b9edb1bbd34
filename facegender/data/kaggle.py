"""Downloads the reference photographs from Kaggle. The only part of the program that uses the network."""

from __future__ import annotations

from pathlib import Path

from facegender.data.dataset import shallowest_data_folder
from facegender.runs.data_folders import KAGGLE_DATASET
from facegender.support.errors import UserError
from facegender.support.text import one_line, printable


def download() -> Path:
    """The folder with the class folders of the reference data set, downloaded into kagglehub's cache if need be.

    kagglehub draws its own progress bar on stderr.

    Raises:
        UserError: No network, no access, no room, or something else in the data set than was expected.
    """
    try:
        # Importing it takes longer than everything else here, and only a download needs it.
        import kagglehub

        path = Path(kagglehub.dataset_download(KAGGLE_DATASET))
    except Exception as error:
        # The boundary to a client that passes on whatever its network, archive and file libraries raise.
        reason = one_line(str(error))[:200] or type(error).__name__
        raise UserError(
            f"cannot download {KAGGLE_DATASET} ({reason}): check the network and, if Kaggle asks who you are, put an "
            "API token into ~/.kaggle/kaggle.json; or name a folder with --data DIR, or use --demo"
        ) from None
    found = shallowest_data_folder(path)
    if found is None:
        raise UserError(
            f"{printable(path)}: was downloaded but has no folders female/ and male/; name them with --data DIR"
        )
    return found
