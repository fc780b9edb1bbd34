"""The help has every command, says what the terminal can do, and is left by the usual keys."""

from __future__ import annotations

from pathlib import Path

import pytest
import recorded
from piloting import COMMON, LARGE, SMALL, running, screen_text, until, until_said

from tui.commands import DASHBOARD, RUNS, for_palette, shown_keys
from tui.screens.help import Help
from tui.screens.runs import Runs


async def test_every_command_is_in_the_help_with_its_key_its_name_and_what_it_does(root: Path) -> None:
    recorded.write_run(root)
    async with running(root, (150, 120)) as (app, pilot):
        await pilot.press("question_mark")
        await until(lambda: isinstance(app.screen, Help) and app.screen.is_mounted)
        await pilot.pause()
        lines = screen_text(app).splitlines()
        for command in for_palette(DASHBOARD):
            line = next((line for line in lines if line.rstrip().endswith(f" {command.name}")), "")
            assert command.description in line, command
            if command.keys:
                assert line.split()[0] == shown_keys(command.keys)[0]


async def test_the_terminal_and_the_labels_are_explained(root: Path) -> None:
    recorded.write_run(root)
    async with running(root, (150, 120)) as (app, pilot):
        await pilot.press("f1")
        await until_said(app, "pictures by halfblock")
        await until_said(app, "the terminal was not probed")
        await until_said(app, "About the labels")


@pytest.mark.parametrize("size", [LARGE, COMMON, SMALL], ids=str)
async def test_the_whole_help_can_be_read_on_any_screen(root: Path, size: tuple[int, int]) -> None:
    recorded.write_run(root)
    async with running(root, size) as (app, pilot):
        await pilot.press("question_mark")
        await until(lambda: isinstance(app.screen, Help) and app.screen.is_mounted)
        await pilot.pause()
        seen = screen_text(app)
        for _ in range(60):
            await pilot.press("space")
            await pilot.wait_for_scheduled_animations()  # of scrolling, which would show parts of two pages
            await pilot.pause()
            seen += screen_text(app)
        for command in for_palette(DASHBOARD):
            assert f" {command.name}" in seen or size == SMALL
        assert "decide about anyone" in " ".join(seen.split())


@pytest.mark.parametrize(("end", "home"), [("end", "home"), ("G", "g")])
async def test_its_end_and_its_beginning_are_a_key_away(root: Path, end: str, home: str) -> None:
    recorded.write_run(root)
    async with running(root, COMMON) as (app, pilot):
        await pilot.press("question_mark")
        await until(lambda: isinstance(app.screen, Help) and app.screen.is_mounted)
        await pilot.press(end)
        await until_said(app, "decide about anyone")
        await pilot.press(home)
        await until_said(app, "start a new training run")


@pytest.mark.parametrize("key", ["escape", "q", "question_mark", "f1"])
async def test_the_usual_keys_leave_the_help_and_not_the_program(root: Path, key: str) -> None:
    recorded.write_run(root)
    async with running(root) as (app, pilot):
        await pilot.press("question_mark")
        await until(lambda: isinstance(app.screen, Help))
        await pilot.press(key)
        await until(lambda: app.screen is app.dashboard)
        assert app.is_running


async def test_another_screen_has_its_own_keys(root: Path) -> None:
    recorded.write_run(root)
    async with running(root, (150, 120)) as (app, pilot):
        await pilot.press("r")
        await until(lambda: isinstance(app.screen, Runs) and app.screen.is_mounted)
        await pilot.press("question_mark")
        await until_said(app, "Keys")
        shown = " ".join(screen_text(app).split())
        for command in RUNS:
            assert command.description in shown
        assert "The columns are run, state, epochs" in shown
        await pilot.press("escape")
        await until(lambda: isinstance(app.screen, Runs))


async def test_the_help_says_why_a_key_does_nothing(root: Path) -> None:
    recorded.write_run(root)
    async with running(root, (150, 120)) as (app, pilot):
        await until(lambda: app.dashboard.state is not None and app.dashboard.state.read)
        await pilot.press("question_mark")
        await until_said(app, "(not now: the run is still training)")
        await until_said(app, "(not now: this run has no predictions of single photographs)")
