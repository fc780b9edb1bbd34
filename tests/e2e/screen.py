"""A program in a pseudo-terminal, and what stands on its screen."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import signal
import struct
import sys
import termios
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType

import pyte

# Control strings (pictures, titles) that pyte does not know, and keyboard modes that it takes for text.
_STRINGS = re.compile(rb"\x1b[P_^\]].*?(?:\x1b\\|\x07)|\x1b\[[<>=][\d;]*[a-zA-Z]", re.DOTALL)


class Screen:
    """Runs ``facegender-tui`` as a terminal without graphics. A context manager: it is killed at the end.

    Args:
        code: Python to run instead of the program, which then has to start it.
        answers: Answer what the program asks.
    """

    def __init__(
        self,
        arguments: list[str],
        cache: Path,
        size: tuple[int, int] = (120, 40),
        *,
        code: str = "",
        answers: bool = True,
    ) -> None:
        self._answers = answers
        self.written = b""
        self.began = time.monotonic()
        self._screen = pyte.Screen(*size)
        self._stream = pyte.ByteStream(self._screen)
        self.pid, self._fd = pty.fork()
        if self.pid == 0:
            fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", size[1], size[0], 0, 0))
            for number in (
                signal.SIGINT,
                signal.SIGQUIT,
                signal.SIGHUP,
            ):  # which a background job may have been told to ignore
                signal.signal(number, signal.SIG_DFL)
            os.environ.update(TERM="xterm-256color", COLORTERM="truecolor", FACEGENDER_CACHE=str(cache))
            start = ["-c", code] if code else ["-m", "tui"]
            os.execv(sys.executable, [sys.executable, *start, *arguments])
        self._found = termios.tcgetattr(self._fd)
        self.exit_code: int | None = None
        self._rest = b""

    def __enter__(self) -> Screen:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.exit_code is None:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
        self.hang_up()

    def hang_up(self) -> None:
        """Take the terminal away."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    @property
    def is_as_found(self) -> bool:
        """Whether the terminal has its mode again, and the screen, the cursor and the mouse that it had."""
        modes = dict(re.findall(rb"\x1b\[\?(1049|1000|1003|25)([hl])", self.written))
        left = all(modes.get(mode, b"l") == b"l" for mode in (b"1049", b"1000", b"1003"))
        return left and modes.get(b"25", b"h") == b"h" and termios.tcgetattr(self._fd) == self._found

    @property
    def text(self) -> str:
        """The screen, row by row."""
        return "\n".join(self._screen.display)

    def press(self, *keys: str | bytes) -> None:
        """Press keys, each when the program has answered the one before it; bytes are sent as they are."""
        for key in keys:
            os.write(self._fd, key if isinstance(key, bytes) else key.encode())
            end = time.monotonic() + 1.0
            while self._read(0.15) and time.monotonic() < end:
                pass

    def until(self, wanted: str | Callable[[], bool], timeout_s: float = 60.0) -> None:
        """Wait until a text stands on the screen, or something else holds."""
        end = time.monotonic() + timeout_s
        while not (wanted in self.text if isinstance(wanted, str) else wanted()):
            assert time.monotonic() < end, f"waited in vain for {wanted!r}:\n{self.text}"
            self._read(0.1)

    def until_ended(self, timeout_s: float = 20.0) -> int:
        """Wait until the program has ended; its exit code, negative for a signal."""
        end = time.monotonic() + timeout_s
        while time.monotonic() < end:
            if self._fd >= 0:
                self._read(0.05)
            else:
                time.sleep(0.01)
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.exit_code = os.waitstatus_to_exitcode(status)
                return self.exit_code
        raise AssertionError(f"it did not end:\n{self.text}")

    def _read(self, timeout_s: float) -> bool:
        """Take in what the program wrote; whether it wrote anything."""
        if not select.select([self._fd], [], [], timeout_s)[0]:
            return False
        try:
            data = os.read(self._fd, 1 << 16)
        except OSError:
            return False
        self.written += data
        for _ in re.finditer(rb"\x1b\[0?c", data) if self._answers else ():
            os.write(self._fd, b"\x1b[?62;22c")
        for place in re.finditer(rb"(?:\x1b\[(\d+;\d+)H)?\x1b\[6n", data):
            os.write(self._fd, b"\x1b[%sR" % (place[1] or b"1;1"))
        data = self._rest + data
        # A control string that has not ended yet waits for its end.
        open_at = max(data.rfind(b"\x1bP"), data.rfind(b"\x1b_"))
        cut = open_at if open_at >= 0 and b"\x1b\\" not in data[open_at:] else len(data)
        self._rest = data[cut:]
        self._stream.feed(_STRINGS.sub(b"", data[:cut]))
        return True
