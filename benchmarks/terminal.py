"""A terminal that is not there: it runs a program, answers its questions, presses keys and counts bytes.

A slow link can be put in between: a round trip, and how many bytes a second it carries towards the terminal.
"""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import signal
import struct
import termios
import time
from collections import deque
from pathlib import Path
from types import TracebackType
from typing import Literal, NamedTuple

Kind = Literal["sixel", "kitty", "plain"]

_QUESTIONS = re.compile(
    rb"\x1b\[(?P<attributes>0?c)|\x1b\[(?P<cell>16t)|\x1b\[(?P<window>14t)"
    rb"|(?:\x1b\[(?P<place>\d+;\d+)H)?\x1b\[(?P<cursor>6n)|\x1b\[(?P<name>>0?q)"
    rb"|\x1b\[\?(?P<mode>\d+)\$p|\x1b_G(?P<kitty>[^;\x1b]*a=q[^;\x1b]*)(?:;[^\x1b]*)?\x1b\\"
)
SIXEL = b"\x1bP0;1;0q"
"""How a sixel picture of this program starts."""
PICTURE = re.compile(rb"\x1b_Ga=T|" + SIXEL + rb"|\xe2\x96\x80|\xf4\x8e\xbb\xae")
"""What only a picture has: a kitty or a sixel picture's start, a half block, a kitty placeholder."""


class Reaction(NamedTuple):
    """What a key brought about: seconds to the first and the last byte, to the first of a picture, and how many."""

    first_s: float
    last_s: float
    bytes: int
    picture_s: float


class Looks:
    """What `benchmarks.watched` wrote: when it looked, and how many milliseconds the event loop took to answer."""

    def __init__(self, report: Path) -> None:
        lines = report.read_text().splitlines()[:-1]  # the last one may not be whole
        self._looks = [tuple(map(float, line.split())) for line in lines]

    def longest_ms(self, began: float, end: float) -> float:
        """Return the longest answer between two moments of the monotonic clock."""
        return max((ms for at, ms in self._looks if began <= at < end), default=0.0)


class Terminal:
    """150×50 cells of 10×20 px by default. A context manager: the program is hung up on at the end.

    Args:
        round_trip_s: Of the link.
        bytes_per_second: That it carries from the program; 0 for no limit.

    Attributes:
        pid: Of the program.
    """

    def __init__(
        self,
        kind: Kind,
        command: list[str],
        size: tuple[int, int] = (150, 50),
        cell_px: tuple[int, int] = (10, 20),
        *,
        round_trip_s: float = 0.0,
        bytes_per_second: float = 0.0,
    ) -> None:
        self._kind, self._size, self._cell = kind, size, cell_px
        self._delay_s, self._rate = round_trip_s / 2, bytes_per_second
        self._to_program: deque[tuple[float, bytes]] = deque()
        self._to_screen: deque[tuple[float, bytes]] = deque()
        self._link_free = 0.0
        self.began = time.perf_counter()
        self.pid, self._fd = pty.fork()
        if self.pid == 0:
            os.environ.update(TERM="xterm-256color", COLORTERM="truecolor")
            os.execvp(command[0], command)
        pixels = size[0] * cell_px[0], size[1] * cell_px[1]
        fcntl.ioctl(self._fd, termios.TIOCSWINSZ, struct.pack("HHHH", size[1], size[0], *pixels))
        self.bytes = 0
        self._tail = b""

    def __enter__(self) -> Terminal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.kill(self.pid, signal.SIGHUP)
        deadline = time.perf_counter() + 5
        while time.perf_counter() < deadline and os.waitpid(self.pid, os.WNOHANG) == (0, 0):
            self._step(0.05)
        os.close(self._fd)

    def press(self, key: bytes, quiet_s: float = 0.35, most_s: float = 20.0) -> Reaction:
        """Press a key and wait until nothing has come for a while."""
        began = time.perf_counter()
        self.type(key)
        first = last = picture = 0.0
        count = 0
        while (now := time.perf_counter()) - began < most_s and now - max(began, began + last) < quiet_s:
            data = self._step(0.01)
            if data:
                last = time.perf_counter() - began
                first = first or last
                count += len(data)
                if not picture and PICTURE.search(data):
                    picture = last
        return Reaction(first, last, count, picture)

    def type(self, keys: bytes) -> None:
        """Send keys on their way."""
        self._to_program.append((time.perf_counter() + self._delay_s, keys))

    def seconds_until(self, wanted: bytes, most_s: float = 5.0) -> float:
        """Seconds until the program writes something, from now."""
        began, seen = time.perf_counter(), b""
        while time.perf_counter() - began < most_s:
            seen += self._step(0.005)
            if wanted in seen:
                return time.perf_counter() - began
        raise RuntimeError(f"waited in vain for {wanted!r}, saw {seen[-200:]!r}")

    def echo(self, key: bytes, wanted: bytes, most_s: float = 60.0) -> float:
        """Press a key; seconds until the program has written something."""
        self.type(key)
        return self.seconds_until(wanted, most_s)

    def until(self, wanted: bytes, most_s: float = 20.0) -> float:
        """Seconds from the program's start until it wrote something."""
        self.seconds_until(wanted, most_s)
        return time.perf_counter() - self.began

    def _step(self, timeout_s: float) -> bytes:
        """Move bytes both ways for a moment; what arrived on the screen."""
        now = time.perf_counter()
        while self._to_program and self._to_program[0][0] <= now:
            os.write(self._fd, self._to_program.popleft()[1])
        due = min([timeout_s, *(queue[0][0] - now for queue in (self._to_program, self._to_screen) if queue)])
        if select.select([self._fd], [], [], max(0.0, due))[0]:
            try:
                data = os.read(self._fd, 1 << 16)
            except OSError:
                data = b""
            now = time.perf_counter()
            self._link_free = max(self._link_free, now) + (len(data) / self._rate if self._rate else 0.0)
            self._to_screen.append((self._link_free + self._delay_s, data))
        arrived = b""
        while self._to_screen and self._to_screen[0][0] <= time.perf_counter():
            arrived += self._to_screen.popleft()[1]
        self.bytes += len(arrived)
        self._answer_questions(arrived)
        return arrived

    def _answer_questions(self, data: bytes) -> None:
        self._tail += data
        end = 0
        for question in _QUESTIONS.finditer(self._tail):
            end = question.end()
            if answer := self._answer(question):
                self.type(answer)
        self._tail = self._tail[end:][-512:]

    def _answer(self, question: re.Match[bytes]) -> bytes:
        if question["attributes"]:
            return b"\x1b[?62;4;22c" if self._kind == "sixel" else b"\x1b[?62;22c"
        if question["cell"]:
            return b"\x1b[6;%d;%dt" % (self._cell[1], self._cell[0])
        if question["window"]:
            return b"\x1b[4;%d;%dt" % (self._size[1] * self._cell[1], self._size[0] * self._cell[0])
        if question["cursor"]:
            return b"\x1b[%sR" % (question["place"] or b"1;1")
        if question["mode"]:
            return b"\x1b[?%s;%d$y" % (question["mode"], 2 if question["mode"] == b"2026" else 0)
        if question["name"]:
            return b"\x1bP>|kitty(0.41.1)\x1b\\" if self._kind == "kitty" else b""
        number = re.search(rb"i=(\d+)", question["kitty"] or b"")
        return b"\x1b_Gi=%s;OK\x1b\\" % (number[1] if number else b"0") if self._kind == "kitty" else b""
