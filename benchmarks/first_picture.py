"""How soon a new run has pictures: from ``t``, Ctrl+S in the interface to its first step, and to its first picture.

``python -m benchmarks.first_picture FOLDER`` trains the reference recipe at 128 px on a folder with ``female/`` and
``male/``, from a completed run with that configuration, three times: the first one decodes the photographs. The bound
is a picture within 3 s of the end of the first step; a negative figure is a picture that came before it.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.machine import description
from benchmarks.recorded import write_run
from benchmarks.terminal import SIXEL, Terminal
from facegender.runs.config import TrainConfig
from facegender.runs.events import Steps
from facegender.runs.folder import RunFolder, list_runs
from facegender.runs.journal import JournalReader
from facegender.runs.requests import StopRequest, send_request

REPEATS = 3
START = b"\x13"
"""Ctrl+S."""
LIMIT_S = 120.0


def first_step(run: RunFolder) -> float:
    """When the first step of a run ended, in seconds since 1970."""
    reader = JournalReader(run.journal_path)
    deadline = time.monotonic() + LIMIT_S
    while time.monotonic() < deadline:
        for event in reader.read():
            if isinstance(event, Steps) and event.seconds:
                return event.seconds[0]
        time.sleep(0.05)
    raise SystemExit(f"run {run.name} made no step")


def measure(folder: str) -> tuple[float, float]:
    """Seconds from the key to the end of the first step, and from there to the first picture."""
    with tempfile.TemporaryDirectory() as scratch:
        root = Path(scratch)
        write_run(root, "before", config=TrainConfig(data=folder, image_size=128, epochs=2), frames=False)
        with Terminal("sixel", [sys.executable, "-m", "tui", "before", "--root", scratch]) as terminal:
            terminal.until(b"Loss")
            terminal.press(b"", quiet_s=1.0)
            terminal.press(b"t", quiet_s=0.5)
            pressed = time.time()
            terminal.type(START)
            terminal.seconds_until(SIXEL, LIMIT_S)
            seen = time.time()
            (run,) = (run for run in list_runs(root) if run.name != "before")
            stepped = first_step(run)
            send_request(run, StopRequest())
            while run.state() in ("starting", "training"):
                terminal.press(b"", quiet_s=0.2)
        return stepped - pressed, seen - stepped


def main() -> None:
    """Print the table."""
    print(description())
    print(f"{'':8} {'first step s':>13} {'picture after it s':>19}")
    with tempfile.TemporaryDirectory() as cache:
        os.environ["FACEGENDER_CACHE"] = cache
        for number in range(REPEATS):
            stepped, seen = measure(str(Path(sys.argv[1]).absolute()))
            print(f"{'decoding' if not number else 'decoded':8} {stepped:13.2f} {seen:19.2f}", flush=True)


if __name__ == "__main__":
    main()
