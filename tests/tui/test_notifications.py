"""What the program tells the person, and for how long that is in the way."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import recorded
from piloting import LARGE, WatchedApp, screen_text, until, until_said
from textual.pilot import Pilot

from tui.screens.help import Help


@asynccontextmanager
async def telling(root: Path) -> AsyncIterator[tuple[WatchedApp, Pilot[None]]]:
    """The application with notifications on its screen, which tests have not by themselves."""
    recorded.write_run(root, end="completed")
    app = WatchedApp(root)
    async with app.run_test(size=LARGE, notifications=True) as pilot:
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
        await app.push_screen(Help(app.terminal))
        await pilot.pause()
        app.pop_screen()
        app.notify("said of the dashboard", timeout=60)
        await until_said(app, "said of the dashboard")
        await pilot.pause(0.2)
        assert "said of the dashboard" in screen_text(app)
