"""The thread that writes the journal, samples the load of the machine, and polls the run folder for requests."""

from __future__ import annotations

import contextlib
import shutil
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import Any

import msgspec
import psutil

from facegender.runs.events import (
    EpochFinished,
    Event,
    Heartbeat,
    Level,
    Notice,
    RequestDone,
    RunFinished,
    Steps,
    System,
)
from facegender.runs.folder import HEARTBEAT_S, RunFolder
from facegender.runs.journal import JournalWriter
from facegender.runs.requests import StopRequest, TrainerRequest, take_requests
from facegender.support.errors import print_error
from facegender.support.text import counted
from facegender.training.failures import describe, reason
from facegender.training.stop import STOP_REQUESTED, StopSwitch
from facegender.training.threads.system_metrics import sample_system
from facegender.training.threads.watchdog import Watchdog

STEPS_EVERY_S = 0.1
POLL_EVERY_S = 0.5
SYSTEM_EVERY_S = 2.0
RETRY_EVERY_S = 1.0
MAX_UNWRITTEN = 5000
"""Events that may wait while the disk cannot be written; from then on steps are dropped."""
LAST_RETRIES_S = 10.0
"""How long to retry at the end of a run."""


class StepDone(msgspec.Struct, frozen=True, gc=False):
    """One training step.

    Attributes:
        batch: Its number in the epoch, counted from 1.
        images: Photographs in the batch.
        loss_sum_and_correct: (2,) float32 tensor, perhaps still being computed: loss summed over the batch, and number
            of photographs classified as labelled.
        ended: When, by `time.perf_counter`.
        waited_s: Seconds that the training thread waited for batches since the step before.
    """

    batch: int
    images: int
    loss_sum_and_correct: Any
    ended: float
    waited_s: float = 0.0


@dataclass(frozen=True, slots=True)
class EpochSteps:
    """The steps of an epoch: the trainer appends them, the journal thread takes them out.

    The journal thread polls: being woken at each step would cost the trainer more than the report itself.

    Attributes:
        steps_before: Optimiser steps before the epoch's first batch.
        began: When the first step began, by `time.perf_counter`.
        devices: How many devices train a batch of the same size each; the steps are those of the first one.
        done: Steps that wait to be taken out.
    """

    epoch: int
    steps_before: int
    began: float
    devices: int
    done: deque[StepDone]


Item = Event | EpochSteps | Callable[[], Event]
"""What can be reported. A function makes its event on the journal thread, where it may wait for the device."""


class JournalThread(threading.Thread):
    """Owns the journal. `put` returns at once; everything slow happens on this thread.

    A disk that is full or gone does not stop the trainer: events wait until the journal can be written again, without
    the machine's load, and without further steps once too many wait. A line on stderr says when that begins, a notice
    in the journal when it is over and what was lost.

    A journal or a manifest that somebody removes or replaces ends the run as failed, and so does a run folder that is
    removed or renamed; nothing is created in its place.

    Args:
        observer: Called with each event, on this thread; must not block.

    Attributes:
        requests: Requests that the training thread has not taken yet.
    """

    def __init__(self, folder: RunFolder, stop: StopSwitch, observer: Callable[[Event], None] | None = None) -> None:
        super().__init__(target=self._run, name="journal", daemon=True)
        self._folder = folder
        self._switch = stop
        self._observer = observer
        self.requests: deque[TrainerRequest] = deque()
        self._queue: SimpleQueue[Item | None] = SimpleQueue()
        self.put: Callable[[Item], None] = self._queue.put
        self._journal: JournalWriter | None = None
        self._problem = ""
        self._unwritten: deque[Event] = deque()
        self._failing_since: float | None = None
        self._retry_at = 0.0
        self._lost = 0
        self._steps: EpochSteps | None = None
        self._steps_until = 0.0
        self._last_batch: int | None = None
        self._gpus: Sequence[int] = ()
        self._load_failed = False
        self._watchdog = Watchdog(self._notice)
        self._flushed_at = self._wrote_at = time.monotonic()

    def watch(self, gpus: Sequence[int]) -> None:
        """Report the load of these GPUs, by torch's indices, from now on."""
        self._gpus = gpus

    def close(self, timeout_s: float = 30.0) -> None:
        """Write what waits and end; gives up after ``timeout_s`` if the disk does not respond."""
        if self.is_alive():
            self._queue.put(None)
            self.join(timeout_s)

    def _run(self) -> None:
        poll_at = sample_at = time.monotonic()
        psutil.cpu_percent()  # measures from here on; the first value on a thread is 0
        try:
            while True:
                due = min(poll_at, sample_at, self._flushed_at + STEPS_EVERY_S if self._steps else poll_at)
                with contextlib.suppress(Empty):
                    item = self._queue.get(timeout=max(0.0, due - time.monotonic()))
                    if item is None:
                        break
                    self._take(item)
                now = time.monotonic()
                if self._steps and now >= self._flushed_at + STEPS_EVERY_S:
                    self._flush_steps()
                if now >= poll_at:
                    poll_at = now + POLL_EVERY_S
                    self._poll_folder()
                if now >= sample_at:
                    sample_at = now + SYSTEM_EVERY_S
                    self._sample()
                    self._watchdog.poll(now, *self._room())
                if self._failing_since is not None:
                    self._write()
                if now >= self._wrote_at + HEARTBEAT_S:
                    self._emit(Heartbeat(time=time.time()))
        finally:
            self._flush_steps()
            self._write_last()
            self._close_journal()

    # The run folder ---------------------------------------------------------------------------------------------------

    def _poll_folder(self) -> None:
        if self._folder.stop_requested():
            self._switch.request(STOP_REQUESTED)
        for request in take_requests(self._folder):
            match request:
                case StopRequest(id=id):
                    self._switch.request(STOP_REQUESTED)
                    self._emit(RequestDone(time=time.time(), request="stop", done=True, outcome=STOP_REQUESTED, id=id))
                case str(reason_unread):
                    self._emit(RequestDone(time=time.time(), request="", done=False, outcome=reason_unread))
                case _:
                    self.requests.append(request)
        before, self._problem = self._problem, self._missing_file()
        # Seen once it may be somebody who moves folders about, or a network disk that comes back.
        if self._problem and self._problem == before:
            self._switch.fail(self._problem)

    def _missing_file(self) -> str:
        """What happened to a file that the run cannot do without; empty if they are all there."""
        if self._folder.lock.is_lost():
            return "the run folder is gone"
        if self._journal is not None and not self._journal.is_at(self._folder.journal_path):
            return f"{self._folder.journal_path.name} was removed or replaced while the run was training"
        try:
            self._folder.manifest_path.stat()
        except (FileNotFoundError, NotADirectoryError):
            return f"{self._folder.manifest_path.name} was removed while the run was training"
        except OSError:  # a disk that does not respond says nothing
            pass
        return ""

    # From reports to events -------------------------------------------------------------------------------------------

    def _take(self, item: Item) -> None:
        """Turn one report into events. Whatever goes wrong is reported, as this is the boundary of a thread."""
        try:
            self._flush_steps()
            if isinstance(item, EpochSteps):
                self._steps, self._steps_until, self._last_batch = item, item.began, None
                return
            event = item if isinstance(item, Event) else item()
            if isinstance(event, EpochFinished):
                self._steps = None
            self._emit(event)
        except Exception as error:
            self._notice(f"the journal lost a line: {describe(error)}")

    def _flush_steps(self) -> None:
        self._flushed_at = time.monotonic()
        if self._steps is None:
            return
        done = self._steps.done
        steps = [done.popleft() for _ in range(len(done))]
        if not steps:
            return
        # The trainer drops the oldest steps rather than wait for a disk that does not respond.
        missing = 0 if self._last_batch is None else steps[0].batch - self._last_batch - 1
        if missing:
            self._notice(f"the journal lost {counted(missing, 'step')}: the disk was too slow")
        self._last_batch = steps[-1].batch
        for before, step in zip([self._steps_until, *(one.ended for one in steps)], steps, strict=False):
            self._watchdog.add_step(step.waited_s, step.ended - before)
        try:
            self._emit(self._columns(self._steps, steps))
        except Exception as error:  # a device that failed; the trainer will raise the same error
            self._notice(f"the journal lost {counted(len(steps), 'step')}: {describe(error)}")
        self._steps_until = steps[-1].ended

    def _columns(self, epoch: EpochSteps, steps: list[StepDone]) -> Steps:
        import torch  # loaded already: the steps hold its tensors

        sums = torch.stack([step.loss_sum_and_correct for step in steps]).tolist()
        elapsed_s = steps[-1].ended - self._steps_until
        clock_offset = time.time() - time.perf_counter()
        return Steps(
            time=time.time(),
            epoch=epoch.epoch,
            step=[epoch.steps_before + step.batch for step in steps],
            batch=[step.batch for step in steps],
            seconds=[clock_offset + step.ended for step in steps],
            loss=[loss / step.images for step, (loss, _) in zip(steps, sums, strict=True)],
            accuracy=[correct / step.images for step, (_, correct) in zip(steps, sums, strict=True)],
            images_per_second=sum(step.images for step in steps) * epoch.devices / elapsed_s if elapsed_s > 0 else 0.0,
        )

    def _room(self) -> tuple[int | None, int]:
        """Return the room on the disk, None if unknown, and the size of the last checkpoint, both in bytes."""
        try:
            free = shutil.disk_usage(self._folder.path).free
        except OSError:
            return None, 0
        try:
            return free, self._folder.last_checkpoint.stat().st_size
        except OSError:
            return free, 0

    def _sample(self) -> None:
        try:
            self._emit(sample_system(self._gpus))
        except Exception as error:  # whatever the machine's libraries raise, it must not end the journal
            if not self._load_failed:
                self._load_failed = True
                print_error(f"the machine's load cannot be read: {describe(error)}; training continues without it")

    def _notice(self, text: str, level: Level = "error") -> None:
        self._emit(Notice(time=time.time(), level=level, text=text))

    # From events to lines ---------------------------------------------------------------------------------------------

    def _emit(self, event: Event) -> None:
        self._unwritten.append(event)
        self._write()
        if self._unwritten:  # the disk fails, and the event is still the last of those that wait
            too_many = isinstance(event, Steps) and len(self._unwritten) > MAX_UNWRITTEN
            self._lost += too_many
            if too_many or isinstance(event, System | Heartbeat):
                self._unwritten.pop()
        if self._observer is not None:
            self._observer(event)
        self._watchdog.observe(event, time.monotonic())

    def _write(self) -> None:
        """Write what waits, line by line, so that after a failure exactly the missing lines are written."""
        now = time.monotonic()
        if not self._unwritten or (self._failing_since is not None and now < self._retry_at):
            return
        try:
            if self._journal is None:
                self._journal = JournalWriter(self._folder.journal_path)
            while self._unwritten:
                if isinstance(self._unwritten[0], RunFinished):  # which has to be the last line
                    self._write_recovery(self._journal, now)
                self._journal.write(self._unwritten[0])
                self._unwritten.popleft()
            self._write_recovery(self._journal, now)
            self._wrote_at = now
        except OSError as error:
            if self._folder.lock.is_lost():  # which ends the run; there is no folder for these lines
                self._unwritten.clear()
                self._failing_since = None
                return
            if self._failing_since is None:
                self._failing_since = now
                cause = reason(error)
                print_error(f"the journal of run {self._folder.name} cannot be written: {cause}; training continues")
            self._retry_at = now + RETRY_EVERY_S
            self._close_journal()  # opening it again closes a torn line
            self._wrote_at = now
            self._folder.lock.refresh()  # other machines have no other sign that the trainer is alive

    def _write_recovery(self, journal: JournalWriter, now: float) -> None:
        if self._failing_since is not None:
            text = f"the journal could not be written for {now - self._failing_since:.0f} s"
            if self._lost:
                text += f"; {counted(self._lost, 'line')} lost"
            journal.write(Notice(time=time.time(), level="warning", text=text))
            self._failing_since, self._lost = None, 0

    def _write_last(self) -> None:
        """Retry for some seconds, as what waits may be how the run ended."""
        until = time.monotonic() + LAST_RETRIES_S
        self._write()
        while self._unwritten and time.monotonic() < until:
            time.sleep(min(RETRY_EVERY_S, 0.2))
            self._write()
        if self._unwritten:
            status = next((event.status for event in self._unwritten if isinstance(event, RunFinished)), None)
            ended = f"; the run is {status}, which the list of runs cannot know" if status else ""
            lines = counted(len(self._unwritten) + self._lost, "line")
            print_error(f"run {self._folder.name}: {lines} of the journal could not be written{ended}")

    def _close_journal(self) -> None:
        journal, self._journal = self._journal, None
        if journal is not None:
            with contextlib.suppress(OSError):  # whatever could not be written has been reported
                journal.close()
