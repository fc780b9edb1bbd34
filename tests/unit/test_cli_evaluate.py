"""``facegender evaluate`` and ``report`` from recorded predictions: without torch."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from facegender.__main__ import run
from facegender.runs.calibration import Calibration, read_calibration, write_calibration
from facegender.runs.folder import RunFolder
from facegender.runs.predictions import Predictions, write_predictions
from tests.recorded import write_run
from tests.unit.test_import_boundaries import HEAVY, loaded_by

Capture = pytest.CaptureFixture[str]


def recorded(root: Path, classes: list[str], count: int = 300) -> RunFolder:
    """A run that recorded predictions in its last epoch; one has no answer, one no label."""
    folder = write_run(root, "run", end="completed")
    random = np.random.default_rng(0)
    labels = random.integers(0, len(classes), count)
    logits = (random.normal(size=(count, len(classes))) + np.eye(len(classes))[labels]).astype(np.float32)
    logits[0], labels[1] = np.nan, -1
    write_predictions(
        folder.predictions_path(2),
        Predictions(
            epoch=2, classes=classes, logits=logits, labels=labels,
            margins=np.empty(0, np.float32), train_labels=np.empty(0, np.int64),
        ),
    )  # fmt: skip
    return folder


@pytest.mark.parametrize("count", [2, 5, 30])
def test_the_text_fits_a_terminal_for_any_number_of_classes(tmp_path: Path, capsys: Capture, count: int) -> None:
    recorded(tmp_path, [f"{'a long name of a class ' * (label % 3)}{label}" for label in range(count)])
    assert run(["evaluate", "run", "--recorded", "--root", str(tmp_path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 80
    assert lines[:2] == ["run run, epoch 3 of 5, recorded in training", "298 validation photographs of run run"]
    assert any(line.startswith("class, 20 worst") for line in lines) == (count == 30)


def test_every_photograph_is_a_line_of_the_csv_file(tmp_path: Path, capsys: Capture) -> None:
    recorded(tmp_path, ["cat", "dog", "fox"])
    table = tmp_path / "answers.csv"
    assert run(["evaluate", "run", "--recorded", "--csv", str(table), "--json", "--root", str(tmp_path)]) == 0
    answer = json.loads(capsys.readouterr().out)
    rows = list(csv.DictReader(table.open(encoding="utf-8")))
    assert (rows[0]["predicted"], rows[0]["cat"], rows[1]["label"]) == ("", "", "")
    assert len(rows) == answer["photographs"] + 2 == 300
    right = [row["label"] == row["predicted"] for row in rows[2:]]
    assert answer["accuracy"] == pytest.approx(np.mean(right))
    assert float(rows[5]["confidence"]) == max(float(rows[5][name]) for name in ("cat", "dog", "fox"))


def test_recorded_predictions_are_evaluated_and_reported_without_torch(tmp_path: Path) -> None:
    recorded(tmp_path, ["cat", "dog"])
    for arguments in (["evaluate", "run", "--recorded"], ["report", "run", "--output", str(tmp_path / "r.svg")]):
        loaded = loaded_by(
            f"from facegender.__main__ import run\nassert run({[*arguments, '--root', str(tmp_path)]}) == 0"
        )
        assert not loaded.intersection(set(HEAVY) - {"matplotlib"})
        assert ("matplotlib" in loaded) == (arguments[0] == "report")


def test_plots_are_saved_as_pictures(tmp_path: Path, capsys: Capture) -> None:
    recorded(tmp_path, ["cat", "dog", "fox"])
    plots = tmp_path / "plots"
    assert run(["evaluate", "run", "--recorded", "--plots", str(plots), "--root", str(tmp_path)]) == 0
    assert {path.name for path in plots.iterdir()} == {"confusion.png", "roc.png", "reliability.png"}
    (tmp_path / "file").touch()
    assert run(["evaluate", "run", "--recorded", "--plots", str(tmp_path / "file"), "--root", str(tmp_path)]) == 2
    assert "name a folder to write in" in capsys.readouterr().err


def test_a_calibration_is_that_of_one_checkpoint(tmp_path: Path) -> None:
    checkpoint = tmp_path / "best.ckpt"
    assert read_calibration(checkpoint, 2, 15) is None
    calibration = Calibration(temperature=1.5, epoch=2, step=15, photographs=400)
    write_calibration(checkpoint, calibration)
    assert read_calibration(checkpoint, 2, 15) == calibration
    assert read_calibration(checkpoint, 3, 15) is None
    assert read_calibration(checkpoint, 2, 16) is None
    absurd = (f'{{"temperature": {t}, "epoch": 2, "step": 15, "photographs": 1}}'.encode() for t in (0, 1e-300, 1e300))
    for damaged in (b"", b"{}", b"[" * 10_000, *absurd):
        (tmp_path / "calibration.json").write_bytes(damaged)
        assert read_calibration(checkpoint, 2, 15) is None
