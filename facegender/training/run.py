"""Train one run from its claim to its end, and record how each way of ending ended.

Light until the run folder is claimed, so that a mistyped argument is answered at once; torch is imported afterwards,
when the journal is already being written.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from facegender.data.dataset import find_data_folder
from facegender.runs.config import TrainConfig
from facegender.runs.events import Status
from facegender.runs.folder import RunFolder
from facegender.runs.summary import summarise
from facegender.support.errors import UserError, print_error
from facegender.support.files import exists
from facegender.support.text import counted, printable
from facegender.training.failures import describe
from facegender.training.run_lock import claim_new, claim_resume
from facegender.training.session import Session
from facegender.training.stop import Stopped, signals_handled
from facegender.training.threads.console import TrainLog


def is_nonzero_rank() -> bool:
    """Whether this is one of a run's further processes on other devices: only the first owns the run folder."""
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
) -> Status:
    """Train a run to its end, or until somebody stops it.

    Args:
        config: What to train; not looked at when a run is resumed.
        root: Where ``checkpoints/`` and ``visuals/`` are.
        run: Name of the new run; drawn if not given.
        resume: Name of a run to go on with.
        changes: With ``resume``: the fields of the configuration that were given anew.
        show: Print progress.

    Returns:
        How it ended. A failure has been reported on stderr.

    Raises:
        UserError: Something that was asked for is not possible, and nothing was trained; the run folder says so too,
            if there is one.
    """
    if run and resume:
        raise UserError("--run and --resume exclude each other: a resumed run keeps its name")
    if is_nonzero_rank():
        from facegender.training.fit import run_nonzero_rank

        return run_nonzero_rank(config, root, run, resume, dict(changes or {}))
    claim = claim_resume(root, resume, changes or {}) if resume else claim_new(config, root, run)
    try:
        try:
            log = TrainLog(claim.folder.log_path)
        except OSError as error:
            problem = f"{printable(claim.folder.log_path)}: {describe(error)}; choose another --root"
            claim.abandon(problem)
            raise UserError(problem) from None
        with log:
            session = Session(claim, log, show=show)
            with signals_handled(session.stop, session.console.hang_up):
                return _run(session, log)
    finally:
        claim.release()


def _run(session: Session, log: TrainLog) -> Status:
    claim = session.claim
    try:
        try:
            _work(session)
        finally:
            session.stop.preparing = False  # what follows must not be interrupted by a late request
    except Stopped as stopped:
        if claim.is_gone():
            return _lose(session)
        status: Status = "stopped"
        session.notice(f"asked to stop: {stopped}")
        session.finish(status)
    except UserError as error:
        if not session.began:
            session.close()
            claim.abandon(str(error))
            raise
        session.finish("failed", str(error))
        print_error(f"run {claim.folder.name} failed: {error}")
        return "failed"
    except BaseException as error:
        # The boundary of the process: whatever it is, the run folder and the person learn of it in one line.
        if claim.is_gone():
            return _lose(session)
        line = describe(error)
        log.trace(error)
        session.finish("failed", line)
        print_error(f"run {claim.folder.name} failed: {line}")
        return "failed"
    else:
        if claim.is_gone():
            return _lose(session)
        status = "completed"
        session.finish(status)
    if session.show:
        _summarise(session, status)
    return status


def _lose(session: Session) -> Status:
    """End a run whose folder is gone, without making anything again in its place.

    Its journal is still open: where the folder was renamed, it says how the run ended.
    """
    folder = session.claim.folder
    line = f"{printable(folder.path)} was removed or renamed while the run was training"
    session.finish("failed", line)
    print_error(f"run {folder.name} has ended: {line}")
    return "failed"


def _work(session: Session) -> None:
    claim = session.claim
    if claim.folder.stop_requested():  # before there was anybody to hear it
        session.stop.preparing = False
        session.start()
        raise Stopped("stop request")
    session.start()
    if not claim.config.demo:
        # Looked for here as well, so that a mistyped folder is answered before torch is imported.
        find_data_folder(claim.config.data, claim.folder.root)
    from facegender.training.fit import fit

    fit(session)


def _summarise(session: Session, status: Status) -> None:
    folder = session.claim.folder
    session.console.print(f"{status}: {_outcome(folder)}")
    for path in _written(folder):
        session.console.print(f"  {path}")
    if status == "stopped" and exists(folder.last_checkpoint):
        session.console.print(f"go on with: facegender train --resume {folder.name}")


def _outcome(folder: RunFolder) -> str:
    """How far a run came in all, and which epoch was best."""
    summary = summarise(folder)
    text = counted(summary.epochs_done, "epoch")
    if summary.best_epoch < 0:
        return text
    return f"{text}, best validation accuracy {summary.best_accuracy:.3f} at epoch {summary.best_epoch}"


def _written(folder: RunFolder) -> list[str]:
    paths = [folder.best_checkpoint, folder.last_checkpoint, folder.journal_path, folder.log_path]
    lines = [str(path) for path in paths if exists(path)]
    if epochs := folder.frame_epochs():
        span = str(epochs[0]) if len(epochs) == 1 else f"{epochs[0]}…{epochs[-1]}"
        lines.append(f"{folder.visuals}/epoch_{span} (feature maps and filters)")
    return lines
