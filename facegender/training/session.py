"""The threads, the console and the stop switch of one run, for as long as this process trains it."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable

from facegender.runs.events import Level, Notice, RunFinished, Status
from facegender.runs.frames import Frame
from facegender.support.files import exists
from facegender.training.run_setup import RunSetup
from facegender.training.stop import StopSwitch
from facegender.training.threads.console import ConsoleThread, Preparing, TrainLog, progress_in_sentences
from facegender.training.threads.frames import FrameThread
from facegender.training.threads.journal import Item, JournalThread


class Sink:
    """Where the reports of a run go; no method blocks. A run's further processes use this one, which drops them."""

    def put(self, item: Item) -> None:
        """Report an event, or something that becomes one; callable from any thread."""

    def notice(self, text: str, level: Level = "info") -> None:
        """Report a sentence."""
        self.put(Notice(time=time.time(), level=level, text=text))

    def submit(self, epoch: int, make_frame: Callable[[], Frame], *, last: bool = False) -> None:
        """Hand over a frame, see `FrameThread.submit`."""

    def preparing(self, stage: str, done: int, count: int) -> None:
        """Report progress of the photographs."""


class Session(Sink):
    """Owns the outputs of a run: journal, frames, manifest and console. The setup holds the lock of their folder."""

    def __init__(self, setup: RunSetup, log: TrainLog, *, show: bool) -> None:
        self.setup = setup
        self.stop = StopSwitch()
        self.console = ConsoleThread(log)
        self.show = show
        self._journal = JournalThread(setup.folder, self.stop, self.console.show if show else None)
        self._frames = FrameThread(setup.folder, self.put)
        self.watch = self._journal.watch
        self._report_progress = progress_in_sentences(self.notice)

    def put(self, item: Item) -> None:
        """Pass a report to the journal."""
        self._journal.put(item)

    def submit(self, epoch: int, make_frame: Callable[[], Frame], *, last: bool = False) -> None:
        """Pass a frame to its thread."""
        self._frames.submit(epoch, make_frame, last=last)

    def preparing(self, stage: str, done: int, count: int) -> None:
        """Report progress of the photographs: to the console each time, to the journal every few seconds."""
        if self.show:
            self.console.show(Preparing(stage, done, count))
        self._report_progress(stage, done, count)

    def start(self) -> None:
        """Start the threads."""
        if self.show:
            self.console.start()
        self._journal.start()
        self._frames.start()

    def close(self, status: Status | None = None, error: str = "") -> None:
        """Write the frames that wait and end the threads.

        With a status, the journal gets its last line and the folder is released; else it stays locked.
        """
        self._frames.close()
        if status == "stopped" and not exists(self.setup.folder.last_checkpoint):
            self.notice("stopped before the first checkpoint: resuming starts from the beginning")
        if status:
            self.put(RunFinished(time=time.time(), status=status, error=error))
        self._journal.close()
        if not self.setup.folder.lock.is_lost():
            with contextlib.suppress(OSError):  # resuming clears a request that stays
                self.setup.folder.stop_path.unlink(missing_ok=True)
        if status:
            self.setup.folder.lock.release()
        self.console.close()
