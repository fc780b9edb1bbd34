"""Figures of a classifier: those of torchmetrics where it has them."""

from __future__ import annotations

import math

import msgspec
import numpy as np
import pytest

from facegender.evaluation import metrics
from facegender.evaluation.metrics import Array, Evaluation


def sample(classes: int, count: int = 500, sharpness: float = 2.0) -> tuple[Array, Array]:
    """Logits (N, K) that are right more often than not, and labels (N,)."""
    random = np.random.default_rng(classes)
    labels = random.integers(0, classes, count)
    logits = random.normal(size=(count, classes)) + 1.2 * np.eye(classes)[labels]
    return (sharpness * logits).astype(np.float32), labels


@pytest.mark.parametrize("classes", [2, 3, 7])
def test_the_figures_are_those_of_torchmetrics(classes: int) -> None:
    torch = pytest.importorskip("torch")
    from torchmetrics.functional import classification as reference

    logits, labels = sample(classes)
    evaluation = metrics.evaluate(logits, labels, [f"class {label}" for label in range(classes)])
    tensors = torch.from_numpy(logits).double().softmax(1), torch.from_numpy(labels)

    def expected(name: str, **options: object) -> Array:
        value: Array = getattr(reference, f"multiclass_{name}")(*tensors, num_classes=classes, **options).numpy()
        return value

    assert evaluation.accuracy == pytest.approx(expected("accuracy", average="micro"))
    assert evaluation.macro_f1 == pytest.approx(expected("f1_score", average="macro"))
    assert evaluation.roc_auc == pytest.approx(expected("auroc", average="macro"))
    assert evaluation.calibration_error == pytest.approx(expected("calibration_error", n_bins=15, norm="l1"), abs=1e-6)
    np.testing.assert_array_equal(evaluation.confusion, expected("confusion_matrix"))
    for figure in ("precision", "recall", "f1_score"):
        got = [getattr(score, figure.removesuffix("_score")) for score in evaluation.per_class]
        np.testing.assert_allclose(got, expected(figure, average="none"), rtol=1e-6)
    loss = torch.nn.functional.cross_entropy(torch.from_numpy(logits).double(), tensors[1])
    assert evaluation.negative_log_likelihood == pytest.approx(loss.item())


def test_a_roc_curve_is_that_of_torchmetrics_and_merges_equal_scores() -> None:
    torch = pytest.importorskip("torch")
    from torchmetrics.functional.classification import binary_roc

    scores = np.array([0.9, 0.8, 0.8, 0.8, 0.3, 0.1])
    positive = np.array([1, 1, 0, 1, 0, 0], bool)
    got = metrics.roc_curve(scores, positive)
    expected = binary_roc(torch.from_numpy(scores), torch.from_numpy(positive).int())[:2]
    for curve, rates in zip(got, expected, strict=True):
        np.testing.assert_allclose(curve, rates.numpy(), atol=1e-6)
    assert [len(curve) for curve in got] == [5, 5]


def test_what_has_no_label_or_no_answer_never_counts() -> None:
    logits, labels = sample(3)
    expected = metrics.evaluate(logits, labels, ["a", "b", "c"])
    more = np.concatenate([logits, np.full((1, 3), np.nan, np.float32), logits[:1]])
    more_labels = np.concatenate([labels, [0, -1]])
    assert metrics.evaluate(more, more_labels, ["a", "b", "c"]) == expected
    assert metrics.confusion(more_labels, metrics.predicted_labels(more), 3).tolist() == expected.confusion
    probabilities = metrics.softmax(more)
    assert metrics.reliability(probabilities, more_labels).count.sum() == len(labels)
    assert metrics.negative_log_likelihood(more, more_labels) == expected.negative_log_likelihood
    assert metrics.fit_temperature(more, more_labels) == metrics.fit_temperature(logits, labels)
    with pytest.raises(metrics.NothingToEvaluate):
        metrics.evaluate(more[-2:], more_labels[-2:], ["a", "b", "c"])


def test_an_evaluation_survives_json() -> None:
    evaluation = metrics.evaluate(*sample(2), ["female", "male"])
    assert msgspec.json.decode(msgspec.json.encode(evaluation), type=Evaluation) == evaluation


def test_labels_of_one_class_have_no_area_under_the_curve() -> None:
    logits, labels = sample(2)
    assert metrics.evaluate(logits, np.zeros_like(labels), ["female", "male"]).roc_auc is None


@pytest.mark.parametrize(
    ("right", "count", "low", "high"),
    # Newcombe 1998, Statistics in Medicine 17: 857-872, table I, method 3.
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_the_interval_of_a_share_is_that_of_the_literature(right: int, count: int, low: float, high: float) -> None:
    assert metrics.wilson_interval(right, count) == pytest.approx((low, high), abs=5e-5)


def test_the_temperature_gives_back_by_how_much_logits_were_too_large() -> None:
    random = np.random.default_rng(0)
    logits = random.normal(size=(4000, 3)) * 2
    chance = metrics.softmax(logits).cumsum(1)
    labels = (random.random((4000, 1)) > chance).sum(1)
    assert metrics.fit_temperature(logits * 3, labels) == pytest.approx(3, rel=0.1)
    fitted = metrics.fit_temperature(logits, labels)
    assert fitted is not None
    losses = [metrics.negative_log_likelihood(logits, labels, fitted * factor) for factor in (0.99, 1, 1.01)]
    assert losses[1] == min(losses)


@pytest.mark.parametrize("direction", [1.0, -1.0, 0.0])
def test_there_is_no_temperature_where_all_is_right_or_nothing_is(direction: float) -> None:
    labels = np.arange(10) % 2
    assert metrics.fit_temperature(direction * np.eye(2)[labels], labels) is None


def test_reliability_compares_confidence_and_accuracy_bin_by_bin() -> None:
    probabilities = np.array([[0.95, 0.05], [0.05, 0.95], [0.65, 0.35], [1.0, 0.0]])
    bins = metrics.reliability(probabilities, np.array([0, 0, 1, 0]))
    assert bins.count.tolist() == [0] * 6 + [1, 0, 0, 3]
    assert bins.accuracy[9] == pytest.approx(2 / 3)
    assert bins.confidence[9] == pytest.approx(2.9 / 3)
    assert bins.accuracy[6] == 0
    assert math.isnan(bins.accuracy[0])


def test_the_interval_of_the_calibration_error_covers_that_of_the_population() -> None:
    random = np.random.default_rng(1)
    logits = random.normal(size=(200_000, 2)) * 2
    labels = (random.random(len(logits)) > metrics.softmax(logits)[:, 0]).astype(int)
    probabilities = metrics.softmax(logits * 2)  # twice as sure as it may be
    true = metrics.calibration_error(probabilities, labels)
    covered = 0
    for start in range(0, 60 * 400, 400):
        part = slice(start, start + 400)
        low, high = metrics.calibration_error_interval(probabilities[part], labels[part])
        covered += low <= true <= high
    assert covered >= 51


def test_the_area_of_no_photographs_is_not_known() -> None:
    assert np.isnan(metrics.roc_auc(np.empty(0), np.empty(0, bool)))
