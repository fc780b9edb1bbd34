"""The threads, the stop switch and the console of one run, for as long as this process trains it."""

from __future__ import annotations

import contextlib
import time
from collections import deque
from collections.abc import Callable

from facegender.runs.events import Event, Level, Notice, RequestDone, RunFinished, Status
from facegender.runs.folder import RunFolder
from facegender.runs.frames import Frame
from facegender.runs.predictions import Predictions
from facegender.runs.requests import TrainerRequest, take_requests
from facegender.support.files import exists
from facegender.support.progress import progress_in_sentences
from facegender.training.run_setup import RunSetup
from facegender.training.stop import StopSwitch
from facegender.training.threads.console import ConsoleThread, Preparing, TrainLog
from facegender.training.threads.frames import FrameThread
from facegender.training.threads.journal import Item, JournalThread


class Sink:
    """Where the reports of a run go; no method blocks. A run's further processes use this one, which drops them.

    Attributes:
        requests: Requests that the training thread takes after its next batch.
    """

    requests: deque[TrainerRequest] = deque()

    def put(self, item: Item) -> None:
        """Report an event, or something that becomes one; callable from any thread."""

    def notice(self, text: str, level: Level = "info") -> None:
        """Report a sentence."""
        self.put(Notice(time=time.time(), level=level, text=text))

    def submit(self, epoch: int, make_frame: Callable[[], Frame], *, last: bool = False) -> bool:
        """Hand over a frame, see `FrameThread.submit`."""
        return True

    def submit_predictions(self, epoch: int, make_predictions: Callable[[], Predictions]) -> None:
        """Hand over predictions, see `FrameThread.submit_predictions`."""

    def preparing(self, stage: str, done: int, count: int) -> None:
        """Report progress of the photographs."""


class Session(Sink):
    """Owns the threads that write the journal and the frames of a run, whose folder is locked; `close` unlocks it.

    Args:
        observer: Called with each event on the journal's thread; must not block.
    """

    def __init__(self, folder: RunFolder, observer: Callable[[Event], None] | None = None) -> None:
        self.folder = folder
        self.stop = StopSwitch()
        self._journal = JournalThread(folder, self.stop, observer)
        self._frames = FrameThread(folder, self.put)
        self.watch = self._journal.watch
        self.requests = self._journal.requests

    def put(self, item: Item) -> None:
        """Pass a report to the journal."""
        self._journal.put(item)

    def submit(self, epoch: int, make_frame: Callable[[], Frame], *, last: bool = False) -> bool:
        """Pass a frame to its thread."""
        return self._frames.submit(epoch, make_frame, last=last)

    def submit_predictions(self, epoch: int, make_predictions: Callable[[], Predictions]) -> None:
        """Pass predictions to the same thread."""
        self._frames.submit_predictions(epoch, make_predictions)

    def start(self) -> None:
        """Start the threads."""
        self._journal.start()
        self._frames.start()

    def close(self, status: Status | None = None, error: str = "") -> None:
        """Write the frames that wait and end the threads.

        With a status, the journal gets its last line and the folder is released; else it stays locked.
        """
        self._frames.close()
        if status:
            for request in [*self.requests, *take_requests(self.folder)]:
                kind, id = ("", "") if isinstance(request, str) else (str(request.__struct_config__.tag), request.id)
                self.put(RequestDone(time=time.time(), request=kind, done=False, outcome="the run has ended", id=id))
            self.put(RunFinished(time=time.time(), status=status, error=error))
        self._journal.close()
        if not self.folder.lock.is_lost():
            with contextlib.suppress(OSError):  # resuming clears a request that stays
                self.folder.stop_path.unlink(missing_ok=True)
        if status:
            self.folder.lock.release()


class ConsoleSession(Session):
    """A `Session` with a console, for ``facegender train``."""

    def __init__(self, setup: RunSetup, log: TrainLog, *, show: bool) -> None:
        self.setup = setup
        self.console = ConsoleThread(log)
        self.show = show
        super().__init__(setup.folder, self.console.show if show else None)
        self._report_progress = progress_in_sentences(self.notice)

    def preparing(self, stage: str, done: int, count: int) -> None:
        """Report progress of the photographs: to the console each time, to the journal every few seconds."""
        if self.show:
            self.console.show(Preparing(stage, done, count))
        self._report_progress(stage, done, count)

    def start(self) -> None:
        """Start the threads."""
        if self.show:
            self.console.start()
        super().start()

    def close(self, status: Status | None = None, error: str = "") -> None:
        """End the threads, the console's last."""
        if status == "stopped" and not exists(self.folder.last_checkpoint):
            self.notice("stopped before the first checkpoint: resuming starts from the beginning")
        super().close(status, error)
        self.console.close()
