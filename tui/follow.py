"""Tails a run's journal in a thread and posts what it finds; the only reader of a run that is in progress."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from threading import Event

from textual.message import Message

from facegender.runs.events import AnyEvent
from facegender.runs.folder import LIVE_STATES, RunFolder, State
from facegender.runs.journal import JournalReader

POLL_S = 0.15
OBSERVE_EVERY = 7


class RunEvents(Message):
    """New events of a run, in order.

    Attributes:
        restarted: The journal was replaced; these are the first events of the new one.
    """

    def __init__(self, run: str, events: list[AnyEvent], restarted: bool) -> None:
        super().__init__()
        self.run = run
        self.events = events
        self.restarted = restarted


class RunObserved(Message):
    """How a run stands by its folder and process.

    Attributes:
        log_tail: The end of ``train.log`` where the run crashed or failed, else empty.
        frames: Epochs whose frame files exist; empty while the run is live.
        exists: Whether the run folder is still there.
    """

    def __init__(self, run: str, state: State, log_tail: list[str], frames: tuple[int, ...], exists: bool) -> None:
        super().__init__()
        self.run = run
        self.state = state
        self.log_tail = log_tail
        self.frames = frames
        self.exists = exists


def follow(folder: RunFolder, post: Callable[[Message], object], cancelled: Event) -> None:
    """Read the journal until cancelled. Runs in a thread of its own.

    Args:
        post: Thread-safe, e.g. a widget's ``post_message``.
        cancelled: Set from outside to end; also the clock of the polling.
    """
    reader = JournalReader(folder.journal_path)
    rounds = 0
    while not cancelled.is_set():
        events = reader.read()
        if events or reader.restarted:
            post(RunEvents(folder.name, events, reader.restarted))
        if not reader.caught_up:
            continue
        if rounds % OBSERVE_EVERY == 0:
            # A network file system that does not answer now may do so later.
            with contextlib.suppress(OSError):
                post(observe(folder))
        rounds += 1
        cancelled.wait(POLL_S)


def observe(folder: RunFolder) -> RunObserved:
    """Look at a run folder once."""
    state = folder.state()
    tail = folder.log_tail() if state in ("crashed", "failed") else []
    # While a run is live its journal announces every frame; folders of thousands of files are slow to list.
    frames = () if state in LIVE_STATES else tuple(folder.frame_epochs())
    return RunObserved(folder.name, state, tail, frames, os.path.isdir(folder.path))
