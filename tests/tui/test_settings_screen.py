"""The settings screen: what it shows, saves and refuses."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import recorded
from piloting import COMMON, WatchedApp, running, screen_text, type_text, until, until_said
from textual import events
from textual.pilot import Pilot
from textual.widgets import Input, OptionList

import tui.app
from tui.screens.settings import SettingsScreen
from tui.settings import FIELDS, Settings, load_settings

NARROW = (60, 20)


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.setattr(tui.app, "CHECK_S", 0.02)
    recorded.write_run(tmp_path, "otter-3", epochs_done=1, end="completed")
    return tmp_path / "facegender-tui" / "settings.toml"


@asynccontextmanager
async def opened(file: Path, size: tuple[int, int] = COMMON) -> AsyncIterator[tuple[WatchedApp, Pilot[None]]]:
    """The settings screen over the dashboard."""
    async with running(file.parents[1], size) as (app, pilot):
        await pilot.press("O")
        await until(lambda: isinstance(app.screen, SettingsScreen) and app.screen.is_mounted)
        await pilot.pause()
        yield app, pilot


def choose(app: WatchedApp, name: str) -> None:
    """Move the cursor to a setting."""
    app.screen.query_one("#list", OptionList).highlighted = list(FIELDS).index(name)


@pytest.mark.parametrize("size", [COMMON, NARROW])
async def test_every_setting_is_shown_and_the_chosen_one_is_explained(file: Path, size: tuple[int, int]) -> None:
    async with opened(file, size) as (app, _):
        for field in FIELDS.values():
            await until_said(app, field.label)
        choose(app, "smoothing")
        await until_said(app, "Default: 0.8.")


async def test_a_choice_is_in_force_and_saved_at_once(file: Path) -> None:
    async with opened(file) as (app, pilot):
        choose(app, "x_axis")
        await pilot.press("enter", "down", "enter")
        await until(lambda: app.settings.x_axis == "steps")
        await until(lambda: file.exists() and load_settings(file) == Settings(x_axis="steps"))
        await until(lambda: isinstance(app.focused, OptionList) and app.focused.id == "list")
        await pilot.press("right")
        await until(lambda: load_settings(file) == Settings(x_axis="minutes"))
        choose(app, "bell")
        await pilot.press("space")
        await until(lambda: load_settings(file) == Settings(x_axis="minutes", bell=False))
        await pilot.press("ctrl+d")
        await until(lambda: load_settings(file) == Settings(x_axis="minutes"))


async def test_escape_leaves_the_choices_as_they_were_and_then_the_screen(file: Path) -> None:
    async with opened(file) as (app, pilot):
        choose(app, "graphics")
        await pilot.press("enter", "down", "escape")
        await until(lambda: app.focused is not None and app.focused.id == "list")
        assert app.settings == Settings()
        await pilot.press("escape")
        assert app.screen is app.dashboard


async def test_a_text_is_saved_with_enter(file: Path) -> None:
    async with opened(file) as (app, pilot):
        choose(app, "levels")
        await pilot.press("enter")
        await type_text(pilot, "64")
        assert app.settings.levels == 32
        await pilot.press("enter")
        await until(lambda: file.exists() and load_settings(file).levels == 64)
        await pilot.press("enter", "9", "escape")
        await pilot.pause()
        assert app.settings.levels == 64
        assert load_settings(file) == Settings(levels=64)


@pytest.mark.parametrize("key", ["q", "O", "escape"])
async def test_the_usual_keys_close_the_screen_and_not_the_program(file: Path, key: str) -> None:
    async with opened(file) as (app, pilot):
        await pilot.press(key)
        await until(lambda: app.screen is app.dashboard)
        assert app.is_running


async def test_keys_that_come_in_one_go_belong_to_the_line_that_the_first_opens(file: Path) -> None:
    async with opened(file) as (app, pilot):
        choose(app, "on_end")
        await pilot.pause()
        for key in ("enter", "q", "O"):
            app.post_message(events.Key(key, key if len(key) == 1 else None))
        await until(lambda: app.screen.query_one("#input", Input).value == "qO")


async def test_a_wrong_text_is_explained_and_not_saved(file: Path) -> None:
    async with opened(file) as (app, pilot):
        choose(app, "smoothing")
        await pilot.press("enter")
        await type_text(pilot, "1.5")
        await until_said(app, "smoothing must be 0 or between 0.1 and 0.999, not 1.5")
        await pilot.press("enter")
        await pilot.pause()
        assert app.settings == Settings()
        assert "must be 0 or between" in screen_text(app)
        assert not file.exists()


async def test_what_somebody_else_saves_is_shown_but_not_over_what_is_typed(file: Path) -> None:
    async with opened(file) as (app, pilot):
        choose(app, "levels")
        await pilot.press("enter", "6")
        file.parent.mkdir()
        file.write_text('x_axis = "steps"\nsmoothing = 0.5\nlevels = 8\n')
        await until_said(app, "x axis                steps")
        assert "0.5" in screen_text(app)
        assert app.screen.query_one("#input", Input).value == "6"


async def test_a_setting_that_cannot_be_saved_is_in_force_nevertheless(file: Path) -> None:
    file.parent.touch()  # no folder can be made there
    async with opened(file) as (app, pilot):
        choose(app, "x_axis")
        await pilot.press("right")
        await until(lambda: app.told)
        assert app.told[-1].startswith(f"not saved: {file} cannot be written")
        assert app.settings.x_axis == "steps"


async def test_the_command_palette_opens_the_settings(file: Path) -> None:
    async with running(file.parents[1], COMMON) as (app, pilot):
        await pilot.press("colon")
        await type_text(pilot, "settings")
        await pilot.pause(0.3)
        await pilot.press("enter")
        await until(lambda: isinstance(app.screen, SettingsScreen))


async def test_the_file_opens_in_the_users_editor(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    commands: list[list[str]] = []

    def run(command: list[str]) -> str:
        commands.append(command)
        file.write_text("levels = 64\n")
        return "ed: no such editor"

    monkeypatch.setenv("VISUAL", "ed 'with option'")
    monkeypatch.setattr("tui.app.run_with_terminal", run)
    monkeypatch.setattr(WatchedApp, "suspend", contextlib.nullcontext)
    async with opened(file) as (app, pilot):
        await pilot.press("ctrl+e")
        await until(lambda: app.settings == Settings(levels=64))
        assert commands == [["ed", "with option", str(file)]]
        assert "ed: no such editor" in app.told


async def test_a_command_gets_other_keys_which_work_at_once(file: Path) -> None:
    async with opened(file) as (app, pilot):
        choose(app, "keys")
        await pilot.press("enter", "down", "down", "down", "down")
        await until_said(app, "settings: theme, graphics")
        await pilot.press("enter")
        await type_text(pilot, "r")
        await until_said(app, "already belongs to")
        await pilot.press("backspace")
        await type_text(pilot, "X")
        await pilot.press("enter")
        await until(lambda: file.exists() and load_settings(file) == Settings(keys={"settings": "X"}))
        await pilot.press("escape", "X")
        await until(lambda: isinstance(app.screen, SettingsScreen))
        choose(app, "keys")
        await pilot.press("enter", "down", "down", "down", "down", "ctrl+d")
        await until(lambda: load_settings(file) == Settings())
        assert app.settings == Settings()


async def test_a_changed_setting_is_marked_in_the_colour_of_the_theme(file: Path) -> None:
    def colours(app: WatchedApp) -> set[str]:
        line = app.screen.query_one("#list", OptionList).render_line(0)
        return {segment.style.color.name.lower() for segment in line if segment.style and segment.style.color}

    async with opened(file) as (app, pilot):
        for theme in ("dark", "light", "high-contrast"):
            await pilot.press("right")
            await until(lambda theme=theme: app.theme == theme)
            await until(lambda: str(app.console.get_style("$accent").color.name).lower() in colours(app))
