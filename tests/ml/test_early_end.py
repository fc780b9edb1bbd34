"""Runs that end where they no longer get better, and classes that have few photographs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torchmetrics.classification import MulticlassAccuracy

from facegender.data.demo.faces import write_demo_faces
from facegender.network.module import FaceGenderModule, class_weights
from facegender.runs.events import EpochFinished, Notice, RunFinished, RunStarted
from facegender.runs.folder import INITIAL, RunFolder
from facegender.support.errors import UserError
from facegender.training.run import train
from tests.ml.conftest import events_of, tiny

CLASSES = ("female", "male")


@pytest.fixture
def accuracies(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[float]]:
    """What the next validations are to say."""
    planned: list[float] = []
    monkeypatch.setattr(MulticlassAccuracy, "compute", lambda self: torch.tensor(planned.pop(0)))
    return iter([planned])


def epochs_of(root: Path) -> list[int]:
    return [event.epoch for event in events_of(root, "a") if isinstance(event, EpochFinished)]


def waited_of(root: Path) -> list[int]:
    return [event.epochs_since_best for event in events_of(root, "a") if isinstance(event, EpochFinished)]


def early_notices(root: Path) -> list[str]:
    notices = [event.text for event in events_of(root, "a") if isinstance(event, Notice)]
    return [text for text in notices if "ended early" in text]


def plan(accuracies: Iterator[list[float]], *values: float) -> None:
    next(accuracies).extend(values)


def test_a_run_ends_as_completed_when_its_patience_is_over_and_says_why(
    tmp_path: Path, accuracies: Iterator[list[float]]
) -> None:
    plan(accuracies, 0.5, 0.75, 0.75, 0.5, 0.9, 0.9)
    assert train(tiny(epochs=6, patience=2), tmp_path, "a", show=False) == "completed"
    events = events_of(tmp_path, "a")
    assert epochs_of(tmp_path) == [0, 1, 2, 3]
    assert [event.patience for event in events if isinstance(event, RunStarted)] == [2]
    assert waited_of(tmp_path) == [0, 0, 1, 2]
    assert early_notices(tmp_path) == [
        "ended early after epoch 4: no better validation accuracy than 0.750 of epoch 2 for 2 epochs (--patience)"
    ]
    assert isinstance(events[-1], RunFinished)
    assert events[-1].status == "completed"
    checkpoint = torch.load(RunFolder(tmp_path, "a").last_checkpoint, weights_only=True)
    assert checkpoint["resume_at"] | {"epoch": 4, "batch": 0, "devices": 1} == checkpoint["resume_at"]


def test_the_last_epoch_before_an_early_end_is_shown_in_any_case(
    tmp_path: Path, accuracies: Iterator[list[float]]
) -> None:
    plan(accuracies, 0.9, 0.5, 0.5, 0.5)
    assert train(tiny(epochs=9, patience=3, visualize_every=2), tmp_path, "a", show=False) == "completed"
    assert RunFolder(tmp_path, "a").frame_epochs() == [INITIAL, 0, 2, 3]


def test_without_patience_all_epochs_are_trained(tmp_path: Path, accuracies: Iterator[list[float]]) -> None:
    plan(accuracies, 0.5, 0.4, 0.3, 0.2)
    assert train(tiny(epochs=4), tmp_path, "a", show=False) == "completed"
    assert epochs_of(tmp_path) == [0, 1, 2, 3]
    assert waited_of(tmp_path) == [0, 0, 0, 0]
    assert early_notices(tmp_path) == []


def test_a_last_epoch_does_not_end_early(tmp_path: Path, accuracies: Iterator[list[float]]) -> None:
    plan(accuracies, 0.5, 0.4)
    assert train(tiny(epochs=2, patience=1), tmp_path, "a", show=False) == "completed"
    assert early_notices(tmp_path) == []


def test_a_resumed_run_has_waited_already_and_may_be_given_more_patience(
    tmp_path: Path, accuracies: Iterator[list[float]]
) -> None:
    plan(accuracies, 0.9, 0.5, 0.5, 0.5, 0.5)
    assert train(tiny(epochs=2, patience=2), tmp_path, "a", show=False) == "completed"
    assert train(tiny(), tmp_path, resume="a", changes={"epochs": 9}, show=False) == "completed"
    assert epochs_of(tmp_path) == [0, 1, 2]
    for changes in ({}, {"epochs": 10}, {"patience": 2}):
        with pytest.raises(UserError, match=r"ended early: 2 epochs without improvement; give a larger --patience"):
            train(tiny(), tmp_path, resume="a", changes=changes, show=False)
    assert train(tiny(), tmp_path, resume="a", changes={"patience": 4}, show=False) == "completed"
    assert epochs_of(tmp_path) == [0, 1, 2, 3, 4]
    assert waited_of(tmp_path) == [0, 1, 2, 3, 4]


def test_a_checkpoint_of_version_0_1_continues_to_count_where_it_was(
    tmp_path: Path, accuracies: Iterator[list[float]]
) -> None:
    plan(accuracies, 0.9, 0.5, 0.5, 0.5)
    assert train(tiny(epochs=2, patience=2), tmp_path, "a", show=False) == "completed"
    path = RunFolder(tmp_path, "a").last_checkpoint
    checkpoint = torch.load(path, weights_only=True)
    states = checkpoint["callbacks"]
    states["Patience"] = {"waited": states.pop("EarlyStopping")["wait_count"]}
    states["RunCheckpoints"] = {"best_accuracy": 0.9}
    del checkpoint["finished_epoch"]
    torch.save(checkpoint, path)
    assert train(tiny(), tmp_path, resume="a", changes={"epochs": 9}, show=False) == "completed"
    assert waited_of(tmp_path) == [0, 1, 2]
    assert [event.best for event in events_of(tmp_path, "a") if isinstance(event, EpochFinished)] == [
        True,
        False,
        False,
    ]


def test_class_weights_let_all_classes_count_the_same() -> None:
    config = tiny(class_weights="auto")
    weights = class_weights(config, CLASSES, {"female": 30, "male": 10})
    assert weights is not None
    assert weights.tolist() == pytest.approx([40 / 60, 40 / 20])
    even = class_weights(config, CLASSES, {"female": 7, "male": 7})
    assert even is not None
    assert even.tolist() == [1, 1]
    assert class_weights(tiny(), CLASSES, {"female": 30, "male": 10}) is None


def test_a_weighted_loss_is_descended_and_a_plain_one_reported() -> None:
    images = torch.randint(0, 256, (6, 3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    labels = torch.tensor([0, 0, 0, 0, 0, 1])
    outputs: list[dict[str, Any]] = []
    for kind in ("none", "auto"):
        torch.manual_seed(0)
        module = FaceGenderModule(tiny(class_weights=kind), CLASSES, {"female": 5, "male": 1})
        torch.manual_seed(0)
        outputs.append(module.training_step((images, labels), 0))
    plain, weighted = outputs
    assert float(plain["loss"].detach()) != pytest.approx(float(weighted["loss"].detach()), rel=1e-3)
    assert torch.equal(plain["loss_sum_and_correct"], weighted["loss_sum_and_correct"])


def test_an_unbalanced_folder_is_trained_with_weights_which_are_no_part_of_the_checkpoint(tmp_path: Path) -> None:
    write_demo_faces(tmp_path / "faces", 12, 32, 1)
    for path in sorted((tmp_path / "faces" / "male").iterdir())[:6]:
        path.unlink()
    config = tiny(demo=False, data=str(tmp_path / "faces"), class_weights="auto", epochs=1, visualize_every=0)
    assert train(config, tmp_path, "a", show=False) == "completed"
    checkpoint = torch.load(RunFolder(tmp_path, "a").last_checkpoint, weights_only=True)
    assert not any("class_weights" in name for name in checkpoint["state_dict"])
    assert train(tiny(), tmp_path, resume="a", changes={"epochs": 2}, show=False) == "completed"
