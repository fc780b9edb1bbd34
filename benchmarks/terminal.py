"""A terminal that is not there: it runs a program, answers its questions, presses keys and counts bytes."""

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
from types import TracebackType
from typing import Literal, NamedTuple

Kind = Literal["sixel", "kitty", "plain"]

_QUESTIONS = re.compile(
    rb"\x1b\[(?P<attributes>0?c)|\x1b\[(?P<cell>16t)|\x1b\[(?P<window>14t)|\x1b\[(?P<cursor>6n)|\x1b\[(?P<name>>0?q)"
    rb"|\x1b\[\?(?P<mode>\d+)\$p|\x1b_G(?P<kitty>[^;\x1b]*a=q[^;\x1b]*)(?:;[^\x1b]*)?\x1b\\"
)


class Reaction(NamedTuple):
    """What a key brought about: seconds to the first and to the last byte, and how many bytes."""

    first_s: float
    last_s: float
    bytes: int


class Terminal:
    """150×50 cells of 10×20 px by default. A context manager: the program is hung up on at the end."""

    def __init__(
        self, kind: Kind, command: list[str], size: tuple[int, int] = (150, 50), cell_px: tuple[int, int] = (10, 20)
    ) -> None:
        self._kind, self._size, self._cell = kind, size, cell_px
        self.began = time.perf_counter()
        self._pid, self._fd = pty.fork()
        if self._pid == 0:
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
        os.kill(self._pid, signal.SIGHUP)
        deadline = time.perf_counter() + 2
        while time.perf_counter() < deadline and os.waitpid(self._pid, os.WNOHANG) == (0, 0):
            self._read(0.05)
        os.close(self._fd)

    def press(self, key: bytes, quiet_s: float = 0.35, most_s: float = 5.0) -> Reaction:
        """Press a key and wait until nothing has come for a while."""
        began = time.perf_counter()
        os.write(self._fd, key)
        first = last = 0.0
        count = 0
        while (now := time.perf_counter()) - began < most_s and now - max(began, began + last) < quiet_s:
            data = self._read(0.02)
            if data:
                last = time.perf_counter() - began
                first = first or last
                count += len(data)
        return Reaction(first, last, count)

    def echo(self, key: bytes, wanted: bytes, most_s: float = 60.0) -> float:
        """Press a key; seconds until the program has written something."""
        began = time.perf_counter()
        os.write(self._fd, key)
        seen = b""
        while wanted not in seen:
            if time.perf_counter() - began > most_s:
                raise RuntimeError(f"waited in vain for {wanted!r}, saw {seen[-200:]!r}")
            seen += self._read(0.005)
        return time.perf_counter() - began

    def until(self, wanted: bytes, most_s: float = 20.0) -> float:
        """Seconds from the program's start until it wrote something."""
        seen = b""
        while time.perf_counter() - self.began < most_s:
            seen += self._read(0.05)
            if wanted in seen:
                return time.perf_counter() - self.began
        raise RuntimeError(f"waited in vain for {wanted!r}, saw {seen[-200:]!r}")

    def _read(self, timeout_s: float) -> bytes:
        if not select.select([self._fd], [], [], timeout_s)[0]:
            return b""
        try:
            data = os.read(self._fd, 1 << 16)
        except OSError:
            return b""
        self.bytes += len(data)
        self._tail += data
        end = 0
        for question in _QUESTIONS.finditer(self._tail):
            end = question.end()
            if answer := self._answer(question):
                os.write(self._fd, answer)
        self._tail = self._tail[end:][-512:]
        return data

    def _answer(self, question: re.Match[bytes]) -> bytes:
        if question["attributes"]:
            return b"\x1b[?62;4;22c" if self._kind == "sixel" else b"\x1b[?62;22c"
        if question["cell"]:
            return b"\x1b[6;%d;%dt" % (self._cell[1], self._cell[0])
        if question["window"]:
            return b"\x1b[4;%d;%dt" % (self._size[1] * self._cell[1], self._size[0] * self._cell[0])
        if question["cursor"]:
            return b"\x1b[1;1R"
        if question["mode"]:
            return b"\x1b[?%s;%d$y" % (question["mode"], 2 if question["mode"] == b"2026" else 0)
        if question["name"]:
            return b"\x1bP>|kitty(0.41.1)\x1b\\" if self._kind == "kitty" else b""
        number = re.search(rb"i=(\d+)", question["kitty"] or b"")
        return b"\x1b_Gi=%s;OK\x1b\\" % (number[1] if number else b"0") if self._kind == "kitty" else b""
