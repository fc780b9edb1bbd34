"""The settings take effect: at the start, and again when their file changes."""

from __future__ import annotations

from pathlib import Path

import pytest
import recorded
from piloting import COMMON, running, shown_in, until, until_said

import tui.app
from tui.configured_app import unknown_names
from tui.graphics.widget import PictureView
from tui.settings import Settings, SettingsError, load_settings


@pytest.fixture(autouse=True)
def _looked_at_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tui.app, "CHECK_S", 0.02)


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    file = tmp_path / "facegender-tui" / "settings.toml"
    file.parent.mkdir()
    return file


async def test_curves_start_with_the_axis_and_the_smoothing_of_the_settings(root: Path) -> None:
    recorded.write_run(root, "otter-3", epochs_done=3, end="completed")
    async with running(root, settings=Settings(x_axis="minutes", smoothing=0.0)) as (app, pilot):
        await until_said(app, "raw")
        await until_said(app, "minutes")
        await pilot.press("x", "s")
        await until_said(app, "epochs")


async def test_a_changed_file_takes_effect_while_the_program_runs(root: Path, file: Path) -> None:
    recorded.write_run(root, "otter-3", epochs_done=3, end="completed")
    async with running(root) as (app, _):
        view = app.dashboard.query_one("#mosaic", PictureView)
        await until(lambda: shown_in(view))
        file.write_text('x_axis = "steps"\nlevels = 3\n')
        await until(lambda: app.settings == Settings(x_axis="steps", levels=3))
        await until_said(app, "steps")
        await until(lambda: (picture := shown_in(view)) and len(picture.palette) == 3 + 2)
        file.unlink()
        await until(lambda: app.settings == Settings())
        await until_said(app, "epochs")


async def test_a_broken_edit_keeps_the_settings_and_says_where_it_is(root: Path, file: Path) -> None:
    async with running(root, COMMON) as (app, _):
        file.write_text("smoothing = 0.5\n")
        await until(lambda: app.settings.smoothing == 0.5)
        file.write_text("levels = 64\nsmoothing = 5\n")
        await until(lambda: app.told)
        assert app.told[0].startswith(f"in {file}:\nline 2: smoothing must be")
        assert app.settings == Settings(smoothing=0.5)
        file.write_text("levels = 64\n")
        await until(lambda: app.settings == Settings(levels=64))


async def test_a_broken_file_does_not_keep_the_program_from_starting(root: Path, file: Path) -> None:
    file.write_text("levels = 64\nsmoothing = 5\n")
    with pytest.raises(SettingsError) as caught:
        load_settings(file)
    async with running(root, settings=caught.value.settings, settings_error=caught.value) as (app, _):
        assert "line 2: smoothing" in app.told[0]
        assert app.settings == Settings(levels=64)


async def test_names_of_themes_and_commands_are_checked_with_the_rest(root: Path, file: Path) -> None:
    file.write_text('levels = 64\ntheme = "nrod"\n\n[keys]\nruns = "V"\nvew = "m"\nhelp = "hyper+h"\n')
    with pytest.raises(SettingsError) as caught:
        load_settings(file, unknown_names)
    assert caught.value.settings == Settings(levels=64, keys={"runs": "V"})
    theme, command, key = caught.value.problems
    assert theme.startswith("line 2: theme 'nrod' does not exist: choose one of auto, dark")
    assert command == "line 6: keys.vew: no command has this name; view has"
    assert key.startswith("line 7: keys.help: 'hyper+h' is no key")


def test_the_example_of_the_documentation_is_without_mistakes(file: Path) -> None:
    text = (Path(__file__).parents[2] / "docs" / "settings.md").read_text()
    file.write_text(text.partition("```toml\n")[2].partition("```")[0])
    settings = load_settings(file, unknown_names)
    assert settings.theme == "nord"
    assert settings.keys == {"view": "V", "runs": "ctrl+r,f5"}
