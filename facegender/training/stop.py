"""The switch that a stop request, SIGTERM and Ctrl-C turn, and the signal handlers of a run."""

from __future__ import annotations

import _thread
import contextlib
import os
import signal
import threading
from collections.abc import Callable, Iterator
from types import FrameType

STOP_REQUESTED = "stop requested"


class Stopped(BaseException):
    """Training ends here because a stop was requested. Not an `Exception`, so no handler of errors catches it."""


class StopSwitch:
    """Remembers that a stop was requested.

    While nothing is trained yet (`preparing`) there is no batch to finish, and a request raises `Stopped` in the main
    thread at once. Later it only sets `requested`, which the checkpoint callback checks after each batch.

    Attributes:
        requested: The run is to end.
        reason: Why, as a notice says it.
        error: Why the run then counts as failed; empty for a stop that was requested.
        preparing: This process has not begun to train.
    """

    def __init__(self) -> None:
        self.requested = False
        self.reason = ""
        self.error = ""
        self.preparing = True
        self._interrupts = 0

    def request(self, reason: str) -> None:
        """Turn the switch; callable from any thread."""
        if self.requested:
            return
        self.requested, self.reason = True, reason
        if self.preparing:
            if threading.current_thread() is threading.main_thread():
                raise Stopped(reason)
            _thread.interrupt_main(signal.SIGTERM)

    def fail(self, error: str) -> None:
        """Turn the switch because the run cannot continue; callable from any thread."""
        self.error = error
        self.request(error)

    def on_signal(self, number: int, frame: FrameType | None) -> None:
        """Handle SIGTERM and SIGINT.

        Raises:
            KeyboardInterrupt: The second SIGINT ends the run at once, without saving.
            Stopped: Nothing is trained yet.
        """
        name = signal.Signals(number).name
        if number == signal.SIGINT:
            self._interrupts += 1
            if self._interrupts == 2:
                raise KeyboardInterrupt
            if self._interrupts > 2:
                os._exit(130)
        if self.requested and self.preparing:
            raise Stopped(self.reason)
        self.request(f"{STOP_REQUESTED} by {name}")

    def install(self) -> None:
        """Make this the handler of both signals; for the main thread."""
        signal.signal(signal.SIGTERM, self.on_signal)
        signal.signal(signal.SIGINT, self.on_signal)


@contextlib.contextmanager
def signals_handled(switch: StopSwitch, on_hangup: Callable[[], None]) -> Iterator[None]:
    """Within the block SIGTERM and SIGINT turn the switch, and SIGHUP calls ``on_hangup``; for the main thread."""
    numbers = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
    before = {number: signal.getsignal(number) for number in numbers}
    switch.install()
    if before[signal.SIGHUP] is not signal.SIG_IGN:  # as it is under nohup
        signal.signal(signal.SIGHUP, lambda number, frame: on_hangup())
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler if handler is not None else signal.SIG_DFL)
