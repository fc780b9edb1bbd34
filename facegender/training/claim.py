"""Takes possession of a run folder, new or to be resumed. Light, so that a bad argument is answered at once."""

from __future__ import annotations

import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from facegender import __version__
from facegender.runs.config import TrainConfig, validate
from facegender.runs.errors import UserError
from facegender.runs.events import Notice, RunFinished
from facegender.runs.folder import LIVE_STATES, Manifest, Process, RunFolder, create_run, open_run
from facegender.runs.journal import JournalWriter, read_tail

RESUME_MAY_CHANGE = ("epochs", "accelerator", "devices", "num_nodes", "strategy", "workers")
"""What may differ when a run goes on: how long, and on what hardware."""


@dataclass(frozen=True)
class Claim:
    """A run folder that belongs to this process.

    Attributes:
        config: What to train, complete and checked.
        resumed: Training goes on from ``last.ckpt``.
        created: The folder did not exist before.
        ended: How the run had ended before it was resumed; None if it had not, or is new.
    """

    folder: RunFolder
    config: TrainConfig
    resumed: bool = False
    created: bool = False
    ended: RunFinished | None = None

    def abandon(self, error: str) -> bool:
        """Give the folder back because nothing was trained.

        A folder that was made for this run goes away. A resumed one ends as it had ended before.

        Returns:
            Whether the folder is gone; if not, the journal says how the run ended.
        """
        if self.created and not self.resumed:
            shutil.rmtree(self.folder.path, ignore_errors=True)
            shutil.rmtree(self.folder.visuals, ignore_errors=True)
            return True
        now = time.time()
        end = RunFinished(time=now, status="failed", error=error)
        if self.ended:
            end = msgspec.structs.replace(self.ended, time=now)
        with JournalWriter(self.folder.journal_path) as journal:
            journal.write(Notice(time=now, level="error", text=error), end)
        return False


def claim_new(config: TrainConfig, root: Path, run: str | None) -> Claim:
    """A folder for a new run, with its manifest.

    Raises:
        UserError: The configuration or the name cannot be used.
    """
    config = validate(config)
    if config.data:
        config = msgspec.structs.replace(config, data=str(Path(config.data).expanduser().absolute()))
    existed = run is not None and RunFolder(root, run).path.exists()
    folder = create_run(root, run)
    try:
        folder.write_manifest(
            Manifest(run=folder.name, config=config, process=Process.this(), created=time.time(), program=_program())
        )
    except OSError as error:
        raise UserError(f"cannot write in {folder.path} ({error.strerror}): choose another --root") from None
    return Claim(folder, config, created=not existed)


def claim_resume(root: Path, run: str, changes: Mapping[str, Any]) -> Claim:
    """The folder of a run that goes on.

    Args:
        changes: Fields of the configuration that were given anew.

    Raises:
        UserError: There is no such run, it is live, it has nothing to go on from, or a change is not possible.
    """
    folder = open_run(root, run)
    manifest = folder.read_manifest()
    state = folder.state()
    if state in LIVE_STATES:
        raise UserError(f"run {run} is {state} right now: stop it first with `facegender stop {run}`")
    if manifest is None:
        raise UserError(f"run {run} has no readable run.json to resume with: start a new run with `facegender train`")
    if not folder.last_checkpoint.exists():
        raise UserError(f"run {run} has no last.ckpt to resume from: start a new run with `facegender train`")
    if refused := sorted(set(changes) - set(RESUME_MAY_CHANGE)):
        option = f"--{refused[0].replace('_', '-')}"
        raise UserError(
            f"{option} cannot change when a run is resumed; only --epochs and the hardware can: leave it out"
        )
    config = validate(msgspec.structs.replace(manifest.config, **changes))
    if state == "completed" and config.epochs <= manifest.config.epochs:
        raise UserError(
            f"run {run} has completed its {manifest.config.epochs} epochs: give more with --epochs to go on"
        )
    tail = read_tail(folder.journal_path)
    folder.clear_stop_request()
    # The process first: whoever reads the journal's new line must find the process that wrote it alive.
    folder.write_manifest(msgspec.structs.replace(manifest, config=config, process=Process.this(), program=_program()))
    with JournalWriter(folder.journal_path) as journal:
        journal.write(Notice(time=time.time(), level="info", text=f"resuming; the run was {state}"))
    ended = tail[-1] if tail and isinstance(tail[-1], RunFinished) else None
    return Claim(folder, config, resumed=True, ended=ended)


def _program() -> str:
    return f"facegender-tui {__version__}"
