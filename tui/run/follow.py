"""Follows a run in a thread: reads its journal, folds it into a `RunState`, posts the state. The only reader of a run.

The interface gets whole states and not events, so nothing piles up where it is slower than the journal: a state takes
the place of the one before it, and taking it costs the interface the same whether ten steps or a million came.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import replace
from threading import Event, Thread

from textual.message import Message

from facegender.runs.folder import LIVE_STATES, RunFolder
from facegender.runs.journal import JournalReader
from facegender.support.text import one_line
from tui.run.state import RunState, apply_all

POLL_S = 0.15
OBSERVE_EVERY = 7
OBSERVE_ENDED_EVERY = 20
BATCH_BYTES = 1 << 17
"""As much as is read and folded in some milliseconds."""
BREATH_S = 0.0005
"""Between two batches, so that the interface, which shares the interpreter with this thread, gets a turn."""
POST_EVERY_S = 0.1
"""While there is more to read; nobody sees more states than this."""


class RunFollowed(Message):
    """How a run stands now.

    Attributes:
        state: By its journal, and by its folder and process.
        exists: Whether the run folder is still there.
    """

    def __init__(self, state: RunState, exists: bool) -> None:
        super().__init__()
        self.state = state
        self.exists = exists


class FollowFailed(Message):
    """The thread met what it was not made for and has ended; ``why`` is one line."""

    def __init__(self, run: str, why: str) -> None:
        super().__init__()
        self.run = run
        self.why = why


class Follower:
    """The thread that follows one run, from now until it is stopped.

    A thread of its own, and no worker: a file system that hangs must not keep the program from ending.
    """

    def __init__(self, folder: RunFolder, post: Callable[[Message], object]) -> None:
        self._cancelled = Event()
        Thread(target=follow, args=(folder, post, self._cancelled), name="follow", daemon=True).start()

    def stop(self) -> None:
        """End it, without waiting for that; it may post once more."""
        self._cancelled.set()


def follow(folder: RunFolder, post: Callable[[Message], object], cancelled: Event) -> None:
    """Read the journal until cancelled. Runs in a thread of its own.

    Args:
        post: Thread-safe, e.g. a widget's ``post_message``.
        cancelled: Set from outside to end; also the clock of the polling.
    """
    try:
        _follow(folder, post, cancelled)
    except Exception as error:  # the boundary of the thread
        post(FollowFailed(folder.name, one_line(f"{type(error).__name__}: {error}")))


def _follow(folder: RunFolder, post: Callable[[Message], object], cancelled: Event) -> None:
    reader = JournalReader(folder.journal_path)
    state, exists = observed(RunState(folder.name), folder)
    posted: tuple[RunState | None, bool] = None, exists
    rounds = 0
    post_at = 0.0
    while not cancelled.is_set():
        events = reader.read(BATCH_BYTES)
        if reader.restarted:
            state = RunState(folder.name, observed=state.observed)
        if events:
            state = apply_all(state, events)
        behind = not reader.caught_up
        if not behind:
            if not state.read:
                state = replace(state, read=True)
            rounds += 1
            # An idle dashboard must not keep a cluster's disk busy with a run that has ended.
            every = OBSERVE_EVERY if state.live else OBSERVE_ENDED_EVERY
            if rounds % every == 0 or (events and not state.live):
                state, exists = observed(state, folder)
        new = state is not posted[0] or exists != posted[1]
        if new and (not behind or time.monotonic() >= post_at):
            post(RunFollowed(state, exists))
            posted, post_at = (state, exists), time.monotonic() + POST_EVERY_S
        cancelled.wait(BREATH_S if behind else POLL_S)


def observed(state: RunState, folder: RunFolder) -> tuple[RunState, bool]:
    """The state with what a look at the run folder adds to it, and whether the folder is still there.

    A folder that is there and cannot be looked into, because of its permissions or because a network disk does not
    answer, tells nothing: what is known of the run stays.
    """
    try:
        with os.scandir(folder.path):
            pass
        stands = folder.state()
        tail = tuple(folder.log_tail()) if stands in ("crashed", "failed") else ()
        # While a run is live its journal announces every frame; folders of thousands of files are slow to list.
        frames = state.frames if stands in LIVE_STATES else tuple(folder.frame_epochs())
    except (FileNotFoundError, NotADirectoryError):
        return state, False
    except OSError:
        return state, True
    looked = replace(state, observed=stands, log_tail=tail, frames=frames)
    return (state if looked == state else looked), True
