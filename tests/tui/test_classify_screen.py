"""Classifying from the palette, with a stand-in for the process that holds the network."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import recorded
from piloting import (
    COMMON,
    LARGE,
    SMALL,
    WatchedApp,
    palette_of,
    running,
    screen_text,
    title,
    type_text,
    until,
    until_said,
)
from textual.pilot import Pilot

from facegender.runs.frames import write_frame
from facegender.runs.protocol import Answer
from facegender.support.errors import UserError
from tui.host.processes import ClassifierProcess
from tui.screens.classify import Classify

Reply = Callable[[Path], Answer]


class Classifier:
    """What the stand-in was asked, and what it replies; it waits while `held`."""

    def __init__(self, frame: Path) -> None:
        self.asked: list[tuple[Path, str]] = []
        self.choices: list[str] = []
        self.held: asyncio.Event | None = None
        self.error = ""
        self.frame = frame
        self.checkpoint = "last.ckpt"

    async def reply(self, path: Path, run: str) -> Answer:
        self.asked.append((path, run))
        if self.held is not None:
            await self.held.wait()
        if self.error:
            raise UserError(self.error)
        return Answer(
            id=1,
            path=str(path),
            label="female",
            confidence=0.8734,
            probabilities={"female": 0.8734, "male": 0.1266},
            run=run,
            checkpoint=self.checkpoint,
            epoch=2,
            source=f"run {run}, {self.checkpoint}, epoch 3 of 5",
            frame=str(self.frame),
            image_size=(640, 480),
        )


@pytest.fixture
def classifier(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Classifier:
    frame = tmp_path_factory.mktemp("frames") / "ann.safetensors"
    write_frame(frame, recorded.frame(2, probes=1, heatmap=True, names=["ann.jpg"]))
    stand_in = Classifier(frame)

    async def classify(self: ClassifierProcess, path: Path, *, run: str, checkpoint: str) -> Answer:
        stand_in.choices.append(checkpoint)
        stand_in.checkpoint = {"best": "best.ckpt", "last": "last.ckpt"}.get(checkpoint, stand_in.checkpoint)
        return await stand_in.reply(path, run)

    monkeypatch.setattr(ClassifierProcess, "classify", classify)
    return stand_in


@asynccontextmanager
async def asked(
    root: Path, text: str = "ann.jpg", size: tuple[int, int] = LARGE
) -> AsyncIterator[tuple[WatchedApp, Pilot[None]]]:
    """A run, and a file typed into the palette."""
    recorded.write_run(root)
    async with running(root, size) as (app, pilot):
        await until(lambda: app.dashboard.browser._layers)
        await pilot.press("down", "c")
        await type_text(pilot, text)
        await pilot.press("enter")
        # An error opens the palette over it.
        await until(lambda: any(isinstance(screen, Classify) and screen.is_mounted for screen in app.screen_stack))
        await pilot.pause()
        yield app, pilot


async def answered(app: WatchedApp) -> None:
    await until(lambda: app.screen.browser._picture is not None)
    await until_said(app, "Confidence: 87.34%")


@pytest.mark.parametrize("size", [LARGE, COMMON], ids=str)
async def test_the_three_lines_the_checkpoint_and_the_caveat_are_shown(
    root: Path, classifier: Classifier, size: tuple[int, int]
) -> None:
    async with asked(root, size=size) as (app, _):
        await answered(app)
        shown = " ".join(screen_text(app).split())
        for text in ("Predicted: female", "Confidence: 87.34%", "Probabilities: Female: 87.34%"):
            assert text in shown
        if size == LARGE:
            assert "run otter-3, last.ckpt, epoch 3 of 5" in shown
            assert "not who anybody is" in shown
        assert "ann.jpg" in shown
        assert "640×480 px" in shown


async def test_pages_and_scales_work_on_an_answer_as_on_a_run(root: Path, classifier: Classifier) -> None:
    async with asked(root, size=COMMON) as (app, pilot):
        await answered(app)
        browser = app.screen.browser
        await pilot.press("up")
        await until_said(app, "of 4")
        await pilot.press("full_stop")
        await until_said(app, "channels 3–4 of 4")
        await pilot.press("o")
        await until_said(app, "one scale")
        await pilot.press("o")
        await until(lambda: browser.selection.scope == "run" and browser._composing is None)
        assert "all epochs" not in screen_text(app), "there is one answer"


async def test_the_path_is_relative_to_the_root_and_the_shown_run_answers(root: Path, classifier: Classifier) -> None:
    async with asked(root, "photos/ann.jpg") as (app, _):
        await answered(app)
        assert classifier.asked == [(root / "photos" / "ann.jpg", "otter-3")]


async def test_the_maps_of_the_layer_that_was_looked_at_are_shown(root: Path, classifier: Classifier) -> None:
    async with asked(root) as (app, pilot):
        await answered(app)
        browser = app.screen.browser
        await until(lambda: "▸conv2◂" in title(browser))
        await pilot.press("down")
        await until(lambda: browser._picture.layers[browser._picture.request.selection.layer] == "conv3")
        await pilot.press("l", "enter")
        await until(lambda: browser._picture.request.selection.zoomed)
        await pilot.press("escape", "escape", "escape")
        await until(lambda: app.screen is app.dashboard)
        assert app.dashboard.browser.selection.layer == 1


async def test_m_hides_and_shows_where_the_network_looked(root: Path, classifier: Classifier) -> None:
    async with asked(root) as (app, pilot):
        await answered(app)
        view = app.screen.browser.view.photograph
        await until(lambda: view.picture is not None)
        heated = view.picture.key
        await pilot.press("m")
        await until(lambda: view.picture.key != heated)
        await pilot.press("m")
        await until(lambda: view.picture.key == heated)


async def test_b_switches_between_the_best_and_the_last_checkpoint(root: Path, classifier: Classifier) -> None:
    async with asked(root) as (app, pilot):
        await until_said(app, "last.ckpt, epoch 3 of 5")
        await pilot.press("b")
        await until_said(app, "best.ckpt, epoch 3 of 5")
        await pilot.press("b")
        await until_said(app, "last.ckpt, epoch 3 of 5")
        assert classifier.choices == ["auto", "best", "last"]


async def test_a_file_that_cannot_be_classified_is_told_and_another_can_be_asked(
    root: Path, classifier: Classifier
) -> None:
    classifier.error = "ann.jpg: not an image [red]at all[/red]; give a JPEG"
    async with asked(root) as (app, pilot):
        await until_said(app, "ann.jpg: not an image [red]at all[/red]; give a JPEG")
        assert "Predicted" not in screen_text(app)
        classifier.error = ""
        await until(lambda: palette_of(app))  # open again, to be typed over
        assert palette_of(app).input.value == "classify ann.jpg"
        await type_text(pilot, "bert.jpg")
        await pilot.press("enter")
        await answered(app)
        assert [path.name for path, _ in classifier.asked] == ["ann.jpg", "bert.jpg"]
        classifier.error = "the classify process ended: no memory; try again"
        await pilot.press("c")
        await type_text(pilot, "carl.jpg")
        await pilot.press("enter")
        await until_said(app, "the classify process ended: no memory; try again")
        assert "Predicted" not in screen_text(app)


async def test_it_says_that_an_answer_is_on_its_way(root: Path, classifier: Classifier) -> None:
    classifier.held = asyncio.Event()
    async with asked(root) as (app, _):
        await until_said(app, "classifying; the first time takes some seconds")
        classifier.held.set()
        await answered(app)


@pytest.mark.parametrize("error", ["", "no such file"])
async def test_leaving_before_the_answer_is_there_does_no_harm(root: Path, classifier: Classifier, error: str) -> None:
    classifier.held = asyncio.Event()
    classifier.error = error
    async with asked(root) as (app, pilot):
        await until_said(app, "classifying")
        await pilot.press("escape")
        await until(lambda: app.screen is app.dashboard)
        await pilot.pause()
        classifier.held.set()
        await app.workers.wait_for_complete([worker for worker in app.workers if worker.group == "classify"])
        await pilot.pause()
        assert app.is_running
        await pilot.press("down")
        await until(lambda: app.dashboard.browser.selection.layer == 2)


async def test_leaving_while_the_path_is_looked_up_does_no_harm(
    root: Path, classifier: Classifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = threading.Event()
    monkeypatch.setattr("tui.screens.classify.typed_path", lambda *_: (found.wait(), root / "ann.jpg")[1])
    async with asked(root) as (app, pilot):
        await pilot.press("escape")
        found.set()
        await until(lambda: app.screen is app.dashboard)
        await pilot.pause(0.2)
        assert app.is_running
    assert app.return_code in (None, 0)


async def test_asking_again_before_the_answer_is_there_shows_the_newer_one(root: Path, classifier: Classifier) -> None:
    classifier.held = asyncio.Event()
    async with asked(root) as (app, pilot):
        await until_said(app, "classifying")
        await pilot.press("c")
        await type_text(pilot, "bert.jpg")
        await pilot.press("enter")
        await until(lambda: len(classifier.asked) == 2)
        classifier.held.set()
        await answered(app)
        assert "bert.jpg" in screen_text(app).splitlines()[0]


async def test_without_a_run_it_says_that_there_is_nothing_to_classify_with(root: Path, classifier: Classifier) -> None:
    async with running(root) as (app, pilot):
        await pilot.press("escape", "c")
        await type_text(pilot, "ann.jpg")
        await pilot.press("enter")
        await until_said(app, "classify: no run is open")
        assert classifier.asked == []


async def test_a_frame_that_is_gone_is_told(root: Path, classifier: Classifier) -> None:
    classifier.frame.unlink()
    async with asked(root) as (app, _):
        await until_said(app, "ann.safetensors does not exist")


async def test_names_with_markup_and_controls_do_no_harm(root: Path, classifier: Classifier) -> None:
    classifier.checkpoint = "[red]last[/red].ckpt\x1b[2J"
    async with asked(root, "ann.jpg") as (app, _pilot):
        await answered(app)
        screen = app.screen
        screen.show_answer(root / "[b]x[b]\x1b[2J.jpg", screen._answer)
        await until_said(app, "[b]x[b]\ufffd[2J.jpg")
        await until_said(app, "[red]last[/red]")
        assert "\x1b" not in screen_text(app)


@pytest.mark.parametrize("size", [LARGE, COMMON, SMALL], ids=str)
async def test_every_key_can_be_pressed_and_every_size_is_survived(
    root: Path, classifier: Classifier, size: tuple[int, int]
) -> None:
    async with asked(root, size=size) as (app, pilot):
        await until(lambda: app.screen.browser._picture is not None)
        for key in ("m", "up", "down", "h", "j", "k", "l", "enter", "g", "m", "question_mark", "f1"):
            await pilot.press(key)
            if not isinstance(app.screen, Classify):
                await pilot.press("escape")
        for other in (SMALL, (10, 3), LARGE, size):
            await pilot.resize_terminal(*other)
            await pilot.pause()
        assert isinstance(app.screen, Classify)
