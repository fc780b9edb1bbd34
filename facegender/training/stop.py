"""The one switch that a stop request, SIGTERM and Ctrl-C all turn, and what a lost terminal does: nothing."""

from __future__ import annotations

import _thread
import contextlib
import os
import signal
import threading
from collections.abc import Callable, Iterator
from types import FrameType


class Stopped(BaseException):
    """Training ends here because somebody asked; no error, so nothing that catches errors may catch it."""


class StopSwitch:
    """Remembers that a stop was asked for.

    While nothing is trained yet (`preparing`) there is no batch to finish: the request raises `Stopped` in the main
    thread at once. Later it only sets `requested`, which the checkpoint callback looks at after each batch.

    Attributes:
        requested: Somebody asked.
        reason: Who did, in words.
        preparing: No batch has been trained yet by this process.
        abandoned: There is nothing left to save to.
    """

    def __init__(self) -> None:
        self.requested = False
        self.reason = ""
        self.preparing = True
        self.abandoned = False
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

    def abandon(self, reason: str) -> None:
        """Turn the switch because the run folder is gone."""
        self.abandoned = True
        self.request(reason)

    def on_signal(self, number: int, frame: FrameType | None) -> None:
        """Handler of SIGTERM and SIGINT.

        Raises:
            KeyboardInterrupt: The second SIGINT: end at once, without saving.
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
        self.request(name)

    def install(self) -> None:
        """Make this the handler of both signals; does nothing outside the main thread."""
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, self.on_signal)
            signal.signal(signal.SIGINT, self.on_signal)


@contextlib.contextmanager
def signals_handled(switch: StopSwitch, on_hangup: Callable[[], None]) -> Iterator[None]:
    """SIGTERM and SIGINT turn the switch and SIGHUP calls ``on_hangup``, for a while."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    numbers = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
    before = {number: signal.getsignal(number) for number in numbers}
    switch.install()
    if before[signal.SIGHUP] is not signal.SIG_IGN:  # nohup has ignored it for us
        signal.signal(signal.SIGHUP, lambda number, frame: on_hangup())
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler if handler is not None else signal.SIG_DFL)
