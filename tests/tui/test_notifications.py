"""What the program tells the person, and for how long that is in the way."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import recorded
from piloting import LARGE, WatchedApp, screen_text, until, until_said
from textual.pilot import Pilot

from tui.screens.help import Help


@asynccontextmanager
async def telling(root: Path, size: tuple[int, int] = LARGE) -> AsyncIterator[tuple[WatchedApp, Pilot[None]]]:
    """The application with notifications on its screen, which tests have not by themselves."""
    recorded.write_run(root, end="completed")
    app = WatchedApp(root)
    async with app.run_test(size=size, notifications=True) as pilot:
        await until(lambda: app.dashboard.folder is not None)
        yield app, pilot


async def test_what_was_said_of_one_screen_does_not_lie_over_another(root: Path) -> None:
    async with telling(root) as (app, pilot):
        app.notify("said of the dashboard", timeout=60)
        await until_said(app, "said of the dashboard")
        await pilot.press("question_mark")
        await until_said(app, "start a new training run")
        assert "said of the dashboard" not in screen_text(app)
        app.notify("said of the help", timeout=60)
        await until_said(app, "said of the help")
        await pilot.press("escape")
        await until(lambda: "said of" not in screen_text(app) and app.screen is app.dashboard)


async def test_what_is_said_once_a_screen_was_left_stays(root: Path) -> None:
    async with telling(root) as (app, pilot):
        await app.push_screen(Help(app.terminal, app.dashboard))
        await pilot.pause()
        app.pop_screen()
        app.notify("said of the dashboard", timeout=60)
        await until_said(app, "said of the dashboard")
        await pilot.pause(0.2)
        assert "said of the dashboard" in screen_text(app)


async def test_what_is_no_longer_true_is_taken_back(root: Path) -> None:
    async with telling(root) as (app, _):
        app.notify_about("export", "writing", timeout=60)
        app.notify_about("other", "of something else", timeout=60)
        await until_said(app, "writing")
        app.notify_about("export", "written", timeout=60)
        await until(lambda: "written" in screen_text(app) and "writing" not in screen_text(app))
        app.retract("export")
        await until(lambda: "written" not in screen_text(app))
        assert "of something else" in screen_text(app)
        app.notify_about("export", "said and taken back at once", timeout=60)
        app.retract("export")
        app.retract("export")
        await until_said(app, "of something else")
        assert "taken back at once" not in screen_text(app)


async def test_a_request_is_announced_until_the_log_says_what_came_of_it(root: Path) -> None:
    folder = recorded.write_run(root, "heron-7")
    async with telling(root) as (app, pilot):
        app.dashboard.open_run(folder)
        await until_said(app, "heron-7  ● training")
        await pilot.press("S")
        await until_said(app, "Stop run heron-7?")
        assert app.dashboard.is_current, "the dialog stands over what it is about"
        await pilot.press("y")
        await until_said(app, "heron-7 will stop after this batch")
        recorded.append(folder, recorded.RunFinished(time=2000.0, status="stopped"))
        await until_said(app, "training was stopped")
        await until(lambda: "will stop after" not in screen_text(app))


@pytest.mark.parametrize("size", [(60, 20), (80, 24), LARGE])
async def test_a_notification_does_not_cover_the_newest_line_of_the_log(root: Path, size: tuple[int, int]) -> None:
    async with telling(root, size) as (app, pilot):
        await pilot.press("6")
        await until_said(app, "training is complete")
        app.notify("a notification of some length, as they are", timeout=60)
        app.notify("another one, " * 8, timeout=60)
        await until_said(app, "a notification of some length, as they are")
        await until_said(app, "another one")
        assert "training is complete" in screen_text(app)
        assert "val. acc." in screen_text(app)


async def test_a_dialog_can_be_left_with_the_keys_that_end_the_program(root: Path) -> None:
    folder = recorded.write_run(root, "heron-7")
    async with telling(root) as (app, pilot):
        app.dashboard.open_run(folder)
        await until_said(app, "heron-7  ● training")
        await pilot.press("S")
        await until_said(app, "Stop run heron-7?")
        await pilot.press("ctrl+q")
        await until(lambda: not app.is_running)
        assert not folder.stop_path.exists()
