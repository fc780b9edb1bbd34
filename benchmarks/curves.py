"""Drawing a loss curve of many steps: our chart beside textual-plot's, in one run."""

from __future__ import annotations

import asyncio
import statistics
import time

import numpy as np
from rich.style import Style
from textual.app import App, ComposeResult
from textual_plot import HiResMode, PlotWidget

from benchmarks.machine import description
from tui.run.curves import Curve
from tui.widgets.plotting import Plot

SIZE = (60, 16)
REPEATS = 7


class Other(App[None]):
    """One of textual-plot's widgets."""

    def compose(self) -> ComposeResult:
        """The widget."""
        yield PlotWidget()


def _ours(x: np.ndarray, y: np.ndarray) -> float:
    began = time.perf_counter()
    Plot((Curve("train", x, y, "#61afef"),), (0.0, 10.0), "epochs", None, False, Style()).strips(*SIZE)
    return (time.perf_counter() - began) * 1000


async def _theirs(x: np.ndarray, y: np.ndarray) -> list[float]:
    app = Other()
    times = []
    async with app.run_test(size=SIZE) as pilot:
        plot = app.query_one(PlotWidget)
        for _ in range(REPEATS if len(x) <= 20_000 else 1):
            plot.clear()
            began = time.perf_counter()
            plot.plot(x, y, hires_mode=HiResMode.BRAILLE)
            plot.render()
            await pilot.pause()
            times.append((time.perf_counter() - began) * 1000)
    return times


def main() -> None:
    """Print a table of medians in milliseconds."""
    print(description())
    print(f"{'steps':>9} {'ours ms':>9} {'textual-plot ms':>16}")
    generator = np.random.default_rng(0)
    for steps in (1_000, 10_000, 100_000):
        x = np.linspace(0, 10, steps)
        y = np.exp(-x / 3) + generator.normal(0, 0.05, steps)
        ours = statistics.median(_ours(x, y) for _ in range(REPEATS))
        theirs = statistics.median(asyncio.run(_theirs(x, y)))
        print(f"{steps:>9} {ours:>9.1f} {theirs:>16.1f}")


if __name__ == "__main__":
    main()
