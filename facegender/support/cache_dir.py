"""Where the program keeps what it can make again: decoded photographs, frames of classified files."""

from __future__ import annotations

import os
from pathlib import Path

CACHE_VARIABLE = "FACEGENDER_CACHE"


def cache_folder() -> Path:
    """``$FACEGENDER_CACHE``, or the user's cache folder."""
    if chosen := os.environ.get(CACHE_VARIABLE):
        return Path(chosen)
    import platformdirs

    return Path(platformdirs.user_cache_dir("facegender-tui"))
