"""The list of runs: how each stands, and what can be done with the one under the cursor."""

from __future__ import annotations

import errno
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import recorded
from piloting import COMMON, LARGE, SMALL, WatchedApp, running, screen_text, until, until_said
from rich.cells import cell_len
from textual.pilot import Pilot
from textual.widgets import Input

from facegender.runs.events import RunFinished
from facegender.runs.folder import RunFolder
from facegender.runs.summary import RunSummary, summarise
from tui.host.processes import Trainers
from tui.messages import CompareRuns, OpenRun
from tui.screens.confirm import Confirm
from tui.screens.new_run import NewRun
from tui.screens.runs import Runs
from tui.widgets.run_table import RunTable


@pytest.fixture
def runs(root: Path) -> dict[str, RunFolder]:
    """Four runs, the newest first: training, stopped, failed and crashed."""
    return {
        "live": recorded.write_run(root, "live", created=400.0, epochs_done=2),
        "halted": recorded.write_run(root, "halted", created=300.0, end="stopped"),
        "broken": recorded.write_run(root, "broken", created=200.0, epochs_done=0, end="failed"),
        "gone": recorded.write_run(root, "gone", created=100.0, process=recorded.dead_process()),
    }


@asynccontextmanager
async def listed(root: Path, size: tuple[int, int] = LARGE) -> AsyncIterator[tuple[WatchedApp, Pilot[None]]]:
    """The list, opened with r and read."""
    async with running(root, size) as (app, pilot):
        if app.screen is not app.dashboard:
            await pilot.press("escape")
        await pilot.press("r")
        await until(lambda: isinstance(app.screen, Runs) and app.screen.is_mounted)
        if (root / "checkpoints").exists():
            await until(lambda: len(app.screen.query_one(RunTable).keys))
        await pilot.pause()
        yield app, pilot


def keys_of(app: WatchedApp) -> list[str]:
    """The runs that the table shows, in their order."""
    return list(app.screen.query_one(RunTable).keys)


async def test_every_run_is_listed_with_its_state_epochs_and_best(root: Path, runs: dict[str, RunFolder]) -> None:
    async with listed(root) as (app, _):
        rows = [line.split() for line in screen_text(app).splitlines()]
        by_name = {row[0]: row for row in rows if row and row[0] in runs}
        assert list(by_name) == ["live", "halted", "broken", "gone"]
        assert by_name["live"][1:5] == ["●", "training", "2/5", "0.610"]
        assert by_name["halted"][1:5] == ["■", "stopped", "3/5", "0.620"]
        assert by_name["broken"][1:5] == ["✗", "failed", "0/5", "-"]
        assert by_name["gone"][2] == "crashed"


async def test_enter_opens_the_run_under_the_cursor(root: Path, runs: dict[str, RunFolder]) -> None:
    async with listed(root) as (app, pilot):
        await pilot.press("down", "enter")
        await until(lambda: app.screen is app.dashboard)
        await until_said(app, "halted  ■ stopped")
        assert app.dashboard.folder.name == "halted"


async def test_without_runs_it_says_how_to_start_one(root: Path) -> None:
    async with listed(root) as (app, pilot):
        await until_said(app, "there are no runs yet: t starts one")
        await pilot.press("enter", "S", "R", "D")
        assert isinstance(app.screen, Runs)
        await pilot.press("t")
        await until(lambda: isinstance(app.screen, NewRun))


async def test_a_live_run_is_stopped_after_a_question(root: Path, runs: dict[str, RunFolder]) -> None:
    async with listed(root) as (app, pilot):
        await pilot.press("S")
        await until(lambda: isinstance(app.screen, Confirm))
        await pilot.press("n")
        await until(lambda: isinstance(app.screen, Runs))
        assert not runs["live"].stop_requested()
        await pilot.press("S", "y")
        await until(runs["live"].stop_requested)


async def test_a_run_that_ended_is_not_stopped(root: Path, runs: dict[str, RunFolder]) -> None:
    async with listed(root) as (app, pilot):
        await pilot.press("down", "S")
        await until(lambda: "run halted is not training" in app.told)
        assert isinstance(app.screen, Runs)


async def test_a_run_is_deleted_after_some_seconds(
    root: Path, runs: dict[str, RunFolder], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tui.host.run_control.UNDO_S", 0.5)
    async with listed(root) as (app, pilot):
        await pilot.press("down", "d")
        await until_said(app, "✗ deleting")
        await until_said(app, "deleting 1 run: u keeps it")
        assert runs["halted"].manifest_path.exists()
        await until(lambda: "Deleted halted" in app.told)
        assert not runs["halted"].path.exists()
        assert not runs["halted"].visuals.exists()
        await until(lambda: keys_of(app) == ["live", "broken", "gone"])


async def test_until_then_a_key_keeps_it(root: Path, runs: dict[str, RunFolder]) -> None:
    async with listed(root) as (app, pilot):
        await pilot.press("down", "space", "space", "d")
        await until_said(app, "deleting 2 runs: u keeps them")
        await pilot.press("u")
        await until(lambda: "Kept broken, halted" in app.told)
        await until(lambda: "✗ deleting" not in screen_text(app))
        assert all(folder.manifest_path.exists() for folder in runs.values())


async def test_many_runs_are_one_notification_and_a_key_held_down_is_none(root: Path) -> None:
    for number in range(6):
        recorded.write_run(root, f"run-{number}", end="completed")
    async with listed(root) as (app, pilot):
        await pilot.press(*["space"] * 6, "d", "d", "d")
        await until_said(app, "deleting 6 runs: u keeps them")
        assert not app.told
        await pilot.press("d", "q")
        await until(lambda: app.told == ["deleting 6 runs: r, then u keeps them"])
        await pilot.press("r", "u")
        await until(lambda: "Kept 6 runs" in app.told)
        await until(lambda: "✗ deleting" not in screen_text(app))
        assert len(app.told) == 2


async def test_a_marked_run_that_the_filter_hides_is_not_deleted(
    root: Path, runs: dict[str, RunFolder], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tui.host.run_control.UNDO_S", 0.2)
    async with listed(root) as (app, pilot):
        await pilot.press("down", "space", "space", "slash", *"broken", "enter")
        await until(lambda: keys_of(app) == ["broken"])
        await pilot.press("d")
        await until(lambda: "Deleted broken" in app.told)
        await pilot.press("escape")
        await until(lambda: keys_of(app) == ["live", "halted", "gone"])
        await until_said(app, "1 marked")


async def test_a_run_that_is_about_to_be_deleted_is_not_resumed(root: Path, runs: dict[str, RunFolder]) -> None:
    async with listed(root) as (app, pilot):
        await pilot.press("down", "d")
        await until_said(app, "✗ deleting")
        await pilot.press("R")
        await until(lambda: "run halted is about to be deleted: u keeps it" in app.told)


async def test_leaving_the_list_says_what_is_about_to_be_deleted(
    root: Path, runs: dict[str, RunFolder], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tui.host.run_control.UNDO_S", 60.0)
    async with listed(root) as (app, pilot):
        await pilot.press("down", "d")
        await until_said(app, "✗ deleting")
        await pilot.press("escape")
        await until(lambda: "deleting halted: r, then u keeps it" in app.told)
        await pilot.press("r")
        await until_said(app, "✗ deleting")
        await pilot.press("u")
        await until(lambda: "Kept halted" in app.told)


async def test_nothing_is_deleted_once_the_program_has_ended(root: Path, runs: dict[str, RunFolder]) -> None:
    async with listed(root) as (app, pilot):
        await pilot.press("down", "d")
        await until_said(app, "✗ deleting")
    assert runs["halted"].manifest_path.exists()
    assert "halted was not deleted: the program ended first" in app.reattach_hint()


async def test_a_live_run_is_not_deleted(root: Path, runs: dict[str, RunFolder]) -> None:
    async with listed(root) as (app, pilot):
        await pilot.press("d")
        await until(lambda: "run live is still training: stop it first" in app.told)
        assert runs["live"].manifest_path.exists()


async def test_a_stopped_run_goes_on_and_is_shown(
    root: Path, runs: dict[str, RunFolder], monkeypatch: pytest.MonkeyPatch
) -> None:
    spawned: list[list[str]] = []
    monkeypatch.setattr(Trainers, "_spawn", lambda self, folder, arguments: spawned.append(arguments))
    async with listed(root) as (app, pilot):
        await pilot.press("down", "R")
        await until(lambda: spawned)
        assert spawned == [["--resume=halted"]]
        assert app.dashboard.folder.name == "halted"
        assert "Resuming halted from its last checkpoint" in app.told


async def test_the_list_follows_what_happens(
    root: Path, runs: dict[str, RunFolder], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tui.screens.runs.REREAD_S", 0.05)
    async with listed(root) as (app, pilot):
        await pilot.press("down")
        recorded.append(runs["live"], RunFinished(time=2000.0, status="completed"))
        await until_said(app, "✓ completed")
        recorded.write_run(root, "newborn", created=500.0)
        await until_said(app, "newborn")
        assert isinstance(app.screen, Runs)


async def test_the_cursor_stays_on_its_run_when_a_newer_one_appears(
    root: Path, runs: dict[str, RunFolder], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tui.screens.runs.REREAD_S", 0.05)
    async with listed(root) as (app, pilot):
        await pilot.press("down")
        recorded.write_run(root, "newborn", created=500.0)
        await until_said(app, "newborn")
        await pilot.press("enter")
        await until(lambda: app.screen is app.dashboard)
        assert app.dashboard.folder.name == "halted"


@pytest.mark.parametrize("key", ["escape", "q", "r"])
async def test_every_way_out_leads_back_and_not_out_of_the_program(
    root: Path, runs: dict[str, RunFolder], key: str
) -> None:
    async with listed(root) as (app, pilot):
        await pilot.press(key)
        await until(lambda: app.screen is app.dashboard)
        assert app.is_running


async def test_a_run_with_odd_data_and_damaged_files_is_listed_harmlessly(root: Path) -> None:
    recorded.write_run(root, "odd", data="[red]x[/red]\x1b[2J", end="completed")
    broken = recorded.write_run(root, "damaged", end="completed")
    broken.manifest_path.write_bytes(b"{")
    broken.journal_path.write_bytes(b"\x00\xff garbage")
    async with listed(root) as (app, pilot):
        await pilot.press("down")
        shown = screen_text(app)
        assert "[red]x[/red]\ufffd[2J" in shown
        assert "damaged" in shown
        assert "\x1b" not in shown


async def test_a_run_that_cannot_be_read_is_reported_and_the_others_are_listed(
    root: Path, runs: dict[str, RunFolder], monkeypatch: pytest.MonkeyPatch
) -> None:
    def read(folder: RunFolder) -> RunSummary:
        if folder.name == "halted":
            raise OSError(errno.EIO, "Input/output error")
        return summarise(folder)

    monkeypatch.setattr("tui.screens.runs.summarise", read)
    async with listed(root) as (app, _):
        await until_said(app, "halted: Input/output error")
        assert len(app.screen.query_one(RunTable).keys) == len(runs) - 1


async def test_a_question_is_asked_once_when_its_key_is_pressed_twice(root: Path, runs: dict[str, RunFolder]) -> None:
    async with listed(root) as (app, pilot):
        app.simulate_key("S")
        app.simulate_key("S")
        await until(lambda: isinstance(app.screen, Confirm))
        await pilot.pause()
        assert [type(screen) for screen in app.screen_stack].count(Confirm) == 1
        await pilot.press("n", "S")
        await until(lambda: isinstance(app.screen, Confirm))


async def test_a_question_that_is_open_when_another_run_is_shown_is_answered_with_no(
    root: Path, runs: dict[str, RunFolder]
) -> None:
    async with listed(root) as (app, pilot):
        await pilot.press("S")
        await until(lambda: isinstance(app.screen, Confirm))
        app.post_message(OpenRun(runs["live"]))
        await until(lambda: app.screen is app.dashboard)
        await pilot.press("S")
        await until(lambda: isinstance(app.screen, Confirm))


@pytest.mark.parametrize("size", [COMMON, SMALL], ids=str)
async def test_every_key_can_be_pressed_on_a_small_screen(
    root: Path, runs: dict[str, RunFolder], size: tuple[int, int]
) -> None:
    async with listed(root, size) as (app, pilot):
        keys = (
            "down",
            "up",
            "S",
            "D",
            "R",
            "question_mark",
            "t",
            "pagedown",
            "end",
            "home",
            "pageup",
            "space",
            "o",
            "u",
        )
        for key in (*keys, "o", "u", "left", "right", "slash", "escape", "N", "escape", "f2", "escape", "enter", "d"):
            await pilot.press(key)
            if not isinstance(app.screen, Runs):
                await pilot.press("escape")
            if app.screen is app.dashboard:
                await pilot.press("r")
        assert app.is_running


async def test_any_column_sorts_by_key_and_by_mouse(root: Path, runs: dict[str, RunFolder]) -> None:
    recorded.append(runs["gone"], recorded.epoch_finished(4, 0.9))
    async with listed(root) as (app, pilot):
        await until_said(app, "age ▲")
        await pilot.press("o")
        await until_said(app, "age ▼")
        assert keys_of(app) == ["gone", "broken", "halted", "live"]
        while "best ▼" not in screen_text(app):
            await pilot.press("left")
        assert keys_of(app) == ["gone", "halted", "live", "broken"]
        await pilot.press("o")
        await until_said(app, "best ▲")
        assert keys_of(app) == ["live", "halted", "gone", "broken"]
        table = app.screen.query_one(RunTable)
        await pilot.click(RunTable, offset=(3, 0))
        await until_said(app, "run ▲")
        assert keys_of(app) == ["broken", "gone", "halted", "live"]
        await pilot.click(RunTable, offset=(3, 0))
        await until_said(app, "run ▼")
        await pilot.click(RunTable, offset=(9, 3))
        assert table.key == "gone"
        await pilot.click(RunTable, offset=(9, 3), times=2)
        await until(lambda: app.screen is app.dashboard)
        assert app.dashboard.folder.name == "gone"


async def test_a_filter_applies_while_it_is_typed_and_escape_clears_it(root: Path, runs: dict[str, RunFolder]) -> None:
    async with listed(root) as (app, pilot):
        await pilot.press("slash", *"state:failed")
        await until(lambda: keys_of(app) == ["broken"])
        await until_said(app, "Enter keep the filter")
        await until_said(app, "1 of 4: state:failed")
        await pilot.press("space", *"lr<")
        await until_said(app, "filter 'lr<': needs a number")
        assert keys_of(app) == ["broken"]
        await pilot.press("escape")
        await until(lambda: len(keys_of(app)) == 4)
        await pilot.press("slash", *"-live", "enter", "down", "enter")
        await until(lambda: app.screen is app.dashboard)
        assert app.dashboard.folder.name == "gone"  # the cursor had stayed on the run before it


async def test_a_filter_that_is_kept_is_cleared_before_the_list_is_left(root: Path, runs: dict[str, RunFolder]) -> None:
    async with listed(root) as (app, pilot):
        await pilot.press("slash", *"nothing", "enter")
        await until(lambda: keys_of(app) == [])
        await pilot.press("enter", "space", "N", "f2", "d", "S")
        assert isinstance(app.screen, Runs)
        await pilot.press("escape")
        await until(lambda: len(keys_of(app)) == 4)
        await pilot.press("escape")
        await until(lambda: app.screen is app.dashboard)


async def test_marked_runs_are_compared(
    root: Path, runs: dict[str, RunFolder], monkeypatch: pytest.MonkeyPatch
) -> None:
    compared: list[CompareRuns] = []
    async with listed(root) as (app, pilot):
        post = app.post_message
        monkeypatch.setattr(
            app, "post_message", lambda m: compared.append(m) if isinstance(m, CompareRuns) else post(m)
        )
        await pilot.press("down", "space", "enter")
        await until(lambda: any("one run is marked" in told for told in app.told))
        await pilot.press("down", "space")
        await until_said(app, "2 marked")
        await pilot.press("enter")
        await until(lambda: compared)
        assert [folder.name for folder in compared[0].folders] == ["halted", "gone"]
        await pilot.press("escape")
        await until(lambda: "2 marked" not in screen_text(app))
        await pilot.click(RunTable, offset=(0, 1))
        await until_said(app, "1 marked")


async def test_the_list_is_opened_again_as_it_was_left_with_the_cursor_on_the_shown_run(
    root: Path, runs: dict[str, RunFolder]
) -> None:
    async with listed(root) as (app, pilot):
        await pilot.press("o", "slash", *"-broken", "enter", "space", "r")
        await until(lambda: app.screen is app.dashboard)
        app.dashboard.open_run(runs["halted"])
        await pilot.press("r")
        await until(lambda: isinstance(app.screen, Runs) and keys_of(app))
        assert keys_of(app) == ["gone", "halted", "live"]
        assert app.screen.query_one(RunTable).key == "halted"
        await until_said(app, "3 of 4: -broken  1 marked")


async def test_a_note_is_written_and_shown(root: Path, runs: dict[str, RunFolder]) -> None:
    async with listed(root) as (app, pilot):
        await pilot.press("down", "N", *"best", "space", *"so", "space", *"far", "enter")
        await until_said(app, "best so far")
        assert runs["halted"].read_note() == "best so far"
        await pilot.press("N", "ctrl+u", "enter")
        await until(lambda: runs["halted"].read_note() == "")
        await until(lambda: "best so far" not in screen_text(app))
        await pilot.press("N", "x", "escape", "down", "up")
        assert runs["halted"].read_note() == ""


async def test_the_shown_run_is_renamed_and_stays_shown(root: Path, runs: dict[str, RunFolder]) -> None:
    async with listed(root) as (app, pilot):
        app.dashboard.open_run(runs["halted"])
        await pilot.press("down", "f2")
        await until(lambda: app.screen.query_one(Input).value == "halted")
        await pilot.press("ctrl+u", *"otter", "enter")
        await until(lambda: keys_of(app) == ["live", "otter", "broken", "gone"])
        assert app.screen.query_one(RunTable).key == "otter"
        assert not runs["halted"].path.exists()
        await pilot.press("escape")
        await until_said(app, "otter  ■ stopped")
        assert RunFolder(root, "otter").read_manifest().run == "otter"


@pytest.mark.parametrize(
    ("key", "name", "message"),
    [
        ("down", "gone", "run gone exists already: choose another name"),
        ("down", "a/b", "run name 'a/b': use 1 to 64 letters"),
        ("up", "new", "run live is still training: stop it first"),
    ],
)
async def test_a_rename_that_cannot_be_is_refused(
    root: Path, runs: dict[str, RunFolder], key: str, name: str, message: str
) -> None:
    async with listed(root) as (app, pilot):
        await pilot.press(key, "f2", "ctrl+u", *name, "enter")
        await until(lambda: any(message in told for told in app.told))
        assert len(keys_of(app)) == 4


async def test_a_name_that_no_run_can_have_stays_to_be_corrected(root: Path, runs: dict[str, RunFolder]) -> None:
    async with listed(root) as (app, pilot):
        await pilot.press("down", "f2", "ctrl+u", *"a/b", "enter")
        await until(lambda: any("run name 'a/b'" in told for told in app.told))
        await pilot.press("backspace", "backspace", "2", "enter")
        await until(lambda: "a2" in keys_of(app))


async def test_a_thousand_runs_scroll_with_the_cursor(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tui.screens.runs.summarise", lambda folder: RunSummary(run=folder.name, state="completed"))
    for number in range(1000):
        folder = RunFolder(root, f"run-{number:04}")
        folder.path.mkdir(parents=True)
        folder.log_path.touch()
    async with listed(root) as (app, pilot):
        table = app.screen.query_one(RunTable)
        await pilot.press("slash", *"run-0", "enter", "home", "end")
        assert len(table.keys) == 1000
        last = table.keys[-1]
        await until_said(app, f"{last} ")
        await pilot.press("pageup", "pageup")
        assert table.key == table.keys[-1 - 2 * (table.size.height - 2)]
        await until_said(app, f"{table.key} ")
        await pilot.press("escape", *["down"] * 3)
        assert table.key in table.keys


async def test_wide_and_hostile_notes_stay_in_their_column(root: Path, runs: dict[str, RunFolder]) -> None:
    runs["live"].write_note("我的第一个实验" * 20)
    runs["halted"].note_path.write_text("[red]x[/red]\x1b[2J" + "y" * 5000)
    async with listed(root, COMMON) as (app, _):
        shown = screen_text(app)
        assert "\x1b" not in shown
        assert "[red]x[/red]" in shown
        assert max(map(cell_len, shown.splitlines())) <= COMMON[0]
