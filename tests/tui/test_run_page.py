"""The run page: opened by its keys, followed live, filtered, copied from on one key only."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import recorded
from piloting import COMMON, LARGE, SMALL, WatchedApp, running, screen_text, type_text, until, until_said
from textual.pilot import Pilot

from facegender.runs.config import TrainConfig
from facegender.runs.folder import RunFolder, Skipped
from tui.messages import ResumeRun, StopRun
from tui.screens.new_run import NewRun
from tui.screens.run_page import RunPage
from tui.widgets.details import DetailsView


@asynccontextmanager
async def page(root: Path, size: tuple[int, int] = LARGE) -> AsyncIterator[tuple[WatchedApp, Pilot[None]]]:
    """The page of the newest run, opened with its key, once it has been read."""
    async with running(root, size) as (app, pilot):
        await pilot.press("i")
        await until(lambda: isinstance(app.screen, RunPage) and app.screen.is_mounted)
        await until(lambda: details(app).sections)
        await pilot.pause()
        yield app, pilot


def details(app: WatchedApp) -> DetailsView:
    return app.screen.query_one(DetailsView)


async def go_to(app: WatchedApp, pilot: Pilot[None], label: str) -> None:
    """Move the cursor down to a line."""
    while (line := details(app).line) is None or line.label != label:
        await pilot.press("down")


async def test_the_page_shows_what_the_run_says(root: Path) -> None:
    recorded.write_run(root, end="stopped", config=TrainConfig(learning_rate=1e-4))
    async with page(root) as (app, _):
        text = screen_text(app)
        assert "otter-3  ■ stopped" in text
        assert "facegender train --resume=otter-3" in text


async def test_enlarging_the_focused_run_pane_opens_the_page(root: Path) -> None:
    recorded.write_run(root)
    async with running(root) as (app, pilot):
        await pilot.press("3", "plus")
        await until(lambda: isinstance(app.screen, RunPage))


async def test_the_list_of_runs_opens_the_page_of_the_run_under_the_cursor(root: Path) -> None:
    recorded.write_run(root, "older", created=100.0, end="completed")
    recorded.write_run(root, "newer", created=200.0, end="completed")
    async with running(root) as (app, pilot):
        await pilot.press("r")
        await until_said(app, "older")
        await pilot.press("down", "i")
        await until(lambda: isinstance(app.screen, RunPage))
        await until_said(app, "Run older")


async def test_the_page_of_a_live_run_follows_it_and_keeps_the_cursor(root: Path) -> None:
    folder = recorded.write_run(root)
    async with page(root) as (app, pilot):
        await go_to(app, pilot, "epochs")
        assert details(app).line.text == "3 of 5"
        recorded.add_epoch(folder, 3)
        await until(lambda: details(app).line.text == "4 of 5")


async def test_sections_are_reached_with_one_key(root: Path) -> None:
    recorded.write_run(root)
    async with page(root) as (app, pilot):
        titles = [section.title for section in details(app).sections]
        for title in titles[1:]:
            await pilot.press("right")
            assert details(app).section.title == title
        await pilot.press("right")
        assert details(app).section.title == titles[-1]
        await pilot.press("down", "left")
        assert (details(app).section.title, details(app).line) == (titles[-1], None)
        await pilot.press("left")
        assert details(app).section.title == titles[-2]


async def test_only_the_copy_key_copies_and_it_says_what(root: Path) -> None:
    folder = recorded.write_run(root, end="stopped")
    (folder.path / "last.ckpt").touch()
    async with page(root) as (app, pilot):
        await go_to(app, pilot, "last.ckpt")
        assert app.clipboard == ""
        await pilot.press("Y")
        assert app.clipboard == str(folder.last_checkpoint)
        assert any("copied" in text and "OSC 52" in text for text in app.told)


async def test_on_the_title_of_a_section_the_whole_section_is_copied(root: Path) -> None:
    recorded.write_run(root, end="stopped")
    async with page(root) as (app, pilot):
        await pilot.press("right", "Y")
        assert app.clipboard.startswith("Commands\n")
        assert f"--resume=otter-3 --root={root}" in app.clipboard


async def test_more_than_terminals_take_is_not_copied(root: Path) -> None:
    skipped = [Skipped(f"female/{number:06}.jpg", "not an image") for number in range(5000)]
    recorded.write_run(root, skipped=skipped)
    async with page(root) as (app, pilot):
        await pilot.press("end", "left", "Y")
        assert app.clipboard == ""
        assert any("more than terminals copy" in text for text in app.told)


async def test_a_filter_shows_the_lines_with_a_text_and_escape_clears_it(root: Path) -> None:
    recorded.write_run(root, skipped=[Skipped("female/broken.jpg", "not an image"), Skipped("male/a.jpg", "too small")])
    async with page(root) as (app, pilot):
        await pilot.press("slash")
        await type_text(pilot, "BROKEN")
        await until_said(app, "1 line with “BROKEN”")
        assert [line.text for section in details(app).sections for line in section.lines] == [
            "female/broken.jpg  not an image"
        ]
        await pilot.press("enter", "escape")
        await until(lambda: len(details(app).sections) > 5)
        await pilot.press("escape")
        await until(lambda: app.screen is app.dashboard)


async def test_a_filter_without_a_match_says_so(root: Path) -> None:
    recorded.write_run(root)
    async with page(root) as (app, pilot):
        await pilot.press("slash")
        await type_text(pilot, "zzz")
        await until_said(app, "0 lines with “zzz”")
        await pilot.press("enter", "Y", "down", "right")
        assert app.is_running


@pytest.mark.parametrize(("end", "label", "wanted"), [(None, "stop", StopRun), ("stopped", "resume", ResumeRun)])
async def test_enter_carries_out_the_command_under_the_cursor(
    root: Path, monkeypatch: pytest.MonkeyPatch, end: str | None, label: str, wanted: type
) -> None:
    recorded.write_run(root, end=end)
    asked: list[object] = []
    monkeypatch.setattr("tui.app.RunControl.submit", lambda self, request: asked.append(request))
    async with page(root) as (app, pilot):
        await go_to(app, pilot, label)
        await pilot.press("enter")
        await until(lambda: asked)
        assert isinstance(asked[0], wanted)


async def test_training_again_opens_the_form_with_the_configuration_of_the_run(root: Path) -> None:
    recorded.write_run(root, config=TrainConfig(demo=True, epochs=7))
    async with page(root) as (app, pilot):
        await go_to(app, pilot, "train again")
        await pilot.press("enter")
        await until(lambda: isinstance(app.screen, NewRun) and app.screen.is_mounted)
        assert app.screen.query_one("#field-epochs").value == "7"


@pytest.mark.parametrize("size", [LARGE, COMMON, SMALL, (300, 80)], ids=str)
async def test_every_line_is_reached_and_seen_on_every_screen(root: Path, size: tuple[int, int]) -> None:
    recorded.write_run(root, end="stopped")
    async with page(root, size) as (app, pilot):
        view = details(app)
        lines = sum(len(section.lines) + 1 for section in view.sections)
        seen = 1
        for _ in range(lines - 1):
            await pilot.press("down")
            seen += 1
            top, bottom = view.scroll_offset.y, view.scroll_offset.y + view.size.height
            first, end = view._rows_of_cursor()
            assert top <= first
            assert end <= bottom
        before = view.line
        await pilot.press("down")
        assert (seen, view.line) == (lines, before)


async def test_a_run_whose_folder_is_removed_while_it_is_shown_ends_nothing(root: Path) -> None:
    folder: RunFolder = recorded.write_run(root, end="stopped")
    async with page(root) as (app, pilot):
        folder.delete()
        await until_said(app, "Run otter-3  its folder is gone")
        await pilot.press("escape")
        await until(lambda: app.screen is app.dashboard)
