"""Which photographs a network gets wrong in an epoch, ordered and filtered. Works on arrays of all photographs at once.

"Wrong" means that the prediction, the class with the largest logit, differs from the label in the data.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import msgspec
import numpy as np
import numpy.typing as npt

from facegender.evaluation.metrics import counted_rows, softmax
from facegender.runs.folder import RunFolder
from facegender.runs.predictions import Labels, Predictions, PredictionsUnreadable, read_predictions

Floats = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]
Indices = npt.NDArray[np.intp]


class CheckedPredictions(msgspec.Struct, frozen=True, kw_only=True):
    """The predictions of an epoch for the N validation photographs, compared with their labels.

    Attributes:
        epoch: Counted from 0.
        classes: Names of the classes.
        labels: (N,) int64 in the order of ``photographs.json``.
        predicted: (N,) int64; -1 where a photograph does not count: its label is no class, or a logit is not finite.
        label_probability: (N,) float64 in [0, 1], the probability of the label; NaN where a photograph does not count.
        predicted_probability: (N,) float64 in [0, 1], the probability of the predicted class, likewise.
    """

    epoch: int
    classes: Sequence[str]
    labels: Labels
    predicted: Labels
    label_probability: Floats
    predicted_probability: Floats

    @property
    def counted(self) -> Mask:
        """(N,) whether a photograph counts."""
        counted: Mask = self.predicted >= 0
        return counted

    @property
    def correct(self) -> Mask:
        """(N,) whether the prediction is the label."""
        correct: Mask = self.counted & (self.predicted == self.labels)
        return correct

    @property
    def wrong(self) -> Mask:
        """(N,) whether the prediction is another class than the label."""
        wrong: Mask = self.counted & (self.predicted != self.labels)
        return wrong


def check_predictions(predictions: Predictions, temperature: float = 1.0) -> CheckedPredictions:
    """Compare the predictions of an epoch with the labels.

    Args:
        temperature: What the logits are divided by before the softmax.
    """
    counted = counted_rows(predictions.logits, predictions.labels)
    rows = np.flatnonzero(counted)
    probabilities = softmax(predictions.logits[rows], temperature)
    predicted = np.full(len(counted), -1, np.int64)
    label_probability, predicted_probability = np.full((2, len(counted)), np.nan)
    if len(rows):
        predicted[rows] = probabilities.argmax(axis=1)
        label_probability[rows] = probabilities[np.arange(len(rows)), predictions.labels[rows]]
        predicted_probability[rows] = probabilities.max(axis=1)
    return CheckedPredictions(
        epoch=predictions.epoch, classes=predictions.classes, labels=predictions.labels, predicted=predicted,
        label_probability=label_probability, predicted_probability=predicted_probability,
    )  # fmt: skip


def worst_first(
    checked: CheckedPredictions,
    *,
    cell: tuple[int, int] | None = None,
    reference: CheckedPredictions | None = None,
    among: Mask | None = None,
) -> Indices:
    """Order photographs: the wrong ones by the probability of their label, lowest first, then the correct ones.

    The first of the correct ones are therefore the least certain ones.

    Args:
        cell: Only photographs of the confusion matrix's cell (label, prediction).
        reference: Only those correct in one of the two epochs and wrong in the other one.
        among: (N,), only these photographs, e.g. those of `never_correct`.

    Returns:
        (n,) indices of photographs.
    """
    chosen = checked.counted
    if cell is not None:
        chosen = chosen & (checked.labels == cell[0]) & (checked.predicted == cell[1])
    if reference is not None:
        chosen = chosen & changed_sides(checked, reference)
    if among is not None:
        chosen = chosen & among
    indices = np.flatnonzero(chosen)
    # The last key is the first one that lexsort sorts by.
    return indices[np.lexsort((indices, checked.label_probability[indices], checked.correct[indices]))]


def changed_sides(checked: CheckedPredictions, reference: CheckedPredictions) -> Mask:
    """(N,) whether a photograph is correct in one epoch and wrong in the other."""
    if len(checked.labels) != len(reference.labels):  # another list of photographs: nothing can be compared
        return np.zeros(len(checked.labels), np.bool_)
    changed: Mask = checked.counted & reference.counted & (checked.correct != reference.correct)
    return changed


def never_correct(epochs: Iterable[CheckedPredictions], count: int) -> Mask:
    """(count,) whether a photograph is wrong in every one of the epochs in which it counts, and counts in one.

    Epochs with another number of photographs are left out.
    """
    counted, correct = np.zeros((2, count), np.bool_)
    for checked in epochs:
        if len(checked.labels) == count:
            counted |= checked.counted
            correct |= checked.correct
    never: Mask = counted & ~correct
    return never


def read_checked(folder: RunFolder, epochs: Iterable[int], temperature: float = 1.0) -> Iterator[CheckedPredictions]:
    """Read the predictions of some epochs of a run and check them; files that cannot be read are left out."""
    for epoch in epochs:
        try:
            yield check_predictions(read_predictions(folder.predictions_path(epoch)), temperature)
        except PredictionsUnreadable:
            continue
