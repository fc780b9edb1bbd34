"""What a flip to another picture costs, in a layer pane of 100×37 cells of 10×20 px, beside the automatic widget.

``python -m benchmarks.pictures ROOT RUN``: a run recorded at 512 px with at least eight frames. Without arguments the
maps are made up. Every row stands beside its bound. The automatic widget is textual-image's, its picture of the size of
our layer pane.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from benchmarks.machine import description
from benchmarks.recorded import write_run
from benchmarks.terminal import Kind, Reaction, Terminal

KINDS: tuple[Kind, ...] = ("sixel", "kitty", "plain")
NAMES = {"sixel": "sixel", "kitty": "kitty", "plain": "half blocks"}
LEFT, RIGHT, DOWN, HOME, ESCAPE = b"\x1b[D", b"\x1b[C", b"\x1b[B", b"\x1b[H", b"\x1b"
FLIPS = 7
PASSES = 3
ROUND_TRIP_S, BYTES_PER_SECOND = 0.25, 125_000
BOUNDS_MS = {"sixel": (90, 40), "kitty": (60, 20), "plain": (50, 50)}
BOUNDS_KIB = {"sixel": (300, 300), "kitty": (200, 16), "plain": (117, 117)}
MARK = "¤"
VIEWS = ("maps", "filters", "average", "difference", "cam")
"""In the order of the `m` key. Top patches need photographs, which the classify process decodes."""


def percentile(values: Sequence[float], percent: int) -> float:
    """By linear interpolation; the largest value where there are too few."""
    return statistics.quantiles(values, n=100, method="inclusive")[percent - 1] if len(values) > 1 else values[0]


def flips(kind: Kind, command: list[str], ready: bytes, opening: Sequence[bytes]) -> list[list[Reaction]]:
    """Flips to unseen epochs, and back to seen ones, in a program that is started anew for each pass."""
    unseen: list[Reaction] = []
    seen: list[Reaction] = []
    for _ in range(PASSES):
        with Terminal(kind, command) as terminal:
            terminal.until(ready)
            terminal.press(b"", quiet_s=1.5)
            for key in opening:
                terminal.press(key, quiet_s=0.8)
            unseen += [terminal.press(RIGHT) for _ in range(FLIPS)]
            seen += [terminal.press(LEFT) for _ in range(FLIPS)]
    return [unseen, seen]


def row(name: str, reactions: list[Reaction], bounds: str) -> None:
    """A line of the table; keys that brought no picture are left out."""
    real = [reaction for reaction in reactions if reaction.bytes > 2000]
    if not real:
        print(f"{name:46} no picture")
        return
    times = [reaction.last_s * 1000 for reaction in real]
    size = statistics.median(reaction.bytes for reaction in real) / 1024
    middle, high = statistics.median(times), percentile(times, 95)
    print(f"{name:46} {len(real):3} {middle:7.0f} {high:7.0f} {size:8.0f}   {bounds}")


def line(name: str, values_ms: Sequence[float]) -> None:
    """A line of a table of times alone."""
    middle, high = statistics.median(values_ms), percentile(values_ms, 99)
    print(f"{name:46} {len(values_ms):3} {middle:7.1f} {high:7.1f} {max(values_ms):7.1f}")


def flip_table(ours: list[str], theirs: list[str]) -> None:
    """Time and bytes of flips without a delay, layer by layer."""
    print(f"\n{'flip, no delay: key → last byte':46} {'n':>3} {'ms':>7} {'p95':>7} {'KiB':>8}   bound: p95 ms, KiB")
    for kind in KINDS:
        for number in range(3):
            both = flips(kind, ours, b"Loss", [*[DOWN] * number, HOME])
            for index, (what, reactions) in enumerate(zip(("unseen", "seen"), both, strict=True)):
                bounds = f"{BOUNDS_MS[kind][index]}, {BOUNDS_KIB[kind][index]}"
                row(f"{NAMES[kind]}, layer {number + 1}, {what}", reactions, bounds)
        for what, reactions in zip(("unseen", "seen"), flips(kind, theirs, b"\x1b[?1049h", []), strict=True):
            row(f"{NAMES[kind]}, automatic widget, {what}", reactions, "")


def view_table(ours: list[str]) -> None:
    """Time and bytes of flips without a delay, view by view of the first layer."""
    print(f"\n{'flip, no delay, first layer':46} {'n':>3} {'ms':>7} {'p95':>7} {'KiB':>8}   bound: p95 ms, KiB")
    for kind in KINDS:
        for number, view in enumerate(VIEWS):
            both = flips(kind, ours, b"Loss", [HOME, *[b"m"] * number])
            for index, (what, reactions) in enumerate(zip(("unseen", "seen"), both, strict=True)):
                bounds = f"{BOUNDS_MS[kind][index]}, {BOUNDS_KIB[kind][index]}"
                row(f"{NAMES[kind]}, {view}, {what}", reactions, bounds)


def slow_table(ours: list[str], theirs: list[str]) -> None:
    """Flips on a slow link."""
    heads = f"{'n':>3} {'first s':>8} {'max':>6} {'all s':>7} {'max':>6}"
    print(f"\n{'flip at 1 Mbit/s and 250 ms':46} {heads}   bound: 0.5, 2.5")
    for kind in KINDS:
        for name, command, ready, opening in (
            ("ours", ours, b"Loss", [HOME]),
            ("automatic widget", theirs, b"\x1b[?1049h", []),
        ):
            with Terminal(kind, command, round_trip_s=ROUND_TRIP_S, bytes_per_second=BYTES_PER_SECOND) as terminal:
                terminal.until(ready)
                terminal.press(b"", quiet_s=3.0, most_s=60)
                for key in opening:
                    terminal.press(key, quiet_s=2.0)
                count = FLIPS if name == "ours" else 2
                reactions = [terminal.press(RIGHT, quiet_s=0.7, most_s=60) for _ in range(count)]
            first = [reaction.picture_s for reaction in reactions if reaction.picture_s]
            whole = [reaction.last_s for reaction in reactions if reaction.picture_s]
            if first:
                print(
                    f"{NAMES[kind] + ', ' + name:46} {len(first):3} {statistics.median(first):8.2f} {max(first):6.2f} "
                    f"{statistics.median(whole):7.2f} {max(whole):6.2f}"
                )


def echo_table(ours: list[str]) -> None:
    """Typing in the prompt while a flip is under way."""
    print(f"\n{'key → echo in the prompt during a flip':46} {'n':>3} {'ms':>7} {'p99':>7} {'max':>7}   bound: p99 30")
    for kind in KINDS:
        echoes = []
        with Terminal(kind, ours) as terminal:
            terminal.until(b"Loss")
            terminal.press(b"", quiet_s=1.5)
            terminal.press(HOME, quiet_s=1.0)
            for number in range(2 * FLIPS):
                terminal.type((RIGHT if number < FLIPS else LEFT) + b"c")
                terminal.seconds_until(b"path of a photograph")
                for count in range(1, 6):
                    terminal.type(MARK.encode())
                    echoes.append(terminal.seconds_until((MARK * count).encode()) * 1000)
                terminal.press(ESCAPE, quiet_s=0.3)
        line(NAMES[kind], echoes)


def main() -> None:
    """Print the tables."""
    ours = [sys.executable, "-m", "tui", *ARGUMENTS]
    theirs = [sys.executable, "-m", "benchmarks.automatic_widget", *ARGUMENTS[2:], ARGUMENTS[0]]
    print(description())
    flip_table(ours, theirs)
    view_table(ours)
    slow_table(ours, theirs)
    echo_table(ours)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as scratch:
        given = sys.argv[1:3]
        root, run = given if len(given) == 2 else (scratch, "made-up")
        if len(given) != 2:
            write_run(Path(root), run, epochs=FLIPS + 1, steps_per_epoch=40)
        ARGUMENTS = [run, "--root", root]
        main()
