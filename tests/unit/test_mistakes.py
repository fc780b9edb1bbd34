"""Which photographs are wrong, and in which order."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
import recorded

from facegender.evaluation.mistakes import (
    CheckedPredictions,
    check_predictions,
    never_correct,
    read_checked,
    worst_first,
)
from facegender.runs.folder import RunFolder
from facegender.runs.predictions import Predictions, write_predictions


def checked(of_label: Sequence[float], labels: Sequence[int] | None = None) -> CheckedPredictions:
    return check_predictions(recorded.predictions(of_label, labels))


def test_the_wrong_come_first_and_the_worst_of_them_first_then_the_least_certain() -> None:
    assert worst_first(checked([0.9, 0.2, 0.6, 0.4, 0.99, 0.1])).tolist() == [5, 1, 3, 2, 0, 4]


def test_the_probabilities_are_of_the_label_and_of_the_prediction() -> None:
    found = checked([0.9, 0.2], [1, 1])
    np.testing.assert_allclose(found.label_probability, [0.9, 0.2], atol=1e-6)
    np.testing.assert_allclose(found.predicted_probability, [0.9, 0.8], atol=1e-6)
    assert found.predicted.tolist() == [1, 0]


def test_a_photograph_without_a_label_or_without_logits_never_counts() -> None:
    given = recorded.predictions([0.2, 0.2, 0.2], [0, 0, -1])
    given.logits[1] = np.nan
    found = check_predictions(given)
    assert worst_first(found).tolist() == [0]
    assert found.counted.tolist() == [True, False, False]
    assert np.isnan(found.label_probability[1:]).all()


def test_none_that_counts_is_an_empty_list() -> None:
    assert worst_first(checked([])).tolist() == []
    given = recorded.predictions([0.2])
    given.logits[:] = np.nan
    assert worst_first(check_predictions(given)).tolist() == []


def test_only_those_of_a_cell_of_the_confusion_matrix() -> None:
    found = checked([0.1, 0.2, 0.9, 0.3], [0, 1, 1, 0])
    assert worst_first(found, cell=(0, 1)).tolist() == [0, 3]
    assert worst_first(found, cell=(1, 0)).tolist() == [1]
    assert worst_first(found, cell=(1, 1)).tolist() == [2]


def test_only_those_that_changed_sides() -> None:
    before, after = checked([0.1, 0.9, 0.9, 0.1]), checked([0.2, 0.3, 0.8, 0.7])
    assert worst_first(after, reference=before).tolist() == [1, 3]
    assert worst_first(after, reference=checked([0.1])).tolist() == [], "another list of photographs"


def test_those_that_were_never_correct() -> None:
    epochs = [checked([0.1, 0.1, 0.9]), checked([0.6, 0.2, 0.1]), checked([0.1])]
    assert never_correct(epochs, 3).tolist() == [False, True, False]
    assert worst_first(epochs[1], among=never_correct(epochs, 3)).tolist() == [1]


def test_predictions_are_read_and_damaged_files_left_out(folder: RunFolder) -> None:
    for epoch in range(3):
        write_predictions(folder.predictions_path(epoch), recorded.predictions([0.1], epoch=epoch))
    folder.predictions_path(1).write_bytes(b"?")
    assert [found.epoch for found in read_checked(folder, folder.prediction_epochs())] == [0, 2]


@pytest.mark.parametrize("classes", [3, 100])
def test_many_classes(classes: int) -> None:
    random = np.random.default_rng(0)
    given = Predictions(
        epoch=0,
        classes=[str(number) for number in range(classes)],
        logits=random.normal(size=(200, classes)).astype(np.float32),
        labels=random.integers(0, classes, 200),
        margins=np.zeros(0, np.float32),
        train_labels=np.zeros(0, np.int64),
    )
    found = check_predictions(given)
    order = worst_first(found)
    assert sorted(order.tolist()) == list(range(200))
    wrong = int(found.wrong.sum())
    assert found.wrong[order[:wrong]].all()
    assert (np.diff(found.label_probability[order[:wrong]]) >= 0).all()
    assert (np.diff(found.label_probability[order[wrong:]]) >= 0).all()
