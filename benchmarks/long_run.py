"""Opening a run of very many steps: how long until all is read, and what the keys feel of it meanwhile.

``python -m benchmarks.long_run [STEPS…]`` (200 000, a million and three million by default). The interface runs in a
pseudo-terminal with a clock in its event loop: what passes between two ticks is how long a key had to wait (99th
percentile and longest). It reads twice: alone, and while the prompt is opened again and again and timed from the key to
its words on the screen. *decode* is decoding the same journal with msgspec and nothing else, in a process of its own;
the ratio of processor time, of all threads of the interface, is there for machines that have other work.
"""

from __future__ import annotations

import asyncio
import gc
import json
import statistics
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.compare import decode_s
from benchmarks.machine import description
from benchmarks.recorded import write_run
from benchmarks.terminal import Terminal

STEPS = (200_000, 1_000_000, 3_000_000)
EPOCHS = 100
TICK_S = 0.005
PICKED = {"p99": lambda seconds: statistics.quantiles(seconds, n=100)[-1], "worst": max}
AFTER_S = 4.0
"""How long to look on when everything was read: keys that change the curves are pressed then."""


def watched(root: Path, run: str, steps: int, report: Path) -> None:
    """Run the interface and write what its event loop went through. In the pseudo-terminal."""
    from facegender.runs.folder import open_run
    from tui.__main__ import SWITCH_INTERVAL_S
    from tui.app import FaceGenderApp
    from tui.graphics.probe import Probe

    class Watched(FaceGenderApp):
        """Keeps the times between two ticks of its event loop, while it reads and afterwards."""

        def on_load(self) -> None:
            """Begin to tick."""
            super().on_load()
            self.ticking = asyncio.create_task(self._tick())

        async def _tick(self) -> None:
            while not self.dashboard.is_mounted:
                await asyncio.sleep(TICK_S)
            began, began_cpu, read_s, cpu_s = time.perf_counter(), time.process_time(), 0.0, 0.0
            last, gaps = began, {"reading": [0.0], "afterwards": [0.0]}
            while not read_s or last - began - read_s < AFTER_S:
                await asyncio.sleep(TICK_S)
                now = time.perf_counter()
                gaps["afterwards" if read_s else "reading"].append(now - last - TICK_S)
                state = self.dashboard.state
                if not read_s and state is not None and len(state.steps) >= steps:
                    read_s, cpu_s = now - began, time.process_time() - began_cpu
                    report.with_suffix(".read").touch()
                last = now
            waits = {
                f"{phase}_{name}": pick(seconds) for phase, seconds in gaps.items() for name, pick in PICKED.items()
            }
            report.write_text(json.dumps({"read_s": read_s, "cpu_s": cpu_s, **waits}))

    terminal = Probe().finish()
    gc.disable()  # both as the program does
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    Watched(root, terminal, run=open_run(root, run)).run()


def measure(root: Path, run: str, steps: int, *, keys: bool) -> tuple[dict[str, float], list[float]]:
    """What the event loop went through, and seconds from key to words of each prompt that was opened while reading."""
    report = root / f"{run}-{'keys' if keys else 'alone'}.report"
    command = [sys.executable, "-m", "benchmarks.long_run", "--watched", str(root), run, str(steps), str(report)]
    echoes: list[float] = []
    with Terminal("plain", command) as terminal:
        terminal.until(b"Loss")
        while not report.with_suffix(".read").exists():
            if keys:
                echoes.append(terminal.echo(b"c", b"ath of a photograph"))  # the cursor is on its first letter
            terminal.press(b"\x1b" if keys else b"", quiet_s=0.3)
        for key in (b"s", b"x", b"y", b"s", b"x", b"s"):
            terminal.press(key)
        while not report.exists():
            terminal.press(b"", quiet_s=0.1)
    return json.loads(report.read_text()), echoes


def main() -> None:
    """Print a line for each number of steps."""
    if sys.argv[1:2] == ["--watched"]:
        root, run, steps, report = sys.argv[2:6]
        watched(Path(root), run, int(steps), Path(report))
        return
    print(description())
    print(
        f"{'steps':>10} {'MiB':>5} {'decode s':>9} {'all read s':>11} {'ratio':>6} {'of CPU':>7} {'with keys s':>12} "
        f"{'reading: p99 ms':>16} {'worst':>6} {'then: p99 ms':>13} {'worst':>6} {'key ms':>7} {'worst':>6} {'n':>3}"
    )
    for steps in map(int, sys.argv[1:]) if sys.argv[1:] else STEPS:
        with tempfile.TemporaryDirectory() as scratch:
            folder = write_run(Path(scratch), "long", EPOCHS, steps // EPOCHS, frames=False)
            size = folder.journal_path.stat().st_size / 2**20
            bare_s, bare_cpu_s = decode_s(Path(scratch))
            alone, _ = measure(Path(scratch), "long", steps, keys=False)
            loop, echoes = measure(Path(scratch), "long", steps, keys=True)
        keys = [1000 * echo for echo in echoes] or [float("nan")]
        waits = {name: 1000 * loop[name] for name in loop if name.endswith(("_p99", "_worst"))}
        print(
            f"{steps:>10} {size:>5.0f} {bare_s:>9.2f} {alone['read_s']:>11.2f} {alone['read_s'] / bare_s:>6.2f} "
            f"{alone['cpu_s'] / bare_cpu_s:>7.2f} {loop['read_s']:>12.2f} "
            f"{waits['reading_p99']:>16.1f} {waits['reading_worst']:>6.0f} "
            f"{waits['afterwards_p99']:>13.1f} {waits['afterwards_worst']:>6.0f} "
            f"{statistics.median(keys):>7.0f} {max(keys):>6.0f} {len(echoes):>3}",
            flush=True,
        )


if __name__ == "__main__":
    main()
