"""Photographs are ranked by how the network saw them in all epochs."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from msgspec import structs
from typer.testing import CliRunner

from facegender.cli.app import app
from facegender.evaluation.suspects import epoch_weights, margins_of, rank_suspects
from facegender.runs.folder import RunFolder
from facegender.runs.photographs import Photographs, write_photographs
from facegender.runs.predictions import Predictions, read_predictions, write_predictions
from facegender.support.errors import UserError


def run_with(
    root: Path, epochs: list[tuple[Any, Any]], names: Photographs | None = None, classes: int = 2
) -> RunFolder:
    """A run whose epochs have logits of validation photographs and margins of training photographs; all female."""
    folder = RunFolder(root, "a")
    folder.path.mkdir(parents=True)
    folder.visuals.mkdir(parents=True)
    folder.log_path.touch()
    for epoch, (logits, margins) in enumerate(epochs):
        logits, margins = np.array(logits, np.float32).reshape(-1, classes), np.array(margins, np.float32)
        predictions = Predictions(
            epoch=epoch,
            classes=["female", "male", "else"][:classes],
            logits=logits,
            labels=np.zeros(len(logits), np.int64),
            margins=margins,
            train_labels=np.where(np.isnan(margins), -1, 0),
        )
        write_predictions(folder.predictions_path(epoch), predictions)
    if names is not None:
        write_photographs(folder, names)
    return folder


def test_a_margin_is_the_logit_of_the_label_minus_the_largest_other_one() -> None:
    logits = np.array([[1, 4, 3], [1, 4, 3], [1, 4, 3], [np.nan] * 3], np.float32)
    margins = margins_of(logits, np.array([1, 0, -1, 0]))
    np.testing.assert_array_equal(margins, np.array([1, -3, np.nan, np.nan], np.float32))


def test_an_epoch_counts_as_much_as_the_network_knew_in_it(tmp_path: Path) -> None:
    labels = np.array([0, 0, 1, 1])

    def epoch(right: int) -> Predictions:
        logits = np.eye(2, dtype=np.float32)[np.where(np.arange(4) < right, labels, 1 - labels)]
        empty = np.empty(0)
        return Predictions(
            epoch=0, classes=["a", "b"], logits=logits, labels=labels, margins=empty, train_labels=empty.astype(int)
        )

    assert epoch_weights([epoch(1), epoch(2), epoch(3), epoch(4)]).tolist() == [0, 0, 1 / 16, 1]
    assert epoch_weights([epoch(1), epoch(2)]).tolist() == [1, 1]


def test_the_lowest_mean_margin_of_its_part_comes_first_with_a_reason_in_words(tmp_path: Path) -> None:
    names = Photographs(validation=["female/v0.jpg", "female/v1.jpg"], train=["female/t0.jpg", "female/t1.jpg"])
    epochs = [([[3, 0], [0, 2]], [-9, 1]), ([[3, 0], [1, 0]], [-7, 1]), ([[3, 0], [0, 2]], [2, 1])]
    ranked = rank_suspects(run_with(tmp_path, epochs, names))
    assert [one.file for one in ranked] == ["female/t0.jpg", "female/v1.jpg", "female/t1.jpg", "female/v0.jpg"]
    assert [(one.label, one.predicted, one.contradicted) for one in ranked[:2]] == [("female", "male", 2)] * 2
    assert ranked[0].reason == "predicted male in 2 of 3 epochs, mean margin -4.7"
    assert [one.index for one in rank_suspects(RunFolder(tmp_path, "a"), ["validation"])] == [1, 0]


def test_parts_are_merged_by_the_share_that_ranks_before(tmp_path: Path) -> None:
    ranked = rank_suspects(run_with(tmp_path, [([[0, 1], [0, -1]], np.linspace(-100, 0, 8))]))
    assert [one.part for one in ranked] == 2 * ["train", "train", "validation", "train", "train"]


def test_only_epochs_in_which_a_photograph_was_seen_count(tmp_path: Path) -> None:
    nan = np.nan
    ranked = rank_suspects(run_with(tmp_path, [([[0, 1], [nan, nan]], [nan, nan]), ([[nan, nan]] * 2, [-2, nan])]))
    assert [(one.part, one.index, one.epochs, one.margin) for one in ranked] == [
        ("train", 0, 1, -2),
        ("validation", 0, 1, -1),
    ]


@pytest.mark.filterwarnings("error")
def test_a_margin_without_a_label_and_logits_that_overflow_do_not_count(tmp_path: Path) -> None:
    folder = run_with(tmp_path, [([[3e38, -3e38], [np.inf, np.inf], [0, 1]], [])])
    written = read_predictions(folder.predictions_path(0))
    unlabelled = {"margins": np.array([-1], np.float32), "train_labels": np.array([-1])}
    write_predictions(folder.predictions_path(0), structs.replace(written, **unlabelled))
    assert [(one.part, one.index) for one in rank_suspects(folder)] == [("validation", 2)]


def test_without_training_margins_and_names_the_validation_photographs_are_ranked(tmp_path: Path) -> None:
    (first, second) = rank_suspects(run_with(tmp_path, [([[5, 1, 0], [1, 2, 9]], [])], classes=3))
    assert (first.index, first.predicted, first.file) == (1, "else", "")
    assert second.reason == "not predicted as labelled in 0 of 1 epoch, mean margin 4.0"


def test_a_run_without_predictions_is_one_line(tmp_path: Path) -> None:
    folder = run_with(tmp_path, [])
    with pytest.raises(UserError, match="run a has no predictions: they are recorded when an epoch ends"):
        rank_suspects(folder)
    folder.predictions_path(0).write_bytes(b"damaged")
    with pytest.raises(UserError, match=r"run a: epoch_0_predictions.safetensors cannot be read"):
        rank_suspects(folder)


def test_the_command_prints_a_table_json_and_csv(tmp_path: Path) -> None:
    names = Photographs(validation=["female/\x1b[31m.jpg"], train=["female/t0.jpg", "female/t1.jpg"])
    run_with(tmp_path, [([[0, 1]], [-1, 1])], names)

    def command(*arguments: str) -> str:
        done = CliRunner().invoke(app, ["suspects", "a", f"--root={tmp_path}", *arguments])
        assert done.exit_code == 0, done.output
        return done.output

    table = command("--first=2")
    assert "female/t0.jpg" in table
    assert "1  train       female  male       1 of 1    -1.0" in table
    assert "female/t1.jpg" not in table
    assert "\x1b" not in command()
    lines = [json.loads(line) for line in command("--json", "--part=train").splitlines()]
    assert [(line["file"], line["margin"]) for line in lines] == [("female/t0.jpg", -1), ("female/t1.jpg", 1)]
    command(f"--csv={tmp_path / 'a.csv'}")
    with (tmp_path / "a.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["label"] for row in rows] == ["female"] * 3
    assert rows[0]["reason"] == "predicted male in 1 of 1 epoch, mean margin -1.0"


def test_a_csv_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    run_with(tmp_path, [([[0, 1]], [])])
    done = CliRunner().invoke(app, ["suspects", "a", f"--root={tmp_path}", f"--csv={tmp_path / 'no' / 'a.csv'}"])
    assert "cannot be written (No such file or directory); name another file" in str(done.exception)


def test_a_part_without_margins_is_one_line(tmp_path: Path) -> None:
    run_with(tmp_path, [([[0, 1]], [])])
    done = CliRunner().invoke(app, ["suspects", "a", f"--root={tmp_path}", "--part=train"])
    assert "run a has no margins of train photographs: try --part all" in str(done.exception)
