"""How long a key blocks the interface, on every screen, and what the interface's memory is after ten thousand keys.

``python -m benchmarks.keys [PROTOCOL] [--size=150x50] [--screen=NAME]`` (sixel by default; kitty, plain) makes two runs
with frames and predictions and presses the keys of each screen, or of one, in a terminal of so many cells. Another
thread asks the event loop every two milliseconds whether it answers: what counts of a key is the longest time that the
event loop took until the next key; beside it is what the terminal received. Keys that lay out the screen anew, or open
another one, are counted apart.
``--memory`` presses ten thousand keys, as fast as the interface takes them, and prints its memory after every thousand.
"""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
import time
from itertools import cycle, islice
from pathlib import Path
from typing import NamedTuple, cast

import psutil

from benchmarks.machine import description
from benchmarks.recorded import write_run
from benchmarks.terminal import Kind, Looks, Terminal

LEFT, RIGHT, UP, DOWN = b"\x1b[D", b"\x1b[C", b"\x1b[A", b"\x1b[B"
HOME, END, ESCAPE, ENTER, TAB = b"\x1b[H", b"\x1b[F", b"\x1b", b"\r", b"\t"
TIMES = 5
"""How often the keys of a screen are gone through."""
QUIET_S = 0.3
KEYS, EVERY = 10_000, 1_000
EPOCHS = 20


class Visit(NamedTuple):
    """A screen: the keys that open it from the dashboard, keys on it, keys that lay it out anew, keys that leave it."""

    opened_by: list[bytes]
    keys: list[bytes]
    layout: list[bytes]
    left_by: list[bytes]


PICTURES = [LEFT, RIGHT, LEFT, LEFT, DOWN, UP, b"m", b"v", b"o", b"f", b"f", b"n", b"p", b"l", b"j", b"k", b"h"]
SCREENS = {
    "dashboard": Visit([], [*PICTURES, b",", b".", b"y", b"x", b"s", b"a"], [b"2", b"3", b"5", b"+", b"_", b"\t"], []),
    "explorer": Visit([ENTER], [*PICTURES, b",", b".", b"m", b"m"], [b"H", TAB, TAB], [ESCAPE, ESCAPE, ESCAPE]),
    "runs": Visit([b"r"], [DOWN, UP, b" ", b" ", RIGHT, LEFT, b"o", b"/", b"r", b"u", b"n"], [], [ESCAPE] * 4),
    "run page": Visit([b"i"], [DOWN, DOWN, UP, TAB, TAB], [], [ESCAPE]),
    "comparison": Visit(
        [b"r", b" ", b" ", ENTER], [LEFT, LEFT, RIGHT, DOWN, UP, b"z", b"z", b"h", b"l", b"Z", b"x", b"s", b"y", b"a",
        b"v", b"d", b"o", b"o"], [TAB], [ESCAPE, ESCAPE, ESCAPE, ESCAPE],
    ),
    "mistakes": Visit([b"w"], [LEFT, RIGHT, b"l", b"j", b"k", b"h", b".", b",", b"v", b"v"], [b"2", b"3", b"1"],
                      [ESCAPE, ESCAPE]),
    "new run": Visit([b"t"], [TAB, DOWN, DOWN, b"7", b"\x7f", UP], [], [ESCAPE, ESCAPE]),
    "palette": Visit([b":"], [b"e", b"p", b"o", DOWN, UP, b"\x7f", b"\x7f"], [], [ESCAPE, ESCAPE]),
    "help": Visit([b"?"], [DOWN, UP, b"\x1b[6~"], [], [ESCAPE]),
    "settings": Visit([b"O"], [DOWN, DOWN, DOWN, DOWN, DOWN, RIGHT, RIGHT, RIGHT], [ENTER, ESCAPE], [ESCAPE]),
}  # fmt: skip


def write_runs(root: Path) -> None:
    """Two runs with everything that a screen can show."""
    for name in ("first", "second"):
        write_run(root, name, EPOCHS, predictions=400)


def blocked(kind: Kind, root: Path, size: tuple[int, int], only: str) -> None:
    """Print a line for each screen, or for one."""
    print(
        f"{'a key blocks the event loop, ' + kind:46} {'n':>4} {'median ms':>10} {'p99':>6} {'longest':>8} {'KiB':>6}"
    )
    report = root / "blocked"
    pressed: dict[str, list[tuple[float, float, int]]] = {}
    with Terminal(
        kind, [sys.executable, "-m", "benchmarks.watched", str(report), "first", "--root", str(root)], size
    ) as screen:
        screen.until(b"Loss")
        screen.press(b"", quiet_s=3.0)

        def press(name: str, keys: list[bytes]) -> None:
            for key in keys:
                began = time.monotonic()
                reaction = screen.press(key, QUIET_S, 2.0)
                pressed.setdefault(name, []).append((began, time.monotonic(), reaction.bytes))

        for name, visit in SCREENS.items():
            if only not in ("", name):
                continue
            for number in range(TIMES + 1):
                # What is imported when a screen is first opened is counted apart: it happens once.
                opened = "open the palette" if name == "palette" else "open a screen"
                press("first time: open a screen" if not number else opened, visit.opened_by)
                press("first time: a key" if not number else name, visit.keys)
                press("first time: a key" if not number else "another layout", visit.layout)
                press("first time: a key" if not number else "leave a screen", visit.left_by)
    looks = Looks(report)
    everything: list[tuple[float, int]] = []
    for name, moments in sorted(pressed.items(), key=lambda item: item[0] not in SCREENS):
        costs = [(looks.longest_ms(began, end), size) for began, end, size in moments]
        everything += costs if name in SCREENS else []
        _line(name, costs)
    _line("all keys that are no layout keys", everything)


def _line(name: str, costs: list[tuple[float, int]]) -> None:
    """Print how long keys blocked the event loop, and how many bytes they cost."""
    values_ms, sizes = zip(*costs, strict=True)
    p99 = statistics.quantiles(values_ms, n=100, method="inclusive")[98] if len(values_ms) > 1 else max(values_ms)
    print(
        f"{name:46} {len(values_ms):>4} {statistics.median(values_ms):>10.1f} {p99:>6.1f} {max(values_ms):>8.1f} "
        f"{statistics.median(sizes) / 1024:>6.1f}"
    )


def memory(kind: Kind, root: Path) -> None:
    """Print the memory of the interface after every thousand keys of all screens."""
    print(f"{'keys':>8} {'MiB, ' + kind:>12}")
    tour = [key for visit in SCREENS.values() for keys in visit for key in keys]
    with Terminal(kind, [sys.executable, "-m", "tui", "first", "--root", str(root)]) as screen:
        screen.until(b"Loss")
        screen.press(b"", quiet_s=3.0)
        for number, key in enumerate(islice(cycle(tour), KEYS), 1):
            screen.press(key, quiet_s=0.015, most_s=1.0)
            if number % EVERY == 0:
                screen.press(b"", quiet_s=1.0)
                print(f"{number:>8} {psutil.Process(screen.pid).memory_info().rss / 2**20:>12.1f}", flush=True)


def main() -> None:
    """Print the table of the keys, or that of the memory."""
    given = sys.argv[1:]
    kind = cast(Kind, next((one for one in given if not one.startswith("-")), "sixel"))
    options = dict(one.split("=", 1) for one in given if "=" in one)
    columns, rows = map(int, options.get("--size", "150x50").split("x"))
    print(description())
    with tempfile.TemporaryDirectory() as scratch:
        os.environ["XDG_CONFIG_HOME"] = scratch  # some keys change settings
        write_runs(Path(scratch))
        if "--memory" in given:
            memory(kind, Path(scratch))
        else:
            blocked(kind, Path(scratch), (columns, rows), options.get("--screen", ""))


if __name__ == "__main__":
    main()
