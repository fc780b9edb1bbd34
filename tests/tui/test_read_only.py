"""With ``--read-only``, and where a run's folder is not writable, looking at runs changes nothing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
import recorded
from piloting import WatchedApp, running, screen_text, type_text, until, until_said
from textual.pilot import Pilot

from facegender.runs.config import TrainConfig
from facegender.runs.folder import open_run
from facegender.runs.lock import Process
from facegender.support.files import READ_ONLY_VARIABLE
from tui.app import MAX_HINTS
from tui.commands import DASHBOARD
from tui.host.access import WriteAccess
from tui.messages import CarryOut, DeleteRun, RecordFrame, RenameRun, ResumeRun, StartRun, StopRun, WriteNote

Tree = dict[Path, tuple[int, int, bytes]]


def tree(root: Path) -> Tree:
    """Everything below a folder: when it was changed, its mode and its content."""
    return {
        path: (path.stat().st_mtime_ns, path.stat().st_mode, path.read_bytes() if path.is_file() else b"")
        for path in (root, *root.rglob("*"))
    }


async def refused(app: WatchedApp, say: str) -> str:
    """Wait for a refusal, forget it and return it."""
    await until(lambda: any(say in text for text in app.told))
    await until(lambda: not app._run_control._pending)  # a second request about the same run would be dropped
    (text,) = app.told
    app.told.clear()
    return text


async def test_nothing_below_the_root_is_written(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(READ_ONLY_VARIABLE, "1")
    folder = recorded.write_run(root, end="completed")
    # A rename that was interrupted, which the list of runs would complete.
    other = recorded.write_run(root, "heron-7", end="stopped")
    other.path.rename(other.path.with_name("crane-1"))
    before = tree(root)
    async with running(root, run=folder, access=WriteAccess(read_only=True)) as (app, pilot):
        await until_said(app, "read-only")
        await until_said(app, "epoch 3 latest")
        assert "t train" not in screen_text(app)
        requests = (StopRun, RecordFrame, ResumeRun, DeleteRun)
        for request in [kind(folder) for kind in requests] + [RenameRun(folder, "fox-1"), WriteNote(folder, "mine")]:
            app.post_message(request)
            await refused(app, "run otter-3 cannot be changed: facegender-tui was started with --read-only")
        for action in ("train", "longer", "resume", "export-safetensors"):
            app.post_message(CarryOut(folder, action))
            await refused(app, "run otter-3 cannot be changed")
        app.post_message(StartRun(TrainConfig(demo=True), "fox-1"))
        await refused(app, "no run can be started: facegender-tui was started with --read-only")
        await pilot.press("e")
        await refused(app, "not written: run otter-3 cannot be changed")
        await pilot.press("t")
        await refused(app, "no run can be started")
        await until_in_runs(app, pilot)
        assert "read-only" in screen_text(app)
        for key in ("N", "f2", "d", "S", "R"):
            await pilot.press(key)
            await refused(app, "cannot be changed")
    assert tree(root) == before
    assert open_run(root, "crane-1").visuals.exists() is False
    assert tree(root) == before


async def until_in_runs(app: WatchedApp, pilot: Pilot[None]) -> None:
    """Open the list of runs, with the cursor on the run that is shown."""
    await pilot.press("r")
    await until_said(app, "2 runs")
    await until(lambda: app.screen.query_one("#table").key)


@pytest.mark.parametrize("closed", [lambda run: run.path, lambda run: run.visuals])
async def test_a_run_whose_folder_is_not_writable_is_read_only_by_itself(root: Path, closed: Callable) -> None:
    mine = recorded.write_run(root, "heron-7", end="stopped")
    theirs = recorded.write_run(root, end="completed")
    access = WriteAccess(is_writable=lambda path: path != closed(theirs))
    before = tree(theirs.path) | tree(theirs.visuals)
    async with running(root, run=theirs, access=access) as (app, pilot):
        await until_said(app, "read-only")
        app.post_message(WriteNote(theirs, "mine"))
        await refused(app, f"run otter-3 is read-only: you may not write to {closed(theirs)}")
        await until_said(app, "epoch 3 latest")
        assert "t train" in screen_text(app)
        assert app.dashboard.reason(next(one for one in DASHBOARD if one.name == "export")) == "the run is read-only"
        await pilot.press("e")
        await refused(app, "not written: run otter-3 is read-only")
        app.post_message(WriteNote(mine, "mine"))
        await until(lambda: mine.read_note() == "mine")
        app.dashboard.open_run(mine)
        await until(lambda: "read-only" not in screen_text(app))
    assert tree(theirs.path) | tree(theirs.visuals) == before


async def test_the_welcome_screen_starts_and_downloads_nothing(root: Path) -> None:
    async with running(root, access=WriteAccess(read_only=True)) as (app, pilot):
        for _ in range(3):
            await pilot.press("enter")
            await refused(app, "no run can be started")
            await pilot.press("down")
    assert not list(root.iterdir())


async def test_the_filter_of_runs_can_still_be_typed(root: Path) -> None:
    recorded.write_run(root, end="completed")
    recorded.write_run(root, "heron-7", end="completed")
    async with running(root, access=WriteAccess(read_only=True)) as (app, pilot):
        await until_in_runs(app, pilot)
        await pilot.press("slash")
        await type_text(pilot, "heron")
        await until_said(app, "1 of 2: heron")


def test_the_manifest_of_an_interrupted_rename_is_completed_without_the_variable(root: Path) -> None:
    folder = recorded.write_run(root, "heron-7", end="stopped")
    folder.path.rename(folder.path.with_name("crane-1"))
    renamed = open_run(root, "crane-1")
    assert renamed.visuals.exists()
    assert msgspec.json.decode(renamed.manifest_path.read_bytes())["run"] == "crane-1"


async def test_the_hint_after_the_exit_names_host_and_option_and_only_so_many_runs(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(READ_ONLY_VARIABLE, "1")
    recorded.write_run(root, "otter-3")
    for number in range(MAX_HINTS + 1):
        recorded.write_run(root, f"heron-{number}", process=Process(pid=1, host="node\x1b7"))
    recorded.write_run(root, "crane-1", end="completed")
    async with running(root, run=open_run(root, "otter-3"), access=WriteAccess(read_only=True)) as (app, _):
        await until_said(app, "● training")
    shown, first, *_, more = app.reattach_hint().splitlines()
    back = f"--read-only --root={root}"
    assert shown == f"otter-3 is still training; show it with: facegender-tui otter-3 {back}"
    assert first == f"heron-0 is still training on node\ufffd7; show it with: facegender-tui heron-0 {back}"
    assert more == f"2 more runs training; list them with: facegender runs --filter=state:training --root={root}"
