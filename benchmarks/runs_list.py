"""The list of runs: ``facegender runs`` beside the time of ``facegender --help``, and the table of the interface.

``python -m benchmarks.runs_list`` makes 200 completed runs of ten epochs and 500 steps, 20 runs of 200 000 steps, and
prints the medians of both commands, started in turn; the bound is twice the time of the help. Then it presses keys in
the table of 1 000 runs: for how long the interface's thread was blocked at most, and the bytes of a key.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.machine import description
from benchmarks.recorded import write_run
from benchmarks.terminal import Looks, Terminal

STARTS = 7
LISTS = {"200 runs": (200, 500), "20 long runs": (20, 20_000)}
"""Number of runs and steps an epoch, of ten epochs."""
TABLE = 1000
KEYS = {
    "down": [b"\x1b[B"] * 20,
    "page": [b"\x1b[6~"] * 20,
    "sort": [b"\x1b[C"] * 20,
    "reverse": [b"o"] * 20,
    "mark": [b" "] * 20,
    "filter": [b"/", *(bytes([letter]) for letter in b"run lr<0.1 best>0.5")],
}


def seconds(*arguments: str) -> float:
    """Time a command from its start to its end."""
    began = time.perf_counter()
    subprocess.run([sys.executable, "-m", "facegender", *arguments], stdout=subprocess.DEVNULL, check=True)
    return time.perf_counter() - began


def commands(scratch: Path) -> None:
    """Print how long the commands take."""
    for name, (count, steps) in LISTS.items():
        root = scratch / name
        for number in range(count):
            write_run(root, f"run-{number}", epochs=10, steps_per_epoch=steps, frames=False)
        pairs = [(seconds("--help"), seconds("runs", "--root", str(root))) for _ in range(STARTS)]
        help_s, runs_s = map(statistics.median, zip(*pairs, strict=True))
        print(f"{name:>14}: --help {help_s:.3f} s, runs {runs_s:.3f} s, ratio {runs_s / help_s:.2f}", flush=True)


def table(scratch: Path) -> None:
    """Print how long the keys of the table block the interface's thread."""
    root = scratch / "table"
    for number in range(TABLE):
        write_run(root, f"run-{number}", epochs=3, steps_per_epoch=20, frames=False)
    report = scratch / "blocked"
    pressed: list[tuple[str, float, int]] = []
    with Terminal("plain", [sys.executable, "-m", "benchmarks.watched", str(report), "--root", str(root)]) as terminal:
        terminal.until(b"Loss")
        terminal.press(b"", quiet_s=2.0)
        terminal.press(b"r", quiet_s=3.0)
        for name, keys in KEYS.items():
            for key in keys:
                moment = time.monotonic()
                pressed.append((name, moment, terminal.press(key, quiet_s=0.3).bytes))
    looks = Looks(report)
    print(f"\n{f'a key in the table of {TABLE} runs':32} {'median ms':>10} {'longest ms':>11} {'bytes':>8}")
    for name in KEYS:
        moments = [(moment, count) for kind, moment, count in pressed if kind == name]
        blocked = [looks.longest_ms(at_key, at_key + 0.3) for at_key, _ in moments]
        count = statistics.median(count for _, count in moments)
        print(f"{name:32} {statistics.median(blocked):10.1f} {max(blocked):11.1f} {count:8.0f}")


def main() -> None:
    """Print both tables."""
    print(description())
    with tempfile.TemporaryDirectory() as scratch:
        commands(Path(scratch))
        table(Path(scratch))


if __name__ == "__main__":
    main()
