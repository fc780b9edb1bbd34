"""`facegender find-lr`: what it suggests, and that nothing of it stays."""

from __future__ import annotations

import json
import math
import os
import re
import shlex
import signal
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from facegender.__main__ import run
from facegender.data.datamodule import FaceDataModule
from facegender.data.dataset import CLASSES
from facegender.data.demo.faces import write_demo_faces
from facegender.network.module import FaceGenderModule
from facegender.runs.folder import RunFolder
from facegender.support import progress
from facegender.training import lr_finder
from facegender.training.hardware import choose_hardware
from facegender.training.lr_finder import LossCollector, measure_curve
from tests.ml.conftest import tiny

Capture = pytest.CaptureFixture[str]
OPTIONS = ["--demo-faces=40", "--image-size=32", "--widths=4,8,8", "--batch-size=16", "--accelerator=cpu"]
DEMO = ["--demo", *OPTIONS]


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder for temporary files."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


@pytest.fixture(autouse=True)
def _silent(monkeypatch: pytest.MonkeyPatch) -> None:
    """No word of progress, which only a busy machine would have."""
    monkeypatch.setattr(progress, "SENTENCE_EVERY_S", math.inf)


@pytest.fixture
def empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The root and current folder."""
    folder = tmp_path / "root"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


def left_in(*folders: Path) -> list[Path]:
    return [path for folder in folders for path in folder.rglob("*")]


def test_find_lr_suggests_a_learning_rate_and_the_command_that_trains_with_it(
    empty: Path, temporary: Path, capsys: Capture
) -> None:
    assert run(["find-lr", *DEMO]) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    *table, suggestion, command = captured.out.splitlines()
    assert table[0].split() == ["learning", "rate", "loss"]
    rate = suggestion.removeprefix("suggested learning rate: ")
    assert 1e-5 < float(rate) < 1
    arguments = shlex.split(command.removeprefix("train with it: "))
    assert arguments[:2] == ["facegender", "train"]
    assert arguments[-1] == f"--learning-rate={rate}"
    assert set(DEMO) <= set(arguments)
    assert left_in(empty, temporary) == []
    assert run([*arguments[1:], "--epochs=1", "--visualize-every=0", "--run=a"]) == 0
    manifest = RunFolder(empty, "a").read_manifest()
    assert manifest is not None
    assert manifest.config.learning_rate == float(rate)


def test_find_lr_prints_the_curve_as_one_json_object(empty: Path, capsys: Capture) -> None:
    assert run(["find-lr", *DEMO, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert len(found["learning_rates"]) == len(found["losses"]) == len(found["smoothed_losses"]) > 50
    assert found["command"].endswith(f"--learning-rate={found['suggestion']:g}")


def test_find_lr_tells_how_far_it_is_where_no_terminal_has_a_bar(
    empty: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "SENTENCE_EVERY_S", 0.0)
    assert run(["find-lr", *DEMO, "--batches=30"]) in (0, 1)
    assert "trying learning rates: 7 of 30" in capsys.readouterr().err


def test_find_lr_works_for_the_tuned_recipe_and_for_photographs(empty: Path, temporary: Path, capsys: Capture) -> None:
    folder = empty.parent / "some faces"
    write_demo_faces(folder, 40, 32, 1)
    (empty / "run.toml").write_text('demo = true\nrecipe = "tuned"\nepochs = 2\n')
    arguments = ["--data", str(folder), "--config=run.toml", *OPTIONS[1:], "--widths=8,16,16"]
    plot = empty.parent / "curve.svg"
    assert run(["find-lr", *arguments, "--root=.", "--plot", str(plot)]) == 0
    command = shlex.split(capsys.readouterr().out.splitlines()[-1])
    assert "<svg" in plot.read_text(encoding="utf-8")
    assert f"--data={folder}" in command
    assert "--config=run.toml" in command
    assert [path.name for path in left_in(empty, temporary)] == ["run.toml"]


def test_the_same_seed_suggests_the_same(empty: Path, capsys: Capture) -> None:
    tables = []
    for seed in (3, 3, 4):
        run(["find-lr", *DEMO, f"--seed={seed}", "--batches=30"])
        tables.append(capsys.readouterr().out.splitlines()[:-1])
    assert tables[0] == tables[1] != tables[2]


@pytest.mark.parametrize("recipe", ["reference", "tuned"])
def test_the_weights_are_restored_afterwards(recipe: Any, tmp_path: Path, temporary: Path) -> None:
    config = tiny(recipe=recipe, devices="1")
    data = FaceDataModule(config, tmp_path)
    data.prepare()
    module = LossCollector(config, CLASSES, data.train_images)
    before = {name: value.clone() for name, value in module.state_dict().items()}
    curve = measure_curve(module, data, 20, choose_hardware(config))
    assert len(curve.losses) == len(module.losses) > 5
    assert len(set(curve.losses.tolist())) > 1
    after = module.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert module.ema is None or module.ema.count == 0
    assert left_in(temporary) == []


def test_nothing_is_validated(empty: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def validation_step(*arguments: object) -> None:
        raise AssertionError("validated")

    monkeypatch.setattr(FaceGenderModule, "validation_step", validation_step)
    assert run(["find-lr", *DEMO, "--batches=60"]) == 0


def test_a_loss_that_does_not_fall_is_one_line_and_exit_code_1(
    empty: Path, temporary: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lr_finder, "MIN_RATE", 1e-12)
    monkeypatch.setattr(lr_finder, "MAX_RATE", 1e-9)
    assert run(["find-lr", *DEMO, "--batches=20"]) == 1
    captured = capsys.readouterr()
    assert captured.out.startswith("learning rate     loss")  # to see why
    assert "suggested" not in captured.out
    (line,) = captured.err.splitlines()
    assert line.startswith("facegender: no learning rate to suggest: the loss did not clearly fall")
    assert left_in(empty, temporary) == []


def test_a_loss_that_is_not_finite_is_one_line_and_exit_code_1(
    empty: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = FaceGenderModule.training_step

    def training_step(self: FaceGenderModule, *arguments: Any) -> dict[str, torch.Tensor]:
        result = original(self, *arguments)
        return {**result, "loss": result["loss"] * math.nan}

    monkeypatch.setattr(FaceGenderModule, "training_step", training_step)
    assert run(["find-lr", *DEMO, "--batches=20"]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert "the loss was finite for only 0 batches" in line


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["--data=none"], "--data none: no such folder"),
        (["--demo", "--precision=16", "--accelerator=cpu"], "--precision 16 needs an NVIDIA GPU"),
        ([*DEMO, "--accelerator=mps"], "--accelerator mps"),
        (["--demo", "--batches=19"], "--batches"),
        (["--demo", "--learning-rate=1"], "--learning-rate"),
        (["--demo", "--data=x"], "exclude each other"),
        (["--demo", "--batch-size=0"], "--batch-size must be between"),
        (["--demo", "--root=none"], "--root none is not a folder"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(
    arguments: list[str], problem: str, empty: Path, temporary: Path, capsys: Capture
) -> None:
    assert run(["find-lr", *arguments]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    (line,) = captured.err.splitlines()
    assert problem in line
    assert left_in(empty, temporary) == []


def test_several_processes_are_one_line_and_exit_code_2(
    empty: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert run(["find-lr", *DEMO]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.endswith("start it without torchrun")


def test_a_long_preparation_reports_progress(empty: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "SENTENCE_EVERY_S", 0.0)
    assert run(["find-lr", "--demo", "--demo-faces=12", *OPTIONS[1:], "--seed=77"]) in (0, 1)
    assert re.search(r"facegender: decoding photographs: \d+ of 24, \d+ s left\n", capsys.readouterr().err)


def test_too_few_photographs_are_one_line_and_exit_code_2(empty: Path, capsys: Capture) -> None:
    folder = empty.parent / "faces"
    write_demo_faces(folder, 2, 32, 1)
    next((folder / "male").iterdir()).unlink()
    assert run(["find-lr", "--data", str(folder), *OPTIONS[1:]]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "too few different male photographs" in line


def test_photographs_that_would_be_seen_too_often_are_one_line_and_exit_code_2(empty: Path, capsys: Capture) -> None:
    assert run(["find-lr", "--demo", *OPTIONS[1:], "--demo-faces=10", "--batch-size=32"]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    (line,) = captured.err.splitlines()
    assert "16 photographs to train on are too few for 100 batches of 32, as each would be seen 100 times" in line


def test_out_of_memory_says_which_options_to_lower(
    empty: Path, temporary: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def training_step(*arguments: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")

    monkeypatch.setattr(FaceGenderModule, "training_step", training_step)
    assert run(["find-lr", *DEMO]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line == "facegender: out of memory: lower --batch-size or --image-size"
    assert left_in(empty, temporary) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_find_lr_and_leaves_no_files(
    number: signal.Signals,
    empty: Path,
    temporary: Path,
    capsys: Capture,
    at_step: Callable[[int, Callable[[], None]], None],
) -> None:
    before = signal.getsignal(number)
    at_step(3, lambda: os.kill(os.getpid(), number))
    assert run(["find-lr", *DEMO]) == 130
    assert capsys.readouterr().err == ""
    assert left_in(empty, temporary) == []
    assert signal.getsignal(number) == before
