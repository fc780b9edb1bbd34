"""Signals that arrive while modules are imported."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from types import FrameType

ENDING_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)


@contextlib.contextmanager
def defer_signals() -> Iterator[None]:
    """Call the handler of a signal at the end of the block, but that of a second signal at once.

    For imports: msgspec (0.22) crashes if a handler raises while it builds a type. Signals without a Python handler,
    e.g. ignored ones, are left alone; so are all of them outside the main thread.
    """
    deferred: list[int] = []
    handlers: dict[int, Callable[[int, FrameType | None], object]] = {}

    def defer(number: int, frame: FrameType | None) -> None:
        deferred.append(number)
        if len(deferred) > 1:
            handlers[number](number, frame)

    if threading.current_thread() is threading.main_thread():
        for number in ENDING_SIGNALS:
            current = signal.getsignal(number)
            if callable(current):
                handlers[number] = current
                signal.signal(number, defer)
    try:
        yield
    finally:
        for deferring, handler in handlers.items():
            signal.signal(deferring, handler)
    if deferred:
        handlers[deferred[0]](deferred[0], None)
