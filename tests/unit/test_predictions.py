"""The file of an epoch's predictions."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from msgspec import structs
from safetensors.numpy import save

from facegender.runs.folder import RunFolder
from facegender.runs.predictions import (
    MAX_CLASSES,
    Predictions,
    PredictionsUnreadable,
    read_predictions,
    write_predictions,
)


def predictions(validation: int = 5, train: int = 7) -> Predictions:
    random = np.random.default_rng(0)
    return Predictions(
        epoch=2,
        classes=["female", "male"],
        logits=random.normal(size=(validation, 2)).astype(np.float32),
        labels=random.integers(0, 2, validation),
        margins=random.normal(size=train).astype(np.float32),
        train_labels=random.integers(0, 2, train),
    )


@pytest.mark.parametrize(("validation", "train"), [(5, 7), (5, 0), (0, 0)])
def test_predictions_are_read_as_they_were_written(tmp_path: Path, validation: int, train: int) -> None:
    written = predictions(validation, train)
    write_predictions(tmp_path / "a.safetensors", written)
    read = read_predictions(tmp_path / "a.safetensors")
    for name, value in structs.asdict(written).items():
        np.testing.assert_array_equal(getattr(read, name), value)


def test_a_file_that_is_missing_damaged_or_does_not_fit_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    with pytest.raises(PredictionsUnreadable, match="No such file"):
        read_predictions(path)
    write_predictions(path, predictions())
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(PredictionsUnreadable, match="is truncated"):
        read_predictions(path)
    write_predictions(path, structs.replace(predictions(), labels=np.zeros(3, np.int64)))
    with pytest.raises(PredictionsUnreadable, match="another type or shape"):
        read_predictions(path)
    write_predictions(path, structs.replace(predictions(), labels=np.full(5, 9)))
    with pytest.raises(PredictionsUnreadable, match="are no classes"):
        read_predictions(path)


def test_other_types_and_shapes_than_those_of_the_format_are_refused(tmp_path: Path) -> None:
    path, good = tmp_path / "a.safetensors", predictions()
    tensors = {
        "validation/logits": good.logits, "validation/labels": good.labels,
        "train/margin": good.margins, "train/labels": good.train_labels,
    }  # fmt: skip
    damages: list[tuple[dict[str, Any], list[str]]] = [
        ({"validation/logits": good.logits.astype(np.float64)}, ["a", "b"]),
        ({"validation/labels": good.labels.astype(np.int16)}, ["a", "b"]),
        ({"validation/labels": good.labels.reshape(1, -1)}, ["a", "b"]),
        ({"validation/logits": np.zeros((5, 0), np.float32), "validation/labels": np.full(5, -1)}, []),
        ({"validation/logits": np.zeros((5, MAX_CLASSES + 1), np.float32)}, ["a"] * (MAX_CLASSES + 1)),
    ]
    for damage, classes in damages:
        path.write_bytes(save(tensors | damage, {"epoch": "0", "classes": json.dumps(classes)}))
        with pytest.raises(PredictionsUnreadable, match=r"another type or shape|classes, not 1 to"):
            read_predictions(path)


def test_class_names_cannot_control_a_terminal(tmp_path: Path) -> None:
    write_predictions(tmp_path / "a.safetensors", structs.replace(predictions(), classes=["a\x1b[31m", "b"]))
    assert read_predictions(tmp_path / "a.safetensors").classes == ["a\ufffd[31m", "b"]


def test_frames_and_predictions_of_a_run_are_told_apart(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path, "a")
    assert folder.prediction_epochs() == []
    folder.visuals.mkdir(parents=True)
    for path in (folder.frame_path(0), folder.predictions_path(0), folder.predictions_path(10)):
        path.touch()
    assert folder.frame_epochs() == [0]
    assert folder.prediction_epochs() == [0, 10]
