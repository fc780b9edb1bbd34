"""The thread that turns what the trainer reports into journal lines, watches the machine and the stop request."""

from __future__ import annotations

import contextlib
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import Any, Protocol

import msgspec

from facegender.runs.events import EpochFinished, Event, Heartbeat, Notice, RunFinished, Steps, System
from facegender.runs.folder import HEARTBEAT_S, RunFolder
from facegender.runs.journal import JournalWriter
from facegender.support.errors import print_error
from facegender.support.files import exists
from facegender.support.text import counted
from facegender.training.failures import describe, reason
from facegender.training.stop import StopSwitch
from facegender.training.threads.system_metrics import GpuIdentity, SystemSampler

STEPS_EVERY_S = 0.1
POLL_EVERY_S = 0.5
SYSTEM_EVERY_S = 2.0
RETRY_EVERY_S = 1.0
MAX_UNWRITTEN = 5000
LAST_TRY_S = 10.0


class StepDone(msgspec.Struct, frozen=True, gc=False):
    """One training step.

    Attributes:
        batch: Its number in the epoch, counted from 1.
        images: Photographs in the batch.
        loss_sum_and_correct: (2,) float32 tensor, perhaps still being computed: loss summed over the batch, and number
            of photographs classified as labelled.
        ended: When, by `time.perf_counter`.
    """

    batch: int
    images: int
    loss_sum_and_correct: Any
    ended: float


@dataclass(frozen=True, slots=True)
class EpochSteps:
    """The steps of an epoch: the trainer puts them at one end, the writer takes them at the other.

    The writer looks for itself every now and then: to wake it at each step would take a good part of the time that the
    trainer may spend on being watched.

    Attributes:
        steps_before: Optimiser steps before the epoch's first batch.
        began: When the first step began, by `time.perf_counter`.
        devices: How many devices trained a batch of the steps' size each; losses and accuracies are the first one's.
        done: Not yet taken.
    """

    epoch: int
    steps_before: int
    began: float
    devices: int
    done: deque[StepDone]


class Deferred(Protocol):
    """Something whose numbers are still on the device."""

    def event(self) -> Event:
        """Waits for the numbers; called on the writer's thread."""


Item = Event | EpochSteps | Deferred
Observer = Callable[[Event], None]


class _Close:
    pass


class JournalThread:
    """Owns the journal. `put` returns at once; everything slow happens here.

    A disk that is full or gone does not reach the trainer: the lines wait, within limits, until it can be written
    again. It is said on stderr when that begins, and in the journal when it is over and if anything was lost.

    Args:
        observers: Called with each event, on this thread; must not block.
        gone: Tells whether the run folder is gone, because somebody removed or renamed it. Then the run is asked to
            end, and no new file is made in the folder's place.
    """

    def __init__(
        self,
        folder: RunFolder,
        stop: StopSwitch,
        observers: Sequence[Observer] = (),
        gone: Callable[[], bool] = lambda: False,
    ) -> None:
        self._folder = folder
        self._stop = stop
        self._observers = observers
        self._gone = gone
        self._missed = 0
        self._queue: SimpleQueue[Item | _Close] = SimpleQueue()
        self.put: Callable[[Item], None] = self._queue.put
        self._thread = threading.Thread(target=self._run, name="journal", daemon=True)
        self._journal: JournalWriter | None = None
        self._unwritten: deque[Event] = deque()
        self._failing_since: float | None = None
        self._lost = 0
        self._said: set[str] = set()
        self._steps: EpochSteps | None = None
        self._stepped_at = 0.0
        self._flushed_at = 0.0
        self._wrote_at = time.monotonic()
        self._retry_at = 0.0
        self._gpus: Sequence[GpuIdentity] = ()

    def watch(self, gpus: Sequence[GpuIdentity]) -> None:
        """Report the load of these from now on."""
        self._gpus = tuple(gpus)

    def start(self) -> None:
        """Begin to write."""
        self._thread.start()

    def close(self, timeout_s: float = 30.0) -> None:
        """Write what was put before and end; gives up after ``timeout_s`` if the disk does not answer."""
        if self._thread.is_alive():
            self._queue.put(_Close())
            self._thread.join(timeout_s)

    def _run(self) -> None:
        sampler = self._sampler()
        poll_at = system_at = time.monotonic()
        try:
            while True:
                now = time.monotonic()
                due = min(poll_at, system_at, self._flushed_at + STEPS_EVERY_S if self._steps else poll_at)
                try:
                    item = self._queue.get(timeout=max(0.0, due - now))
                except Empty:
                    pass
                else:
                    if isinstance(item, _Close):
                        break
                    self._take(item)
                now = time.monotonic()
                if self._steps and now >= self._flushed_at + STEPS_EVERY_S:
                    self._flush()
                if now >= poll_at:
                    poll_at = now + POLL_EVERY_S
                    self._look_at_the_folder()
                if now >= system_at:
                    system_at = now + SYSTEM_EVERY_S
                    if sampler is not None:
                        self._sample(sampler)
                if self._failing_since is not None:
                    self._write()
                if now >= self._wrote_at + HEARTBEAT_S:
                    self._emit(Heartbeat(time=time.time()))
        finally:
            self._flush()
            self._write_the_rest()
            if sampler is not None:
                sampler.close()
            self._let_go()

    def _look_at_the_folder(self) -> None:
        if self._folder.stop_requested():
            self._stop.request("stop request")
        gone = self._gone()
        if not gone:
            self._keep_files()
        self._missed = self._missed + 1 if gone else 0
        if self._missed == 2:  # at once might be somebody who moves folders about, or a disk that comes back
            self._stop.abandon("the run folder is gone")

    def _keep_files(self) -> None:
        """Write the journal and the manifest again where somebody has removed them below the trainer."""
        journal, path = self._journal, self._folder.journal_path
        try:
            self._folder.restore_manifest()
            if journal is None or journal.is_at(path):
                return
            content = b"" if exists(path) else journal.content()
            self._let_go()
            self._journal = JournalWriter(path)
            self._journal.restore(content)
        except OSError:
            return  # as with any line that cannot be written: the next one tries again, and tells
        what = "removed while the run trained, and is written again" if content else "replaced while the run trained"
        self._emit(Notice(time=time.time(), level="warning", text=f"the journal was {what}"))

    def _take(self, item: Item) -> None:
        """Turn one item into lines; what cannot be turned is reported, whatever it is: this is a thread's boundary."""
        try:
            self._flush()
            if isinstance(item, EpochSteps):
                self._steps, self._stepped_at = item, item.began
                return
            event = item if isinstance(item, Event) else item.event()
            if isinstance(event, EpochFinished):
                self._steps = None
            self._emit(event)
        except Exception as error:
            self._emit(Notice(time=time.time(), level="error", text=f"the journal lost a line: {describe(error)}"))

    def _flush(self) -> None:
        self._flushed_at = time.monotonic()
        if self._steps is None:
            return
        done = self._steps.done
        steps = [done.popleft() for _ in range(len(done))]
        if not steps:
            return
        try:
            self._emit(self._columns(self._steps, steps))
        except Exception as error:  # a device that failed; the trainer will see the same error itself
            self._emit(
                Notice(time=time.time(), level="error", text=f"the journal lost {len(steps)} steps: {describe(error)}")
            )
        self._stepped_at = steps[-1].ended

    def _columns(self, epoch: EpochSteps, steps: list[StepDone]) -> Steps:
        import torch  # loaded long since: a step came out of it

        pairs = torch.stack([step.loss_sum_and_correct for step in steps]).tolist()
        elapsed_s = steps[-1].ended - self._stepped_at
        since_1970 = time.time() - time.perf_counter()
        return Steps(
            time=time.time(),
            epoch=epoch.epoch,
            step=[epoch.steps_before + step.batch for step in steps],
            batch=[step.batch for step in steps],
            seconds=[since_1970 + step.ended for step in steps],
            loss=[loss / step.images for step, (loss, _) in zip(steps, pairs, strict=True)],
            accuracy=[correct / step.images for step, (_, correct) in zip(steps, pairs, strict=True)],
            images_per_second=sum(step.images for step in steps) * epoch.devices / elapsed_s if elapsed_s > 0 else 0.0,
        )

    def _sampler(self) -> SystemSampler | None:
        try:
            return SystemSampler()
        except Exception as error:  # as for `_sample`
            self._say_once(f"the machine's load cannot be read: {describe(error)}; training goes on without it")
            return None

    def _sample(self, sampler: SystemSampler) -> None:
        try:
            self._emit(sampler.sample(self._gpus))
        except Exception as error:  # a look at the machine must not end the journal
            self._say_once(f"the machine's load cannot be read: {describe(error)}; training goes on without it")

    def _emit(self, event: Event) -> None:
        self._unwritten.append(event)
        self._write()
        for observer in self._observers:
            observer(event)

    def _write(self) -> None:
        """Write what waits, line by line, so that after a failure exactly the lines that are missing are written."""
        now = time.monotonic()
        if self._failing_since is not None:
            if now < self._retry_at:
                self._drop_the_least()
                return
            self._unwritten = deque(event for event in self._unwritten if not isinstance(event, (System, Heartbeat)))
        try:
            if self._journal is None:
                self._journal = JournalWriter(self._folder.journal_path)
            while self._unwritten:
                if isinstance(self._unwritten[0], RunFinished):
                    self._write_account(now)  # before it, as how the run ended has to be the last line
                self._journal.write(self._unwritten[0])
                self._unwritten.popleft()
            self._write_account(now)
            self._wrote_at = now
        except OSError as error:
            if self._gone():  # which `Session` tells, and there is no place for these lines
                self._unwritten.clear()
                self._failing_since = None
                return
            if self._failing_since is None:
                self._failing_since = now
                print_error(
                    f"the journal of run {self._folder.name} cannot be written: {reason(error)}; training goes on"
                )
            self._retry_at = now + RETRY_EVERY_S
            self._drop_the_least()
            self._let_go()  # opening it again closes a torn line
            self._wrote_at = now
            self._folder.lock.refresh()  # whoever watches from another machine has no other sign of life

    def _drop_the_least(self) -> None:
        """Keep what waits within limits: first the load of the machine goes, then single steps, the oldest first."""
        while len(self._unwritten) > MAX_UNWRITTEN:
            least = min(range(len(self._unwritten)), key=lambda index: _worth(self._unwritten[index]))
            self._lost += _worth(self._unwritten[least]) > 0
            del self._unwritten[least]

    def _write_account(self, now: float) -> None:
        """Tell of a failure that is over."""
        if self._failing_since is None or self._journal is None:
            return
        text = f"the journal could not be written for {now - self._failing_since:.0f} s"
        if self._lost:
            text += f"; {self._lost} of its lines are lost"
        self._journal.write(Notice(time=time.time(), level="warning", text=text))
        self._failing_since, self._lost = None, 0

    def _write_the_rest(self) -> None:
        """Try for a while, as what waits may be how the run ended."""
        until = time.monotonic() + LAST_TRY_S
        self._write()
        while self._failing_since is not None and time.monotonic() < until:
            time.sleep(min(RETRY_EVERY_S, 0.2))
            self._write()
        if self._failing_since is not None:
            ended = next((event.status for event in self._unwritten if isinstance(event, RunFinished)), None)
            how = f"; the run is {ended}, which the list of runs cannot know" if ended else ""
            count = len(self._unwritten) + self._lost
            lines = counted(count, "line")
            print_error(f"run {self._folder.name}: {lines} of the journal could not be written{how}")

    def _let_go(self) -> None:
        journal, self._journal = self._journal, None
        if journal is not None:
            with contextlib.suppress(OSError):  # whatever could not be written has been told
                journal.close()

    def _say_once(self, text: str) -> None:
        if text not in self._said:
            self._said.add(text)
            print_error(text)


def _worth(event: Event) -> int:
    if isinstance(event, (System, Heartbeat)):
        return 0
    return 1 if isinstance(event, Steps) else 2
