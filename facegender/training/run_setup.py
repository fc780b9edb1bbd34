"""Sets up the folder of a run, new or resumed, before it trains: checks it, locks it and writes the manifest.

Imports nothing heavy, so that a bad argument is answered at once.
"""

from __future__ import annotations

import contextlib
import itertools
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
from facegender.runs.folder import LIVE_STATES, Manifest, RunFolder, create_run, open_run, require_resumable
from facegender.runs.journal import JournalWriter, read_kinds, read_tail
from facegender.runs.lock import LOST_AFTER_S, LockHeld, Process
from facegender.runs.presets import RESUME_MAY_CHANGE
from facegender.runs.requests import take_requests
from facegender.runs.summary import summarise
from facegender.support.errors import UserError
from facegender.support.files import NotRegular, exists, expanded, require_utf8
from facegender.support.text import counted, one_line, printable, shell_command

_PROGRAM = f"facegender-tui {__version__}"

WAIT_FOR_LOCK_S = 5.0
"""How long to wait for a trainer that has written its last line but still holds the lock."""


@dataclass(frozen=True)
class RunSetup:
    """A run that this process is about to train: its folder, its configuration, and how it stood before.

    Attributes:
        folder: This process holds its lock, unless it is one of the run's further processes, which write nothing.
        config: What to train, complete and checked.
        resumed: Training continues from ``last.ckpt``, or from the start if the run never saved one.
        created: The folder did not exist before.
        ended: How the run had ended before it was resumed; None if it had not, or is new.
        before: The manifest before the run was resumed; None if it is new.
    """

    folder: RunFolder
    config: TrainConfig
    resumed: bool = False
    created: bool = False
    ended: RunFinished | None = None
    before: Manifest | None = None

    def abandon(self, error: str) -> None:
        """Undo the setup because nothing was trained.

        A folder that was made for this run is removed. In any other the journal says why, and a resumed run returns to
        the state it had.
        """
        if self.created:
            remove_untrained(self.folder)
            return
        if self.folder.lock.is_lost():
            return
        now = time.time()
        lines: list[Event] = [Notice(time=now, level="error", text=error)]
        if self.ended:
            lines.append(msgspec.structs.replace(self.ended, time=now))
        elif not self.before:
            lines.append(RunFinished(time=now, status="failed", error=error))
        # A disk that cannot be written must not hide why nothing was trained.
        with contextlib.suppress(OSError):
            with contextlib.closing(JournalWriter(self.folder.journal_path)) as journal:
                journal.write(*lines)
            if self.before:
                # Last: it names a process that has ended, and a run without a last line has crashed then.
                self.folder.write_manifest(self.before)


def remove_untrained(folder: RunFolder) -> None:
    """Remove the folders that were made for a run in which nothing was trained, unless somebody has moved them."""
    if not folder.lock.is_lost():
        shutil.rmtree(folder.path, ignore_errors=True)
        shutil.rmtree(folder.visuals, ignore_errors=True)
        folder.remove_if_empty()


def set_up_new(config: TrainConfig, root: Path, run: str | None) -> RunSetup:
    """Make and lock the folder of a new run, and write its manifest.

    Raises:
        UserError: The configuration or the name cannot be used, or another trainer has the folder.
    """
    config = validate(config)
    if config.data:
        config = msgspec.structs.replace(config, data=_absolute(config.data))
    existed = run is not None and exists(RunFolder(root, run).path)
    folder = create_run(root, run)
    try:
        with _locked(folder):
            if not folder.is_untouched():  # another trainer has used it since `create_run` looked
                resume = shell_command(root, "train", f"--resume={run}")
                raise UserError(f"run {run} exists already: choose another --run, or resume it with: {resume}")
            folder.refuse_links()
            try:
                folder.write_manifest(_manifest(folder, config))
            except BaseException:
                folder.lock.path.unlink(missing_ok=True)
                raise
            return RunSetup(folder, config, created=not existed)
    except BaseException:
        if not existed:
            folder.remove_if_empty()
        raise


def set_up_script(config: TrainConfig, root: Path, run: str, script: str) -> RunFolder:
    """Make and lock the folder of a run that a `RunRecorder` records, and write its manifest.

    Args:
        run: Where this name is taken, a number is added.
        script: Name of the script that trains the run.

    Raises:
        UserError: The root cannot be written.
        OSError: Likewise.
    """
    for name in itertools.chain([run], (f"{run}-{number}" for number in itertools.count(2))):
        if exists(RunFolder(root, name).path):
            continue
        try:
            folder = create_run(root, name)
            with _locked(folder):
                folder.write_manifest(_manifest(folder, config, printable(script)))
                return folder
        except UserError:
            if not exists(RunFolder(root, name).journal_path):  # else another script was faster
                raise
    raise AssertionError("names do not end")


def _manifest(folder: RunFolder, config: TrainConfig, script: str = "") -> Manifest:
    return Manifest(
        run=folder.name,
        config=config,
        process=Process.this(),
        created=time.time(),
        program=_PROGRAM,
        data=f"script {script}" if script else "",
        script=script,
    )


def set_up_resumed(root: Path, run: str, changes: Mapping[str, Any]) -> RunSetup:
    """Lock the folder of a run to resume, and write its new process and configuration into the manifest.

    Args:
        changes: Fields of the configuration that were given anew.

    Raises:
        UserError: There is no such run, it is live, it has nothing to resume from, or a change is not possible.
    """
    folder = open_run(root, run)
    with _locked(folder, WAIT_FOR_LOCK_S):
        return _resume(folder, changes)


def _resume(folder: RunFolder, changes: Mapping[str, Any]) -> RunSetup:
    run = folder.name
    manifest = folder.read_manifest()
    state = folder.state()
    if state in LIVE_STATES:
        raise UserError(_refusal(folder))
    new_run = shell_command(folder.root, "train")
    if manifest is None:
        raise UserError(f"run {run} has no readable run.json to resume with: start a new run with: {new_run}")
    require_resumable(manifest)
    # A run that ended before its first checkpoint starts again.
    events = read_kinds(folder.journal_path, CheckpointSaved)
    saved = {event.file for event in events if isinstance(event, CheckpointSaved)}
    if not exists(folder.last_checkpoint) and folder.last_checkpoint.name in saved:
        raise UserError(f"run {run} has no last.ckpt to resume from: start a new run with: {new_run}")
    given = {name: _absolute(value) if name == "data" and value else value for name, value in changes.items()}
    changes = {name: value for name, value in given.items() if value != getattr(manifest.config, name)}
    if refused := sorted(set(changes) - set(RESUME_MAY_CHANGE)):
        problem = f"{option_of(refused[0])} cannot change when a run is resumed: leave it out"
        if refused == ["learning_rate"]:
            command = shell_command(folder.root, "set", run, "learning-rate", f"{changes['learning_rate']:g}")
            raise UserError(f"{problem}, and once the run trains: {command}")
        raise UserError(f"{problem}; these can: " + ", ".join(map(option_of, RESUME_MAY_CHANGE)))
    config = validate(msgspec.structs.replace(manifest.config, **changes))
    if state == "completed" and config.epochs <= (done := summarise(folder).epochs_done):
        longer = shell_command(folder.root, "train", f"--resume={run}", f"--epochs={2 * done}")
        raise UserError(f"run {run} has completed its {counted(done, 'epoch')}; train it longer with: {longer}")
    folder.refuse_links()
    last = next(read_tail(folder.journal_path), None)
    folder.stop_path.unlink(missing_ok=True)
    take_requests(folder)  # left over from before
    # A trainer that was killed leaves temporary files, and one of an earlier version the file that was its lock.
    for path in [*folder.path.glob(".*.tmp"), *folder.visuals.glob(".*.tmp"), folder.path / "claim"]:
        path.unlink(missing_ok=True)
    folder.write_manifest(msgspec.structs.replace(manifest, config=config, process=Process.this(), program=_PROGRAM))
    with contextlib.closing(JournalWriter(folder.journal_path)) as journal:
        how = "resuming" if exists(folder.last_checkpoint) else "nothing was saved: beginning again"
        journal.write(Notice(time=time.time(), level="info", text=f"{how}; the run had {state}"))
    ended = last if isinstance(last, RunFinished) else None
    return RunSetup(folder, config, resumed=True, ended=ended, before=manifest)


def _absolute(data: str) -> str:
    return str(require_utf8(expanded(data).absolute(), "--data"))


@contextlib.contextmanager
def _locked(folder: RunFolder, timeout_s: float = 0.0) -> Iterator[None]:
    """Lock a folder. If the block raises, unlock it again, and turn what a disk raises into a line for the user.

    Args:
        timeout_s: How long to wait for a trainer that has written its last line already.

    Raises:
        UserError: Another trainer holds the lock, or the folder cannot be written.
    """
    until = time.monotonic() + timeout_s
    try:
        while True:
            try:
                folder.lock.acquire()
                break
            except LockHeld:
                if time.monotonic() >= until or folder.state() in LIVE_STATES:
                    raise UserError(_refusal(folder)) from None
            time.sleep(0.05)
        yield
    except BaseException as error:
        folder.lock.release()
        if not isinstance(error, OSError):
            raise
        reason = one_line(error.strerror or str(error))
        path = printable(error.filename or folder.path)
        remedy = "move it away" if isinstance(error, IsADirectoryError | NotRegular) else "choose another --root"
        raise UserError(f"cannot write {path} ({reason}): {remedy}") from None


def _refusal(folder: RunFolder) -> str:
    """Say who trains in a folder, as far as its manifest tells, and what to do."""
    run, state, manifest = folder.name, folder.state(), folder.read_manifest()
    holder = manifest.process if manifest else None
    where = gone = ""
    if holder is not None and not holder.is_local:
        where = f" on {printable(holder.host)}"
        gone = f"; if that process is gone, try again in {LOST_AFTER_S:.0f} s"
    if state in LIVE_STATES:
        stop = shell_command(folder.root, "stop", run)
        return f"run {run} is {state} right now{where}: stop it first with: {stop}{gone}"
    by = printable(str(holder or "another process"))
    return f"run {run} belongs to another trainer ({by}): wait for it, or choose another name{gone}"
