"""Probe the terminal: send all queries at once, and continue while the replies are under way.

The last query, primary device attributes, is answered by every terminal, and replies come in order: this reply ends
the wait. A long timeout therefore costs nothing, except on a terminal that never replies.
"""

from __future__ import annotations

import atexit
import contextlib
import fcntl
import os
import re
import select
import struct
import subprocess
import sys
import termios
import threading
import time
import tty
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from tui.graphics.terminal import Terminal, Tmux, WindowSize, interpret, is_complete

KITTY_QUERY = b"\x1b_Gi=31,s=1,v=1,a=q,t=d,f=24;AAAA\x1b\\"
VERSION_QUERY = b"\x1b[>0q"
CELL_SIZE_QUERY = b"\x1b[16t"
WINDOW_SIZE_QUERY = b"\x1b[14t"
BACKGROUND_QUERY = b"\x1b]11;?\x1b\\"
SIXEL_REGISTERS_QUERY = b"\x1b[?1;1;0S"
SIXEL_SIZE_QUERY = b"\x1b[?2;1;0S"
DEVICE_ATTRIBUTES_QUERY = b"\x1b[c"
_CURSOR_REPORT = re.compile(rb"\x1b\[\d+;\d+R")
_WIPE_LINE = b"\r\x1b[K"

_TMUX_VARIABLES = (
    "version", "client_termtype", "client_termfeatures", "allow-passthrough", "client_cell_width", "client_cell_height",
)  # fmt: skip
"""In the order of the fields of `Tmux`."""
_MAX_REPLY_BYTES = 65536
REPLY_TIMEOUT_S = 2.5
POLL_S = 0.05
EXIT_TIMEOUT_S = 1.0
"""How long to wait for the reply when the program ends without needing it."""
MAX_GAP_S = 0.3
"""The longest gap between characters of one reply; a person seldom types so soon after a `^`."""
MAX_REPLY_CHARACTERS = 80
"""The length of the longest reply."""


def queries(environment: Mapping[str, str]) -> bytes:
    """Return the queries for this terminal; devices that print unknown sequences get only the last one."""
    term = environment.get("TERM", "")
    if term in ("linux", "cons25", "vt52"):
        return DEVICE_ATTRIBUTES_QUERY
    batch = VERSION_QUERY + BACKGROUND_QUERY + CELL_SIZE_QUERY + WINDOW_SIZE_QUERY
    # ssh passes on TERM alone. tmux and screen would take kitty's query for a title of the window.
    if not (environment.get("TMUX") or environment.get("STY") or term.startswith(("tmux", "screen"))):
        batch = KITTY_QUERY + batch + SIXEL_REGISTERS_QUERY + SIXEL_SIZE_QUERY
    return _WIPE_LINE + batch + DEVICE_ATTRIBUTES_QUERY + _WIPE_LINE


class Probe:
    """Queries under way; `finish` waits for the replies and restores the terminal's input mode.

    Creating it sends the queries and returns at once: import what takes long, then call `finish`.

    Attributes:
        override: The protocol to use, see below; it may be changed until `finish`.

    Args:
        override: `kitty`, `sixel` or `halfblock` to use this protocol, `auto` to choose the best.
        input_fd: The terminal's input; by default standard input.
        output_fd: The terminal's output; by default what Textual draws on.
        environment: The environment variables; by default those of the process.
    """

    def __init__(
        self,
        override: str = "auto",
        *,
        input_fd: int | None = None,
        output_fd: int | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.override = override
        self._environment = dict(os.environ if environment is None else environment)
        self._input_fd = _descriptor(sys.__stdin__) if input_fd is None else input_fd
        self._output_fd = _terminal_output() if output_fd is None else output_fd
        self._saved_mode: list[Any] | None = None
        self._tmux: Tmux | None = None
        self._terminal: Terminal | None = None
        self._replies = b""
        self._round_trip_s: float | None = None
        self._reader: threading.Thread | None = None
        self._stop = threading.Event()
        self._not_probed = self._start()

    def finish(self, timeout_s: float = REPLY_TIMEOUT_S) -> Terminal:
        """Wait for the replies, at most `timeout_s`, and restore the terminal's input mode."""
        if self._terminal is not None:
            return self._terminal
        try:
            if self._reader is not None:
                self._reader.join(timeout_s)
        finally:
            self.restore()
        size = window_size(self._output_fd, self._input_fd)
        terminal = interpret(self._replies, self._environment, size, self._tmux, self.override, self._not_probed)
        self._terminal = replace(terminal, round_trip_s=self._round_trip_s)
        return self._terminal

    def restore(self) -> None:
        """Restore the terminal's input mode. Safe to call twice; also called at exit."""
        self._stop.set()
        if self._reader is not None and self._reader.is_alive():
            self._reader.join(2 * POLL_S)  # so that it does not take input from whoever reads next
        if self._saved_mode is None:
            return
        # TCSAFLUSH also discards unread input, so that no reply becomes a key press.
        with contextlib.suppress(termios.error):
            termios.tcsetattr(self._input_fd, termios.TCSAFLUSH, self._saved_mode)
        self._saved_mode = None
        atexit.unregister(self.restore)

    def __enter__(self) -> Probe:
        return self

    def __exit__(self, _: object, error: BaseException | None, trace: object) -> None:
        if error is not None and self._saved_mode is not None and self._reader is not None and self._reader.is_alive():
            # The program ends before the reply, which would appear at the shell's prompt.
            self._reader.join(EXIT_TIMEOUT_S)
        self.restore()

    def _start(self) -> str:
        """Send the queries; returns why not if there is no terminal to probe."""
        if self._input_fd < 0 or self._output_fd < 0 or not (os.isatty(self._input_fd) and os.isatty(self._output_fd)):
            return "input or output is not a terminal"
        if self._environment.get("TERM", "") in ("", "dumb", "unknown"):
            return "TERM says that the terminal understands no control sequences"
        try:
            if os.tcgetpgrp(self._input_fd) != os.getpgrp():
                return "the program runs in the background"
        except OSError:
            pass  # not our controlling terminal, so there is no foreground process group to respect
        try:
            self._saved_mode = termios.tcgetattr(self._input_fd)
            atexit.register(self.restore)
            tty.setcbreak(self._input_fd, termios.TCSANOW)
            os.write(self._output_fd, queries(self._environment))
            self._reader = threading.Thread(target=self._read, name="probe", daemon=True)
            self._reader.start()
        except (termios.error, OSError) as error:
            self.restore()
            return f"the terminal could not be probed: {error}"
        return ""

    def _read(self) -> None:
        """Read the replies, in a thread, so that imports in the meantime do not count as round trip."""
        sent_at = time.monotonic()
        while not self._stop.is_set() and len(self._replies) < _MAX_REPLY_BYTES:
            try:
                if not select.select([self._input_fd], [], [], POLL_S)[0]:
                    continue
                chunk = os.read(self._input_fd, 4096)
            except (OSError, ValueError):
                return
            if not chunk:
                return
            self._replies += chunk
            if is_complete(self._replies):
                self._round_trip_s = time.monotonic() - sent_at
                if self._environment.get("TMUX"):
                    self._tmux = _query_tmux()
                return


def discard_cursor_reports(count: int, timeout_s: float, fd: int | None = None) -> None:
    """Read and drop input until ``count`` cursor position reports have arrived, or the time is up."""
    fd = _descriptor(sys.__stdin__) if fd is None else fd
    if fd < 0 or not os.isatty(fd):
        return
    saved = termios.tcgetattr(fd)
    deadline = time.monotonic() + timeout_s
    unread = b""
    try:
        tty.setcbreak(fd, termios.TCSANOW)
        while count > 0 and (left_s := deadline - time.monotonic()) > 0:
            if not select.select([fd], [], [], left_s)[0]:
                break
            data = os.read(fd, 4096)
            if not data:
                break
            *reports, unread = _CURSOR_REPORT.split(unread + data)
            count -= len(reports)
    finally:
        termios.tcsetattr(fd, termios.TCSANOW, saved)


def window_size(*descriptors: int) -> WindowSize:
    """Return the window size from the kernel, of the first descriptor that is a terminal; by default our own."""
    for fd in descriptors or (_terminal_output(), _descriptor(sys.__stdin__)):
        if fd >= 0:
            with contextlib.suppress(OSError):
                size = WindowSize(*struct.unpack("HHHH", fcntl.ioctl(fd, termios.TIOCGWINSZ, b"\0" * 8)))
                if size.rows and size.columns:
                    return size
    return WindowSize()


def _descriptor(stream: Any) -> int:
    try:
        return int(stream.fileno())
    except (AttributeError, OSError, ValueError):
        return -1


def _terminal_output() -> int:
    """Return the descriptor that Textual draws on: standard error, or standard output if only that is a terminal."""
    for stream in (sys.__stderr__, sys.__stdout__):
        fd = _descriptor(stream)
        if fd >= 0 and os.isatty(fd):
            return fd
    return -1


def _query_tmux() -> Tmux | None:
    """Return what tmux reports; None if it does not."""
    command = ["tmux", "display-message", "-p", "\t".join(f"#{{{name}}}" for name in _TMUX_VARIABLES)]
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace", timeout=0.5
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    values = done.stdout.rstrip("\n").split("\t")
    return Tmux(*values) if len(values) == len(_TMUX_VARIABLES) else None


class LateReplyFilter:
    """Recognises the key presses of a late reply to the probe; it must see every key.

    Textual's parser does not know these replies and turns each character into a key press: `^` or nothing for the
    escape, then the rest. On a screen where letters are commands, they must be dropped.
    """

    def __init__(self) -> None:
        self._left = 0
        self._opened = False
        self._last_s = float("-inf")

    def consumes(self, character: str | None, now_s: float) -> bool:
        """Return whether a key belongs to a reply. `[` always begins one; the harmless `^` before it does not count.

        Args:
            character: The character that the key types; None, as for arrow keys, is never part of a reply.
            now_s: The time of the key by a monotonic clock.
        """
        soon = now_s - self._last_s < MAX_GAP_S
        self._last_s = now_s
        if character == "[" or (soon and self._opened and character in ("P", "_", "]")):
            self._left = MAX_REPLY_CHARACTERS
        elif character is None or not character.isprintable() or not soon:
            self._left = 0
        self._opened = character == "^"
        self._left -= 1
        return self._left >= 0
