"""Train one run from its setup to its end, and record how it ended.

Imports nothing heavy before the run folder is locked, so that a mistyped argument is reported at once. torch is
imported afterwards, when the journal is already being written.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from facegender.data.dataset import find_data_folder
from facegender.runs.config import TrainConfig
from facegender.runs.events import Status
from facegender.runs.folder import INITIAL
from facegender.runs.summary import summarise
from facegender.support.errors import UserError, print_error
from facegender.support.files import exists
from facegender.support.text import counted, figure, printable, shell_command
from facegender.training.failures import describe
from facegender.training.on_end import run_on_end
from facegender.training.run_setup import RunSetup, set_up_new, set_up_resumed
from facegender.training.session import ConsoleSession
from facegender.training.stop import STOP_REQUESTED, Stopped, signals_handled
from facegender.training.threads.console import TrainLog


def is_nonzero_rank() -> bool:
    """Whether this is one of a run's further processes on several devices: only the first owns the run folder."""
    ranks = (os.environ.get(name) for name in ("RANK", "LOCAL_RANK", "NODE_RANK", "SLURM_PROCID"))
    return any(rank not in (None, "0") for rank in ranks)


def train(
    config: TrainConfig,
    root: Path,
    run: str | None = None,
    resume: str | None = None,
    *,
    changes: Mapping[str, Any] | None = None,
    show: bool = True,
    on_end: str = "",
) -> Status:
    """Train a run to its end, or until it is stopped.

    Args:
        config: What to train; ignored when a run is resumed.
        root: The folder that has ``checkpoints/`` and ``visuals/``.
        run: Name of the new run; generated if not given.
        resume: Name of a run to resume.
        changes: With ``resume``: fields of the configuration to change.
        show: Print progress.
        on_end: Command that is run when the run has ended, see `facegender.training.on_end`; empty for none.

    Returns:
        How the run ended. A failure has been reported on stderr.

    Raises:
        UserError: The arguments, the data or the checkpoint cannot be used, and nothing was trained. If there is a run
            folder, its journal says so as well.
    """
    if run and resume:
        raise UserError("--run and --resume exclude each other: a resumed run keeps its name")
    if is_nonzero_rank():
        from facegender.training.fit import run_nonzero_rank

        return run_nonzero_rank(config, root, run, resume, dict(changes or {}))
    setup = set_up_resumed(root, resume, changes or {}) if resume else set_up_new(config, root, run)
    try:
        with TrainLog(setup.folder.log_path) as log:
            session = ConsoleSession(setup, log, show=show)
            with signals_handled(session.stop, log.adopt_output):
                return _run(session, log, on_end)
    finally:
        setup.folder.lock.release()


def _run(session: ConsoleSession, log: TrainLog, on_end: str) -> Status:
    setup, folder = session.setup, session.setup.folder
    status: Status = "completed"
    error = ""
    try:
        try:
            _work(session)
        finally:
            has_begun = not session.stop.preparing
            session.stop.preparing = False  # a late request must not interrupt what follows
    except Stopped as stopped:
        error = session.stop.error
        status = "failed" if error else "stopped"
        session.notice(str(stopped), "error" if error else "info")
    except UserError as user_error:
        if not has_begun:
            session.close()
            setup.abandon(str(user_error))
            _run_on_end(on_end, setup, "failed", str(user_error))
            raise
        status, error = "failed", str(user_error)
    except BaseException as exception:
        # The boundary of the process: whatever happened, the journal and the person learn of it in one line.
        status, error = "failed", describe(exception)
        log.trace(exception)
    if folder.lock.is_lost():
        # The journal is still open: where the folder was only renamed, it says how the run ended.
        status, error = "failed", f"{printable(folder.path)} was removed or renamed while the run was training"
    session.close(status, error)
    if error:
        print_error(f"run {folder.name} failed: {error}")
    elif session.show:
        _summarise(session, status)
    _run_on_end(on_end, setup, status, error)
    return status


def _run_on_end(command: str, setup: RunSetup, status: Status, error: str) -> None:
    """Release the run, then run the user's command."""
    setup.folder.lock.release()
    if command:
        run_on_end(command, setup.folder, status, error)


def _work(session: ConsoleSession) -> None:
    setup = session.setup
    if setup.folder.stop_requested():  # before this process could react to it
        session.stop.preparing = False
        session.start()
        raise Stopped(STOP_REQUESTED)
    session.start()
    if not setup.config.demo and not setup.resumed:
        # Checked here as well, so that a mistyped folder is reported before torch is imported. A resumed run that lacks
        # only its last line needs no photographs.
        find_data_folder(setup.config.data, setup.folder.root)
    from facegender.training.fit import fit

    fit(setup, session, session.stop)


def _summarise(session: ConsoleSession, status: Status) -> None:
    """Print how the run ended, its files, and how to resume it."""
    folder, console = session.setup.folder, session.console
    summary = summarise(folder)
    text = f"{status}: {counted(summary.epochs_done, 'epoch')}"
    if summary.best_epoch >= 0:
        text += f", best validation accuracy {figure(summary.best_accuracy)} at epoch {summary.best_epoch + 1}"
    console.print(text)
    for path in (folder.best_checkpoint, folder.last_checkpoint, folder.journal_path, folder.log_path):
        if exists(path):
            console.print(f"  {path}")
    if epochs := [epoch for epoch in folder.frame_epochs() if epoch != INITIAL]:
        console.print(f"  {folder.visuals} ({counted(len(epochs), 'epoch')} of feature maps; epoch_0 is epoch 1)")
    if status == "stopped" and exists(folder.last_checkpoint):
        console.print(f"resume with: {shell_command(folder.root, 'train', '--resume', folder.name)}")
