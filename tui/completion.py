"""Completes a path as a shell does."""

from __future__ import annotations

import os
from pathlib import Path

from facegender.support.files import typed_path
from facegender.support.text import printable

MAX_CANDIDATES = 12


def complete_path(text: str, root: Path) -> tuple[str, str]:
    """Complete a typed path as far as it is unambiguous; a relative one begins at the root.

    Names with control characters are no candidates.

    Returns:
        The longer text, and in one line the candidates (empty if there is only one) or what is wrong with the text.
    """
    parent, slash, prefix = text.rpartition("/")
    typed_folder = parent + slash
    folder = typed_path(typed_folder or ".", root)
    try:
        with os.scandir(folder) as entries:
            names = [
                entry.name + ("/" if _is_folder(entry) else "")
                for entry in entries
                if entry.name.startswith(prefix) and (prefix or not entry.name.startswith("."))
            ]
    except OSError as error:
        return text, f"{printable(typed_folder or '.')}: {error.strerror}"
    except ValueError:
        return text, "no path has such a character"
    names = sorted(name for name in names if name == printable(name))
    if not names:
        return text, "nothing starts with that"
    common = os.path.commonprefix(names)  # noqa: RUF071 - the prefix in characters
    more = len(names) - MAX_CANDIDATES
    candidates = "  ".join(names[:MAX_CANDIDATES]) + (f"  and {more} more" if more > 0 else "")
    return typed_folder + common, candidates if len(names) > 1 else ""


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # e.g. a link that leads to itself
        return False
