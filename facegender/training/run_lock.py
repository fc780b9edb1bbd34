"""Takes possession of a run folder, new or to be resumed. Light, so that a bad argument is answered at once."""

from __future__ import annotations

import contextlib
import os
import shutil
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from facegender import __version__
from facegender.runs.config import TrainConfig, option_of, validate
from facegender.runs.events import CheckpointSaved, Event, Notice, RunFinished
from facegender.runs.folder import LIVE_STATES, Manifest, RunFolder, create_run, open_run
from facegender.runs.journal import JournalWriter, read_kinds, read_tail
from facegender.runs.lock import Held
from facegender.runs.process import LOST_AFTER_S, Process
from facegender.runs.summary import summarise
from facegender.support.errors import UserError
from facegender.support.files import exists, expanded
from facegender.support.text import counted, one_line, printable


class FolderWatch:
    """Remembers which folder a path led to.

    It is kept open meanwhile, so that a folder that takes its place cannot be given the same number.
    """

    def __init__(self, path: Path) -> None:
        """Look at a folder.

        Raises:
            OSError: There is none.
        """
        self._path = path
        self._descriptor: int | None = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        self._identity = _identity(os.fstat(self._descriptor))

    def is_gone(self) -> bool:
        """Whether it was removed or renamed, or another one is in its place; False where that cannot be told."""
        try:
            return _identity(self._path.stat()) != self._identity
        except (FileNotFoundError, NotADirectoryError):
            return True
        except OSError:
            return False

    def close(self) -> None:
        """Let it go; does nothing the second time."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            with contextlib.suppress(OSError):
                os.close(descriptor)


def _identity(status: os.stat_result) -> tuple[int, int]:
    return status.st_dev, status.st_ino


RESUME_MAY_CHANGE = (
    "epochs",
    "patience",
    "data",
    "accelerator",
    "devices",
    "num_nodes",
    "strategy",
    "cache",
    "workers",
)
"""What may differ when a run goes on: how long, on what hardware, and where its photographs are now."""

PATIENCE_S = 5.0
"""How long to wait for a trainer that has ended its run but not yet itself."""


@dataclass(frozen=True)
class Claim:
    """A run folder that belongs to this process alone, until `release`.

    Attributes:
        config: What to train, complete and checked.
        resumed: The run is not new: training goes on from ``last.ckpt``, or from the start if it never had one.
        created: The folder did not exist before.
        ended: How the run had ended before it was resumed; None if it had not, or is new.
        before: The manifest before the run was resumed; None if it is new.
        watch: On the folder; None in a process that does not own it.
    """

    folder: RunFolder
    config: TrainConfig
    resumed: bool = False
    created: bool = False
    ended: RunFinished | None = None
    before: Manifest | None = None
    watch: FolderWatch | None = None

    def is_gone(self) -> bool:
        """Whether somebody has removed or renamed the folder since."""
        return self.watch is not None and self.watch.is_gone()

    def abandon(self, error: str) -> bool:
        """Give the folder back because nothing was trained.

        A folder that was made for this run goes away. A resumed one stands as it stood before.

        Returns:
            Whether the folder is gone; if not, the journal says why, if it can be written.
        """
        if self.is_gone():
            return True
        if self.created and not self.resumed:
            shutil.rmtree(self.folder.path, ignore_errors=True)
            shutil.rmtree(self.folder.visuals, ignore_errors=True)
            _remove_empty(self.folder)
            return True
        now = time.time()
        lines: list[Event] = [Notice(time=now, level="error", text=error)]
        if self.ended:
            lines.append(msgspec.structs.replace(self.ended, time=now))
        elif not self.before:
            lines.append(RunFinished(time=now, status="failed", error=error))
        # A disk that cannot be written must not hide why nothing was trained.
        with contextlib.suppress(OSError), JournalWriter(self.folder.journal_path) as journal:
            journal.write(*lines)
        if self.before:
            # Last, as a run without a last word counts as crashed from then on: the process that it names is gone.
            with contextlib.suppress(OSError):
                self.folder.write_manifest(self.before)
        return False

    def release(self) -> None:
        """Let others have the folder; does nothing the second time."""
        self.folder.claim.release()
        if self.watch is not None:
            self.watch.close()


def claim_new(config: TrainConfig, root: Path, run: str | None) -> Claim:
    """A folder for a new run, with its manifest.

    Raises:
        UserError: The configuration or the name cannot be used, or another trainer has the folder.
    """
    config = validate(config)
    if config.data:
        config = msgspec.structs.replace(config, data=_absolute(config.data))
    existed = run is not None and exists(RunFolder(root, run).path)
    folder = create_run(root, run)
    with _removed_if_refused(folder, new=not existed), _writing(folder), _claimed(folder):
        if not folder.is_untouched():  # whoever had claimed it has trained in it since we looked
            raise UserError(f"run {run} exists already: choose another --run, or --resume {run}")
        folder.write_manifest(
            Manifest(run=folder.name, config=config, process=Process.this(), created=time.time(), program=_program())
        )
        return Claim(folder, config, created=not existed, watch=FolderWatch(folder.path))


def claim_resume(root: Path, run: str, changes: Mapping[str, Any]) -> Claim:
    """The folder of a run that goes on.

    Args:
        changes: Fields of the configuration that were given anew.

    Raises:
        UserError: There is no such run, it is live, it has nothing to go on from, or a change is not possible.
    """
    folder = open_run(root, run)
    with _writing(folder), _claimed(folder, PATIENCE_S):
        return _resume(folder, changes)


def _resume(folder: RunFolder, changes: Mapping[str, Any]) -> Claim:
    run = folder.name
    manifest = folder.read_manifest()
    state = folder.state()
    if state in LIVE_STATES:
        raise UserError(_refusal(folder))
    if manifest is None:
        raise UserError(f"run {run} has no readable run.json to resume with: start a new run with `facegender train`")
    if not exists(folder.last_checkpoint) and _had_checkpoint(folder):
        raise UserError(f"run {run} has no last.ckpt to resume from: start a new run with `facegender train`")
    given = {name: _absolute(value) if name == "data" and value else value for name, value in changes.items()}
    changes = {name: value for name, value in given.items() if value != getattr(manifest.config, name)}
    if refused := sorted(set(changes) - set(RESUME_MAY_CHANGE)):
        raise UserError(
            f"{option_of(refused[0])} cannot change when a run is resumed; only --epochs, --patience, --data and the "
            "hardware can: leave it out"
        )
    config = validate(msgspec.structs.replace(manifest.config, **changes))
    if state == "completed" and config.epochs <= (done := summarise(folder).epochs_done):
        raise UserError(f"run {run} has completed its {counted(done, 'epoch')}: give more with --epochs to go on")
    tail = read_tail(folder.journal_path)
    folder.clear_stop_request()
    _clear_temporaries(folder)
    # The process first: whoever reads the journal's new line must find the process that wrote it alive.
    folder.write_manifest(msgspec.structs.replace(manifest, config=config, process=Process.this(), program=_program()))
    with JournalWriter(folder.journal_path) as journal:
        how = "resuming" if exists(folder.last_checkpoint) else "nothing was saved: beginning again"
        journal.write(Notice(time=time.time(), level="info", text=f"{how}; the run was {state}"))
    ended = tail[-1] if tail and isinstance(tail[-1], RunFinished) else None
    return Claim(folder, config, resumed=True, ended=ended, before=manifest, watch=FolderWatch(folder.path))


def _absolute(data: str) -> str:
    return str(expanded(data).absolute())


def _had_checkpoint(folder: RunFolder) -> bool:
    """Whether there once was a ``last.ckpt``. A run that ended before its first can only begin again."""
    return any(
        isinstance(event, CheckpointSaved) and event.file == folder.last_checkpoint.name
        for event in read_kinds(folder.journal_path, CheckpointSaved)
    )


def _clear_temporaries(folder: RunFolder) -> None:
    """Removes what a trainer that was killed had not finished writing; the claim's own files are others' too."""
    for place in (folder.path, folder.visuals):
        for path in place.glob(".*.tmp"):
            if not path.name.startswith(f".{folder.claim.path.name}."):
                path.unlink(missing_ok=True)


@contextlib.contextmanager
def _claimed(folder: RunFolder, patience_s: float = 0.0) -> Iterator[None]:
    """Claims a folder, and lets it go again if the block fails.

    Args:
        patience_s: How long to wait for a trainer that has written its last line already.

    Raises:
        UserError: Another trainer has it.
    """
    until = time.monotonic() + patience_s
    while True:
        try:
            folder.claim.take()
            break
        except Held as held:
            if time.monotonic() >= until or folder.state() in LIVE_STATES:
                raise UserError(_refusal(folder, held)) from None
        time.sleep(0.05)
    try:
        yield
    except BaseException:
        folder.claim.release()
        raise


def _refusal(folder: RunFolder, held: Held | None = None) -> str:
    """Why a folder cannot be claimed, and what to do."""
    run, state, manifest = folder.name, folder.state(), folder.read_manifest()
    holder = held.holder if held else manifest.process if manifest else None
    where, gone = "", ""
    if holder is not None and holder.presence() == "out of sight":
        where = f" on {printable(holder.host)}"
        gone = f"; if that process is gone, try again in {LOST_AFTER_S:.0f} s"
    if state in LIVE_STATES:
        return f"run {run} is {state} right now{where}: stop it first with `facegender stop {run}`{gone}"
    by = printable(str(held)) if held else "another process"
    return f"run {run} belongs to another trainer ({by}): wait for it, or choose another name{gone}"


@contextlib.contextmanager
def _removed_if_refused(folder: RunFolder, *, new: bool) -> Iterator[None]:
    """Removes a folder that was made for a run that then could not be claimed."""
    try:
        yield
    except BaseException:
        if new:
            _remove_empty(folder)
        raise


def _remove_empty(folder: RunFolder) -> None:
    """Removes the run's folders and those they are in, if they are empty: other runs may be there."""
    for path in (folder.path, folder.visuals):
        with contextlib.suppress(OSError):
            path.rmdir()
        with contextlib.suppress(OSError):
            path.parent.rmdir()


@contextlib.contextmanager
def _writing(folder: RunFolder) -> Iterator[None]:
    """Turns what a disk raises into a line for the person."""
    try:
        yield
    except OSError as error:
        reason = one_line(error.strerror or str(error))
        path = printable(error.filename or folder.path)
        remedy = "move it away" if isinstance(error, IsADirectoryError) else "choose another --root"
        raise UserError(f"cannot write {path} ({reason}): {remedy}") from None


def _program() -> str:
    return f"facegender-tui {__version__}"
