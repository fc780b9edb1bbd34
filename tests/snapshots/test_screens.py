"""What every screen looks like at three sizes, as SVG; pictures are left out.

After a wanted change: ``python -m pytest tests/snapshots --snapshot-update``, then look at the changed files in a
browser.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import SimpleNamespace

import mistaken
import pytest
import recorded
from msgspec import structs
from piloting import WatchedApp, running, screen_text, until, until_said
from syrupy.assertion import SnapshotAssertion
from syrupy.extensions.image import SVGImageSnapshotExtension
from textual.geometry import Offset
from textual.pilot import Pilot
from textual.strip import Strip
from textual.widgets import Input

from facegender.runs.config import TrainConfig
from facegender.runs.folder import RunFolder
from facegender.runs.frames import write_frame
from facegender.runs.lock import Process
from facegender.runs.protocol import Answer, PhotographRequest
from tui.graphics.widget import PictureView
from tui.host.processes import ClassifierProcess, CommandOutput
from tui.inspect.browser import LayerBrowser
from tui.screens.beside import Beside
from tui.screens.command import CommandScreen
from tui.screens.compare import Compare
from tui.screens.confirm import Confirm
from tui.screens.find_rate import FindRate
from tui.screens.run_page import RunPage
from tui.settings import Settings
from tui.widgets.run_table import RunTable

SIZES = pytest.mark.parametrize("size", [(150, 45), (80, 24), (60, 20)], ids=lambda size: "x".join(map(str, size)))
NOW = 1_700_000_000.0
Keys = Callable[[WatchedApp, Pilot[None]], Awaitable[None]]


@pytest.fixture
def screens(snapshot: SnapshotAssertion) -> SnapshotAssertion:
    return snapshot.use_extension(SVGImageSnapshotExtension)


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A relative root with two runs, at a pinned time; pictures are blank."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    monkeypatch.setattr(time, "time", lambda: NOW)
    monkeypatch.setattr(PictureView, "render_lines", lambda self, crop: [Strip.blank(crop.width)] * crop.height)
    root = Path("faces")
    (root / "datasets").mkdir(parents=True)
    recorded.write_run(root, "heron-7", created=NOW - 90_000, epochs_done=5, end="completed")
    recorded.write_run(root, "otter-3", created=NOW - 3600, epochs_done=3, end="stopped")
    return root


async def svg_of(app: WatchedApp, pilot: Pilot[None]) -> str:
    """Return the screen as SVG, once nothing moves any more."""
    for field in app.screen.query(Input):
        field.cursor_blink = False
    app.clear_notifications()
    app.mouse_position = Offset(-1, -1)
    # A question has a worker that waits for the answer, and a run that is about to be deleted one that waits as well.
    waiting = isinstance(app.screen, Confirm | FindRate) or "✗ deleting" in screen_text(app)
    await until(lambda: waiting or all(worker.is_finished for worker in app.workers))
    await pilot.pause()
    svg = app.export_screenshot()
    # A checksum and web fonts say nothing about the screen.
    svg = re.sub(r"(?s)@font-face \{.*?\}\s*", "", re.sub(r"terminal-\d+", "terminal", svg))
    return re.sub(r"[ \t]+\n", "\n", svg)


@SIZES
async def test_dashboard(runs: Path, screens: SnapshotAssertion, size: tuple[int, int]) -> None:
    async with running(runs, size) as (app, pilot):
        await until(lambda: app.dashboard.browser._picture is not None or size[0] < 110)
        await until_said(app, "otter-3  ■ stopped")
        await pilot.pause(0.5)
        assert await svg_of(app, pilot) == screens


@SIZES
@pytest.mark.parametrize("key", ["enter", "H"], ids=["explorer", "health"])
async def test_explorer(runs: Path, screens: SnapshotAssertion, size: tuple[int, int], key: str) -> None:
    recorded.append(RunFolder(runs, "otter-3"), recorded.health_measured(2))
    async with running(runs, size) as (app, pilot):
        await until(lambda: app.dashboard.browser._picture is not None or size[0] < 110)
        await until_said(app, "otter-3  ■ stopped")
        await pilot.press(key)
        await until_said(app, "conv1")
        await pilot.pause(0.5)
        assert await svg_of(app, pilot) == screens


@SIZES
@pytest.mark.parametrize(
    ("keys", "text"),
    [
        (["m", "m", "m"], "− epoch"),
        (["m", "m", "m", "m"], "female 0–"),
        (["m", "m", "m", "m", "m"], "top patches"),
        (["enter", "l", "l", "enter"], "zero 0 to"),
    ],
    ids=["difference", "cam", "top", "alone"],
)
async def test_view(runs: Path, screens: SnapshotAssertion, size: tuple[int, int], keys: list[str], text: str) -> None:
    async with running(runs, size) as (app, pilot):
        await until(lambda: app.dashboard.browser._picture is not None)
        for key in keys:
            await pilot.press(key)
            await until(lambda: app.dashboard.browser._composing is None)
        await until_said(app, text)
        await pilot.pause(0.5)
        assert await svg_of(app, pilot) == screens


@SIZES
async def test_prompt(runs: Path, screens: SnapshotAssertion, size: tuple[int, int]) -> None:
    (runs / "anna.jpg").touch()
    (runs / "anton.jpg").touch()
    async with running(runs, size) as (app, pilot):
        await until_said(app, "otter-3  ■ stopped")
        await pilot.press("c", "a", "tab")
        await until_said(app, "anna.jpg  anton.jpg")
        await pilot.pause(0.5)
        assert await svg_of(app, pilot) == screens


@SIZES
async def test_welcome(runs: Path, screens: SnapshotAssertion, size: tuple[int, int]) -> None:
    empty = Path("empty")
    empty.mkdir()
    async with running(empty, size) as (app, pilot):
        assert await svg_of(app, pilot) == screens


@SIZES
@pytest.mark.parametrize(
    ("keys", "text"),
    [
        (["question_mark"], "Keys"),
        (["r"], "heron-7"),
        (["t"], "ready: Ctrl+S"),
        (["r", "d"], "✗ deleting"),
        (["r", "space", "slash", *"r>"], "there is no column 'r'"),
    ],
    ids=["help", "runs", "new_run", "deleting", "filter"],
)
async def test_screen(
    runs: Path, screens: SnapshotAssertion, size: tuple[int, int], keys: list[str], text: str
) -> None:
    async with running(runs, size) as (app, pilot):
        await until(lambda: app.dashboard.browser.frames)  # the help says which keys do nothing yet
        for key in keys:
            await pilot.press(key)
            await until(lambda: app.screen is not app.dashboard and app.screen.is_mounted)
            await until(lambda: all(table.keys for table in app.screen.query(RunTable)))
        await until_said(app, text)
        assert await svg_of(app, pilot) == screens


@SIZES
@pytest.mark.parametrize("sections", [0, 1, 2], ids=["run", "commands", "figures"])
async def test_run_page(
    runs: Path,
    screens: SnapshotAssertion,
    size: tuple[int, int],
    sections: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Path, "absolute", lambda self: Path("/home/me") / self)
    run = RunFolder(runs, "otter-3")
    process = Process(pid=4711, host="gpu-1")
    _with_config(run, process, epochs=5, image_size=24, learning_rate=1e-4)
    async with running(runs, size) as (app, pilot):
        await pilot.press("i")
        await until(lambda: isinstance(app.screen, RunPage) and app.screen.is_mounted and app.screen.details.sections)
        await pilot.press(*["right"] * sections, "down")
        await until(lambda: app.screen.details.section_index == sections)
        app.screen._timer.stop()
        assert await svg_of(app, pilot) == screens


FOUND = {
    "suggestion": 0.0021,
    "command": "facegender train --demo --learning-rate=0.0021",
    "learning_rates": [10 ** (number / 10 - 5) for number in range(51)],
    "losses": [0.7] * 51,
    "smoothed_losses": [0.6 + 0.02 * (number / 10 - 3) ** 2 for number in range(51)],
}


@SIZES
@pytest.mark.parametrize(
    ("key", "output"),
    [
        ("A", CommandOutput(("run otter-3, best.ckpt, epoch 3 of 5", "", "accuracy   0.8787"), "")),
        ("ctrl+l", CommandOutput((json.dumps(FOUND),), "")),
        ("ctrl+l", CommandOutput((), "no photographs in datasets: name a folder with --data DIR")),
    ],
    ids=["evaluate", "find_rate", "failed"],
)
async def test_command(
    runs: Path,
    screens: SnapshotAssertion,
    size: tuple[int, int],
    key: str,
    output: CommandOutput,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def run(*arguments: str, report: object) -> CommandOutput:
        return output

    (RunFolder(runs, "otter-3").path / "last.ckpt").touch()
    monkeypatch.setattr("tui.screens.command.run_command", run)
    monkeypatch.setattr("tui.screens.command.time", SimpleNamespace(monotonic=lambda: 0.0))
    monkeypatch.setattr(Path, "cwd", lambda *_: Path("/home/me"))
    async with running(runs, size) as (app, pilot):
        await until_said(app, "otter-3  ■ stopped")
        await pilot.press(key)
        await until(lambda: isinstance(app.screen, CommandScreen) and app.screen.is_mounted)
        await until_said(app, output.error or "done in")
        assert await svg_of(app, pilot) == screens


@SIZES
async def test_confirm(runs: Path, screens: SnapshotAssertion, size: tuple[int, int]) -> None:
    recorded.write_run(runs, "live", created=NOW)
    async with running(runs, size) as (app, pilot):
        # The question keeps a worker, so svg_of cannot wait for the screen below it.
        await until(lambda: app.dashboard.browser._picture is not None)
        await until(lambda: all(worker.is_finished for worker in app.workers))
        await pilot.press("S")
        await until_said(app, "Stop run live?")
        assert await svg_of(app, pilot) == screens


@SIZES
async def test_classify(
    runs: Path, screens: SnapshotAssertion, size: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    frame = runs / "ann.safetensors"
    write_frame(frame, recorded.frame(2, probes=1, heatmap=True, names=["ann.jpg"]))
    answer = Answer(
        id=1,
        label="female",
        confidence=0.8734,
        probabilities={"female": 0.8734, "male": 0.1266},
        run="otter-3",
        checkpoint="best.ckpt",
        epoch=2,
        source="run otter-3, best.ckpt, epoch 3 of 5",
        frame=str(frame),
        image_size=(640, 480),
    )

    async def classify(self: ClassifierProcess, path: Path, **_: str) -> Answer:
        return answer

    monkeypatch.setattr(ClassifierProcess, "classify", classify)
    async with running(runs, size) as (app, pilot):
        await until_said(app, "otter-3  ■ stopped")
        await pilot.press("c", *"ann", "enter")
        await until_said(app, "Predicted: female")
        await pilot.pause(0.5)
        assert await svg_of(app, pilot) == screens


def _with_config(run: RunFolder, process: Process | None = None, **config: object) -> RunFolder:
    manifest = run.read_manifest()
    assert manifest is not None
    config_of_run = TrainConfig(**config)
    run.write_manifest(structs.replace(manifest, config=config_of_run, process=process or manifest.process))
    return run


@pytest.fixture
def three_runs(runs: Path) -> tuple[RunFolder, ...]:
    """Two runs that differ in their learning rate, and one with another seed than the first."""
    recorded.write_run(runs, "heron-8", created=NOW - 80_000, epochs_done=5, end="completed")
    settings: dict[str, dict[str, object]] = {
        "heron-7": {"seed": 1}, "heron-8": {"seed": 2}, "otter-3": {"seed": 1, "learning_rate": 1e-4},
    }  # fmt: skip
    folders = tuple(_with_config(RunFolder(runs, name), **config) for name, config in settings.items())
    recorded.append(
        folders[1],
        *(recorded.epoch_finished(epoch, 0.7 + 0.05 * epoch, validation_loss=0.5 - 0.05 * epoch) for epoch in range(5)),
    )
    return folders


@SIZES
@pytest.mark.parametrize("keys", [["left", "down"], ["B", "y", "z", "d"]], ids=["band", "each"])
async def test_compare(
    three_runs: tuple[RunFolder, ...], screens: SnapshotAssertion, size: tuple[int, int], keys: list[str]
) -> None:
    async with running(three_runs[0].root, size, compared=three_runs) as (app, pilot):
        await until(lambda: isinstance(app.screen, Compare) and app.screen.is_complete)
        for key in keys:
            await pilot.press(key)
        await until(lambda: app.screen.is_complete)
        await pilot.pause(0.5)
        app.screen._follower.stop()
        assert await svg_of(app, pilot) == screens


@SIZES
async def test_pictures_side_by_side(
    three_runs: tuple[RunFolder, ...], screens: SnapshotAssertion, size: tuple[int, int]
) -> None:
    async with running(three_runs[0].root, size, compared=three_runs) as (app, pilot):
        await until(lambda: isinstance(app.screen, Compare) and app.screen.is_complete)
        await pilot.press("down", "b")
        await until(lambda: isinstance(app.screen, Beside) and app.screen.is_mounted)
        await until(lambda: all(pane.shown is not None for pane in app.screen.query(LayerBrowser)))
        await pilot.press("down", "left")
        await until(lambda: all(pane.shown.selection.layer == 1 for pane in app.screen.query(LayerBrowser)))
        await pilot.pause(0.5)
        assert await svg_of(app, pilot) == screens


@SIZES
@pytest.mark.parametrize(
    ("keys", "text"),
    [
        (["w"], "face_7.png  label"),
        (["w", "2"], "1. margin"),
        (["w", "3"], "0 of 30 photographs"),
        (["w", "enter"], "epoch 3  1 of 60"),
    ],
    ids=["mistakes", "suspects", "figures", "photograph"],
)
async def test_mistakes(
    runs: Path,
    screens: SnapshotAssertion,
    size: tuple[int, int],
    keys: list[str],
    text: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    mistaken.write_run(runs, "teal-5", created=NOW - 60)
    frame = runs / "face.safetensors"
    write_frame(frame, recorded.frame(2, probes=1))
    answer = Answer(source="run teal-5, last.ckpt, epoch 3 of 5", epoch=2, frame=str(frame), image_size=(24, 32))

    async def explain(self: ClassifierProcess, run: str, photograph: PhotographRequest) -> Answer:
        return answer

    monkeypatch.setattr(ClassifierProcess, "explain", explain)
    async with running(runs, size) as (app, pilot):
        await until_said(app, "teal-5  ✓ completed")
        for key in keys:
            await pilot.press(key)
            if key == "w":
                await until_said(app, "page 1 of")
                await pilot.pause(0.5)
        await until_said(app, text)
        if keys[-1] == "enter":
            await until_said(app, "run teal-5, last.ckpt")
            await until_said(app, "Probability")
        await pilot.pause(0.5)
        assert await svg_of(app, pilot) == screens


@SIZES
@pytest.mark.parametrize("wrong", [False, True], ids=["valid", "wrong"])
async def test_settings(
    runs: Path, screens: SnapshotAssertion, monkeypatch: pytest.MonkeyPatch, size: tuple[int, int], wrong: bool
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", "/home/somebody/.config")
    async with running(runs, size, settings=Settings(x_axis="steps", keys={"view": "v"})) as (app, pilot):
        await until_said(app, "otter-3")
        await pilot.press("O")
        await until_said(app, "keys")
        if wrong:
            await pilot.press("down", "down", "down", "enter", "5", "0", "0")
            await until_said(app, "must be between 2 and 128")
        assert await svg_of(app, pilot) == screens


LOOKS = pytest.mark.parametrize("look", ["light", "high-contrast", "colour-blind", "no-colour"])


def settings_of_look(look: str, monkeypatch: pytest.MonkeyPatch) -> Settings:
    if look != "no-colour":
        return Settings(theme=look)
    monkeypatch.setenv("NO_COLOR", "1")
    return Settings()


@LOOKS
async def test_theme_of_the_dashboard(
    runs: Path, screens: SnapshotAssertion, look: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running(runs, (150, 45), settings=settings_of_look(look, monkeypatch)) as (app, pilot):
        await until(lambda: app.dashboard.browser._picture is not None)
        await until_said(app, "otter-3  ■ stopped")
        await pilot.press("left")
        await pilot.pause(0.5)
        assert await svg_of(app, pilot) == screens


@LOOKS
async def test_theme_of_compared_runs(
    three_runs: tuple[RunFolder, ...], screens: SnapshotAssertion, look: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = settings_of_look(look, monkeypatch)
    async with running(three_runs[0].root, (80, 24), compared=three_runs, settings=settings) as (app, pilot):
        await until(lambda: isinstance(app.screen, Compare) and app.screen.is_complete)
        await pilot.press("down")
        await until(lambda: app.screen.is_complete)
        await pilot.pause(0.5)
        app.screen._follower.stop()
        assert await svg_of(app, pilot) == screens
