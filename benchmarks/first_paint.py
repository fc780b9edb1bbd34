"""How soon the first screen of ``facegender-tui`` is seen, in a pseudo-terminal that answers at once.

The bound is 0.45 s to the first screen. Beside it: an empty Textual app, which is what no program of this kind can be
faster than, and the interpreter alone.
"""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import statistics
import struct
import sys
import tempfile
import termios
import time
from pathlib import Path

from benchmarks.machine import description
from benchmarks.recorded import write_run

REPEATS = 15
EMPTY_APP = "from textual.app import App; App().run()"
_QUESTIONS = re.compile(rb"\x1b\[0?c|\x1b\[16t|\x1b\[\?\d+\$p")
_ANSWERS = {b"c": b"\x1b[?62;4;22c", b"t": b"\x1b[6;20;10t", b"p": b""}


def seconds_until(command: list[str], least_bytes: int, wanted: bytes) -> float:
    """Seconds from the start of a program to its first output of some size that contains some text."""
    began = time.perf_counter()
    pid, fd = pty.fork()
    if pid == 0:
        os.environ.update(TERM="xterm-256color", COLORTERM="truecolor")
        os.execvp(command[0], command)
    fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack("HHHH", 50, 150, 1500, 1000))
    seen = b""
    try:
        while time.perf_counter() - began < 20:
            if not select.select([fd], [], [], 0.05)[0]:
                continue
            try:
                data = os.read(fd, 1 << 16)
            except OSError:
                break
            for question in _QUESTIONS.finditer(data):
                os.write(fd, _ANSWERS[question[0][-1:]])
            seen += data
            if len(seen) > least_bytes and wanted in seen:
                return time.perf_counter() - began
    finally:
        os.kill(pid, 9)
        os.waitpid(pid, 0)
        os.close(fd)
    raise RuntimeError(f"{command} did not paint: {seen[-200:]!r}")


def main() -> None:
    """Print minimum, median and 90th percentile of each, measured in turn."""
    print(description())
    with tempfile.TemporaryDirectory() as folder:
        write_run(Path(folder), "five")
        tui = [sys.executable, "-m", "tui", "five", "--root", folder]
        subjects = {
            "facegender-tui, first screen": (tui, 400, b"Loss"),
            "facegender-tui, first picture": (tui, 400, b"\x1bP"),
            "an empty Textual app": ([sys.executable, "-c", EMPTY_APP], 400, b""),
            "python -c pass": ([sys.executable, "-c", "print('x' * 9)"], 5, b"x"),
        }
        times: dict[str, list[float]] = {name: [] for name in subjects}
        for _ in range(REPEATS):
            for name, (command, least, wanted) in subjects.items():
                times[name].append(seconds_until(command, least, wanted))
    print(f"{'':32} {'min s':>7} {'median':>7} {'p90':>7}")
    for name, values in times.items():
        p90 = statistics.quantiles(values, n=10)[8]
        print(f"{name:32} {min(values):7.3f} {statistics.median(values):7.3f} {p90:7.3f}")


if __name__ == "__main__":
    main()
