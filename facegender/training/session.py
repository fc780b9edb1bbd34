"""What surrounds one run while it trains: the threads beside it, its console and its stop switch."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Sequence

from facegender.runs.events import Event, Level, Notice, RunFinished, RunStarted, Status
from facegender.support.files import exists
from facegender.training.run_lock import Claim
from facegender.training.stop import StopSwitch
from facegender.training.threads.console import ConsoleThread, Preparing, TrainLog
from facegender.training.threads.frames import FrameThread, PendingFrame
from facegender.training.threads.journal import Item, JournalThread
from facegender.training.threads.system_metrics import GpuIdentity

PREPARING_EVERY_S = 5.0


class Session:
    """What surrounds one run while it trains: journal, frames, console and stop switch.

    Is the `facegender.training.callbacks.recorder.Sink` of the run.
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

    def submit(self, frame: PendingFrame, *, last: bool = False) -> bool:
        """Hand over a frame."""
        return self._frames.submit(frame, last=last)

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
