"""``facegender runs`` with many runs, beside the time of ``facegender --help``.

``python -m benchmarks.runs_list`` makes 200 completed runs of ten epochs and 500 steps and prints the medians of both
commands, started in turn. *long* is one more list: 20 runs of 200 000 steps. The bound is twice the time of the help.
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

STARTS = 7
LISTS = {"200 runs": (200, 500), "20 long runs": (20, 20_000)}
"""Number of runs and steps an epoch, of ten epochs."""


def seconds(*arguments: str) -> float:
    """Time a command from its start to its end."""
    began = time.perf_counter()
    subprocess.run([sys.executable, "-m", "facegender", *arguments], stdout=subprocess.DEVNULL, check=True)
    return time.perf_counter() - began


def main() -> None:
    """Print the table."""
    print(description())
    with tempfile.TemporaryDirectory() as scratch:
        for name, (count, steps) in LISTS.items():
            root = Path(scratch) / name
            for number in range(count):
                write_run(root, f"run-{number}", epochs=10, steps_per_epoch=steps, frames=False)
            pairs = [(seconds("--help"), seconds("runs", "--root", str(root))) for _ in range(STARTS)]
            help_s, runs_s = map(statistics.median, zip(*pairs, strict=True))
            print(f"{name:>14}: --help {help_s:.3f} s, runs {runs_s:.3f} s, ratio {runs_s / help_s:.2f}", flush=True)


if __name__ == "__main__":
    main()
