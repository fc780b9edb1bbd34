"""The form for a new run: what is wrong is told as it is typed, and nothing wrong is started."""

from __future__ import annotations

import json
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import recorded
from piloting import COMMON, SMALL, WatchedApp, running, screen_text, type_text, until, until_said
from textual import events
from textual.pilot import Pilot
from textual.widgets import Input, Select, Static

from facegender.runs.config import FIELDS, TrainConfig, check_run_name
from facegender.runs.folder import RunFolder
from facegender.runs.presets import configure, default_of
from facegender.support.errors import UserError
from tui.host.processes import CommandOutput, Trainers
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
    """Replace the values of some fields."""
    for name, text in texts.items():
        field(app, name).value = text
    await pilot.pause()


def field(app: WatchedApp, name: str) -> Input | Select[str]:
    return app.screen.query_one(f"#field-{name}")


def note(app: WatchedApp, field: str) -> str:
    return str(app.screen.query_one(f"#note-{field}", Static).content)


async def test_the_form_starts_from_the_reference_recipe_where_no_run_is_open(root: Path, started: Started) -> None:
    async with form(root) as (app, pilot):
        await until_said(app, "starts from the reference recipe")
        await until_said(app, "ready: Ctrl+S starts the run")
        await pilot.press("ctrl+s")
        await until(lambda: started)
        assert started == [(TrainConfig(), "")]


async def test_the_form_starts_from_what_the_shown_run_was_trained_with(root: Path, started: Started) -> None:
    config = TrainConfig(
        demo=True, epochs=7, image_size=64, learning_rate=0.000123, widths=(4, 8, 16), workers=2, demo_faces=30
    )
    recorded.write_run(root, config=config)
    async with form(root) as (app, pilot):
        await until_said(app, "starts from what otter-3 was trained with")
        await pilot.press("ctrl+s")
        await until(lambda: started)
        assert started[0][0] == config


async def test_a_run_that_never_made_a_step_is_not_started_from(root: Path, started: Started) -> None:
    recorded.write_run(root, "older", created=100.0, config=TrainConfig(epochs=7))
    failed = TrainConfig(epochs=9, accelerator="gpu")
    recorded.write_run(root, "newer", created=200.0, epochs_done=0, end="failed", config=failed)
    async with form(root) as (app, _):
        await until_said(app, "starts from what older was trained with")
        assert field(app, "epochs").value == "7"
        assert field(app, "accelerator").value == "auto"


async def test_where_no_run_ever_made_a_step_it_starts_from_the_reference_recipe(root: Path, started: Started) -> None:
    recorded.write_run(root, epochs_done=0, end="failed", config=TrainConfig(epochs=9, accelerator="gpu"))
    async with form(root) as (app, _):
        await until_said(app, "starts from the reference recipe")
        assert field(app, "accelerator").value == "auto"


async def test_a_disk_that_does_not_answer_does_not_keep_the_form_from_opening(
    root: Path, started: Started, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorded.write_run(root)
    answers = threading.Event()
    monkeypatch.setattr("tui.app.trained_manifest", lambda *_: answers.wait())
    monkeypatch.setattr("tui.app.MANIFEST_LIMIT_S", 0.05)
    async with form(root) as (app, _):
        await until_said(app, "starts from the reference recipe")
    answers.set()


async def test_enter_moves_from_field_to_field_and_starts_nothing(root: Path, started: Started) -> None:
    async with form(root) as (app, pilot):
        for name in ("data", "recipe", "network", "image_size"):
            assert app.focused.id == f"field-{name}"
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
        keys = [*"demo", key, key, key, *"64", key, *"40", back, back, back, back, *"/x"]
        for each in keys:
            app.post_message(events.Key(each, each if len(each) == 1 else None))
        for name, text in {"data": "/x", "image_size": "64", "epochs": "40"}.items():
            entry = field(app, name)
            await until(lambda entry=entry, text=text: entry.value == text)


async def test_what_is_wrong_is_said_in_full_on_a_common_screen(root: Path, started: Started) -> None:
    async with form(root) as (app, pilot):
        await fill(app, pilot, name="a name that is far too long " * 3, gamma="2")
        with pytest.raises(UserError) as refused:
            check_run_name("a name that is far too long " * 3)
        for name, message in (
            ("gamma", "gamma: must be above 0 and at most 1, not 2"),
            ("name", f"run name: {refused.value}"),
        ):
            field(app, name).focus()
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
        size = field(app, "image_size")
        await until(lambda: size.value == str(default_of("image_size", "tuned")))
        assert "not used by tuned" in str(app.screen.query_one("#note-gamma", Static).content)
        await pilot.press("ctrl+s")
        await until(lambda: started)
    config, _ = started[0]
    assert config == configure({"recipe": "tuned", "epochs": 7})


async def test_changing_the_recipe_and_back_restores_its_defaults(root: Path, started: Started) -> None:
    async with form(root) as (app, pilot):
        await fill(app, pilot, recipe="tuned")
        await fill(app, pilot, recipe="reference")
        await pilot.press("ctrl+s")
        await until(lambda: started)
    assert started[0][0] == TrainConfig()


async def test_space_lists_the_recipes_and_enter_chooses_one(root: Path, started: Started) -> None:
    async with form(root) as (app, pilot):
        await pilot.press("down", "space")
        await until(lambda: field(app, "recipe").expanded)
        await pilot.press("down", "enter")
        await until(lambda: field(app, "recipe").value == "tuned")
        await pilot.press("enter")
        assert app.focused.id == "field-network"
        assert started == []


async def test_a_network_is_typed_completed_and_checked_with_its_image_size(root: Path, started: Started) -> None:
    async with form(root) as (app, pilot):
        await fill(app, pilot, data="demo", network="", image_size="64")
        field(app, "network").focus()
        await type_text(pilot, "vit_b_3")
        await until_said(app, "did you mean vit_b_32")
        while field(app, "network").value != "vit_b_32":  # the suggestion may come a moment later
            await pilot.press("right")
        await fill(app, pilot, image_size="100")
        await until(lambda: "with the network vit_b_32," in note(app, "image_size"))
        await fill(app, pilot, image_size="64")
        await pilot.press("ctrl+s")
        await until(lambda: started)
    config, _ = started[0]
    assert (config.network, config.image_size) == ("vit_b_32", 64)


async def test_a_start_key_pressed_twice_starts_one_run(root: Path, started: Started) -> None:
    async with form(root) as (app, pilot):
        await fill(app, pilot, data="demo")
        app.simulate_key("ctrl+s")
        app.simulate_key("ctrl+s")
        await until(lambda: app.screen is app.dashboard)
        await pilot.pause()
        assert len(started) == 1


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


async def test_the_focused_field_is_explained_in_full(root: Path, started: Started) -> None:
    recorded.write_run(root)
    async with form(root) as (app, _):
        app.screen.query_one("#field-patience").focus()
        await until_said(app, "patience: Stop after this many epochs without a better validation")


async def test_what_is_wrong_is_said_in_full_beside_the_field_too(root: Path, started: Started) -> None:
    async with form(root) as (app, pilot):
        await fill(app, pilot, learning_rate="11", data="nowhere")
        for name, message in (
            ("learning_rate", "must be above 0 and at most 10, not 11"),
            ("data", "there is no such folder"),
        ):
            widget = app.screen.query_one(f"#note-{name}", Static)

            def shown(widget: Static = widget) -> str:
                rows = screen_text(app).splitlines()[widget.region.y : widget.region.bottom]
                return " ".join(row[widget.region.x :].strip() for row in rows)

            await until(lambda message=message, shown=shown: message in shown())
        await fill(app, pilot, learning_rate="0.001")
        await until(lambda: app.screen.query_one("#note-learning_rate").region.height == 1)


async def test_a_value_is_checked_while_it_is_typed(root: Path, started: Started) -> None:
    async with form(root) as (app, pilot):
        field(app, "epochs").focus()
        await pilot.press("end", "backspace", "backspace")
        assert note(app, "epochs") == "must be a whole number"
        await pilot.press("3")
        assert note(app, "epochs") == "default 10: Ctrl+D"


async def test_a_start_that_fails_leads_to_the_first_wrong_field(root: Path, started: Started) -> None:
    async with form(root) as (app, pilot):
        await fill(app, pilot, data="demo", gamma="2", workers="-1")
        await pilot.press("ctrl+s")
        await until(lambda: app.focused.id == "field-gamma")
        assert started == []


async def test_settings_that_few_people_change_are_shown_when_asked_for_or_changed(
    root: Path, started: Started
) -> None:
    async with form(root) as (app, pilot):
        await until_said(app, "15 more settings at the default: Ctrl+N")
        assert not app.screen.query_one("#row-workers").display
        await fill(app, pilot, workers="2")
        assert app.screen.query_one("#row-workers").display
        assert not app.screen.query_one("#row-devices").display
        await pilot.press("ctrl+n")
        assert app.screen.query_one("#row-devices").display
        await pilot.press("ctrl+n")
        assert not app.screen.query_one("#row-devices").display


async def test_every_setting_of_the_command_line_is_in_the_form(root: Path, started: Started) -> None:
    async with form(root) as (app, _):
        fields = {(each.id or "").removeprefix("field-") for each in app.screen.query("Input, Select")}
        assert fields == set(FIELDS) - {"demo"} | {"name"}


async def test_a_changed_field_says_its_default_and_a_key_restores_it(root: Path, started: Started) -> None:
    async with form(root) as (app, pilot):
        await fill(app, pilot, recipe="tuned")
        await fill(app, pilot, epochs="7")
        assert note(app, "epochs") == f"default {default_of('epochs', 'tuned')}: Ctrl+D"
        field(app, "epochs").focus()
        await pilot.press("ctrl+d")
        assert field(app, "epochs").value == str(default_of("epochs", "tuned"))


async def test_worker_processes_are_refused_with_a_cache_that_they_cannot_read(root: Path, started: Started) -> None:
    async with form(root) as (app, pilot):
        await fill(app, pilot, workers="2", cache="memory")
        await until_said(app, "workers: cannot load from the cache memory")
        await pilot.press("ctrl+s")
        assert started == []


async def test_a_learning_rate_is_found_for_what_the_form_says_and_taken_into_it(
    root: Path, started: Started, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[str, ...]] = []

    async def run(*arguments: str, report: object) -> CommandOutput:
        asked.append(arguments)
        curve = {"learning_rates": [1e-5, 1e-3], "losses": [0.7, 0.6], "smoothed_losses": [0.7, 0.6]}
        return CommandOutput((json.dumps({"suggestion": 0.0021, "command": "x", **curve}),), "")

    monkeypatch.setattr("tui.screens.command.run_command", run)
    async with form(root) as (app, pilot):
        await fill(app, pilot, data="demo", batch_size="16")
        await pilot.press("ctrl+l")
        await until_said(app, "suggested")
        await pilot.press("enter")
        await until(lambda: isinstance(app.screen, NewRun))
        await until(lambda: field(app, "learning_rate").value == "0.0021")
        assert asked == [("find-lr", "--demo", "--batch-size=16", f"--root={root}", "--json")]


async def test_a_completed_run_is_trained_longer_with_what_may_change(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorded.write_run(root, end="completed", epochs_done=5, config=TrainConfig(demo=True, epochs=5, patience=3))
    spawned: list[list[str]] = []
    monkeypatch.setattr(Trainers, "_spawn", lambda self, folder, arguments: spawned.append(arguments))
    async with running(root) as (app, pilot):
        await pilot.press("i")
        await until_said(app, "train longer")
        while app.screen.details.line is None or app.screen.details.line.label != "train longer":
            await pilot.press("down")
        await pilot.press("enter")
        await until(lambda: isinstance(app.screen, NewRun) and app.screen.is_mounted)
        assert {(each.id or "").removeprefix("field-") for each in app.screen.query("Input, Select")} == {
            "epochs", "patience", "on_nan", "accelerator", "devices", "num_nodes", "strategy", "cache", "workers",
        }  # fmt: skip
        assert app.focused.id == "field-epochs"
        await pilot.press("ctrl+s")
        await until_said(app, "epochs: must be more than 5")
        await fill(app, pilot, epochs="9", patience="0")
        await pilot.press("ctrl+s")
        await until(lambda: spawned)
        assert spawned == [["--resume=otter-3", "--epochs=9", "--patience=0"]]


async def test_a_run_whose_photographs_were_moved_is_trained_longer_on_them(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (root / "moved").mkdir()
    recorded.write_run(root, end="completed", epochs_done=5, config=TrainConfig(data="/gone", epochs=5))
    spawned: list[list[str]] = []
    monkeypatch.setattr(Trainers, "_spawn", lambda self, folder, arguments: spawned.append(arguments))
    async with running(root) as (app, pilot):
        await pilot.press("T")
        await until(lambda: isinstance(app.screen, NewRun) and app.screen.is_mounted)
        await fill(app, pilot, epochs="6", data="demo")
        await until_said(app, "name their folder")
        await fill(app, pilot, data=str(root / "moved"))
        await until_said(app, "ready: Ctrl+S resumes the run")
        await pilot.press("ctrl+s")
        await until(lambda: spawned)
        assert spawned == [["--resume=otter-3", "--epochs=6", f"--data={root / 'moved'}"]]


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
        await until(lambda: field(app, "data").value == "faces-")
        await until_said(app, "faces-a/  faces-b/")
        await pilot.pause()
        assert "faces-a/  faces-b/" in screen_text(app)
        await pilot.press("b", "ctrl+t")
        await until(lambda: field(app, "data").value == "faces-b/")


async def test_a_completion_that_comes_late_overwrites_nothing_and_takes_no_keyboard(
    root: Path, started: Started, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = threading.Event()
    monkeypatch.setattr("tui.screens.new_run.complete_path", lambda *_, **__: (answers.wait(), ("faces-", "a  b"))[1])
    async with form(root) as (app, pilot):
        await type_text(pilot, "fa")
        await pilot.press("ctrl+t", "c", "tab")
        answers.set()
        await until(lambda: not app.screen.workers or all(worker.is_finished for worker in app.screen.workers))
        await pilot.pause()
        assert field(app, "data").value == "fac"
        assert app.focused.id == "field-recipe"


@pytest.mark.parametrize("size", [COMMON, SMALL], ids=str)
async def test_every_field_can_be_reached_and_is_seen_on_a_small_screen(
    root: Path, started: Started, size: tuple[int, int]
) -> None:
    async with form(root, size) as (app, pilot):
        await pilot.press("ctrl+n")
        fields = [each.id for each in app.screen.query("Input, Select")]
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
        assert field(app, "data").value == str(root / "faces")
        assert app.focused.id == "field-name"


async def test_a_demo_asked_for_on_the_command_line_starts_at_once(root: Path, started: Started) -> None:
    async with running(root, demo=True) as (app, _):
        await until(lambda: started)
        assert started[0][0].demo
        await until_said(app, "drawn-1  ◌ starting")


async def test_an_answer_that_comes_while_the_form_is_being_removed_checks_nothing(
    root: Path, started: Started, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = threading.Event()
    monkeypatch.setattr("tui.screens.new_run.list_runs", lambda root: (answers.wait(), [])[1])
    async with form(root) as (app, _):
        await app.screen.query(".row").remove()
        answers.set()
        await until(lambda: all(worker.is_finished for worker in app.workers))
        assert app.is_running
