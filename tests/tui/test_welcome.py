"""The first start: three ways to photographs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
import recorded
from piloting import COMMON, SMALL, WatchedApp, running, screen_text, until, until_said
from textual.widgets import Input, OptionList
from typer.testing import CliRunner

from facegender.cli.app import app as command_line
from facegender.runs.config import TrainConfig
from facegender.runs.folder import RunFolder
from facegender.support.errors import UserError
from tui.host.processes import Trainers
from tui.screens.new_run import NewRun
from tui.screens.runs import Runs
from tui.screens.welcome import Welcome


def is_ended(app: WatchedApp) -> bool:
    return not app.is_running


async def test_the_first_start_asks_where_the_photographs_are(root: Path) -> None:
    async with running(root) as (app, _):
        assert isinstance(app.screen, Welcome)
        shown = screen_text(app)
        for text in ("Demo faces", "A folder", "Download", "There is no run here yet"):
            assert text in shown


async def test_with_a_run_there_is_no_question(root: Path) -> None:
    recorded.write_run(root)
    async with running(root) as (app, _):
        assert app.screen is app.dashboard


async def test_demo_faces_start_a_run_at_once(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[TrainConfig] = []

    def start(self: Trainers, root: Path, config: TrainConfig, name: str | None = None) -> RunFolder:
        started.append(config)
        folder = RunFolder(root, "drawn-1")
        folder.path.mkdir(parents=True)
        folder.log_path.touch()
        return folder

    monkeypatch.setattr(Trainers, "start", start)
    async with running(root) as (app, pilot):
        await pilot.press("enter")
        await until_said(app, "drawn-1  ◌ starting")
        assert app.screen is app.dashboard
        assert len(started) == 1
        assert started[0].demo


async def test_enter_pressed_twice_starts_one_run(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[str] = []

    def spawn(self: Trainers, folder: RunFolder, arguments: list[str]) -> None:
        started.append(folder.name)
        folder.log_path.touch()

    monkeypatch.setattr(Trainers, "_spawn", spawn)
    async with running(root) as (app, pilot):
        app.simulate_key("enter")
        app.simulate_key("enter")
        await until(lambda: app.screen is app.dashboard)
        await pilot.pause()
        assert len(started) == 1


@pytest.mark.parametrize(("made", "data"), [(True, "datasets"), (False, "")])
async def test_a_folder_opens_the_form(root: Path, made: bool, data: str) -> None:
    if made:
        (root / "datasets").mkdir()
    async with running(root) as (app, pilot):
        await pilot.press("down", "enter")
        await until(lambda: isinstance(app.screen, NewRun) and app.screen.is_mounted)
        assert app.screen.query_one("#field-data", Input).value == data
        await pilot.press("escape")
        await until(lambda: app.screen is app.dashboard)


async def test_a_download_shows_its_progress_and_opens_the_form(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def lines(*arguments: str) -> AsyncIterator[str]:
        assert arguments == ("download",)
        yield "10 % [red]of[/red] it"
        yield f"photographs in {root}"

    monkeypatch.setattr("tui.screens.welcome.output_lines", lines)
    async with running(root) as (app, pilot):
        await pilot.press("down", "down", "enter")
        await until(lambda: isinstance(app.screen, NewRun) and app.screen.is_mounted)
        assert app.screen.query_one("#field-data", Input).value == str(root)


async def test_the_output_of_the_download_command_is_understood(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("facegender.data.kaggle.download", lambda: root / "faces")
    printed = CliRunner().invoke(command_line, ["download"]).output.splitlines()

    async def lines(*arguments: str) -> AsyncIterator[str]:
        for line in printed:
            yield line

    monkeypatch.setattr("tui.screens.welcome.output_lines", lines)
    async with running(root) as (app, pilot):
        await pilot.press("down", "down", "enter")
        await until(lambda: isinstance(app.screen, NewRun) and app.screen.is_mounted)
        assert app.screen.query_one("#field-data", Input).value == str(root / "faces")


async def test_a_download_that_ends_under_a_question_opens_the_form_afterwards(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    complete = asyncio.Event()

    async def lines(*arguments: str) -> AsyncIterator[str]:
        yield "10 %"
        await complete.wait()
        yield f"photographs in {root}"

    monkeypatch.setattr("tui.screens.welcome.output_lines", lines)
    async with running(root) as (app, pilot):
        await pilot.press("down", "down", "enter")
        await until_said(app, "10 %")
        await pilot.press("escape")
        await until_said(app, "Stop the download?")
        complete.set()
        await pilot.pause()
        assert not isinstance(app.screen, NewRun)
        await pilot.press("n")
        await until(lambda: isinstance(app.screen, NewRun))


@pytest.mark.parametrize(
    ("key", "is_over"),
    [("escape", lambda app: app.screen is app.dashboard), ("q", is_ended), ("ctrl+q", is_ended), ("ctrl+c", is_ended)],
)
async def test_leaving_asks_before_it_ends_a_download(
    root: Path, monkeypatch: pytest.MonkeyPatch, key: str, is_over: Callable[[WatchedApp], bool]
) -> None:
    ended: list[bool] = []

    async def lines(*arguments: str) -> AsyncIterator[str]:
        try:
            yield "10 %"
            await asyncio.Event().wait()
        finally:
            ended.append(True)

    monkeypatch.setattr("tui.screens.welcome.output_lines", lines)
    async with running(root) as (app, pilot):
        await pilot.press("down", "down", "enter")
        await until_said(app, "10 %")
        await pilot.press(key)
        await until_said(app, "Stop the download?")
        await pilot.press("n")
        await until(lambda: isinstance(app.screen, Welcome))
        assert not ended
        await pilot.press(key)
        await until_said(app, "Stop the download?")
        await pilot.press("y")
        await until(lambda: ended and is_over(app))


async def test_a_download_that_fails_says_why_and_can_be_tried_again(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried = []

    async def lines(*arguments: str) -> AsyncIterator[str]:
        tried.append(arguments)
        yield "asking"
        raise UserError("no network [b]here[/b]: name a folder instead")

    monkeypatch.setattr("tui.screens.welcome.output_lines", lines)
    async with running(root) as (app, pilot):
        await pilot.press("down", "down", "enter")
        await until_said(app, "no network [b]here[/b]: name a folder instead")
        await pilot.press("enter")
        await until(lambda: len(tried) == 2)
        assert isinstance(app.screen, Welcome)


async def test_escape_leads_to_the_empty_dashboard_and_q_out_of_the_program(root: Path) -> None:
    async with running(root) as (app, pilot):
        await pilot.press("r")
        await until(lambda: isinstance(app.screen, Runs))
        await pilot.press("escape")
        await until(lambda: isinstance(app.screen, Welcome))
        await pilot.press("escape")
        await until(lambda: app.screen is app.dashboard)
        await until_said(app, "no run is open: t starts one")
    async with running(root) as (app, pilot):
        await pilot.press("q")
        await until(lambda: not app.is_running)
    assert app.return_code == 0


@pytest.mark.parametrize("size", [COMMON, SMALL], ids=str)
async def test_the_question_fits_a_small_screen(root: Path, size: tuple[int, int]) -> None:
    async with running(root, size) as (app, pilot):
        options = app.screen.query_one(OptionList)
        for name in ("Demo faces", "A folder", "Download"):
            assert name in screen_text(app)
            await pilot.press("down")
        assert options.region.width <= size[0]


@pytest.mark.parametrize("size", [(1, 1), (2, 3), (5, 2)], ids=str)
async def test_it_can_be_as_small_as_a_terminal_can_be(root: Path, size: tuple[int, int]) -> None:
    async with running(root, size) as (app, pilot):
        await pilot.press("down", "up")
        await pilot.resize_terminal(*COMMON)
        await until_said(app, "Demo faces")
