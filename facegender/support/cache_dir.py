"""Where the program keeps files that it can make again: decoded photographs, frames of classified files."""

from __future__ import annotations

import os
from pathlib import Path

CACHE_VARIABLE = "FACEGENDER_CACHE"


def cache_folder() -> Path:
    """Return ``$FACEGENDER_CACHE``, or the user's cache folder."""
    if chosen := os.environ.get(CACHE_VARIABLE):
        return Path(chosen)
    import platformdirs

    return Path(platformdirs.user_cache_dir("facegender-tui"))


def make_cache_folder() -> Path:
    """Create the cache folder, readable for the user alone. A folder that `CACHE_VARIABLE` names keeps its mode.

    Raises:
        OSError: It cannot be created.
    """
    folder = cache_folder()
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not os.environ.get(CACHE_VARIABLE):
        folder.chmod(0o700)  # earlier versions made it readable for everybody
    return folder
