"""The comparison: several runs over each other, the values at a cursor, and what differs between them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import recorded
from msgspec import structs
from piloting import COMMON, LARGE, SMALL, WatchedApp, running, screen_text, type_text, until, until_said
from textual.pilot import Pilot

from facegender.runs.config import TrainConfig
from facegender.runs.folder import RunFolder
from tui.messages import CompareRuns
from tui.run import follow_many
from tui.screens.beside import Beside
from tui.screens.compare import Compare
from tui.widgets.chart import Chart


def write_run(root: Path, name: str, *, epochs_done: int = 3, live: bool = False, **config: object) -> RunFolder:
    """A run with a configuration."""
    folder = recorded.write_run(root, name, epochs_done=epochs_done, end=None if live else "completed")
    folder.write_manifest(structs.replace(recorded.manifest(folder), config=TrainConfig(**config)))
    return folder


@pytest.fixture
def runs(root: Path) -> tuple[RunFolder, ...]:
    """Two runs that differ in their learning rate, and one with another seed than the first."""
    return (
        write_run(root, "heron", seed=1),
        write_run(root, "otter", seed=1, learning_rate=1e-4, epochs_done=2),
        write_run(root, "heron-2", seed=2),
    )


@asynccontextmanager
async def compared(
    folders: tuple[RunFolder, ...], size: tuple[int, int] = LARGE
) -> AsyncIterator[tuple[WatchedApp, Pilot[None], Compare]]:
    """The comparison of some runs, completely drawn."""
    async with running(folders[0].root, size, compared=folders) as (app, pilot):
        await until(lambda: isinstance(app.screen, Compare) and app.screen.is_mounted)
        screen = app.screen
        assert isinstance(screen, Compare)
        await until(lambda: screen.is_complete)
        await pilot.pause()
        yield app, pilot, screen


def line_of(app: WatchedApp, name: str) -> list[str]:
    """The words of the legend's line of a run."""
    return next(
        line.split() for line in screen_text(app).splitlines() if f"━━ {name} " in line or f"┅┅ {name} " in line
    )


def drawn(screen: Compare, chart: str = "loss") -> list[str]:
    """The names of the entries whose validation curves a chart draws."""
    glyphs = {curve.glyph for curve in screen.query_one(f"#{chart}-chart", Chart).curves if curve.name == "validation"}
    return [entry.name for entry in screen._entries if entry.glyph in glyphs]


async def test_marked_runs_are_compared_and_escape_leads_back(root: Path, runs: tuple[RunFolder, ...]) -> None:
    async with running(root) as (app, pilot):
        app.post_message(CompareRuns(runs))
        await until_said(app, "Compare 3 runs")
        await until_said(app, "otter")
        await pilot.press("escape")
        await until(lambda: app.screen is app.dashboard)


async def test_the_legend_has_values_best_figures_and_what_differs(runs: tuple[RunFolder, ...]) -> None:
    async with compared(runs) as (app, _, _screen):
        header = next(line for line in screen_text(app).splitlines() if "val. loss" in line)
        assert "learning rate" in header
        assert "seed" in header
        assert "batch size" not in header
        assert line_of(app, "otter")[1:] == ["━━", "otter", "✓", "0.590", "0.610", "0.610", "@", "2",
                                             *line_of(app, "otter")[9:11], "0.0001", "1"]  # fmt: skip


async def test_seeds_are_one_line_with_a_band_until_a_key_shows_each(runs: tuple[RunFolder, ...]) -> None:
    async with compared(runs) as (app, pilot, screen):
        assert drawn(screen) == ["heron, heron-2", "otter"]
        await until_said(app, "band: lowest to highest seed")
        assert any(curve.band is not None for curve in screen.query_one("#loss-chart", Chart).curves)
        await pilot.press("B")
        await until(lambda: drawn(screen) == ["heron", "otter", "heron-2"])
        assert "band:" not in screen_text(app)


async def test_the_cursor_shows_the_values_of_an_epoch(runs: tuple[RunFolder, ...]) -> None:
    async with compared(runs) as (app, pilot, _):
        await pilot.press("left")
        await until_said(app, "at epoch 2")
        assert line_of(app, "heron,")[5] == "0.590"
        await pilot.press("home")
        await until_said(app, "at epoch 1")
        assert line_of(app, "otter")[4] == "0.600"
        await pilot.press("right", "right")
        await until_said(app, "at epoch 3")
        assert line_of(app, "otter")[4] == "-"  # it has no third epoch
        await pilot.press("right")
        await until(lambda: "at epoch" not in screen_text(app))
        assert line_of(app, "otter")[4] == "0.590"  # the newest


async def test_a_number_key_hides_a_run_and_shows_it_again(runs: tuple[RunFolder, ...]) -> None:
    async with compared(runs) as (app, pilot, screen):
        await pilot.press("1")
        await until(lambda: drawn(screen) == ["otter"])
        assert "┅┅ heron, heron-2" in screen_text(app)
        await pilot.press("down", "space")
        await until(lambda: drawn(screen) == [])
        await pilot.press("1", "2")
        await until(lambda: len(drawn(screen)) == 2)
        await pilot.press("o")
        await until(lambda: drawn(screen) == ["otter"])
        await pilot.press("o")
        await until(lambda: len(drawn(screen)) == 2)


async def test_zooming_keeps_the_cursor_in_view_and_panning_moves_on(runs: tuple[RunFolder, ...]) -> None:
    async with compared(runs) as (app, pilot, screen):
        chart = screen.query_one("#loss-chart", Chart)
        assert chart._x_range == (0.0, 5.0)
        await pilot.press("home", "z")
        await until(lambda: chart._x_range == (0.5, 3.0))
        await until_said(app, "zoomed")
        await pilot.press("z")
        await until(lambda: chart._x_range == (0.75, 2.0))
        await pilot.press("l")
        await until(lambda: chart._x_range == (1.375, 2.625))
        await pilot.press("right", "right")
        await until(lambda: chart._x_range == (2.375, 3.625))  # the third epoch was outside
        await pilot.press("Z", "Z", "Z")
        await until(lambda: chart._x_range == (0.0, 5.0))


async def test_the_wheel_zooms_where_it_is_turned(runs: tuple[RunFolder, ...]) -> None:
    async with compared(runs) as (_, pilot, screen):
        chart = screen.query_one("#loss-chart", Chart)
        chart.post_message(Chart.Scrolled(-1, 5.0))
        await until(lambda: chart._x_range == (2.5, 5.0))
        chart.post_message(Chart.Scrolled(1, 5.0))
        await until(lambda: chart._x_range == (0.0, 5.0))
        await pilot.click(chart, offset=(40, 5))
        await until(lambda: screen._cursor_x is not None and 1.5 < screen._cursor_x < 3.5)


async def test_keys_change_axis_smoothing_scale_metric_and_curves(runs: tuple[RunFolder, ...]) -> None:
    async with compared(runs) as (app, pilot, screen):
        chart = screen.query_one("#loss-chart", Chart)
        assert any(curve.behind for curve in chart.curves)
        for axis in ("steps", "minutes", "epochs"):
            await pilot.press("x")
            await until(lambda: screen._drawn.request.axis == axis)  # noqa: B023 - waited for at once
        await pilot.press("s")
        await until_said(app, "not smoothed")
        await until(lambda: not any(curve.behind and curve.band is None for curve in chart.curves))
        await pilot.press("v")
        await until(lambda: {curve.name for curve in chart.curves} == {"validation"})
        await pilot.press("y")
        await until_said(app, "Loss (log)")
        await pilot.press("a")
        await until_said(app, "F1")
        assert "train F1" not in screen_text(app)


async def test_a_live_run_goes_on_growing(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(follow_many, "POLL_S", 0.01)
    folders = write_run(root, "done"), write_run(root, "live", live=True, epochs_done=1, learning_rate=0.1)
    async with compared(folders) as (app, _, _screen):
        assert line_of(app, "live")[4] == "0.600"
        recorded.add_epoch(folders[1], 1)
        await until(lambda: line_of(app, "live")[4] == "0.590")


async def test_enter_opens_the_run_under_the_cursor(runs: tuple[RunFolder, ...]) -> None:
    async with compared(runs) as (app, pilot, _):
        await pilot.press("down", "enter")
        await until(lambda: app.screen is app.dashboard)
        assert app.dashboard.folder.name == "otter"


async def test_pictures_are_shown_beside_those_of_the_reference(runs: tuple[RunFolder, ...]) -> None:
    async with compared(runs) as (app, pilot, screen):
        await pilot.press("down", "b")
        await until(lambda: isinstance(app.screen, Beside))
        assert [folder.name for folder in app.screen._folders] == ["heron", "otter"]
        await pilot.press("escape")
        await until(lambda: app.screen is screen)
        await pilot.press("f", "up", "b")
        await until(lambda: isinstance(app.screen, Beside))
        assert [folder.name for folder in app.screen._folders] == ["otter", "heron"]


async def test_without_a_run_that_can_be_read_it_says_so(root: Path) -> None:
    folders = tuple(write_run(root, name, epochs_done=0) for name in ("none", "nothing"))
    async with compared(folders) as (app, pilot, _):
        await until_said(app, "no curve to show")
        await pilot.press("left", "home", "z", "down", "space", "B", "comma", "d")
        assert app.is_running


async def test_names_and_values_of_a_damaged_run_are_harmless(root: Path) -> None:
    folders = write_run(root, "fine"), recorded.write_run(root, "odd", data="[red]x[/red]\x1b[2J")
    folders[0].manifest_path.write_bytes(b"{")
    async with compared(folders) as (app, pilot, _):
        await pilot.press("d")
        await pilot.pause()
        assert "\x1b" not in screen_text(app)
        assert line_of(app, "fine")


@pytest.mark.parametrize("size", [LARGE, COMMON, SMALL, (60, 40)], ids=str)
async def test_every_key_can_be_pressed_at_every_size(runs: tuple[RunFolder, ...], size: tuple[int, int]) -> None:
    async with compared(runs, size) as (app, pilot, screen):
        for command in Compare.SCREEN_COMMANDS:
            for key in set(command.keys.split(",")) - {"escape", "q", "enter", "b"}:
                await pilot.press(key)
        await until(lambda: screen.is_complete)
        assert app.screen is screen


async def test_the_command_compare_takes_names_of_runs(root: Path, runs: tuple[RunFolder, ...]) -> None:
    async with running(root) as (app, pilot):
        await until(lambda: app.screen is app.dashboard and app.dashboard.folder is not None)
        await pilot.press("colon")
        await type_text(pilot, "compare heron ot")
        await until_said(app, "otter")
        await pilot.press("enter")
        await until(lambda: isinstance(app.screen, Compare))
        assert [folder.name for folder in app.screen._folders] == ["heron", "otter"]


async def test_the_command_compare_with_one_name_takes_the_shown_run_first(
    root: Path, runs: tuple[RunFolder, ...]
) -> None:
    async with running(root) as (app, pilot):
        await until(lambda: app.screen is app.dashboard and app.dashboard.folder is not None)
        shown = app.dashboard.folder.name
        await pilot.press("colon")
        await type_text(pilot, f"compare {shown}")
        await pilot.press("enter")
        await until_said(app, "compare needs two runs: compare RUN RUN")
        other = next(folder.name for folder in runs if folder.name != shown)
        await type_text(pilot, other)
        await pilot.press("enter")
        await until(lambda: isinstance(app.screen, Compare))
        assert [folder.name for folder in app.screen._folders] == [shown, other]
