"""One training run from claim to end: the threads around it, its signals, and how each way of ending is recorded.

Light until the run folder is claimed, so that a mistyped argument is answered at once; torch is imported afterwards,
when the journal is already being written.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from facegender.data.dataset import locate
from facegender.runs.config import TrainConfig
from facegender.runs.events import Event, Level, Notice, RunFinished, RunStarted, Status
from facegender.runs.folder import RunFolder
from facegender.runs.summary import summarise
from facegender.support.errors import UserError, complain
from facegender.support.files import exists
from facegender.support.text import counted, printable
from facegender.training.claim import Claim, claim_new, claim_resume
from facegender.training.console import ConsoleThread, Preparing, TrainLog
from facegender.training.failures import describe
from facegender.training.framing import FrameTaken, FrameThread
from facegender.training.stop import Stopped, StopSwitch, signals_handled
from facegender.training.system import GpuIdentity
from facegender.training.writer import Item, JournalThread

PREPARING_EVERY_S = 5.0


class Session:
    """What surrounds one run while it trains: journal, frames, console and stop switch.

    Is the `facegender.training.recorder.Sink` of the run.
    """

    def __init__(self, claim: Claim, log: TrainLog, *, show: bool) -> None:
        self.claim = claim
        self.stop = StopSwitch()
        self.console = ConsoleThread(log)
        self.show = show
        self.began = False
        observers = [self.console.show] if show else []
        self._journal = JournalThread(claim.folder, self.stop, observers, claim.is_gone)
        self._frames = FrameThread(claim.folder, self.announce, claim.is_gone)
        self._told_at = time.monotonic()

    def put(self, item: Item) -> None:
        """Report something."""
        if isinstance(item, RunStarted):
            self.began = True
        self._journal.put(item)

    def offer(self, taken: FrameTaken, *, last: bool = False) -> bool:
        """Hand over a frame."""
        return self._frames.offer(taken, last=last)

    def watch(self, gpus: Sequence[GpuIdentity]) -> None:
        """Report the load of the GPUs that the run uses."""
        self._journal.watch(gpus)

    def announce(self, event: Event) -> None:
        """Report an event."""
        self._journal.put(event)

    def notice(self, text: str, level: Level = "info") -> None:
        """Report a sentence."""
        self.put(Notice(time=time.time(), level=level, text=text))

    def preparing(self, stage: str, done: int, count: int) -> None:
        """Report progress of the photographs: to the console each time, to the journal now and then.

        Callable from any thread, by one at a time.
        """
        if self.show:
            self.console.progress(Preparing(stage, done, count))
        now = time.monotonic()
        if done < count and now - self._told_at >= PREPARING_EVERY_S:
            self._told_at = now
            self.notice(f"{stage} photographs: {done} of {count}")

    def start(self) -> None:
        """Start the threads."""
        if self.show:
            self.console.start()
        self._journal.start()
        self._frames.start()

    def finish(self, status: Status, error: str = "") -> None:
        """Wait for the frames, write the last line, and end the threads."""
        self._frames.close()
        if status == "stopped" and not exists(self.claim.folder.last_checkpoint):
            self.notice("stopped before anything was saved: resumed, it begins again")
        self.put(RunFinished(time=time.time(), status=status, error=error))
        self._end()
        self.claim.release()
        self.console.close()

    def close(self) -> None:
        """End the threads without a last line; the folder stays claimed."""
        self._frames.close()
        self._end()
        self.console.close()

    def _end(self) -> None:
        self._journal.close()
        if self.claim.is_gone():
            return
        with contextlib.suppress(OSError):  # the disk is gone; a request that stays is cleared by the next to resume
            self.claim.folder.clear_stop_request()


def is_follower() -> bool:
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
    if is_follower():
        from facegender.training.fit import follow

        return follow(config, root, run, resume, dict(changes or {}))
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
        complain(f"run {claim.folder.name} failed: {error}")
        return "failed"
    except BaseException as error:
        # The boundary of the process: whatever it is, the run folder and the person learn of it in one line.
        if claim.is_gone():
            return _lose(session)
        line = describe(error)
        log.trace(error)
        session.finish("failed", line)
        complain(f"run {claim.folder.name} failed: {line}")
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
    complain(f"run {folder.name} has ended: {line}")
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
        locate(claim.config.data, claim.folder.root)
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
