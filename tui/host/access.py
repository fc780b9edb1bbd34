"""Whether the interface may write into a run folder: not with ``--read-only``, nor where the folder is not writable."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, cast

from textual.app import App

from facegender.runs.folder import RunFolder
from facegender.support.errors import UserError
from facegender.support.files import exists
from facegender.support.text import printable


class WriteAccess:
    """Tells which runs may be changed.

    Args:
        read_only: No run may be changed.
        is_writable: Tells whether this process may create files in a folder; None asks the operating system.
    """

    def __init__(self, *, read_only: bool = False, is_writable: Callable[[Path], bool] | None = None) -> None:
        self.read_only = read_only
        self._is_writable = is_writable or partial(os.access, mode=os.W_OK)

    def problem(self, folder: RunFolder | None = None) -> str:
        """Return why a run may not be changed, or why no run may be started; empty if it may.

        Call it in a thread if there is a folder, because it waits for the disk.

        A folder that does not exist is no problem of access.
        """
        if self.read_only:
            what = "no run can be started" if folder is None else f"run {folder.name} cannot be changed"
            return f"{what}: facegender-tui was started with --read-only; start it without to change runs"
        if folder is None:
            return ""
        closed = next(
            (path for path in (folder.path, folder.visuals) if exists(path) and not self._is_writable(path)), None
        )
        return "" if closed is None else f"run {folder.name} is read-only: you may not write to {printable(closed)}"

    def require(self, folder: RunFolder | None = None) -> None:
        """Check that a run may be changed, or one started.

        Raises:
            UserError: It may not; the message is `problem`.
        """
        if problem := self.problem(folder):
            raise UserError(problem)


def access_of(app: App[Any]) -> WriteAccess:
    """Return what the application may change."""
    return cast(WriteAccess, getattr(app, "access", None) or WriteAccess())
