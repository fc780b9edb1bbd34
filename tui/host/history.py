"""The commands that the user typed into the palette, kept over sessions."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable
from pathlib import Path

from facegender.support.cache_dir import make_cache_folder
from facegender.support.files import read_end, replacing
from facegender.support.text import one_line

MAX_LINES = 200
MAX_CHARACTERS = 500
"""A longer command is not kept."""
MAX_BYTES = 1 << 20
"""Of the file, which other programs may write to: only so much of its end is read."""


class History:
    """Commands typed in the palette, the oldest first, kept in a private file of the cache folder.

    Several running programs may append to the file. Without one, commands are remembered until the program ends.
    """

    def __init__(self) -> None:
        self.lines: list[str] = []
        self._path: Path | None = None

    def load(self) -> None:
        """Read the file, once. Call it in a thread: it waits for the disk."""
        if self._path is not None:
            return
        with contextlib.suppress(OSError):
            self._path = make_cache_folder() / "history"
            lines = read_end(self._path, MAX_BYTES).decode(errors="replace").splitlines()
            self.lines = [*_newest(map(one_line, lines)), *self.lines][-MAX_LINES:]
            if len(lines) > 2 * MAX_LINES:
                with replacing(self._path) as temporary:
                    temporary.write_text("".join(f"{line}\n" for line in self.lines))
                    temporary.chmod(0o600)

    def add(self, line: str) -> None:
        """Append a command, unless it is the newest one. Call `save` to write it."""
        if line and len(line) <= MAX_CHARACTERS and line not in self.lines[-1:]:
            self.lines = [*(one for one in self.lines if one != line), line][-MAX_LINES:]

    def save(self, line: str) -> None:
        """Append a command to the file. Call it in a thread."""
        if self._path is not None and len(line) <= MAX_CHARACTERS:
            with contextlib.suppress(OSError):
                flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
                descriptor = os.open(self._path, flags, 0o600)
                with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                    file.write(f"{line}\n")


def _newest(lines: Iterable[str]) -> list[str]:
    """Return the lines without repetitions, each at its last position; at most `MAX_LINES`, the newest."""
    return list(dict.fromkeys(reversed([*lines])))[:MAX_LINES][::-1]
