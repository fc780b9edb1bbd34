"""What Tab makes of the text in the prompt."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from facegender.support.files import typed_path
from facegender.support.text import printable

SHOWN = 12


def complete_path(text: str, root: Path) -> tuple[str, str]:
    """Complete a path as a shell does: as far as it is unambiguous.

    Args:
        text: What was typed; ``~`` stands for the home folder, a relative path begins at ``root``.

    Returns:
        The longer text, and the candidates in one line (empty where there is only one).
    """
    folder_text, slash, beginning = text.rpartition("/")
    shown_folder = folder_text + slash
    folder = typed_path(shown_folder or ".", root)
    try:
        with os.scandir(folder) as entries:
            names = [
                entry.name + ("/" if _is_folder(entry) else "")
                for entry in entries
                if entry.name.startswith(beginning) and (beginning or not entry.name.startswith("."))
            ]
    except OSError as error:
        return text, f"{printable(shown_folder or '.')}: {error.strerror}"
    except ValueError:
        return text, "no path has such a character"
    names = sorted(name for name in names if name == printable(name))
    if not names:
        return text, "nothing starts with that"
    common = os.path.commonprefix(names)  # noqa: RUF071 - characters are meant
    candidates = "" if len(names) == 1 else summary(names)
    return shown_folder + common, candidates


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # e.g. a link that leads to itself
        return False


def complete_word(text: str, words: Iterable[str]) -> tuple[str, str]:
    """Complete one of some words."""
    found = sorted(word for word in words if word.startswith(text))
    if not found:
        return text, "no command starts with that"
    common = os.path.commonprefix(found)  # noqa: RUF071 - characters are meant
    return common, "" if len(found) == 1 else summary(found)


def summary(names: list[str]) -> str:
    """The first names in one line, and how many more there are."""
    more = len(names) - SHOWN
    return "  ".join(names[:SHOWN]) + (f"  and {more} more" if more > 0 else "")
