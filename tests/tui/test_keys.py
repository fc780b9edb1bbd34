"""Keys: those that are typed in one burst, the keymap, what the line of keys shows, and jumping between panes."""

from __future__ import annotations

from pathlib import Path

import recorded
from piloting import running, type_at_once, until

from tui.screens.help import Help
from tui.screens.runs import Runs


async def test_keys_of_one_burst_reach_the_screens_that_they_open(root: Path) -> None:
    for name in ("first", "second"):
        recorded.write_run(root, name)
    async with running(root) as (app, _):
        type_at_once(app, "r/second\r")
        await until(lambda: isinstance(app.screen, Runs) and app.screen._view.filter_text == "second")
        type_at_once(app, "?")
        await until(lambda: isinstance(app.screen, Help))
        type_at_once(app, "\x1b\x1b\x1b?jj\x1b")
        await until(lambda: app.screen is app.dashboard)
