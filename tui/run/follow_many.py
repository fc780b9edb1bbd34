"""Follow several runs in one thread, without keeping their steps: only the reduced curves of each.

One thread, because threads that decode journals would only wait for each other, and the interface for all of them.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from threading import Event, Thread

from textual.message import Message

from facegender.runs.events import RunStarted
from facegender.runs.folder import Manifest, RunFolder
from facegender.support.text import one_line, printable_strings
from tui.run.curves import STEPS_AT_ONCE, StepCurves
from tui.run.follow import POLL_S, YIELD_S, FollowedRun, FollowFailed
from tui.run.series import StepColumns
from tui.run.state import RunState

BATCH_BYTES = 1 << 18
BATCHES_AT_ONCE = 16
"""Batches that are read between two pauses."""
WEIGHTS = (0.0,)
"""The steps themselves are not smoothed, but the points that are drawn: that costs nothing while a journal is read."""
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
        poll_at = post_at = 0.0
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
            behind = any(run.is_behind for run in runs)
            if any(run.has_changed for run in runs) and (not behind or time.monotonic() >= post_at):
                self._post(RunsUpdated(tuple(run.reduced() for run in runs), not behind))
                post_at = time.monotonic() + POST_EVERY_S
            if not behind:
                self._stopped.wait(POLL_S)


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
        events = run.advance(BATCH_BYTES)
        if run.restarted:
            self._curves, self._last_step = StepCurves(WEIGHTS), 0
        # A resumed run trains some steps again. Those that wait in the state were dropped when it was folded.
        kept = min((event.start_step for event in events if isinstance(event, RunStarted)), default=math.inf)
        if kept < self._last_step:
            self._curves.truncate(int(kept))
        steps = run.state.steps
        if len(steps):
            self._last_step = int(steps.step[-1])
            if len(steps) >= STEPS_AT_ONCE or not run.is_behind:
                self._curves.extend(steps)
                run.state = replace(run.state, steps=StepColumns())

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
