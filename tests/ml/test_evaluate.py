"""``facegender evaluate`` and what its calibration does."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import msgspec
import numpy as np
import pytest
import torch
from PIL import Image
from torchmetrics.functional.classification import multiclass_accuracy

from facegender.__main__ import run
from facegender.classifier import load_classifier
from facegender.data.demo.faces import write_demo_faces
from facegender.data.image import open_image
from facegender.runs.events import EpochFinished
from facegender.runs.folder import RunFolder
from facegender.runs.photographs import Photographs, read_photographs, write_photographs
from facegender.runs.predictions import Predictions, write_predictions
from tests.ml.conftest import events_of

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def root(trained: Path, tmp_path: Path) -> Path:
    """A copy of the trained run that a test may change."""
    shutil.copytree(trained, tmp_path / "root")
    return tmp_path / "root"


@pytest.fixture
def faces(tmp_path: Path) -> Path:
    """A folder of six demo faces."""
    write_demo_faces(tmp_path / "faces", 3, 40, seed=5)
    return tmp_path / "faces"


def evaluated(capsys: Capture, *arguments: str | Path) -> dict[str, object]:
    capsys.readouterr()
    assert run(["evaluate", *map(str, arguments), "--json"]) == 0
    (line,) = capsys.readouterr().out.splitlines()
    answer: dict[str, object] = json.loads(line)
    return answer


def test_the_validation_photographs_of_a_run_give_the_figures_of_its_best_epoch(trained: Path, capsys: Capture) -> None:
    answer = evaluated(capsys, "done", "--root", trained)
    epochs = {event.epoch: event for event in events_of(trained, "done") if isinstance(event, EpochFinished)}
    best = epochs[answer["epoch"]]  # type: ignore[index] # an int
    assert best.best
    assert (answer["confusion"], answer["accuracy"]) == (best.confusion, pytest.approx(best.validation_accuracy))
    assert answer["negative_log_likelihood"] == pytest.approx(best.validation_loss, abs=1e-4)
    assert (answer["split"], answer["unreadable"]) == ("validation", [])
    training = evaluated(capsys, "--split", "train", "--root", trained)
    both = evaluated(capsys, "done", "--split", "all", "--root", trained)
    assert training["photographs"] + answer["photographs"] == both["photographs"] == 20  # type: ignore[operator]


def test_the_text_fits_a_terminal_and_says_what_was_measured(trained: Path, capsys: Capture) -> None:
    assert run(["evaluate", "done", "--root", str(trained)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("run done, best.ckpt, epoch ")
    assert lines[1] == "4 validation photographs of run done"
    assert max(map(len, lines)) <= 80
    assert lines[3].startswith("accuracy ")
    assert "95% interval" in lines[3]


def test_a_folder_of_labelled_photographs_is_evaluated_around_a_damaged_file(
    trained: Path, faces: Path, capsys: Capture
) -> None:
    (faces / "male" / "bad\x1b[2J.png").write_bytes(b"nothing")
    (faces / "male" / "Thumbs.db").write_bytes(b"nothing")
    table = faces.parent / "answers.csv"
    answer = evaluated(capsys, "done", "--data", faces, "--csv", table, "--root", trained)
    rows = list(csv.DictReader(table.open(encoding="utf-8")))
    classifier = load_classifier(RunFolder(trained, "done").best_checkpoint)
    assert answer["unreadable"] == [{"file": "male/bad\ufffd[2J.png", "reason": "not an image"}]
    assert [row["file"] for row in rows if row["problem"]] == ["male/bad\ufffd[2J.png"]
    answered = [row for row in rows if not row["problem"]]
    assert len(answered) == answer["photographs"] == 6
    for row in answered:
        expected = classifier.classify(open_image(faces / row["file"]))
        assert (row["label"], row["predicted"]) == (row["file"].split("/")[0], expected.label)
        assert float(row["male"]) == pytest.approx(expected.probabilities[1], abs=1e-5)
    right = np.mean([row["label"] == row["predicted"] for row in answered])
    assert answer["accuracy"] == pytest.approx(right)


def test_predictions_of_training_need_neither_checkpoint_nor_photographs(root: Path, capsys: Capture) -> None:
    folder = RunFolder(root, "done")
    predictions = made_up_predictions()
    write_predictions(folder.predictions_path(1), predictions)
    folder.best_checkpoint.unlink()
    answer = evaluated(capsys, "done", "--epoch", "2", "--root", root)
    expected = multiclass_accuracy(
        torch.from_numpy(predictions.logits), torch.from_numpy(predictions.labels), num_classes=2, average="micro"
    )
    assert answer["accuracy"] == pytest.approx(float(expected))
    assert (answer["recorded"], answer["epoch"]) == (True, 1)
    assert run(["evaluate", "done", "--epoch", "3000", "--root", str(root)]) == 2


def test_a_run_of_a_script_is_evaluated_by_what_it_recorded(root: Path, faces: Path, capsys: Capture) -> None:
    folder = RunFolder(root, "done")
    manifest = folder.read_manifest()
    assert manifest is not None
    folder.write_manifest(msgspec.structs.replace(manifest, script="mine.py"))
    for path in (folder.best_checkpoint, folder.last_checkpoint):
        path.unlink()
    write_predictions(folder.predictions_path(2), made_up_predictions())
    assert evaluated(capsys, "done", "--root", root)["recorded"] is True
    for option in (["--data", str(faces)], ["--calibrate"]):
        assert run(["evaluate", "done", *option, "--root", str(root)]) == 2
        assert "mine.py" in capsys.readouterr().err


def made_up_predictions() -> Predictions:
    random = np.random.default_rng(0)
    labels = np.arange(40) % 2
    logits = (random.normal(size=(40, 2)) + np.eye(2)[labels]).astype(np.float32)
    nothing = np.empty(0)
    return Predictions(
        epoch=1, classes=["female", "male"], logits=logits, labels=labels,
        margins=nothing.astype(np.float32), train_labels=nothing.astype(np.int64),
    )  # fmt: skip


@pytest.fixture
def on_files(tmp_path: Path) -> Path:
    """A root with a run, "run", on 120 files of noise, some of which it gets wrong."""
    random = np.random.default_rng(0)
    for label in ("female", "male"):
        (tmp_path / "data" / label).mkdir(parents=True)
        for number in range(60):
            grey = random.normal(120 if label == "female" else 150, 40, (32, 32, 3)).clip(0, 255)
            bias = random.normal(0, 30)
            Image.fromarray((grey + bias).clip(0, 255).astype(np.uint8)).save(
                tmp_path / "data" / label / f"{number}.png"
            )
    options = ["--image-size=32", "--widths=4,8,8", "--epochs=8", "--val-split=0.5", "--accelerator=cpu"]
    assert run(["train", "--data", str(tmp_path / "data"), "--run=run", *options, "--root", str(tmp_path)]) == 0
    return tmp_path


def test_a_calibration_lowers_the_loss_and_is_used_by_predict(on_files: Path, capsys: Capture) -> None:
    root = ["--root", str(on_files)]
    sharpen(RunFolder(on_files, "run").best_checkpoint)
    before = evaluated(capsys, "run", *root)
    assert before["temperature"] == 1
    assert run(["evaluate", "run", "--calibrate", *root]) == 0
    captured = capsys.readouterr()
    assert "calibrated (temperature" in captured.out
    assert "stored in calibration.json" in captured.out
    assert max(map(len, captured.out.splitlines())) <= 80
    after = evaluated(capsys, "run", *root)
    assert after["temperature"] != 1
    assert after["negative_log_likelihood"] < before["negative_log_likelihood"]  # type: ignore[operator]
    assert after["confusion"] == before["confusion"]
    assert after["uncalibrated"]["negative_log_likelihood"] == before["negative_log_likelihood"]  # type: ignore[index]
    assert run(["predict", str(on_files / "data" / "male" / "0.png"), *root]) == 0
    captured = capsys.readouterr()
    assert [line.partition(":")[0] for line in captured.out.splitlines()] == [
        "Predicted", "Confidence", "Probabilities",
    ]  # fmt: skip
    assert "calibrated (temperature" in captured.err


def sharpen(checkpoint: Path) -> None:
    """Make the logits of a network ten times as large, so that it is too sure of its answers."""
    content = torch.load(checkpoint, weights_only=True)
    *_, weight, bias = (tensor for name, tensor in content["state_dict"].items() if name.startswith("network."))
    for tensor in (weight, bias):
        tensor.mul_(10)
    torch.save(content, checkpoint)


def test_photographs_that_are_gone_moved_or_changed_are_said_to_be(on_files: Path, capsys: Capture) -> None:
    folder, root = RunFolder(on_files, "run"), ["--root", str(on_files)]
    before = evaluated(capsys, "run", *root)
    (on_files / "data").rename(on_files / "moved")
    for path in folder.visuals.glob("*_predictions.safetensors"):
        path.unlink()
    assert run(["evaluate", "run", *root]) == 2
    assert "are gone: no folder" in capsys.readouterr().err
    moved = evaluated(capsys, "run", "--data", on_files / "moved", "--split", "validation", *root)
    assert moved["confusion"] == before["confusion"]
    write_predictions(folder.predictions_path(0), made_up_predictions())
    assert run(["evaluate", "run", *root]) == 0
    assert "are the predictions recorded in training" in capsys.readouterr().err


def test_names_that_no_photograph_has_are_unreadable_photographs(root: Path, capsys: Capture) -> None:
    (validation := photographs_of(root).validation)[:3] = ["", ".", "female/nobody.jpg"]
    write_photographs(RunFolder(root, "done"), Photographs(validation, []))
    answer = evaluated(capsys, "done", "--root", root)
    assert answer["photographs"] == len(validation) - 3
    assert [one["file"] for one in answer["unreadable"]] == ["", ".", "female/nobody.jpg"]  # type: ignore[attr-defined]


def photographs_of(root: Path) -> Photographs:
    photographs = read_photographs(RunFolder(root, "done"))
    assert photographs is not None
    return photographs


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["done", "--calibrate", "--split=all"], "leave out"),
        (["done", "--recorded", "--data=/tmp"], "leave out"),
        (["none"], "no run none"),
        (["--data=/nonexistent"], "no such folder"),
        (["none.ckpt"], "no such file"),
        (["--recorded"], "need a run"),
    ],
)
def test_bad_input_to_evaluate_is_one_line_and_exit_code_2(
    trained: Path, capsys: Capture, arguments: list[str], problem: str
) -> None:
    assert run(["evaluate", *arguments, "--root", str(trained)]) == 2
    captured = capsys.readouterr()
    assert (captured.out, len(captured.err.splitlines())) == ("", 1)
    assert problem in captured.err
