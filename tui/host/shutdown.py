"""Ends the program where no key does: after a signal, without its terminal, or after an error of its own.

Imported before anything that takes long, as Ctrl-C may come at any time.
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
from types import FrameType
from typing import Any

from facegender.support.signals import ENDING_SIGNALS

EXIT_LIMIT_S = 3.0
HANGUP_EXIT_LIMIT_S = 0.8
"""After a hang-up nobody waits for the program any more."""
WRITABLE_LIMIT_S = 0.3
WAKE_SIGNAL = signal.SIGURG
"""Has no default effect, but interrupts a blocking system call."""
WAKE_S = 0.05

# End an unfinished control string and update; mouse, focus, paste and size reports off; kitty keyboard off; line wrap
# on; main screen; cursor and colours as usual.
_RESET_SEQUENCE = (
    b"\x1b\\\x1b[?2026l"
    b"\x1b[?1000l\x1b[?1002l\x1b[?1003l\x1b[?1006l\x1b[?1015l\x1b[?1016l\x1b[?1004l\x1b[?2004l\x1b[?2048l"
    b"\x1b[<u\x1b[?7h\x1b[?1049l\x1b[?25h\x1b[0m"
)


def is_shell_job() -> bool:
    """Whether a shell with job control started the program: only such a shell can continue it once it is suspended.

    The shell gives each job a process group of its own; otherwise the program shares the group of its parent.
    """
    try:
        return os.getpgrp() != os.getpgid(os.getppid())
    except OSError:  # the parent is gone, or belongs to another session
        return False


class Shutdown:
    """A context manager that handles the signals that end programs, and can restore the mode of the terminal.

    While the application runs a signal makes it exit as its own key does. If it does not exit within a limit, for
    instance because it waits for a terminal that is gone or stopped, the process ends without it. Before and after,
    a signal ends the program at once and silently, with the exit code that shells use.

    Attributes:
        request_exit: Makes the application exit, from any thread; returns False if it does not run.
        cleanup_sequence: Returns what to write to the terminal last, to free the images it holds.
        received: The last signal that was received, or None.
    """

    def __init__(self) -> None:
        self.request_exit: Callable[[], bool] = lambda: False
        self.cleanup_sequence: Callable[[], str] = str
        self.received: int | None = None
        self._previous_handlers: dict[int, Any] = {}
        self._terminal_mode: list[Any] | None = None

    def __enter__(self) -> Shutdown:
        with contextlib.suppress(termios.error, OSError, ValueError, AttributeError):
            self._terminal_mode = termios.tcgetattr(sys.__stdin__.fileno())  # type: ignore[union-attr] # suppressed
        for number in ENDING_SIGNALS:
            # A signal that is ignored, as SIGHUP is under nohup, stays ignored.
            if signal.getsignal(number) is not signal.SIG_IGN:
                self._previous_handlers[number] = signal.signal(number, self._handle)
        self._previous_handlers[WAKE_SIGNAL] = signal.signal(WAKE_SIGNAL, lambda *_: None)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._previous_handlers.items():
            signal.signal(number, handler)

    def _handle(self, number: int, _: FrameType | None) -> None:
        first, self.received = self.received is None, number
        if not self.request_exit():
            raise SystemExit(128 + number)
        if first:
            limit_s = HANGUP_EXIT_LIMIT_S if number == signal.SIGHUP else EXIT_LIMIT_S
            deadline = threading.Timer(limit_s, self._force_exit, [number])
            deadline.daemon = True
            deadline.start()

    def _force_exit(self, number: int) -> None:
        with contextlib.suppress(OSError, ValueError):
            self._abort_blocked_writes()
        self.restore_terminal()
        os._exit(128 + number)

    def _abort_blocked_writes(self) -> None:
        """Wake threads that are blocked in a write to a stopped terminal, and send the rest of it to /dev/null."""
        null = os.open(os.devnull, os.O_WRONLY)
        for descriptor in (1, 2):
            os.dup2(null, descriptor)
        for thread in threading.enumerate():
            if thread.ident not in (None, threading.get_ident()):
                signal.pthread_kill(thread.ident or 0, WAKE_SIGNAL)
        time.sleep(WAKE_S)

    def restore_terminal(self) -> None:
        """Restore the mode of the terminal, without waiting for it: it may be gone or stopped."""
        with contextlib.suppress(termios.error, OSError, ValueError, AttributeError):
            descriptor = sys.__stdin__.fileno()  # type: ignore[union-attr] # suppressed
            if self._terminal_mode is not None:
                termios.tcsetattr(descriptor, termios.TCSANOW, self._terminal_mode)
            # Output that waits for a slow link would only delay this, and nobody will see it.
            termios.tcflush(descriptor, termios.TCOFLUSH)
            if select.select([], [descriptor], [], WRITABLE_LIMIT_S)[1]:
                os.write(descriptor, _RESET_SEQUENCE + self.cleanup_sequence().encode())


def report_crash(trace: str) -> None:
    """Print one line about an error that ended the program, and write the traceback to the user's cache folder.

    Args:
        trace: The traceback as Python or Rich prints it; its last line names the error.
    """
    from facegender.support.cache_dir import make_cache_folder
    from facegender.support.files import replacing
    from facegender.support.text import one_line

    what = next((line for line in reversed(trace.splitlines()) if line.strip()), "unknown error")
    try:
        path = make_cache_folder() / "facegender-tui-error.log"
        with replacing(path) as temporary:
            temporary.write_text(trace, encoding="utf-8")
        where = f"details are in {path}"
    except OSError:
        where = "set FACEGENDER_TRACEBACK=1 to see where"
    with contextlib.suppress(OSError, ValueError):
        text = one_line(f"facegender-tui: ended by an internal error: {what}; runs continue; {where}")
        print(text, file=sys.stderr, flush=True)
