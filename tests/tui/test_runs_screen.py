"""The list of runs: how each stands, and what can be done with the one under the cursor."""

from __future__ import annotations

import errno
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import recorded
from piloting import COMMON, LARGE, SMALL, WatchedApp, running, screen_text, until, until_said
from textual.pilot import Pilot
from textual.widgets import DataTable

from facegender.runs.events import RunFinished
from facegender.runs.folder import RunFolder
from facegender.runs.summary import RunSummary, summarise
from tui.host.processes import Trainers
from tui.messages import OpenRun
from tui.screens.confirm import Confirm
from tui.screens.new_run import NewRun
from tui.screens.runs import Runs


@pytest.fixture
def runs(root: Path) -> dict[str, RunFolder]:
    """Four runs, the newest first: training, stopped, failed and crashed."""
    return {
        "live": recorded.write_run(root, "live", created=400.0, epochs_done=2),
        "halted": recorded.write_run(root, "halted", created=300.0, end="stopped"),
        "broken": recorded.write_run(root, "broken", created=200.0, epochs_done=0, end="failed"),
        "gone": recorded.write_run(root, "gone", created=100.0, process=recorded.dead_process()),
    }


@asynccontextmanager
async def listed(root: Path, size: tuple[int, int] = LARGE) -> AsyncIterator[tuple[WatchedApp, Pilot[None]]]:
    """The list, opened with r and read."""
    async with running(root, size) as (app, pilot):
        if app.screen is not app.dashboard:
            await pilot.press("escape")
        await pilot.press("r")
        await until(lambda: isinstance(app.screen, Runs) and app.screen.is_mounted)
        if (root / "checkpoints").exists():
            await until(lambda: app.screen.query_one(DataTable).row_count)
        await pilot.pause()
        yield app, pilot


async def test_every_run_is_listed_with_its_state_epochs_and_best(root: Path, runs: dict[str, RunFolder]) -> None:
    async with listed(root) as (app, _):
        rows = [line.split() for line in screen_text(app).splitlines()]
        by_name = {row[0]: row for row in rows if row and row[0] in runs}
        assert list(by_name) == ["live", "halted", "broken", "gone"]
        assert by_name["live"][1:5] == ["●", "training", "2/5", "0.610"]
        assert by_name["halted"][1:5] == ["■", "stopped", "3/5", "0.620"]
        assert by_name["broken"][1:5] == ["✗", "failed", "0/5", "–"]
        assert by_name["gone"][2] == "crashed"


async def test_enter_opens_the_run_under_the_cursor(root: Path, runs: dict[str, RunFolder]) -> None:
    async with listed(root) as (app, pilot):
        await pilot.press("down", "enter")
        await until(lambda: app.screen is app.dashboard)
        await until_said(app, "halted  ■ stopped")
        assert app.dashboard.folder.name == "halted"


async def test_without_runs_it_says_how_to_start_one(root: Path) -> None:
    async with listed(root) as (app, pilot):
        await until_said(app, "there are no runs yet: t starts one")
        await pilot.press("enter", "S", "R", "D")
        assert isinstance(app.screen, Runs)
        await pilot.press("t")
        await until(lambda: isinstance(app.screen, NewRun))


async def test_a_live_run_is_stopped_after_a_question(root: Path, runs: dict[str, RunFolder]) -> None:
    async with listed(root) as (app, pilot):
        await pilot.press("S")
        await until(lambda: isinstance(app.screen, Confirm))
        await pilot.press("n")
        await until(lambda: isinstance(app.screen, Runs))
        assert not runs["live"].stop_requested()
        await pilot.press("S", "y")
        await until(runs["live"].stop_requested)


async def test_a_run_that_ended_is_not_stopped(root: Path, runs: dict[str, RunFolder]) -> None:
    async with listed(root) as (app, pilot):
        await pilot.press("down", "S")
        await until(lambda: "run halted is not training" in app.told)
        assert isinstance(app.screen, Runs)


async def test_a_run_is_deleted_after_a_question(root: Path, runs: dict[str, RunFolder]) -> None:
    async with listed(root) as (app, pilot):
        await pilot.press("down", "D")
        await until(lambda: isinstance(app.screen, Confirm))
        await until_said(app, "Removes checkpoints/halted and visuals/halted permanently.")
        await pilot.press("escape")
        await until(lambda: isinstance(app.screen, Runs))
        assert runs["halted"].path.exists()
        await pilot.press("D", "y")
        await until(lambda: not runs["halted"].path.exists() and not runs["halted"].visuals.exists())
        await until(lambda: app.screen.query_one(DataTable).row_count == 3)
        assert runs["broken"].path.exists()


async def test_a_live_run_is_not_deleted(root: Path, runs: dict[str, RunFolder]) -> None:
    async with listed(root) as (app, pilot):
        await pilot.press("D")
        await until(lambda: "run live is still training: stop it first" in app.told)
        assert runs["live"].manifest_path.exists()


async def test_a_stopped_run_goes_on_and_is_shown(
    root: Path, runs: dict[str, RunFolder], monkeypatch: pytest.MonkeyPatch
) -> None:
    spawned: list[list[str]] = []
    monkeypatch.setattr(Trainers, "_spawn", lambda self, folder, arguments: spawned.append(arguments))
    async with listed(root) as (app, pilot):
        await pilot.press("down", "R")
        await until(lambda: spawned)
        assert spawned == [["--resume=halted"]]
        assert app.dashboard.folder.name == "halted"
        assert "Resuming halted from its last checkpoint" in app.told


async def test_the_list_follows_what_happens(
    root: Path, runs: dict[str, RunFolder], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tui.screens.runs.REREAD_S", 0.05)
    async with listed(root) as (app, pilot):
        await pilot.press("down")
        recorded.append(runs["live"], RunFinished(time=2000.0, status="completed"))
        await until_said(app, "✓ completed")
        recorded.write_run(root, "newborn", created=500.0)
        await until_said(app, "newborn")
        assert isinstance(app.screen, Runs)


async def test_the_cursor_stays_on_its_run_when_a_newer_one_appears(
    root: Path, runs: dict[str, RunFolder], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tui.screens.runs.REREAD_S", 0.05)
    async with listed(root) as (app, pilot):
        await pilot.press("down")
        recorded.write_run(root, "newborn", created=500.0)
        await until_said(app, "newborn")
        await pilot.press("enter")
        await until(lambda: app.screen is app.dashboard)
        assert app.dashboard.folder.name == "halted"


@pytest.mark.parametrize("key", ["escape", "q", "r"])
async def test_every_way_out_leads_back_and_not_out_of_the_program(
    root: Path, runs: dict[str, RunFolder], key: str
) -> None:
    async with listed(root) as (app, pilot):
        await pilot.press(key)
        await until(lambda: app.screen is app.dashboard)
        assert app.is_running


async def test_a_run_with_odd_data_and_damaged_files_is_listed_harmlessly(root: Path) -> None:
    recorded.write_run(root, "odd", data="[red]x[/red]\x1b[2J", end="completed")
    broken = recorded.write_run(root, "damaged", end="completed")
    broken.manifest_path.write_bytes(b"{")
    broken.journal_path.write_bytes(b"\x00\xff garbage")
    async with listed(root) as (app, _):
        shown = screen_text(app)
        assert "[red]x[/red]\ufffd[2J" in shown
        assert "damaged" in shown
        assert "\x1b" not in shown


async def test_a_run_that_cannot_be_read_is_reported_and_the_others_are_listed(
    root: Path, runs: dict[str, RunFolder], monkeypatch: pytest.MonkeyPatch
) -> None:
    def read(folder: RunFolder) -> RunSummary:
        if folder.name == "halted":
            raise OSError(errno.EIO, "Input/output error")
        return summarise(folder)

    monkeypatch.setattr("tui.screens.runs.summarise", read)
    async with listed(root) as (app, _):
        await until_said(app, "halted: Input/output error")
        assert app.screen.query_one(DataTable).row_count == len(runs) - 1


async def test_a_question_is_asked_once_when_its_key_is_pressed_twice(root: Path, runs: dict[str, RunFolder]) -> None:
    async with listed(root) as (app, pilot):
        app.simulate_key("S")
        app.simulate_key("S")
        await until(lambda: isinstance(app.screen, Confirm))
        await pilot.pause()
        assert [type(screen) for screen in app.screen_stack].count(Confirm) == 1
        await pilot.press("n", "S")
        await until(lambda: isinstance(app.screen, Confirm))


async def test_a_question_that_is_open_when_another_run_is_shown_is_answered_with_no(
    root: Path, runs: dict[str, RunFolder]
) -> None:
    async with listed(root) as (app, pilot):
        await pilot.press("S")
        await until(lambda: isinstance(app.screen, Confirm))
        app.post_message(OpenRun(runs["live"]))
        await until(lambda: app.screen is app.dashboard)
        await pilot.press("S")
        await until(lambda: isinstance(app.screen, Confirm))


@pytest.mark.parametrize("size", [COMMON, SMALL], ids=str)
async def test_every_key_can_be_pressed_on_a_small_screen(
    root: Path, runs: dict[str, RunFolder], size: tuple[int, int]
) -> None:
    async with listed(root, size) as (app, pilot):
        for key in ("down", "up", "S", "D", "R", "question_mark", "t", "pagedown", "end"):
            await pilot.press(key)
            if not isinstance(app.screen, Runs):
                await pilot.press("escape")
            if app.screen is app.dashboard:
                await pilot.press("r")
        assert app.is_running
