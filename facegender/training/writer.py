"""The thread that turns what the trainer reports into journal lines, watches the machine and the stop request."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import Any, Protocol

from facegender.runs.events import EpochStarted, Event, Heartbeat, Notice, Steps, System
from facegender.runs.folder import HEARTBEAT_S, RunFolder
from facegender.runs.journal import JournalWriter
from facegender.training.failures import describe
from facegender.training.stop import StopSwitch
from facegender.training.system import SystemSampler

STEPS_EVERY_S = 0.1
POLL_EVERY_S = 0.5
SYSTEM_EVERY_S = 2.0
RETRY_EVERY_S = 1.0
MAX_UNWRITTEN = 2000


@dataclass(frozen=True, slots=True)
class StepDone:
    """One training step.

    Attributes:
        outcome: (2,) float32 tensor, perhaps still being computed: loss summed over the batch, and how many
            photographs were classified as annotated.
        images: Photographs in the batch.
    """

    epoch: int
    step: int
    batch: int
    time: float
    images: int
    outcome: Any


class Deferred(Protocol):
    """Something whose numbers are still on the device."""

    def event(self) -> Event:
        """Waits for the numbers; called on the writer's thread."""


Item = Event | StepDone | Deferred
Observer = Callable[[Event], None]


class _Close:
    pass


class JournalThread:
    """Owns the journal. `put` returns at once; everything slow happens here.

    A disk that is full or gone does not reach the trainer: the lines wait, within limits, until it can be written
    again, and it is said once on stderr.

    Args:
        observers: Called with each event, on this thread; must not block.
    """

    def __init__(self, folder: RunFolder, stop: StopSwitch, observers: Sequence[Observer] = ()) -> None:
        self._folder = folder
        self._stop = stop
        self._observers = observers
        self._queue: SimpleQueue[Item | _Close] = SimpleQueue()
        self.put: Callable[[Item], None] = self._queue.put
        self._thread = threading.Thread(target=self._run, name="journal", daemon=True)
        self._journal: JournalWriter | None = None
        self._unwritten: list[Event] = []
        self._complained = False
        self._pending: list[StepDone] = []
        self._flushed_at = 0.0
        self._last_step_time: tuple[int, float] | None = None
        self._wrote_at = time.monotonic()
        self._retry_at = 0.0

    @property
    def backlog(self) -> int:
        """Items not yet taken."""
        return self._queue.qsize()

    def start(self) -> None:
        """Begin to write."""
        self._thread.start()

    def close(self, timeout_s: float = 30.0) -> None:
        """Write what was put before and end; gives up after ``timeout_s`` if the disk does not answer."""
        if self._thread.is_alive():
            self._queue.put(_Close())
            self._thread.join(timeout_s)

    def _run(self) -> None:
        sampler = SystemSampler()
        poll_at = system_at = time.monotonic()
        try:
            while True:
                now = time.monotonic()
                due = min(poll_at, system_at, self._flushed_at + STEPS_EVERY_S if self._pending else poll_at)
                try:
                    item = self._queue.get(timeout=max(0.0, due - now))
                except Empty:
                    pass
                else:
                    if isinstance(item, _Close):
                        break
                    self._take(item)
                now = time.monotonic()
                if self._pending and now >= self._flushed_at + STEPS_EVERY_S:
                    self._flush()
                if now >= poll_at:
                    poll_at = now + POLL_EVERY_S
                    self._look_for_stop_request()
                if now >= system_at:
                    system_at = now + SYSTEM_EVERY_S
                    self._sample(sampler)
                if now >= self._wrote_at + HEARTBEAT_S:
                    self._emit(Heartbeat(time=time.time()))
        finally:
            self._flush()
            self._write([])
            sampler.close()
            if self._journal is not None:
                try:
                    self._journal.close()
                except OSError as error:
                    self._complain(error)

    def _look_for_stop_request(self) -> None:
        try:
            if self._folder.stop_requested():
                self._stop.request("stop request")
        except OSError as error:  # a network file system that is away for a while
            self._complain(error)

    def _take(self, item: Item) -> None:
        """Turn one item into lines; what cannot be turned is reported, whatever it is: this is a thread's boundary."""
        try:
            if isinstance(item, StepDone):
                if self._pending and self._pending[-1].epoch != item.epoch:
                    self._flush()
                self._pending.append(item)
                return
            self._flush()
            event = item if isinstance(item, Event) else item.event()
            if isinstance(event, EpochStarted):
                self._last_step_time = event.epoch, event.time
            self._emit(event)
        except Exception as error:
            self._emit(Notice(time=time.time(), level="error", text=f"the journal lost a line: {describe(error)}"))

    def _flush(self) -> None:
        steps, self._pending = self._pending, []
        if not steps:
            return
        self._flushed_at = time.monotonic()
        try:
            self._emit(self._columns(steps))
        except Exception as error:  # a device that failed; the trainer will see the same error itself
            self._emit(
                Notice(time=time.time(), level="error", text=f"the journal lost {len(steps)} steps: {describe(error)}")
            )

    def _columns(self, steps: list[StepDone]) -> Steps:
        import torch  # loaded long since: a step came out of it

        outcomes = torch.stack([step.outcome for step in steps]).tolist()
        last = steps[-1]
        rate = 0.0
        if self._last_step_time and self._last_step_time[0] == last.epoch and last.time > self._last_step_time[1]:
            rate = sum(step.images for step in steps) / (last.time - self._last_step_time[1])
        self._last_step_time = last.epoch, last.time
        return Steps(
            time=time.time(),
            epoch=last.epoch,
            step=[step.step for step in steps],
            batch=[step.batch for step in steps],
            seconds=[step.time for step in steps],
            loss=[loss / step.images for step, (loss, _) in zip(steps, outcomes, strict=True)],
            accuracy=[correct / step.images for step, (_, correct) in zip(steps, outcomes, strict=True)],
            images_per_second=rate,
        )

    def _sample(self, sampler: SystemSampler) -> None:
        try:
            self._emit(sampler.sample())
        except Exception as error:  # a look at the machine must not end the journal
            self._complain(error)

    def _emit(self, event: Event) -> None:
        self._write([event])
        for observer in self._observers:
            observer(event)

    def _write(self, events: list[Event]) -> None:
        now = time.monotonic()
        waiting = self._unwritten + events
        if not waiting or (self._unwritten and events and now < self._retry_at):
            self._unwritten = _worth_keeping(waiting)
            return
        try:
            if self._journal is None:
                self._journal = JournalWriter(self._folder.journal_path)
            self._journal.write(*waiting)
            self._unwritten = []
            self._wrote_at = now
        except OSError as error:
            self._complain(error)
            self._unwritten = _worth_keeping(waiting)
            self._retry_at = now + RETRY_EVERY_S
            self._reopen()

    def _reopen(self) -> None:
        """Let go of the file; opening it again closes a torn line."""
        journal, self._journal = self._journal, None
        if journal is not None:
            try:
                journal.close()
            except OSError as error:
                self._complain(error)

    def _complain(self, error: Exception) -> None:
        if self._complained:
            return
        self._complained = True
        say(f"the journal of run {self._folder.name} cannot be written: {describe(error)}; training goes on")


def _worth_keeping(events: list[Event]) -> list[Event]:
    return [event for event in events if not isinstance(event, (System, Heartbeat))][-MAX_UNWRITTEN:]


def say(text: str) -> None:
    """One line on stderr, if there still is one."""
    try:
        print(f"facegender: {text}", file=sys.stderr, flush=True)
    except (OSError, ValueError):  # the terminal is gone
        return
