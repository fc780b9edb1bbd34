"""Runs a command in a pseudo-terminal."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import struct
import sys
import termios
import time
from pathlib import Path


def in_terminal(*arguments: str, output: Path | None = None, timeout_s: float = 60.0) -> tuple[int, bytes]:
    """Run ``facegender`` in a terminal of 30 lines and 100 columns, cells of 10 by 20 pixels, that answers nothing.

    Args:
        output: A file that takes the standard output.

    Returns:
        The exit code, and what the terminal received.
    """
    process, terminal = pty.fork()
    if not process:
        environment = {**os.environ, "TERM": "xterm-256color", "COLORTERM": "truecolor"}
        if output is not None:
            os.dup2(os.open(output, os.O_WRONLY | os.O_CREAT), 1)
        os.execve(sys.executable, [sys.executable, "-m", "facegender", *arguments], environment)
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 30, 100, 1000, 600))
    out, end = b"", time.monotonic() + timeout_s
    while time.monotonic() < end:
        if select.select([terminal], [], [], 1.0)[0]:
            try:
                out += os.read(terminal, 65536)
            except OSError:  # the other end is closed
                break
    os.close(terminal)
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]), out
