"""How the program ends where no key ends it: by a signal, without its terminal, or by an error of its own.

It is imported before anything that takes long, as Ctrl-C may come at any time.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import sys
import termios
import threading
import time
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Any

from facegender.support.signals import ENDING_SIGNALS

HUNG_UP_LIMIT_S = 0.8
"""After a hang-up there is nobody left to wait for."""
LIMIT_S = 3.0
RESTORE_S = 0.3
INTERRUPTING = signal.SIGURG
"""Means nothing to anybody, but ends a system call that waits."""
CUT_OFF_S = 0.05

# An unfinished control string and update ended; mouse, focus, paste and size reports off; kitty keyboard off; line wrap
# on; main screen; cursor and colours as usual.
_AS_FOUND = (
    b"\x1b\\\x1b[?2026l"
    b"\x1b[?1000l\x1b[?1002l\x1b[?1003l\x1b[?1006l\x1b[?1015l\x1b[?1016l\x1b[?1004l\x1b[?2004l\x1b[?2048l"
    b"\x1b[<u\x1b[?7h\x1b[?1049l\x1b[?25h\x1b[0m"
)


def is_own_job() -> bool:
    """Whether a shell with job control has started the program, which alone can go on with it once it is suspended.

    Such a shell gives each job a process group of its own; without one the group is that of whoever started it.
    """
    try:
        return os.getpgrp() != os.getpgid(os.getppid())
    except OSError:  # the parent is gone, or somebody else's
        return False


class Ending:
    """A context manager that takes the signals that end programs, and keeps how the terminal was found.

    While the application runs a signal makes it leave, as its own key does. Where it does not manage to within a limit,
    for instance because it waits for a terminal that is gone or stopped, the process ends without it. Before and after,
    a signal ends the program at once, without a word, with the exit code that shells use.

    Attributes:
        leave: Makes the application leave, from any thread; returns False where it does not run.
        farewell: What to write last to the terminal, to free what it holds for the application.
        signalled: The signal that came, or None.
    """

    def __init__(self) -> None:
        self.leave: Callable[[], bool] = lambda: False
        self.farewell: Callable[[], str] = str
        self.signalled: int | None = None
        self._before: dict[int, Any] = {}
        self._mode: list[Any] | None = None

    def __enter__(self) -> Ending:
        with contextlib.suppress(termios.error, OSError, ValueError, AttributeError):
            self._mode = termios.tcgetattr(sys.__stdin__.fileno())  # type: ignore[union-attr] # suppressed
        for number in ENDING_SIGNALS:
            # What is ignored, as SIGHUP is by nohup, stays ignored.
            if signal.getsignal(number) is not signal.SIG_IGN:
                self._before[number] = signal.signal(number, self._signal)
        self._before[INTERRUPTING] = signal.signal(INTERRUPTING, lambda *_: None)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _signal(self, number: int, _: FrameType | None) -> None:
        first, self.signalled = self.signalled is None, number
        if not self.leave():
            raise SystemExit(128 + number)
        if first:
            limit_s = HUNG_UP_LIMIT_S if number == signal.SIGHUP else LIMIT_S
            deadline = threading.Timer(limit_s, self._give_up, [number])
            deadline.daemon = True
            deadline.start()

    def _give_up(self, number: int) -> None:
        with contextlib.suppress(OSError, ValueError):
            self._cut_off_writers()
        self.restore()
        os._exit(128 + number)

    def _cut_off_writers(self) -> None:
        """Have threads that wait in a write to a stopped terminal write the rest to nowhere: it would come last."""
        nowhere = os.open(os.devnull, os.O_WRONLY)
        for descriptor in (1, 2):
            os.dup2(nowhere, descriptor)
        for thread in threading.enumerate():
            if thread.ident not in (None, threading.get_ident()):
                signal.pthread_kill(thread.ident or 0, INTERRUPTING)
        time.sleep(CUT_OFF_S)

    def restore(self) -> None:
        """Put the terminal back as it was found; without waiting, for it may be gone or stopped."""
        with contextlib.suppress(termios.error, OSError, ValueError, AttributeError):
            descriptor = sys.__stdin__.fileno()  # type: ignore[union-attr] # suppressed
            if self._mode is not None:
                termios.tcsetattr(descriptor, termios.TCSANOW, self._mode)
            # What waits in front of a slow link would only hold this up, and nobody will look at it.
            termios.tcflush(descriptor, termios.TCOFLUSH)
            if select.select([], [descriptor], [], RESTORE_S)[1]:
                os.write(descriptor, _AS_FOUND + self.farewell().encode())


def report(trace: str) -> None:
    """Say in one line that an error ended the program, and keep the details in a file of the user's cache folder.

    Args:
        trace: As Python or Rich prints it: its last line names the error.
    """
    from facegender.support.cache_dir import cache_folder
    from facegender.support.files import replacing
    from facegender.support.text import one_line

    what = next((line for line in reversed(trace.splitlines()) if line.strip()), "unknown error")
    path = cache_folder() / "facegender-tui-error.log"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as temporary:
            temporary.write_text(trace, encoding="utf-8")
        where = f"details are in {path}"
    except OSError:
        where = "set FACEGENDER_TRACEBACK=1 to see where"
    with contextlib.suppress(OSError, ValueError):
        text = one_line(f"facegender-tui: ended by an error of its own: {what}; runs go on; {where}")
        print(text, file=sys.stderr, flush=True)
