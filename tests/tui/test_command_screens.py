"""Commands that the run page carries out: evaluate, export and finding a learning rate, in processes of their own."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import recorded
from piloting import COMMON, SMALL, WatchedApp, running, until, until_said
from textual.pilot import Pilot

from facegender.runs.config import TrainConfig
from facegender.runs.folder import RunFolder
from facegender.support.errors import UserError
from tui.host.processes import CommandOutput
from tui.screens.command import CommandScreen
from tui.screens.find_rate import FindRate
from tui.screens.new_run import NewRun
from tui.screens.run_page import RunPage
from tui.widgets.chart import Chart

RATES = np.logspace(-5, 0, 60)
FOUND = {
    "suggestion": 0.0021,
    "command": "facegender train --learning-rate=0.0021",
    "learning_rates": RATES.tolist(),
    "losses": (0.7 - 0.1 * np.sin(np.arange(60))).tolist(),
    "smoothed_losses": (0.7 + 0.01 * (np.log10(RATES) + 2) ** 2).tolist(),
}


class Commands:
    """Stands in for `run_command`: answers each command once it is allowed to."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, ...]] = []
        self.output = CommandOutput(("accuracy   0.8787", "  female   168"), "")
        self.may_end = asyncio.Event()
        self.may_end.set()
        self.cancelled = 0

    async def run(self, *arguments: str, report: Callable[[str], None]) -> CommandOutput:
        self.asked.append(arguments)
        report("classifying photographs: 3 of 9")
        try:
            await self.may_end.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        return self.output


@pytest.fixture
def commands(monkeypatch: pytest.MonkeyPatch) -> Commands:
    commands = Commands()
    monkeypatch.setattr("tui.screens.command.run_command", commands.run)
    return commands


@pytest.fixture
def folder(root: Path, monkeypatch: pytest.MonkeyPatch) -> RunFolder:
    """A completed run with a checkpoint; exports go to its root."""
    monkeypatch.chdir(root)
    folder = recorded.write_run(root, end="completed", config=TrainConfig(demo=True, epochs=7, demo_faces=30))
    (folder.path / "best.ckpt").touch()
    return folder


async def choose(app: WatchedApp, pilot: Pilot[None], label: str, text: str = "") -> None:
    """Open the run page and press Enter on a command."""
    await pilot.press("i")
    await until(lambda: isinstance(app.screen, RunPage) and app.screen.is_mounted and app.screen.details.sections)
    details = app.screen.details
    while (line := details.line) is None or line.label != label or text not in line.text:
        await pilot.press("down")
    await pilot.press("enter")


async def test_the_run_is_evaluated_and_the_figures_are_shown_as_printed(folder: RunFolder, commands: Commands) -> None:
    async with running(folder.root) as (app, pilot):
        commands.may_end.clear()
        await choose(app, pilot, "evaluate")
        await until_said(app, f"facegender evaluate {folder.name} --root={folder.root}")
        await until_said(app, "classifying photographs: 3 of 9")
        commands.may_end.set()
        await until_said(app, "accuracy   0.8787")
        await until_said(app, "  female   168")
        await until_said(app, "done in")
        assert commands.asked == [("evaluate", "otter-3", f"--root={folder.root}")]
        await pilot.press("down", "Y")
        assert app.clipboard == "accuracy   0.8787"


async def test_a_command_that_fails_says_why_in_one_line_and_can_be_run_again(
    folder: RunFolder, commands: Commands
) -> None:
    commands.output = CommandOutput((), "the photographs are gone: name others with --data DIR")
    async with running(folder.root) as (app, pilot):
        await choose(app, pilot, "evaluate")
        await until_said(app, "the photographs are gone: name others with --data DIR")
        commands.output = CommandOutput(("fine",), "")
        await pilot.press("r")
        await until_said(app, "fine")


async def test_the_palette_runs_the_commands_of_the_shown_run(folder: RunFolder, commands: Commands) -> None:
    async with running(folder.root) as (app, pilot):
        await pilot.press("colon", *"evaluate")
        await until_said(app, "measure the run on its validation photographs")
        await pilot.press("enter")
        await until_said(app, "accuracy   0.8787")
        await pilot.press("escape")
        await until(lambda: app.screen is app.dashboard)


async def test_the_network_is_exported_in_a_format_that_is_typed(folder: RunFolder, commands: Commands) -> None:
    async with running(folder.root) as (app, _):
        app.action_export_network("onnx")
        await until(lambda: commands.asked == [("export", "otter-3", "--format=onnx", f"--root={folder.root}")])
        with pytest.raises(UserError, match="format jpeg: the formats are safetensors, onnx, pth"):
            app.action_export_network("jpeg")


async def test_a_command_that_the_run_does_not_have_is_refused_in_one_line(root: Path, commands: Commands) -> None:
    recorded.write_run(root, epochs_done=0, end="failed")
    async with running(root) as (app, _):
        app.action_carry_out("evaluate")
        await until(lambda: "not possible for run otter-3: it has no checkpoint yet" in app.told)
        RunFolder(root, "otter-3").manifest_path.unlink()
        app.action_carry_out("evaluate")
        await until(lambda: any("otter-3: its run.json cannot be read" in text for text in app.told))
        assert commands.asked == []


async def test_leaving_ends_the_command(folder: RunFolder, commands: Commands) -> None:
    commands.may_end.clear()
    async with running(folder.root) as (app, pilot):
        await choose(app, pilot, "evaluate")
        await until_said(app, "3 of 9")
        await pilot.press("escape")
        await until(lambda: isinstance(app.screen, RunPage))
        await until(lambda: commands.cancelled == 1)


async def test_an_export_asks_before_it_overwrites_a_file(folder: RunFolder, commands: Commands) -> None:
    async with running(folder.root) as (app, pilot):
        await choose(app, pilot, "export", "onnx")
        await until(lambda: commands.asked)
        assert commands.asked == [("export", "otter-3", "--format=onnx", f"--root={folder.root}")]
        await until_said(app, "done in")
        await pilot.press("escape")
        await until(lambda: isinstance(app.screen, RunPage))
        (folder.root / "otter-3.onnx").touch()
        await pilot.press("enter")
        await until_said(app, "Overwrite otter-3.onnx?")
        await pilot.press("n")
        await until(lambda: isinstance(app.screen, RunPage))
        assert len(commands.asked) == 1
        await pilot.press("enter")
        await until_said(app, "Overwrite otter-3.onnx?")
        await pilot.press("y")
        await until(lambda: len(commands.asked) == 2)
        assert commands.asked[1][-1] == "--force"


async def test_a_learning_rate_is_found_with_its_curve_and_taken_into_the_form(
    folder: RunFolder, commands: Commands
) -> None:
    commands.output = CommandOutput((json.dumps(FOUND),), "")
    async with running(folder.root) as (app, pilot):
        await choose(app, pilot, "find a rate")
        await until(lambda: isinstance(app.screen, FindRate))
        await until_said(app, "suggested")
        assert commands.asked == [("find-lr", "--demo", "--demo-faces=30", f"--root={folder.root}", "--json")]
        chart = app.screen.query_one(Chart)
        assert [len(curve.y) for curve in chart.curves] == [60]
        await pilot.press("enter")
        await until(lambda: isinstance(app.screen, NewRun) and app.screen.is_mounted)
        assert app.screen.query_one("#field-learning_rate").value == "0.0021"
        assert app.screen.query_one("#field-epochs").value == "7"


async def test_without_a_suggestion_the_curve_is_shown_and_enter_takes_nothing(
    folder: RunFolder, commands: Commands
) -> None:
    found = FOUND | {"suggestion": None, "command": None}
    commands.output = CommandOutput((json.dumps(found),), "no learning rate to suggest: the loss did not clearly fall")
    async with running(folder.root) as (app, pilot):
        await choose(app, pilot, "find a rate")
        await until_said(app, "no learning rate to suggest")
        assert app.screen.query_one(Chart).curves
        await pilot.press("enter")
        assert isinstance(app.screen, FindRate)


@pytest.mark.parametrize("size", [COMMON, SMALL], ids=str)
async def test_the_suggestion_is_seen_on_a_small_screen(
    folder: RunFolder, commands: Commands, size: tuple[int, int]
) -> None:
    commands.output = CommandOutput((json.dumps(FOUND),), "")
    async with running(folder.root, size) as (app, pilot):
        await choose(app, pilot, "find a rate")
        await until_said(app, "0.0021")
        assert isinstance(app.screen, CommandScreen)
