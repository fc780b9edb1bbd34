"""What a flip to another epoch costs: ours beside textual-image's automatic widget, full pane, in one run.

``python -m benchmarks.flips [ROOT RUN]``: a recorded run at 512 px with at least 8 frames, or made-up smooth maps.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
from pathlib import Path

from benchmarks.machine import description
from benchmarks.recorded import write_run
from benchmarks.terminal import Kind, Reaction, Terminal

FLIPS = 15
LEFT, RIGHT, HOME = b"\x1b[D", b"\x1b[C", b"\x1b[H"


def measure(
    kind: Kind, command: list[str], ready: bytes, opening: list[bytes]
) -> tuple[list[Reaction], list[Reaction]]:
    """Flips to unseen epochs, and back to seen ones."""
    with Terminal(kind, command) as terminal:
        terminal.until(ready)
        terminal.press(b"", quiet_s=1.5)
        for key in opening:
            terminal.press(key, quiet_s=0.8)
        unseen = [terminal.press(RIGHT) for _ in range(FLIPS)]
        seen = [terminal.press(LEFT) for _ in range(FLIPS)]
    return unseen, seen


def row(name: str, flips: list[Reaction]) -> str:
    """A line of the table; reactions without a picture (at either end) are left out."""
    real = [flip for flip in flips if flip.bytes > 200]
    if len(real) < 2:
        return f"{name:44} no flips"
    times = [flip.last_s * 1000 for flip in real]
    p95 = statistics.quantiles(times, n=20)[18]
    size = statistics.median(flip.bytes for flip in real) / 1024
    return f"{name:44} {len(real):3} {statistics.median(times):8.0f} {p95:8.0f} {size:9.0f}"


def main() -> None:
    """Print the table."""
    print(description())
    print(f"{'':44} {'n':>3} {'ms':>8} {'ms p95':>8} {'KiB':>9}")
    with tempfile.TemporaryDirectory() as scratch:
        given = sys.argv[1:3]
        root, run = given if len(given) == 2 else (scratch, "made-up")
        if not given:
            write_run(Path(root), run, epochs=FLIPS + 1, steps_per_epoch=40)
        ours = [sys.executable, "-m", "tui", run, "--root", root]
        theirs = [sys.executable, "-m", "benchmarks.automatic_widget", root, run]
        for kind in ("sixel", "kitty", "plain"):
            unseen, seen = measure(kind, ours, b"Loss", [b"5", b"+", HOME])
            print(row(f"{kind}: ours, unseen", unseen))
            print(row(f"{kind}: ours, seen", seen))
            unseen, seen = measure(kind, theirs, b"\x1b[?1049h", [])
            print(row(f"{kind}: automatic widget, unseen", unseen))
            print(row(f"{kind}: automatic widget, seen", seen))


if __name__ == "__main__":
    main()
