"""The comparison: several runs over each other."""

from __future__ import annotations

from pathlib import Path

import recorded
from piloting import running, until, until_said

from tui.messages import CompareRuns
from tui.screens.compare import Compare


async def test_marked_runs_are_compared_and_escape_leads_back(root: Path) -> None:
    folders = tuple(recorded.write_run(root, name, end="completed") for name in ("heron", "otter"))
    async with running(root) as (app, pilot):
        app.post_message(CompareRuns(folders))
        await until(lambda: isinstance(app.screen, Compare) and app.screen.is_mounted)
        await until_said(app, "heron, otter ✓")
        await pilot.press("escape")
        await until(lambda: app.screen is app.dashboard)
