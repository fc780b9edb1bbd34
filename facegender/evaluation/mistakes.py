"""Which photographs a network gets wrong in an epoch, ordered and filtered. Works on arrays of all photographs at once.

"Wrong" means that the answer, the class with the largest logit, differs from the label in the data.
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


class Outcomes(msgspec.Struct, frozen=True, kw_only=True):
    """The answers to the N validation photographs in an epoch, in the order of ``photographs.json``.

    Attributes:
        epoch: Counted from 0.
        classes: Names of the classes.
        labels: (N,) int64 as in the predictions.
        answers: (N,) int64; -1 where a photograph does not count: its label is no class, or its logits are not finite.
        of_label: (N,) float64 in [0, 1], the probability of the label; NaN where a photograph does not count.
        of_answer: (N,) float64 in [0, 1], the probability of the answer, likewise.
    """

    epoch: int
    classes: Sequence[str]
    labels: Labels
    answers: Labels
    of_label: Floats
    of_answer: Floats

    @property
    def counted(self) -> Mask:
        """(N,) whether a photograph counts."""
        counted: Mask = self.answers >= 0
        return counted

    @property
    def right(self) -> Mask:
        """(N,) whether the answer is the label."""
        right: Mask = self.counted & (self.answers == self.labels)
        return right

    @property
    def wrong(self) -> Mask:
        """(N,) whether the answer is another class than the label."""
        wrong: Mask = self.counted & (self.answers != self.labels)
        return wrong


def outcomes_of(predictions: Predictions, temperature: float = 1.0) -> Outcomes:
    """Compare the predictions of an epoch with the labels.

    Args:
        temperature: What the logits are divided by before the softmax.
    """
    counted = counted_rows(predictions.logits, predictions.labels)
    rows = np.flatnonzero(counted)
    probabilities = softmax(predictions.logits[rows], temperature)
    answers = np.full(len(counted), -1, np.int64)
    of_label, of_answer = np.full((2, len(counted)), np.nan)
    if len(rows):
        answers[rows] = probabilities.argmax(axis=1)
        of_label[rows] = probabilities[np.arange(len(rows)), predictions.labels[rows]]
        of_answer[rows] = probabilities.max(axis=1)
    return Outcomes(
        epoch=predictions.epoch, classes=predictions.classes, labels=predictions.labels, answers=answers,
        of_label=of_label, of_answer=of_answer,
    )  # fmt: skip


def worst_first(
    outcomes: Outcomes,
    *,
    cell: tuple[int, int] | None = None,
    reference: Outcomes | None = None,
    among: Mask | None = None,
) -> Indices:
    """Order photographs: the wrong ones by the probability of their label, lowest first, then the right ones likewise.

    The first of the right ones are therefore the least certain ones.

    Args:
        cell: Only photographs of the confusion matrix's cell (label, answer).
        reference: Only those right in one of the two epochs and wrong in the other one.
        among: (N,), only these photographs, e.g. those of `never_right`.

    Returns:
        (n,) indices of photographs.
    """
    chosen = outcomes.counted
    if cell is not None:
        chosen = chosen & (outcomes.labels == cell[0]) & (outcomes.answers == cell[1])
    if reference is not None:
        chosen = chosen & changed_sides(outcomes, reference)
    if among is not None:
        chosen = chosen & among
    indices = np.flatnonzero(chosen)
    # The last key is the first one that lexsort sorts by.
    return indices[np.lexsort((indices, outcomes.of_label[indices], outcomes.right[indices]))]


def changed_sides(outcomes: Outcomes, reference: Outcomes) -> Mask:
    """(N,) whether a photograph is right in one epoch and wrong in the other."""
    if len(outcomes.labels) != len(reference.labels):  # another list of photographs: nothing can be compared
        return np.zeros(len(outcomes.labels), np.bool_)
    changed: Mask = outcomes.counted & reference.counted & (outcomes.right != reference.right)
    return changed


def never_right(epochs: Iterable[Outcomes], count: int) -> Mask:
    """(count,) whether a photograph is wrong in every one of the epochs in which it counts, and counts in one.

    Epochs with another number of photographs are left out.
    """
    counted, right = np.zeros((2, count), np.bool_)
    for outcomes in epochs:
        if len(outcomes.labels) == count:
            counted |= outcomes.counted
            right |= outcomes.right
    never: Mask = counted & ~right
    return never


def read_outcomes(folder: RunFolder, epochs: Iterable[int], temperature: float = 1.0) -> Iterator[Outcomes]:
    """Read the outcomes of some epochs of a run, one after the other; files that cannot be read are left out."""
    for epoch in epochs:
        try:
            yield outcomes_of(read_predictions(folder.predictions_path(epoch)), temperature)
        except PredictionsUnreadable:
            continue
