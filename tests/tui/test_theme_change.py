"""What is drawn follows the theme, also when it changes while everything is on the screen."""

from __future__ import annotations

from pathlib import Path

import mistaken
import pytest
import recorded
from piloting import COMMON, LARGE, WatchedApp, running, screen_strips, shown_in, until, until_said
from rich.segment import Segment
from textual.color import Color
from textual.pilot import Pilot
from textual.widgets import Input

import tui.app
from facegender.runs.folder import RunFolder
from tui.colours import named_colours
from tui.graphics.widget import PictureView
from tui.screens.compare import Compare
from tui.settings import Settings
from tui.themes import find_theme


@pytest.fixture
def runs(root: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two runs whose screens show the same at any time."""
    monkeypatch.setattr("time.time", lambda: 1_700_000_000.0)
    for name in ("heron-7", "otter-3"):
        recorded.write_run(root, name, created=1_699_990_000.0, epochs_done=3, end="completed")
    recorded.append(RunFolder(root, "otter-3"), recorded.health_measured(2))
    return root


async def cells(app: WatchedApp, pilot: Pilot[None]) -> list[list[Segment]]:
    """What stands above the line of keys with its styles, once it is complete."""
    await until(lambda: app.dashboard.browser.is_shown)
    await until(lambda: all(worker.is_finished for worker in app.workers))
    for field in app.screen.query(Input):
        field.cursor_blink = False
    await pilot.pause(0.2)
    app.clear_notifications()
    await pilot.pause()
    return [list(strip.simplify()) for strip in screen_strips(app)][:-1]


@pytest.mark.parametrize(
    ("keys", "text", "size"),
    [
        ("", "otter-3", LARGE),
        ("", "otter-3", COMMON),
        ("enter", "conv1", LARGE),
        ("H", "conv1", LARGE),
        ("r", "heron-7", LARGE),
        ("question_mark", "Pictures", LARGE),
        ("t", "New run", LARGE),
        ("i", "Commands", LARGE),
        ("colon", "run-page", LARGE),
    ],
    ids=["dashboard", "small", "explorer", "health", "runs", "help", "new run", "run page", "palette"],
)
async def test_a_changed_theme_looks_as_if_the_program_had_started_with_it(
    runs: Path, keys: str, text: str, size: tuple[int, int]
) -> None:
    drawn = []
    for first in ("light", "dark"):
        async with running(runs, size, settings=Settings(theme=first)) as (app, pilot):
            await until_said(app, "otter-3  ✓ completed")
            if keys:
                await pilot.press(keys)
            await until_said(app, text)
            await cells(app, pilot)
            app.use_settings(Settings(theme="light"))
            await until(lambda app=app: app.theme == "light")
            drawn.append(await cells(app, pilot))
    assert drawn[0] == drawn[1]


async def test_compared_curves_follow_the_theme(runs: Path) -> None:
    drawn = []
    for first in ("light", "dark"):
        folders = tuple(RunFolder(runs, name) for name in ("heron-7", "otter-3"))
        async with running(runs, settings=Settings(theme=first), compared=folders) as (app, pilot):
            await until(lambda app=app: isinstance(app.screen, Compare) and app.screen.is_complete)
            app.use_settings(Settings(theme="light"))
            await until(lambda app=app: app.theme == "light" and app.screen.is_complete)
            drawn.append(await cells(app, pilot))
    assert drawn[0] == drawn[1]


async def test_gaps_and_the_map_of_a_picture_follow_the_settings(runs: Path) -> None:
    async with running(runs) as (app, _):
        view = app.dashboard.query_one("#mosaic", PictureView)
        await until(lambda: shown_in(view))

        def gap() -> tuple[int, ...]:
            picture = shown_in(view)
            return () if picture is None else tuple(picture.palette[picture.pixels[0, 0]].tolist())

        assert gap() == (0x16, 0x18, 0x1D)
        app.use_settings(Settings(theme="light"))
        await until(lambda: gap() == Color.parse("#fafafa").rgb)
        app.use_settings(Settings(theme="light", colour_map="gray"))
        await until(lambda: (shown := shown_in(view)) and (shown.palette[:-2, :1] == shown.palette[:-2]).all())
        await until_said(app, "4 channels")


async def test_a_theme_that_does_not_exist_is_told_and_the_automatic_one_used(root: Path) -> None:
    for name in ("solarised", "a\0b"):
        async with running(root, settings=Settings(theme=name)) as (app, _):
            await until(lambda app=app: app.told)
            assert "does not exist: choose one of auto, dark" in app.told[0]
            assert app.theme == "dark"


async def test_mistakes_follow_the_theme(root: Path) -> None:
    mistaken.write_run(root, "otter-3")
    async with running(root, settings=Settings(theme="dark")) as (app, pilot):
        await pilot.press("w")
        await until_said(app, "wrong")
        app.use_settings(Settings(theme="light"))
        await until(lambda: app.theme == "light")
        theme = find_theme("light", app.themes_folder)
        wanted = named_colours(theme, theme.to_color_system().generate())["error"].rich_color
        await until(
            lambda: any(
                segment.style is not None and segment.style.color == wanted
                for strip in screen_strips(app)
                for segment in strip
            )
        )


async def test_an_edited_theme_file_is_used_at_once_and_a_wrong_one_told(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tui.app, "CHECK_S", 0.02)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    file = tmp_path / "config" / "facegender-tui" / "themes" / "paper.toml"
    file.parent.mkdir(parents=True)
    file.write_text('base = "light"\n')
    recorded.write_run(root, "otter-3", epochs_done=3, end="completed")
    async with running(root, settings=Settings(theme="paper")) as (app, _):
        view = app.dashboard.query_one("#mosaic", PictureView)
        await until(lambda: shown_in(view))
        file.write_text('base = "light"\nbackground = "#fdf6e3"\n')
        await until(lambda: app.screen.styles.background == Color.parse("#fdf6e3"))
        await until(lambda: (shown := shown_in(view)) and shown.palette[-2].tolist() == [0xFD, 0xF6, 0xE3])
        file.write_text('base = "light"\nbackground = "nothing"\n')
        await until(lambda: app.told)
        assert f"{file}, line 2: background must be a colour" in app.told[0]
        assert app.screen.styles.background == Color.parse("#fdf6e3")
