"""Follow a run in a thread: read its journal, fold it into a `RunState`, reduce its steps to curves, post both.

The thread posts whole states, not events, so nothing queues up when the interface is slower than the journal: each
state replaces the one before it, and costs the interface the same whether ten steps or a million were added.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from threading import Event, Thread
from typing import TYPE_CHECKING

from msgspec.structs import replace
from textual.message import Message

from facegender.runs.events import AnyEvent
from facegender.runs.folder import LIVE_STATES, RunFolder
from facegender.runs.journal import JournalReader
from facegender.runs.lock import is_fresh
from facegender.support.machine import import_numpy
from facegender.support.text import one_line
from tui.run.state import RunState, apply_all

if TYPE_CHECKING:
    from tui.run.curves import StepCurves

POLL_S = 0.15
INSPECT_EVERY = 7
"""Polls between two looks at the run folder of a live run."""
INSPECT_ENDED_EVERY = 20
"""The same for a run that has ended: an idle dashboard must not keep a cluster's disk busy."""
BATCH_BYTES = 1 << 18
"""Decoding this much takes a millisecond, during which no other thread can run; after that, any of them may."""
POST_EVERY_S = 0.5
"""At most one state in this time while there is more to read: drawing it takes as long as reading 100 000 steps."""
DRAW_S = 0.03
"""Pause after such a state. Drawn while this thread reads, it would block the keys twice as long."""


@dataclass
class RunUpdated(Message):
    """The state of the run has changed: by its journal, its folder or the trainer's process.

    Attributes:
        curves: Its steps, reduced to curves and never changed again; None before the first step or epoch, or if nobody
            asked for curves.
    """

    state: RunState
    curves: StepCurves | None


@dataclass
class FollowFailed(Message):
    """The thread has ended with an error; ``why`` is one line."""

    run: str
    why: str


class Follower:
    """A thread that follows one run from construction until `stop`.

    It is a daemon thread, not a worker: a file system that hangs must not keep the program from ending.

    Args:
        post: Must be thread-safe, e.g. a widget's ``post_message``.
        smoothing: Reduce the steps to curves, smoothed by this weight too, beside those of `SMOOTHING`; None: do not.

    Attributes:
        smoothing: May be changed at any time.
    """

    def __init__(self, folder: RunFolder, post: Callable[[Message], object], smoothing: float | None = None) -> None:
        self.smoothing = smoothing
        self._post = post
        self._curves: StepCurves | None = None
        self._stopped = Event()
        Thread(target=self._run, args=(folder,), name="follow", daemon=True).start()

    def stop(self) -> None:
        """Ask the thread to end, without waiting for it; it may post once more."""
        self._stopped.set()

    def _run(self, folder: RunFolder) -> None:
        try:
            import_numpy()
            self._follow(folder)
        except Exception as error:  # the boundary of the thread
            self._post(FollowFailed(folder.name, one_line(f"{type(error).__name__}: {error}")))

    def _follow(self, folder: RunFolder) -> None:
        run = FollowedRun(folder)
        posted: RunState | None = None
        smoothing, post_at = self.smoothing, 0.0
        while not self._stopped.is_set():
            run.advance()
            is_new = run.state is not posted or self.smoothing != smoothing
            if is_new and (not run.is_behind or time.monotonic() >= post_at):
                posted, smoothing = run.state, self.smoothing
                self._post(RunUpdated(posted, self._reduced(posted, smoothing)))
                post_at = time.monotonic() + POST_EVERY_S
                if run.is_behind:
                    self._stopped.wait(DRAW_S)
            if not run.is_behind:
                self._stopped.wait(POLL_S)

    def _reduced(self, state: RunState, smoothing: float | None) -> StepCurves | None:
        if smoothing is None or not (len(state.steps) or state.epochs):
            return None
        from tui.run.curves import SMOOTHING, StepCurves, cycle_from  # numpy, after the first screen was painted

        if self._curves is None or smoothing not in self._curves.weights:
            self._curves = StepCurves(cycle_from(smoothing, SMOOTHING))
        self._curves.update(state.steps)
        return self._curves.snapshot()


class FollowedRun:
    """A run whose journal is folded into a state, a batch of lines at a time.

    Attributes:
        state: The state as far as the journal was read.
        is_behind: There is more to read.
        restarted: The last `advance` began anew, with another journal.
    """

    def __init__(self, folder: RunFolder) -> None:
        self.folder = folder
        self.state = inspect_folder(RunState(folder.name), folder)
        self.is_behind = True
        self.restarted = False
        self._reader = JournalReader(folder.journal_path)
        self._rounds = 0

    def advance(self, limit_bytes: int = BATCH_BYTES) -> list[AnyEvent]:
        """Read the next events and fold them into the state; look at the folder now and then. Return the events."""
        events = self._reader.read(limit_bytes)
        self.restarted, self.is_behind = self._reader.restarted, not self._reader.caught_up
        if self.restarted:
            self.state = RunState(self.folder.name, process_state=self.state.process_state)
        if events:
            self.state = apply_all(self.state, events)
        if not self.is_behind:
            if not self.state.read:
                self.state = replace(self.state, read=True)
            self._rounds += 1
            every = INSPECT_EVERY if self.state.live else INSPECT_ENDED_EVERY
            if self._rounds % every == 0 or (events and not self.state.live):
                self.state = inspect_folder(self.state, self.folder)
        return events


def inspect_folder(state: RunState, folder: RunFolder) -> RunState:
    """Update a state from the run folder.

    The state stays as it is if the folder cannot be read, because of its permissions or because a network disk does
    not answer.
    """
    try:
        with os.scandir(folder.path):
            pass
        process_state = folder.state()
        tail = tuple(folder.log_tail()) if process_state in ("crashed", "failed") else ()
        # The journal of a live run announces every frame; listing a folder of thousands of files is slow.
        frames = state.frames if process_state in LIVE_STATES else tuple(folder.frame_epochs())
        silent = process_state == "training" and not is_fresh([folder.journal_path])
        updated = replace(state, exists=True, process_state=process_state, silent=silent, log_tail=tail, frames=frames)
    except (FileNotFoundError, NotADirectoryError):
        updated = replace(state, exists=False)
    except OSError:
        return state
    return state if updated == state else updated
