"""Opening a run of 10 and one of 1 000 epochs, and the interface's memory while it goes through their pictures.

``python -m benchmarks.many_epochs`` makes both runs, each with a frame per epoch as at 512 px, and opens each three
times in a terminal with sixel pictures of 150×50 cells. *first picture* is the median from the start of the program
to the first bytes of a picture. *opened* is the program's memory then, *later* after all views of all layers were
shown and ``FLIPS`` epochs were gone through. The bounds: as fast as 10 epochs, and 250 MiB.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
from pathlib import Path

import psutil

from benchmarks.machine import description
from benchmarks.recorded import write_run
from benchmarks.terminal import SIXEL, Terminal

EPOCHS = (10, 1000)
STARTS = 3
FLIPS = 300
VIEWS, LAYERS = 6, 3
RIGHT, DOWN, HOME = b"\x1b[C", b"\x1b[B", b"\x1b[H"


def memory_mib(terminal: Terminal) -> float:
    """Memory of the program in MiB."""
    return float(psutil.Process(terminal.pid).memory_info().rss / 2**20)


def main() -> None:
    """Print the table."""
    print(description())
    print(f"{'epochs':>8} {'first picture s':>16} {'opened MiB':>11} {'later MiB':>10}")
    with tempfile.TemporaryDirectory() as scratch:
        for epochs in EPOCHS:
            write_run(Path(scratch), f"run-{epochs}", epochs=epochs, steps_per_epoch=20)
        for epochs in EPOCHS:
            seconds = []
            for start in range(STARTS):
                command = [sys.executable, "-m", "tui", f"run-{epochs}", "--root", scratch]
                with Terminal("sixel", command) as terminal:
                    seconds.append(terminal.until(SIXEL))
                    terminal.press(b"", quiet_s=1.5)
                    opened = memory_mib(terminal)
                    if start < STARTS - 1:
                        continue
                    terminal.press(HOME, quiet_s=0.8)
                    for _ in range(LAYERS):
                        for _ in range(VIEWS):
                            terminal.press(b"m", quiet_s=0.3)
                        terminal.press(DOWN, quiet_s=0.3)
                    for _ in range(FLIPS):
                        terminal.press(RIGHT, quiet_s=0.03)
                    terminal.press(b"", quiet_s=2.0)
                    later = memory_mib(terminal)
            print(f"{epochs:8} {statistics.median(seconds):16.2f} {opened:11.0f} {later:10.0f}", flush=True)


if __name__ == "__main__":
    main()
