"""Follow several runs in one thread, without keeping their steps: only the reduced curves of each.

One thread, because threads that decode journals would only wait for each other, and the interface for all of them.
Long journals are first read by processes, on other cores.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterable
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import redirect_stderr, suppress
from dataclasses import dataclass
from multiprocessing import get_context
from threading import Event, Thread

from msgspec.structs import replace
from textual.message import Message

from facegender.runs.events import RunStarted
from facegender.runs.folder import Manifest, RunFolder
from facegender.support.machine import available_processors
from facegender.support.text import one_line, printable_strings
from tui.run.curves import StepCurves
from tui.run.follow import BATCH_BYTES, POLL_S, FollowedRun, FollowFailed
from tui.run.series import StepColumns
from tui.run.state import RunState

YIELD_S = 0.0005
"""Pause after some batches, during which the interface gets Python's global interpreter lock."""
BATCHES_AT_ONCE = 32
"""Batches that are read between two pauses."""
STEPS_AT_ONCE = 60_000
"""Steps that are moved into the curves together: what is computed from them fits a processor's cache."""
WEIGHTS = (0.0,)
"""The steps themselves are not smoothed, but the points that are drawn: that costs nothing while a journal is read."""
PROCESSES_FROM_BYTES = 1 << 25
"""Journals shorter than this together are read before processes would have started."""
MAX_PROCESSES = 4
"""At most, and one processor is left to the interface."""
TASK_BYTES = 1 << 24
"""A process reads about this much, in a tenth of a second, before it hands over what it has read."""
POST_EVERY_S = 0.5
"""At most one message in this time while there is more to read: each redraws the curves of all runs."""


@dataclass(frozen=True)
class ReducedRun:
    """A run as far as its journal was read.

    Attributes:
        state: Its state, without the steps.
        manifest: What it was trained with, safe for a terminal; None where it cannot be read.
        curves: The steps, reduced to curves; never changed again.
        last_step: The optimiser step that was read last; 0 before the first.
    """

    folder: RunFolder
    state: RunState
    manifest: Manifest | None
    curves: StepCurves
    last_step: int


@dataclass
class RunsUpdated(Message):
    """At least one of the runs has changed; ``complete`` once all journals were read to their ends."""

    runs: tuple[ReducedRun, ...]
    complete: bool


class RunsFollower:
    """A thread that follows several runs from construction until `stop`. ``post`` must be thread-safe."""

    def __init__(self, folders: Iterable[RunFolder], post: Callable[[Message], object]) -> None:
        self._post = post
        self._stopped = Event()
        self._post_at = 0.0
        Thread(target=self._run, args=(tuple(folders),), name="follow-many", daemon=True).start()

    def stop(self) -> None:
        """Ask the thread to end, without waiting for it; it may post once more."""
        self._stopped.set()

    def _run(self, folders: tuple[RunFolder, ...]) -> None:
        try:
            self._follow(folders)
        except Exception as error:  # the boundary of the thread
            names = ", ".join(folder.name for folder in folders)
            self._post(FollowFailed(names, one_line(f"{type(error).__name__}: {error}")))

    def _follow(self, folders: tuple[RunFolder, ...]) -> None:
        runs = [_Run(folder) for folder in folders]
        if sum(map(_journal_bytes, folders)) >= PROCESSES_FROM_BYTES:
            with suppress(OSError, BrokenProcessPool):  # what processes have not read, this thread reads
                self._read_in_processes(runs)
        poll_at = 0.0
        while not self._stopped.is_set():
            now = time.monotonic()
            due = [run for run in runs if run.is_behind or now >= poll_at]
            if now >= poll_at:
                poll_at = now + POLL_S
            for run in due:
                for _ in range(BATCHES_AT_ONCE):
                    run.advance()
                    if not run.is_behind or self._stopped.is_set():
                        break
                if run.is_behind:
                    self._stopped.wait(YIELD_S)
            self._post_changes(runs)
            if not any(run.is_behind for run in runs):
                self._stopped.wait(POLL_S)

    def _read_in_processes(self, runs: list[_Run]) -> None:
        """Replace each run by what a process has read of it, to the end of its journal.

        Raises:
            OSError: No process can be started.
            BrokenProcessPool: A process was killed.
        """
        count = min(MAX_PROCESSES, max(1, available_processors() - 1), len(runs))
        with redirect_stderr(sys.__stderr__):  # multiprocessing wants a file descriptor, Textual's stderr has none
            # A fork would inherit the locks of the interface's other threads.
            pool = ProcessPoolExecutor(count, get_context("spawn"), _begin_process)
        try:
            reading = {pool.submit(_read, run): index for index, run in enumerate(runs)}
            while reading and not self._stopped.is_set():
                for done in wait(reading, POLL_S, FIRST_COMPLETED).done:
                    index = reading.pop(done)
                    runs[index] = done.result()
                    if runs[index].is_behind:
                        reading[pool.submit(_read, runs[index])] = index
                self._post_changes(runs)
        finally:
            pool.shutdown(wait=False, cancel_futures=True)

    def _post_changes(self, runs: list[_Run]) -> None:
        """Post the runs if one has changed; while there is more to read, not too often."""
        behind = any(run.is_behind for run in runs)
        if any(run.has_changed for run in runs) and (not behind or time.monotonic() >= self._post_at):
            self._post(RunsUpdated(tuple(run.reduced() for run in runs), not behind))
            self._post_at = time.monotonic() + POST_EVERY_S


def _journal_bytes(folder: RunFolder) -> int:
    try:
        return folder.journal_path.stat().st_size
    except OSError:
        return 0


def _begin_process() -> None:
    """Keep what a library prints, such as a warning, from the interface's terminal."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, sys.stdout.fileno())
    os.dup2(null, sys.stderr.fileno())


def _read(run: _Run) -> _Run:
    """Read the next `TASK_BYTES` of a journal, in a process."""
    for _ in range(TASK_BYTES // BATCH_BYTES):
        run.advance()
        if not run.is_behind:
            break
    run.reduce()
    return run


class _Run:
    """One of the runs, as the thread holds it."""

    def __init__(self, folder: RunFolder) -> None:
        self._followed = FollowedRun(folder)
        self._manifest: Manifest | None = None
        self._curves = StepCurves(WEIGHTS)
        self._last_step = 0
        self._reduced: ReducedRun | None = None

    @property
    def is_behind(self) -> bool:
        return self._followed.is_behind

    @property
    def has_changed(self) -> bool:
        return self._reduced is None or self._followed.state is not self._reduced.state

    def advance(self) -> None:
        """Read a batch, and move its steps into the curves once there are many, or no more."""
        run = self._followed
        events = run.advance()
        if run.restarted:
            self._curves, self._last_step = StepCurves(WEIGHTS), 0
        # A resumed run trains some steps again. Those that wait in the state were dropped when it was folded.
        starts = [event.start_step for event in events if isinstance(event, RunStarted)]
        if starts and min(starts) < self._last_step:
            self._curves.truncate(min(starts))
        steps = run.state.steps
        if len(steps):
            self._last_step = int(steps.step[-1])
            if len(steps) >= STEPS_AT_ONCE or not run.is_behind:
                self.reduce()

    def reduce(self) -> None:
        """Move the steps that were read into the curves."""
        state = self._followed.state
        self._curves.extend(state.steps)
        self._followed.state = replace(state, steps=StepColumns())

    def reduced(self) -> ReducedRun:
        """Return the run as far as it was read."""
        state = self._followed.state
        if self._manifest is None:
            self._manifest = printable_strings(self._followed.folder.read_manifest())
        if self._reduced is None or state is not self._reduced.state:
            self._reduced = ReducedRun(
                self._followed.folder, state, self._manifest, self._curves.snapshot(), self._last_step
            )
        return self._reduced
