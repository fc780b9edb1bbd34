"""Follow a run in a thread: read its journal, fold it into a `RunState`, post the state.

The thread posts whole states, not events, so nothing queues up when the interface is slower than the journal: each
state replaces the one before it, and costs the interface the same whether ten steps or a million were added.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from threading import Event, Thread

from textual.message import Message

from facegender.runs.folder import LIVE_STATES, RunFolder
from facegender.runs.journal import JournalReader
from facegender.support.text import one_line
from tui.run.state import RunState, apply_all

POLL_S = 0.15
INSPECT_EVERY = 7
"""Polls between two looks at the run folder of a live run."""
INSPECT_ENDED_EVERY = 20
"""The same for a run that has ended: an idle dashboard must not keep a cluster's disk busy."""
BATCH_BYTES = 1 << 17
"""Reading and folding this much takes a few milliseconds."""
YIELD_S = 0.0005
"""Pause between two batches, during which the interface gets Python's global interpreter lock."""
POST_EVERY_S = 0.1
"""At most one state in this time while there is more to read."""


@dataclass
class RunUpdated(Message):
    """The state of the run has changed: by its journal, its folder or the trainer's process."""

    state: RunState


@dataclass
class FollowFailed(Message):
    """The thread has ended with an error; ``why`` is one line."""

    run: str
    why: str


class Follower:
    """A thread that follows one run from construction until `stop`.

    It is a daemon thread, not a worker: a file system that hangs must not keep the program from ending.

    ``post`` must be thread-safe, e.g. a widget's ``post_message``.
    """

    def __init__(self, folder: RunFolder, post: Callable[[Message], object]) -> None:
        self._post = post
        self._stopped = Event()
        Thread(target=self._run, args=(folder,), name="follow", daemon=True).start()

    def stop(self) -> None:
        """Ask the thread to end, without waiting for it; it may post once more."""
        self._stopped.set()

    def _run(self, folder: RunFolder) -> None:
        try:
            self._follow(folder)
        except Exception as error:  # the boundary of the thread
            self._post(FollowFailed(folder.name, one_line(f"{type(error).__name__}: {error}")))

    def _follow(self, folder: RunFolder) -> None:
        reader = JournalReader(folder.journal_path)
        state = inspect_folder(RunState(folder.name), folder)
        posted: RunState | None = None
        rounds = 0
        post_at = 0.0
        while not self._stopped.is_set():
            events = reader.read(BATCH_BYTES)
            if reader.restarted:
                state = RunState(folder.name, process_state=state.process_state)
            if events:
                state = apply_all(state, events)
            behind = not reader.caught_up
            if not behind:
                if not state.read:
                    state = replace(state, read=True)
                rounds += 1
                every = INSPECT_EVERY if state.live else INSPECT_ENDED_EVERY
                if rounds % every == 0 or (events and not state.live):
                    state = inspect_folder(state, folder)
            if state is not posted and (not behind or time.monotonic() >= post_at):
                self._post(RunUpdated(state))
                posted, post_at = state, time.monotonic() + POST_EVERY_S
            self._stopped.wait(YIELD_S if behind else POLL_S)


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
        updated = replace(state, exists=True, process_state=process_state, log_tail=tail, frames=frames)
    except (FileNotFoundError, NotADirectoryError):
        updated = replace(state, exists=False)
    except OSError:
        return state
    return state if updated == state else updated
