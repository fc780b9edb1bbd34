"""The run page of a run of a million steps with 10 000 skipped files.

``python -m benchmarks.run_page`` prints how long `read_details` takes beside decoding the journal with msgspec, then
presses keys on the page in a terminal of 150×50 cells: for how long the interface's thread was blocked.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import msgspec

from benchmarks.machine import description
from benchmarks.recorded import write_run
from benchmarks.terminal import Looks, Terminal
from facegender.runs.details import read_details
from facegender.runs.folder import RunFolder, Skipped

EPOCHS, STEPS, SKIPPED, TIMES = 10, 100_000, 10_000, 5
KEYS = {
    "next line": [b"\x1b[B"] * 40,
    "next section": [b"\x1b[C"] * 9,
    "page of skipped files": [b"\x1b[6~"] * 40,
    "first and last line": [b"\x1b[H", b"\x1b[F"] * 10,
    "a letter of the filter": [b"/", *(bytes([letter]) for letter in b"009"), b"\x7f", b"\x7f", b"\x7f"],
}
QUIET_S = 0.3


def median_s(function: Callable[[], object]) -> float:
    """Time a function."""
    times = []
    for _ in range(TIMES):
        began = time.perf_counter()
        function()
        times.append(time.perf_counter() - began)
    return statistics.median(times)


def reading(folder: RunFolder) -> None:
    """Print how long reading takes."""
    decode = median_s(lambda: msgspec.json.Decoder().decode_lines(folder.journal_path.read_bytes()))
    read = median_s(lambda: read_details(folder))
    size = folder.journal_path.stat().st_size / 2**20
    print(f"journal of {size:.0f} MiB: decoded in {decode:.2f} s; the page is read in {read:.2f} s", flush=True)


def keys(root: Path) -> None:
    """Print for how long keys block the interface's thread."""
    report = root / "blocked"
    pressed: dict[str, list[float]] = {}
    command = [sys.executable, "-m", "benchmarks.watched", str(report), "--root", str(root)]
    with Terminal("plain", command) as terminal:
        terminal.until(b"Loss")
        terminal.press(b"", quiet_s=8.0)  # the journal is read
        pressed["open the page"] = [time.monotonic()]
        terminal.press(b"i", quiet_s=3.0, most_s=10.0)
        for name, some in KEYS.items():
            for key in some:
                pressed.setdefault(name, []).append(time.monotonic())
                terminal.press(key, quiet_s=QUIET_S)
    looks = Looks(report)
    print(f"{'a key blocks the event loop':30} {'median ms':>10} {'longest ms':>11}")
    for name, moments in pressed.items():
        until = 3.0 if name == "open the page" else QUIET_S
        longest = [looks.longest_ms(began, began + until) for began in moments]
        print(f"{name:30} {statistics.median(longest):10.1f} {max(longest):11.1f}")


def main() -> None:
    """Print both tables."""
    print(description())
    with tempfile.TemporaryDirectory() as scratch:
        folder = write_run(Path(scratch), "long", EPOCHS, STEPS, frames=False)
        manifest = folder.read_manifest()
        assert manifest is not None
        names = (f"female/{number:06}.jpg" for number in range(SKIPPED))
        skipped = [Skipped(name, "cannot identify an image in this file") for name in names]
        folder.write_manifest(msgspec.structs.replace(manifest, skipped=skipped))
        reading(folder)
        keys(Path(scratch))


if __name__ == "__main__":
    main()
