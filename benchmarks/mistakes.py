"""The mistakes screen of 40 000 validation photographs: from the key to the last byte of a page.

``python -m benchmarks.mistakes FOLDER`` makes a run with predictions of `PHOTOGRAPHS` photographs, which are links to
those of a folder with ``female/`` and ``male/``, and opens the screen `STARTS` times in a terminal of 150×50 cells.
*first page* is from ``w`` to the last byte of the photographs, *next page* the same from ``.``, *epoch* from ``←``, and
*changed* from ``s``; *MiB* is the memory of the interface and of the process that decodes. The bounds: 0.5 s for the
first page, 0.15 s for the next one.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
from collections import defaultdict
from itertools import cycle
from pathlib import Path

import numpy as np
import psutil
from msgspec import structs

from benchmarks.machine import description
from benchmarks.recorded import made_up_predictions, write_run
from benchmarks.terminal import Kind, Terminal
from facegender.runs.photographs import Photographs, write_photographs

PHOTOGRAPHS = 40_000
EPOCHS = 5
STARTS = 5
PAGES = 6
PAUSE_S = 0.6
"""Between two keys, as for a person who looks at a page."""
LEFT = b"\x1b[D"


def link_photographs(source: Path, target: Path) -> list[str]:
    """Make links to photographs, whose classes are the labels of the made-up predictions; return their names."""
    labels = made_up_predictions(0, PHOTOGRAPHS, 0).labels
    names = ("female", "male")
    for name in names:
        (target / name).mkdir(parents=True)
    files = [cycle(sorted((source / name).iterdir())) for name in names]
    made = []
    for number, label in enumerate(labels.tolist()):
        file = next(files[label])
        made.append(f"{names[label]}/{number:05d}{file.suffix}")
        (target / made[-1]).symlink_to(file.absolute())
    return made


def memory_mib(terminal: Terminal) -> float:
    """Memory of the interface and of its children in MiB."""
    process = psutil.Process(terminal.pid)
    return float(sum(one.memory_info().rss for one in [process, *process.children(recursive=True)]) / 2**20)


def measure(root: str, kind: Kind) -> None:
    """Print a line of the table."""
    seconds = defaultdict(list)
    for _ in range(STARTS):
        with Terminal(kind, [sys.executable, "-m", "tui", "mistakes", "--root", root]) as terminal:
            terminal.until(b"Loss")
            terminal.press(b"", quiet_s=3.5)
            seconds["first"].append(terminal.press(b"w", quiet_s=1.0).last_s)
            for _ in range(PAGES):
                seconds["next"].append(terminal.press(b".", quiet_s=PAUSE_S).last_s)
            seconds["changed"].append(terminal.press(b"s", quiet_s=PAUSE_S).last_s)
            terminal.press(b"s", quiet_s=PAUSE_S)
            for _ in range(EPOCHS - 1):
                seconds["epoch"].append(terminal.press(LEFT, quiet_s=PAUSE_S).last_s)
            seconds["memory"].append(memory_mib(terminal))
    columns = [
        f"{statistics.median(values):8.3f} {np.quantile(values, 0.95):8.3f}"
        for values in (seconds[name] for name in ("first", "next", "epoch", "changed"))
    ]
    print(f"{kind:>8} {' '.join(columns)} {max(seconds['memory']):8.0f}", flush=True)


def main() -> None:
    """Print the table."""
    print(description())
    with tempfile.TemporaryDirectory() as scratch:
        root = Path(scratch)
        names = link_photographs(Path(sys.argv[1]), root / "data")
        run = write_run(root, "mistakes", epochs=EPOCHS, frames=False, predictions=PHOTOGRAPHS)
        write_photographs(run, Photographs(names, names))
        manifest = run.read_manifest()
        assert manifest is not None
        run.write_manifest(structs.replace(manifest, data=str(root / "data")))
        print(f"{'':8} {'first page s':>17} {'next page s':>17} {'epoch s':>17} {'changed s':>17} {'MiB':>8}")
        print(f"{'':8}" + f" {'median':>8} {'95 %':>8}" * 4)
        kinds: tuple[Kind, ...] = ("sixel", "kitty", "plain")
        for kind in kinds:
            measure(scratch, kind)


if __name__ == "__main__":
    main()
