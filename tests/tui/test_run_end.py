"""What the interface tells unasked: warnings of a live run, and its end."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import recorded
from piloting import running, until, until_said

from facegender.runs.events import Notice, RequestDone, RunFinished
from facegender.runs.folder import RunFolder
from facegender.runs.requests import CheckpointRequest, SetRequest, take_requests
from tui.host.processes import Trainers
from tui.messages import SaveCheckpoint, SetEpochs, SetLearningRate
from tui.settings import Settings


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Control sequences that the app wrote, beside its screen."""
    sequences: list[str] = []
    monkeypatch.setattr("tui.app.write_control", lambda app, sequence: sequences.append(sequence))
    return sequences


@pytest.mark.parametrize(
    ("settings", "rings", "notifies"),
    [
        (Settings(), True, False),
        (Settings(bell=False, desktop_notification=True), False, True),
    ],
)
async def test_the_end_of_a_run_is_told_as_the_settings_want(
    root: Path, written: list[str], monkeypatch: pytest.MonkeyPatch, settings: Settings, rings: bool, notifies: bool
) -> None:
    folder = recorded.write_run(root, epochs_done=3)
    rung: list[None] = []
    async with running(root, settings=settings) as (app, _):
        monkeypatch.setattr(app, "bell", lambda: rung.append(None))
        await until(lambda: app.dashboard.state is not None and app.dashboard.state.read)
        assert app.told == []
        recorded.append(folder, RunFinished(time=2000.0, status="failed", error="no\x1b[2J room"))
        await until(lambda: app.told)
        assert app.told == ["run otter-3 has failed: no\ufffd[2J room"]
        assert bool(rung) == rings
        assert [f"777;notify;facegender-tui;{app.told[0]}" in text for text in written] == [True] * notifies


async def test_in_a_tmux_that_may_drop_the_notification_the_bell_rings(
    root: Path, written: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = recorded.write_run(root, epochs_done=3)
    rung: list[None] = []
    async with running(root, settings=Settings(bell=False, desktop_notification=True)) as (app, _):
        monkeypatch.setattr(app, "bell", lambda: rung.append(None))
        app.terminal = replace(app.terminal, multiplexer="tmux 3.5a", tmux_passthrough="on")
        await until(lambda: app.dashboard.state is not None and app.dashboard.state.read)
        recorded.append(folder, RunFinished(time=2000.0, status="completed"))
        await until(lambda: app.told)
        assert len(rung) == len(written) == 1


async def test_a_run_that_had_ended_before_it_was_opened_is_no_news(root: Path, written: list[str]) -> None:
    recorded.write_run(root, end="completed")
    async with running(root, settings=Settings(desktop_notification=True)) as (app, pilot):
        await until(lambda: app.dashboard.state is not None and app.dashboard.state.read)
        await pilot.pause()
        assert (app.told, written) == ([], [])


async def test_a_warning_of_a_live_run_is_told_once_and_what_went_well_is_not(root: Path) -> None:
    folder = recorded.write_run(root, epochs_done=2)
    recorded.append(folder, Notice(time=1900.0, level="warning", text="told before it was opened"))
    async with running(root) as (app, _):
        await until(lambda: app.dashboard.state is not None and app.dashboard.state.read)
        recorded.append(
            folder,
            Notice(time=1999.0, level="info", text="nothing to worry about"),
            Notice(time=2000.0, level="warning", text="waiting for data takes 71% of a step"),
            RequestDone(time=2001.0, request="set", done=False, outcome="epochs must be at least 3"),
        )
        await until(lambda: len(app.told) == 2)
        recorded.append(folder, recorded.epoch_finished(2))
        await until(lambda: len(app.dashboard.state.epochs) == 3)  # type: ignore[union-attr]
        assert app.told == ["waiting for data takes 71% of a step", "epochs must be at least 3"]


async def test_a_trainer_that_hangs_is_told_of_until_it_writes_again(root: Path) -> None:
    folder = recorded.write_run(root, epochs_done=2)
    async with running(root) as (app, _):
        await until(lambda: app.dashboard.state is not None and app.dashboard.state.read)
        os.utime(folder.journal_path, (1000, 1000))
        await until_said(app, "◌ no sign of life")
        assert "no sign of life from the trainer of otter-3" in app.told[-1]
        recorded.append(folder, recorded.epoch_started(2))
        await until_said(app, "● training")
        assert len(app.told) == 1


@pytest.mark.parametrize(
    ("message", "request_"),
    [
        (lambda folder: SetLearningRate(folder, 1e-4), SetRequest(learning_rate=1e-4)),
        (lambda folder: SetEpochs(folder, 20), SetRequest(epochs=20)),
        (SaveCheckpoint, CheckpointRequest()),
    ],
)
async def test_what_is_asked_of_the_trainer_is_sent_to_it(
    root: Path, message: Callable[[RunFolder], Any], request_: Any
) -> None:
    folder = recorded.write_run(root, epochs_done=2)
    async with running(root) as (app, _):
        app.post_message(message(folder))
        await until(lambda: app.told)
    (taken,) = take_requests(folder)
    assert not isinstance(taken, str)
    assert type(taken)(**{**{name: getattr(taken, name) for name in taken.__struct_fields__}, "id": ""}) == request_


async def test_a_bad_value_is_an_error_and_is_not_sent(root: Path) -> None:
    folder = recorded.write_run(root, epochs_done=2)
    async with running(root) as (app, _):
        app.post_message(SetLearningRate(folder, -1.0))
        await until(lambda: app.told)
        assert app.told == ["run otter-3: learning rate must be above 0 and at most 10, not -1"]
    assert take_requests(folder) == []


def test_a_trainer_gets_the_command_of_the_settings(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    commands: list[list[str]] = []
    monkeypatch.setattr("tui.host.processes.subprocess.Popen", lambda command, **_: commands.append(command))
    folder = recorded.write_run(root, end="stopped")
    Trainers(lambda: "notify-send $FACEGENDER_RUN").resume(folder)
    Trainers().resume(folder)
    assert [command[-1] for command in commands] == ["--on-end=notify-send $FACEGENDER_RUN", f"--resume={folder.name}"]
