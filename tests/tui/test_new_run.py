"""The form for a new run: what is wrong is told as it is typed, and nothing wrong is started."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import recorded
from piloting import COMMON, SMALL, WatchedApp, running, screen_text, type_text, until, until_said
from textual import events
from textual.pilot import Pilot
from textual.widgets import Input, Static

from facegender.runs.config import TrainConfig, check_run_name
from facegender.runs.folder import RunFolder
from facegender.runs.presets import configure, default_of
from facegender.support.errors import UserError
from tui.host.processes import Trainers
from tui.screens.new_run import NewRun

Started = list[tuple[TrainConfig, str | None]]


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> Started:
    """What would have been trained; the trainer's place is taken by a folder with a log."""
    calls: Started = []

    def start(self: Trainers, root: Path, config: TrainConfig, name: str | None = None) -> RunFolder:
        calls.append((config, name))
        folder = RunFolder(root, name or f"drawn-{len(calls)}")
        folder.path.mkdir(parents=True)
        folder.log_path.touch()
        return folder

    monkeypatch.setattr(Trainers, "start", start)
    return calls


@asynccontextmanager
async def form(root: Path, size: tuple[int, int] = COMMON) -> AsyncIterator[tuple[WatchedApp, Pilot[None]]]:
    """The form, opened with t, where photographs would be found."""
    (root / "datasets").mkdir(exist_ok=True)
    async with running(root, size) as (app, pilot):
        if app.screen is not app.dashboard:
            await pilot.press("escape")
        await pilot.press("t")
        await until(lambda: isinstance(app.screen, NewRun) and app.screen.is_mounted)
        await pilot.pause()
        yield app, pilot


async def fill(app: WatchedApp, pilot: Pilot[None], **texts: str) -> None:
    """Replace what stands in some fields."""
    for field, text in texts.items():
        app.screen.query_one(f"#field-{field}", Input).value = text
    await pilot.pause()


def note(app: WatchedApp, field: str) -> str:
    return str(app.screen.query_one(f"#note-{field}", Static).content)


async def test_the_form_begins_with_the_reference_recipe_where_no_run_is_open(root: Path, started: Started) -> None:
    async with form(root) as (app, pilot):
        await until_said(app, "begins with the reference recipe")
        await until_said(app, "ready: Ctrl+S starts the run")
        await pilot.press("ctrl+s")
        await until(lambda: started)
        assert started == [(TrainConfig(), "")]


async def test_the_form_begins_with_what_the_shown_run_was_trained_with(root: Path, started: Started) -> None:
    config = TrainConfig(
        demo=True, epochs=7, image_size=64, learning_rate=0.000123, widths=(4, 8, 16), workers=2, demo_faces=30
    )
    recorded.write_run(root, config=config)
    async with form(root) as (app, pilot):
        await until_said(app, "begins with what otter-3 was trained with")
        await pilot.press("ctrl+s")
        await until(lambda: started)
        assert started[0][0] == config


async def test_a_run_that_never_made_a_step_is_not_begun_from(root: Path, started: Started) -> None:
    recorded.write_run(root, "older", created=100.0, config=TrainConfig(epochs=7))
    failed = TrainConfig(epochs=9, accelerator="gpu")
    recorded.write_run(root, "newer", created=200.0, epochs_done=0, end="failed", config=failed)
    async with form(root) as (app, _):
        await until_said(app, "begins with what older was trained with")
        assert app.screen.query_one("#field-epochs", Input).value == "7"
        assert app.screen.query_one("#field-accelerator", Input).value == "auto"


async def test_where_no_run_ever_made_a_step_it_begins_with_the_reference_recipe(root: Path, started: Started) -> None:
    recorded.write_run(root, epochs_done=0, end="failed", config=TrainConfig(epochs=9, accelerator="gpu"))
    async with form(root) as (app, _):
        await until_said(app, "begins with the reference recipe")
        assert app.screen.query_one("#field-accelerator", Input).value == "auto"


async def test_a_disk_that_does_not_answer_does_not_keep_the_form_from_opening(
    root: Path, started: Started, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorded.write_run(root)
    answers = threading.Event()
    monkeypatch.setattr("tui.app.trained_manifest", lambda *_: answers.wait())
    monkeypatch.setattr("tui.app.LOOK_S", 0.05)
    async with form(root) as (app, _):
        await until_said(app, "begins with the reference recipe")
    answers.set()


async def test_enter_moves_from_field_to_field_and_starts_nothing(root: Path, started: Started) -> None:
    async with form(root) as (app, pilot):
        for field in ("data", "recipe", "image_size"):
            assert app.focused.id == f"field-{field}"
            await pilot.press("enter")
        for _ in range(30):
            await pilot.press("enter")
        assert isinstance(app.screen, NewRun)
        assert started == []


@pytest.mark.parametrize("key", ["tab", "down", "enter"])
async def test_keys_typed_in_one_go_reach_the_fields_they_were_meant_for(
    root: Path, started: Started, key: str
) -> None:
    async with form(root) as (app, _):
        back = {"tab": "shift+tab"}.get(key, "up")
        keys = [*"demo", key, key, *"64", key, *"40", back, back, *"tuned"]
        for each in keys:
            app.post_message(events.Key(each, each if len(each) == 1 else None))
        texts = {"data": "demo", "image_size": "64", "epochs": "40", "recipe": "tuned"}
        for field, text in texts.items():
            entry = app.screen.query_one(f"#field-{field}", Input)
            await until(lambda entry=entry, text=text: entry.value == text)


async def test_what_is_wrong_is_said_in_full_on_a_common_screen(root: Path, started: Started) -> None:
    async with form(root) as (app, pilot):
        await fill(app, pilot, name="a name that is far too long " * 3, accelerator="abacus")
        with pytest.raises(UserError) as refused:
            check_run_name("a name that is far too long " * 3)
        for field, message in (
            ("accelerator", "accelerator: must be one of auto, cpu, gpu, cuda, mps"),
            ("name", f"run name: {refused.value}"),
        ):
            app.screen.query_one(f"#field-{field}", Input).focus()
            wanted = "".join(f"2 fields need fixing; {message}".split())
            await until(lambda wanted=wanted: wanted in "".join(screen_text(app).split()))


async def test_what_is_typed_is_what_is_started(root: Path, started: Started) -> None:
    (root / "faces").mkdir()
    async with form(root) as (app, pilot):
        assert app.focused.id == "field-data"
        await type_text(pilot, "faces")
        await pilot.press("up")
        assert app.focused.id == "field-name"
        await type_text(pilot, "heron-7")
        await fill(app, pilot, epochs="3", image_size="32", learning_rate="1e-4", precision="bf16", accelerator="cpu")
        await pilot.press("ctrl+s")
        await until(lambda: started)
        config, name = started[0]
        assert name == "heron-7"
        assert config == TrainConfig(
            data=str(root / "faces"), epochs=3, image_size=32, learning_rate=1e-4, precision="bf16", accelerator="cpu"
        )
        await until(lambda: app.screen is app.dashboard)
        await until_said(app, "heron-7  ◌ starting")


async def test_another_recipe_changes_what_stood_at_the_defaults_of_the_first(root: Path, started: Started) -> None:
    async with form(root) as (app, pilot):
        await fill(app, pilot, epochs="7")
        await fill(app, pilot, recipe="tuned")
        size = app.screen.query_one("#field-image_size", Input)
        await until(lambda: size.value == str(default_of("image_size", "tuned")))
        assert "not used by tuned" in str(app.screen.query_one("#note-gamma", Static).content)
        await pilot.press("ctrl+s")
        await until(lambda: started)
    config, _ = started[0]
    assert config == configure({"recipe": "tuned", "epochs": 7})


async def test_half_a_recipe_changes_nothing_and_the_way_back_is_open(root: Path, started: Started) -> None:
    async with form(root) as (app, pilot):
        await fill(app, pilot, recipe="tune")
        assert app.screen.query_one("#field-image_size", Input).value == "512"
        await until_said(app, "must be one of reference, tuned")
        await fill(app, pilot, recipe="tuned")
        await fill(app, pilot, recipe="reference")
        await pilot.press("ctrl+s")
        await until(lambda: started)
    assert started[0][0] == TrainConfig()


async def test_demo_is_the_word_for_drawn_faces(root: Path, started: Started) -> None:
    async with form(root) as (_app, pilot):
        await type_text(pilot, "demo")
        await pilot.press("ctrl+s")
        await until(lambda: started)
        assert started[0][0] == TrainConfig(demo=True)


@pytest.mark.parametrize(
    ("field", "text", "said"),
    [
        ("epochs", "many", "must be a whole number"),
        ("epochs", "", "must be a whole number"),
        ("epochs", "0", "must be between 1 and 100000, not 0"),
        ("batch_size", "-4", "must be between 1 and 65536, not -4"),
        ("learning_rate", "nan", "must be above 0 and at most 10, not nan"),
        ("gamma", "2", "must be above 0 and at most 1, not 2"),
        ("val_split", "1", "must be between 0 and 1, not 1"),
        ("precision", "8", "must be one of auto, 32, bf16, 16"),
        ("accelerator", "abacus", "must be one of auto, cpu, gpu, cuda, mps"),
        ("data", "nowhere", "there is no such folder"),
        ("data", "~nobody-of-that-name", "there is no such folder"),
        ("data", "x" * 5000, "there is no such folder"),
        ("name", "../x", "run name '../x'"),
        ("name", "otter-3", "a run of that name exists"),
        ("seed", "[bold]1[/bold]", "must be a whole number"),
    ],
)
async def test_a_wrong_value_is_told_beside_its_field_and_nothing_starts(
    root: Path, started: Started, field: str, text: str, said: str
) -> None:
    recorded.write_run(root)
    async with form(root) as (app, pilot):
        await fill(app, pilot, **{field: text})
        assert note(app, field).startswith(said)
        await until_said(app, "1 field needs fixing")
        await pilot.press("ctrl+s")
        assert isinstance(app.screen, NewRun)
        assert started == []
        default = (
            {"name": "", "data": ""}.get(field) if field in ("name", "data") else str(getattr(TrainConfig(), field))
        )
        await fill(app, pilot, **{field: default})
        await until_said(app, "ready: Ctrl+S starts the run")
        assert not note(app, field).startswith(said)


async def test_what_is_wrong_is_said_in_full_beside_the_field_too(root: Path, started: Started) -> None:
    async with form(root) as (app, pilot):
        await fill(app, pilot, recipe="re", data="nowhere", accelerator="abacus")
        for field, message in (
            ("recipe", "must be one of reference, tuned"),
            ("data", "there is no such folder"),
            ("accelerator", "must be one of auto, cpu, gpu, cuda, mps"),
        ):
            place = app.screen.query_one(f"#note-{field}", Static)

            def said(place: Static = place) -> str:
                rows = screen_text(app).splitlines()[place.region.y : place.region.bottom]
                return " ".join(row[place.region.x :].strip() for row in rows)

            await until(lambda message=message, said=said: message in said())
        await fill(app, pilot, recipe="reference")
        await until(lambda: app.screen.query_one("#note-recipe").region.height == 1)


async def test_a_value_is_judged_while_it_is_typed(root: Path, started: Started) -> None:
    async with form(root) as (app, pilot):
        app.screen.query_one("#field-epochs", Input).focus()
        await pilot.press("end", "backspace", "backspace")
        assert note(app, "epochs") == "must be a whole number"
        await pilot.press("3")
        assert note(app, "epochs") == ""


async def test_several_wrong_values_are_counted(root: Path, started: Started) -> None:
    async with form(root) as (app, pilot):
        await fill(app, pilot, epochs="x", seed="y", gamma="z")
        await until_said(app, "3 fields need fixing")


async def test_a_name_that_is_taken_meanwhile_is_told_and_nothing_breaks(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(self: Trainers, *_: object) -> RunFolder:
        raise UserError("run heron-7 exists already: choose another --run, or --resume heron-7")

    monkeypatch.setattr(Trainers, "start", refuse)
    async with form(root) as (app, pilot):
        await fill(app, pilot, name="heron-7", data="demo")
        await pilot.press("ctrl+s")
        await until(lambda: any("heron-7 exists already" in text for text in app.told))
        assert app.is_running


async def test_escape_leaves_without_a_run(root: Path, started: Started) -> None:
    async with form(root) as (app, pilot):
        await type_text(pilot, "demo")
        await pilot.press("escape")
        await until(lambda: app.screen is app.dashboard)
        assert started == []


async def test_the_path_of_the_data_is_completed(root: Path, started: Started) -> None:
    for name in ("faces-a", "faces-b"):
        (root / name).mkdir()
    async with form(root) as (app, pilot):
        await type_text(pilot, "fa")
        await pilot.press("ctrl+t")
        await until(lambda: app.screen.query_one("#field-data", Input).value == "faces-")
        await until_said(app, "faces-a/  faces-b/")
        await pilot.pause()
        assert "faces-a/  faces-b/" in screen_text(app)
        await pilot.press("b", "ctrl+t")
        await until(lambda: app.screen.query_one("#field-data", Input).value == "faces-b/")


async def test_a_completion_that_comes_late_overwrites_nothing_and_takes_no_keyboard(
    root: Path, started: Started, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = threading.Event()
    monkeypatch.setattr("tui.screens.new_run.complete_path", lambda *_: (answers.wait(), ("faces-", "a  b"))[1])
    async with form(root) as (app, pilot):
        await type_text(pilot, "fa")
        await pilot.press("ctrl+t", "c", "tab")
        answers.set()
        await until(lambda: not app.screen.workers or all(worker.is_finished for worker in app.screen.workers))
        await pilot.pause()
        assert app.screen.query_one("#field-data", Input).value == "fac"
        assert app.focused.id == "field-recipe"


@pytest.mark.parametrize("size", [COMMON, SMALL], ids=str)
async def test_every_field_can_be_reached_and_is_seen_on_a_small_screen(
    root: Path, started: Started, size: tuple[int, int]
) -> None:
    async with form(root, size) as (app, pilot):
        fields = [field.id for field in app.screen.query(Input)]
        visited = []
        for _ in fields:
            await pilot.press("down")
            await until(lambda: app.focused.region in app.screen.region and app.focused.is_on_screen)
            visited.append(app.focused.id)
        assert sorted(visited) == sorted(fields)


async def test_data_given_on_the_command_line_stands_in_the_form(root: Path, started: Started) -> None:
    (root / "faces").mkdir()
    async with running(root, data=str(root / "faces")) as (app, _):
        await until(lambda: isinstance(app.screen, NewRun) and app.screen.is_mounted)
        assert app.screen.query_one("#field-data", Input).value == str(root / "faces")
        assert app.focused.id == "field-name"


async def test_a_demo_asked_for_on_the_command_line_starts_at_once(root: Path, started: Started) -> None:
    async with running(root, demo=True) as (app, _):
        await until(lambda: started)
        assert started[0][0].demo
        await until_said(app, "drawn-1  ◌ starting")
