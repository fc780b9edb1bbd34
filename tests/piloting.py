"""The application under Textual's pilot, and what stands on its screen."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import textual._wait
from textual import events
from textual._context import visible_screen_stack
from textual.keys import _character_to_key
from textual.pilot import Pilot
from textual.strip import Strip

from tui.app import FaceGenderApp
from tui.graphics.picture import Picture
from tui.graphics.terminal import Terminal
from tui.graphics.widget import PictureView
from tui.inspect.browser import LayerBrowser
from tui.screens.palette import Palette
from tui.widgets.pane import PaneTitle

# The pilot takes the process for idle after a quiet 20 ms, several times a key; here that is most of a test's time.
textual._wait.SLEEP_GRANULARITY = 1 / 200
textual._wait.SLEEP_IDLE = textual._wait.SLEEP_GRANULARITY / 20

LARGE, COMMON, SMALL = (150, 45), (80, 24), (40, 12)


class WatchedApp(FaceGenderApp):
    """Keeps what it told the person."""

    def __init__(self, root: Path, **options: Any) -> None:
        super().__init__(root, Terminal(), **options)
        self.told: list[str] = []

    def notify(self, message: str, **options: Any) -> None:
        """Keep the message."""
        self.told.append(message)
        super().notify(message, **options)


@asynccontextmanager
async def running(
    root: Path, size: tuple[int, int] = LARGE, **options: Any
) -> AsyncIterator[tuple[WatchedApp, Pilot[None]]]:
    """The application on a screen of so many columns and rows, with its first screen shown."""
    app = WatchedApp(root, **options)
    async with app.run_test(size=size) as pilot:
        await until(lambda: app.dashboard.is_mounted)
        await until(lambda: app.dashboard.folder is not None or app.screen is not app.dashboard)
        await until(lambda: app.screen.is_mounted)
        await pilot.pause()
        yield app, pilot


async def until(condition: Callable[[], Any], timeout_s: float = 30.0) -> None:
    """Wait until a condition holds; fails when it does not for too long."""
    end = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < end, "what was waited for did not happen"
        await asyncio.sleep(0.01)


async def type_text(pilot: Pilot[None], text: str) -> None:
    """Type a text, character by character."""
    await pilot.press(*({" ": "space", "/": "slash"}.get(character, character) for character in text))


def palette_of(app: FaceGenderApp) -> Palette | None:
    """The palette of the screen, if it is open."""
    return next((palette for palette in app.screen.query(Palette) if palette.display), None)


def type_at_once(app: FaceGenderApp, text: str) -> None:
    """Send characters as if they had arrived in one read; ``\\r`` is Enter, ``\\x1b`` Escape."""
    names = {"\r": "enter", "\x1b": "escape", "\t": "tab"}
    for character in text:
        app.post_message(events.Key(names.get(character) or _character_to_key(character), character))


def title(browser: LayerBrowser) -> str:
    """The title of the layer pane as it is read."""
    return browser.query_one(PaneTitle).title.plain


def shown_in(view: PictureView) -> Picture | None:
    """The picture on the screen."""
    return view.shown.job.picture if view.shown is not None else None


def screen_strips(app: FaceGenderApp) -> list[Strip]:
    """The rows of the screen."""
    # Without it a dialog is rendered, and kept, without what is below it.
    visible_screen_stack.set(app._background_screens)
    return app.screen._compositor.render_strips()


def screen_text(app: FaceGenderApp) -> str:
    """What stands on the screen, row by row."""
    return "\n".join(strip.text for strip in screen_strips(app))


async def until_said(app: FaceGenderApp, text: str, timeout_s: float = 30.0) -> None:
    """Wait until a text stands on the screen."""
    end = time.monotonic() + timeout_s
    while text not in (shown := screen_text(app)):
        assert time.monotonic() < end, f"{text!r} is not on the screen:\n{shown}"
        await asyncio.sleep(0.05)
