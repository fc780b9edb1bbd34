"""Comparing long runs: how long until all of their curves are drawn, beside decoding their journals and nothing else.

``python -m benchmarks.compare [RUNS [STEPS]]`` (20 runs of 200 000 steps by default). A process of its own decodes the
journals with msgspec, in turn with the interface in a pseudo-terminal, three times. In the interface a thread asks
the event loop every five milliseconds whether it answers, while five keys a second are pressed: the wait of a key at
any moment. Memory is the peak of the interface's process and of the largest process that reads for it. The ratio of
processor time, of the interface alone, and the waits of the idle interface are there for machines that have other work.
"""

from __future__ import annotations

import asyncio
import json
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

from benchmarks.machine import description
from benchmarks.recorded import write_run
from benchmarks.terminal import Terminal
from facegender.runs.config import TrainConfig
from facegender.runs.folder import RunFolder, list_runs

EPOCHS = 100
ROUNDS = 3
EVERY_S = 0.005
KEY_EVERY_S = 0.2
AFTER_S = 5.0
"""How long to look on when everything is drawn: keys that draw the curves anew are pressed then."""
KEYS_MEANWHILE = (b"\x1b[B", b"\x1b[D", b"\x1b[A", b"\x1b[C")
KEYS_AFTERWARDS = (b"z", b"\x1b[D", b"\x1b[D", b"s", b"Z", b"x", b"\x1b[B", b"v", b"y", b"z", b"h", b"a", b" ")


def decode_all(root: Path) -> None:
    """Print how many seconds it takes to read and decode all journals, and nothing else; and of the processor."""
    import msgspec

    from facegender.runs.events import AnyEvent

    decode = msgspec.json.Decoder(AnyEvent).decode
    began, began_cpu = time.perf_counter(), time.process_time()
    for folder in list_runs(root):
        for line in folder.journal_path.read_bytes().split(b"\n"):
            if line:
                decode(line)
    print(time.perf_counter() - began, time.process_time() - began_cpu)


def decode_s(root: Path) -> tuple[float, float]:
    """Seconds that `decode_all` takes in a process of its own, and of the processor."""
    command = [sys.executable, "-m", "benchmarks.compare", "--decode", str(root)]
    seconds, cpu_s = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
    return float(seconds), float(cpu_s)


def watched(root: Path, report: Path) -> None:
    """Run the interface, compare all runs, and write what its event loop went through. In the pseudo-terminal."""
    from tui.__main__ import SWITCH_INTERVAL_S
    from tui.app import FaceGenderApp
    from tui.graphics.probe import Probe
    from tui.messages import CompareRuns
    from tui.screens.compare import Compare

    class Watched(FaceGenderApp):
        """Opens the comparison and notes when all is drawn, and how long the event loop took to answer until then."""

        def on_load(self) -> None:
            """Begin."""
            super().on_load()
            self.measuring = asyncio.create_task(self._measure())

        async def _measure(self) -> None:
            """Compare the runs once the first screen is at rest."""
            await asyncio.sleep(1.5)
            waits: dict[str, list[float]] = {"idle": [], "reading": [], "afterwards": []}
            self.phase = "idle"
            loop = asyncio.get_running_loop()
            threading.Thread(target=self._watch, args=(loop, waits), daemon=True).start()
            await asyncio.sleep(2.0)
            began, began_cpu, self.phase = time.perf_counter(), time.process_time(), "reading"
            self.post_message(CompareRuns(tuple(list_runs(root))))
            while not (isinstance(self.screen, Compare) and self.screen.is_complete):
                await asyncio.sleep(EVERY_S)
            drawn_s, cpu_s = time.perf_counter() - began, time.process_time() - began_cpu
            self.phase = "afterwards"
            report.with_suffix(".drawn").touch()
            await asyncio.sleep(AFTER_S)
            self.phase = ""
            own, read = (resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
            peak = (own + read) / 2**10
            report.write_text(json.dumps({"drawn_s": drawn_s, "cpu_s": cpu_s, "peak_mib": peak, **waits}))

        def _watch(self, loop: asyncio.AbstractEventLoop, waits: dict[str, list[float]]) -> None:
            answered = threading.Event()
            while phase := self.phase:
                answered.clear()
                asked = time.perf_counter()
                loop.call_soon_threadsafe(answered.set)
                answered.wait()
                waits[phase].append(time.perf_counter() - asked)
                time.sleep(EVERY_S)

    terminal = Probe().finish()
    sys.setswitchinterval(SWITCH_INTERVAL_S)  # as the program does
    Watched(root, terminal).run()


def compared(root: Path, number: int) -> dict[str, float]:
    """Seconds until all is drawn, the peak of memory, and percentiles of how long the event loop took to answer."""
    report = root / f"{number}.report"
    with Terminal("plain", [sys.executable, "-m", "benchmarks.compare", "--watched", str(root), str(report)]) as screen:
        screen.until(b"Compare", 60)
        keys = 0
        while not report.exists():
            wanted = KEYS_AFTERWARDS if report.with_suffix(".drawn").exists() else KEYS_MEANWHILE
            screen.press(wanted[keys % len(wanted)], quiet_s=KEY_EVERY_S, most_s=KEY_EVERY_S)
            keys += 1
    measured = json.loads(report.read_text())
    for phase in ("idle", "reading", "afterwards"):
        waits = measured.pop(phase)
        measured[f"{phase}_p99"] = statistics.quantiles(waits, n=100)[-1]
        measured[f"{phase}_worst"] = max(waits)
    return measured


def write_runs(root: Path, runs: int, steps: int) -> list[RunFolder]:
    """Write runs with different learning rates; the journals of all but the first are copies."""
    folders: list[RunFolder] = []
    for number in range(runs):
        config = TrainConfig(epochs=EPOCHS, learning_rate=1e-3 * (number + 1))
        per_epoch = steps // EPOCHS if number == 0 else 1
        folders.append(write_run(root, f"run-{number + 1}", EPOCHS, per_epoch, frames=False, config=config))
        if number:
            shutil.copyfile(folders[0].journal_path, folders[number].journal_path)
    return folders


def main() -> None:
    """Print a line for each round."""
    if sys.argv[1:2] == ["--decode"]:
        return decode_all(Path(sys.argv[2]))
    if sys.argv[1:2] == ["--watched"]:
        return watched(Path(sys.argv[2]), Path(sys.argv[3]))
    runs, steps = (int(given) for given in [*sys.argv[1:], *("20", "200000")[len(sys.argv) - 1 :]])
    print(description())
    print(f"{'decode s':>9} {'drawn s':>8} {'ratio':>6} {'of CPU':>7} {'MiB':>5} ", end="")
    print(f"{'idle: p99 ms':>13} {'reading: p99 ms':>16} {'worst':>6} ", end="")
    print(f"{'afterwards: p99 ms':>19} {'worst':>6}")
    with tempfile.TemporaryDirectory() as scratch:
        root = Path(scratch)
        write_runs(root, runs, steps)
        for number in range(ROUNDS):
            bare_s, bare_cpu_s = decode_s(root)
            one = compared(root, number)
            waits = {name: 1000 * one[name] for name in one if name.endswith(("_p99", "_worst"))}
            print(
                f"{bare_s:>9.2f} {one['drawn_s']:>8.2f} {one['drawn_s'] / bare_s:>6.2f} "
                f"{one['cpu_s'] / bare_cpu_s:>7.2f} {one['peak_mib']:>5.0f} "
                f"{waits['idle_p99']:>13.1f} {waits['reading_p99']:>16.1f} {waits['reading_worst']:>6.0f} "
                f"{waits['afterwards_p99']:>19.1f} {waits['afterwards_worst']:>6.0f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
