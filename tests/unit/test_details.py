"""The details of a run: what its manifest, journal and folders say, in lines that are safe and can be pasted."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest
import recorded
import typer
from msgspec import structs

from facegender.cli.app import app as command_line
from facegender.runs.config import TrainConfig
from facegender.runs.details import Detail, Section, read_details
from facegender.runs.events import CheckpointSaved, Notice, RequestDone, Status
from facegender.runs.folder import RunFolder, Skipped


def sections(folder: RunFolder) -> dict[str, Section]:
    return {section.title: section for section in read_details(folder).sections}


def line(section: Section, label: str) -> Detail:
    return next(line for line in section.lines if line.label == label)


def text(section: Section) -> str:
    return section.as_text()


@pytest.fixture
def stopped(root: Path) -> RunFolder:
    """A stopped run with a last checkpoint, a skipped file and a note."""
    skipped = [Skipped("female/broken.jpg", "not an image"), Skipped("male/\x1b[2J.jpg", "too small\x07")]
    config = TrainConfig(epochs=5, image_size=24, learning_rate=1e-4, data="/my photos")
    folder = recorded.write_run(root, end="stopped", config=config, skipped=skipped, data="/my photos")
    (folder.path / "last.ckpt").write_bytes(bytes(2048))
    folder.write_note("the good one")
    return folder


def test_the_first_section_says_what_the_run_is(stopped: RunFolder) -> None:
    run = sections(stopped)["Run"]
    assert line(run, "state").text == "stopped"
    assert line(run, "note").text == "the good one"
    assert line(run, "epochs").text == "3 of 5"
    assert line(run, "device").text == "CPU"


def test_settings_that_differ_from_the_defaults_are_marked_with_the_default(stopped: RunFolder) -> None:
    settings = sections(stopped)["Configuration"]
    assert line(settings, "--learning-rate") == Detail(
        label="--learning-rate", text="0.0001  (default 0.001)", kind="changed"
    )
    assert line(settings, "--batch-size").kind == ""


def test_what_a_recipe_ignores_is_not_marked_as_changed(root: Path) -> None:
    folder = recorded.write_run(root, config=TrainConfig(recipe="tuned", gamma=0.5))
    settings = sections(folder)["Configuration"]
    assert line(settings, "--gamma") == Detail(label="--gamma", text="0.5  not used", kind="dim")


def test_commands_can_be_pasted_with_every_option_that_differs_and_the_root(stopped: RunFolder) -> None:
    commands = sections(stopped)["Commands"]
    again = shlex.split(line(commands, "train again").copied)
    assert again[:2] == ["facegender", "train"]
    assert sorted(again[2:]) == sorted(
        ["--data=/my photos", "--epochs=5", "--image-size=24", "--learning-rate=0.0001", f"--root={stopped.root}"]
    )
    assert shlex.split(line(commands, "resume").copied)[:3] == ["facegender", "train", f"--resume={stopped.name}"]
    assert shlex.split(line(commands, "show it").copied)[:2] == ["facegender-tui", stopped.name]


@pytest.mark.parametrize("end", [None, "stopped", "completed"])
def test_the_command_line_understands_every_command(root: Path, end: Status | None) -> None:
    program = typer.main.get_command(command_line)
    folder = recorded.write_run(root, end=end, config=TrainConfig(demo=True, widths=(1, 2, 3), learning_rate=1e-4))
    lines = [line for line in sections(folder)["Commands"].lines if line.text.startswith("facegender ")]
    assert len(lines) > 5
    for line in lines:
        name, *arguments = shlex.split(line.copied)[1:]
        program.commands[name].make_context(name, arguments)


def test_a_completed_run_is_trained_longer_and_a_live_one_is_stopped(root: Path) -> None:
    completed = recorded.write_run(root, "done", end="completed")
    live = recorded.write_run(root, "live")
    assert "--epochs=10" in line(sections(completed)["Commands"], "train longer").copied
    assert line(sections(live)["Commands"], "stop").action == "stop"


def test_a_run_without_a_checkpoint_can_find_a_learning_rate_but_not_be_evaluated(root: Path) -> None:
    details = read_details(recorded.write_run(root, epochs_done=0, end="failed"))
    assert details.command("find-rate")
    assert details.command("evaluate") is None


def test_a_run_of_a_script_offers_no_command_that_would_be_refused(root: Path) -> None:
    folder = recorded.write_run(root, end="completed", script="mine.py")
    labels = {line.label for line in sections(folder)["Commands"].lines}
    assert labels == {"show it", "evaluate"}
    assert {line.label for line in sections(folder)["Configuration"].lines} == {
        "--epochs", "--visualize-every", "--probes",
    }  # fmt: skip


def test_figures_are_those_of_the_best_and_the_last_epoch_with_the_confusion_matrix(root: Path) -> None:
    folder = recorded.write_run(root, epochs_done=0)
    recorded.append(
        folder, recorded.epoch_finished(0, 0.9), recorded.epoch_finished(1, 0.7, confusion=[[7, 13], [0, 20]])
    )
    figures = text(sections(folder)["Figures"]).splitlines()
    assert figures[1].split() == ["best", "lowest", "loss", "last"]
    assert figures[2].split() == ["epoch", "1", "2", "2"]
    assert [row.split() for row in figures if row.startswith("accuracy")] == [["accuracy", "0.900", "0.700", "0.700"]]
    females = [row.split() for row in figures if row.startswith("female")]
    assert females == [
        ["female", "0.800", "0.900", "0.850", "20"], ["female", "18", "2"],
        ["female", "0.800", "0.900", "0.850", "20"], ["female", "7", "13"],
    ]  # fmt: skip


def test_tables_of_figures_fit_a_terminal_of_60_columns(root: Path) -> None:
    folder = recorded.write_run(root)
    tables = [line.text for line in sections(folder)["Figures"].lines if line.kind == "table"]
    assert tables
    assert max(map(len, tables)) <= 56


def test_a_damaged_journal_leaves_lines_out_and_raises_nothing(root: Path) -> None:
    folder = recorded.write_run(root, epochs_done=0)
    for number, damaged in enumerate(([[1], [2, 3, 4]], [[1, 2, 3]] * 3, [[]])):
        event = recorded.epoch_finished(
            number, seconds=float("-inf"), images_per_second=float("nan"), confusion=damaged
        )
        recorded.append(folder, event)
    found = sections(folder)
    assert "classes in epoch" not in text(found["Figures"])
    assert "trained for" not in text(found["Run"])


def test_of_many_classes_the_most_frequent_mistakes_are_listed(root: Path) -> None:
    folder = recorded.write_run(root, epochs_done=0)
    names = [f"class-{number}" for number in range(30)]
    confusion = [[5] * 30 for _ in names]
    confusion[3][7] = 99
    many = [0.5] * 30
    event = recorded.epoch_finished(0, classes=names, precision=many, recall=many, f1=many, confusion=confusion)
    recorded.append(folder, event)
    figures = text(sections(folder)["Figures"]).splitlines()
    mistakes = figures[figures.index("most frequent mistakes in epoch 1") + 1 :]
    assert mistakes[0].split() == ["class-3", "as", "class-7", "99"]
    assert len(mistakes) == 20


def test_checkpoints_have_their_path_size_and_epoch(stopped: RunFolder) -> None:
    last = line(sections(stopped)["Checkpoints"], "last.ckpt")
    assert last.copied == str(stopped.last_checkpoint)
    assert "epoch 3, step 15, 2 KiB" in last.text
    assert "epoch 3, step 15, 2 KiB" in text(sections(stopped)["Checkpoints"])


def test_a_checkpoint_that_the_journal_names_but_is_gone_is_told(root: Path) -> None:
    folder = recorded.write_run(root, end="stopped")
    recorded.append(folder, CheckpointSaved(time=2000.0, file="best.ckpt", epoch=1, step=10))
    assert line(sections(folder)["Checkpoints"], "best.ckpt") == Detail(
        label="best.ckpt", text="of epoch 2 is missing", kind="warning"
    )


def test_frames_are_counted_with_their_bytes(stopped: RunFolder) -> None:
    size = sum(path.stat().st_size for path in stopped.visuals.glob("*.safetensors"))
    frames = line(sections(stopped)["Files"], "frames").text
    assert frames.startswith("3 files")
    assert str(size) in frames.replace(" ", "")


def test_segments_requests_and_notices_are_listed_in_their_order(root: Path) -> None:
    folder = recorded.write_run(root)
    recorded.append(
        folder,
        Notice(time=3000.0, level="warning", text="resuming"),
        recorded.run_started(time=3001.0, resumed=True, start_epoch=3, start_step=15),
        RequestDone(time=3002.0, request="frame", done=False, outcome="too early"),
    )
    found = sections(folder)
    assert [line.label for line in found["Segments"].lines] == ["1", "2"]
    assert "resumed at epoch 4, step 16" in found["Segments"].lines[1].text
    log = [(line.text, line.kind) for line in found["Log"].lines]
    assert log[-2:] == [("resuming", "warning"), ("frame: too early", "warning")]


def test_the_planned_epochs_are_those_of_the_last_request(root: Path) -> None:
    folder = recorded.write_run(root)
    recorded.append(folder, RequestDone(time=3000.0, request="set", done=True, outcome="20 are planned", epochs=20))
    assert line(sections(folder)["Run"], "epochs").text == "3 of 20"


def test_skipped_files_have_their_reasons_and_cannot_control_a_terminal(stopped: RunFolder) -> None:
    skipped = sections(stopped)["Skipped files"].lines
    assert skipped[0].text == "female/broken.jpg  not an image"
    assert skipped[0].copied == "/my photos/female/broken.jpg"
    for each in skipped:
        assert each.text.isprintable()
        assert each.copied.isprintable()


def test_a_folder_without_manifest_or_journal_still_has_a_page(folder: RunFolder) -> None:
    folder.log_path.write_text("Traceback\n")
    found = read_details(folder)
    assert {section.title for section in found.sections} == {"Run", "Commands", "Files"}


def test_a_run_that_failed_says_why(root: Path) -> None:
    folder = recorded.write_run(root)
    recorded.append(folder, structs.replace(recorded.one_of_each()[-1], error="out of memory"))
    run = sections(folder)["Run"]
    assert line(run, "why") == Detail(label="why", text="out of memory", kind="error")
