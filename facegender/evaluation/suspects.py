"""Photographs whose label may be wrong, ranked by how the network saw them in all epochs of a run.

The measure is the area under the margin (Pleiss et al. 2020, https://arxiv.org/abs/2001.10528): the logit of the
assigned label minus the largest other one, as a mean over the epochs. While it trains, a network learns what most
photographs have in common, which contradicts a wrong label; that it fits such a label late in training changes the mean
little. Margins of training photographs are those of the training pass, with augmentation.

Other than there, an epoch counts as much as the network knew in it, see `epoch_weights`: after the first epochs of a
long run it knows little. docs/benchmarks.md has how many swapped labels are found with and without these weights.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import msgspec
import numpy as np
import numpy.typing as npt

from facegender.runs.folder import RunFolder
from facegender.runs.photographs import Photographs, read_photographs
from facegender.runs.predictions import Labels, Predictions, PredictionsUnreadable, prediction_epochs, read_predictions
from facegender.support.arrays import Float32Array
from facegender.support.errors import UserError
from facegender.support.text import counted, printable

Part = Literal["train", "validation"]
PARTS: tuple[Part, ...] = ("train", "validation")


class Suspect(msgspec.Struct, frozen=True, kw_only=True):
    """A photograph, and what speaks against its label. Strings are safe to print.

    Attributes:
        part: The part of the data that it belongs to.
        index: In that part of ``photographs.json``, counted from 0.
        file: Its name relative to the data folder; empty where the run has no list of its photographs.
        label: Name of the class that it is filed under.
        predicted: Name of the class that it was taken for most often in the epochs that contradict the label; empty if
            that is not known, as for training photographs of more than two classes.
        margin: Weighted mean over the epochs of the logit of the label minus the largest other one.
        contradicted: Epochs with a negative margin.
        epochs: Epochs with a known margin.
        reason: The same in words.
    """

    part: Part
    index: int
    file: str
    label: str
    predicted: str
    margin: float
    contradicted: int
    epochs: int
    reason: str


def margins_of(logits: Float32Array, labels: Labels) -> Float32Array:
    """The logit of the label minus the largest other one.

    Args:
        logits: (N, K).
        labels: (N,), -1 where there is none.

    Returns:
        (N,), NaN without a label.
    """
    known = labels >= 0
    of_label = np.zeros(logits.shape, bool)
    of_label[known, labels[known]] = True
    with np.errstate(invalid="ignore", over="ignore"):
        margins = np.where(of_label, logits, -np.inf).max(1) - np.where(of_label, -np.inf, logits).max(1)
    return np.where(known, margins, np.nan).astype(np.float32)


def epoch_weights(epochs: Sequence[Predictions]) -> npt.NDArray[np.float64]:
    """How much each epoch counts, by its accuracy on the validation photographs.

    Returns:
        (E,) the fourth power of how far the accuracy lies above that of always answering the most frequent class, as a
        share of what is possible. All 1 if there was no validation, or if no epoch lies above.
    """
    skill = np.zeros(len(epochs))
    for number, one in enumerate(epochs):
        seen = (one.labels >= 0) & np.isfinite(one.logits).all(1)
        if seen.any():
            labels = one.labels[seen]
            chance = np.bincount(labels).max() / len(labels)
            accuracy = (one.logits[seen].argmax(1) == labels).mean()
            skill[number] = max(0.0, (accuracy - chance) / (1 - chance)) if chance < 1 else 0.0
    return skill**4 if skill.any() else np.ones(len(epochs))


def rank_suspects(folder: RunFolder, parts: Sequence[Part] = PARTS, *, first: int | None = None) -> list[Suspect]:
    """Rank the photographs of a run, those with the most doubtful label first.

    Within a part the lowest mean margin comes first. Margins of the two parts have different scales, as the network was
    fitted to one of them, so that both are merged by the share of their part that ranks before them: photographs are
    divided at random, and either part has about the same share of wrong labels.

    Args:
        first: How many at most; all by default.

    Raises:
        UserError: The run has no predictions that can be read.
    """
    epochs = _read_epochs(folder)
    photographs = read_photographs(folder) or Photographs([], [])
    weights = epoch_weights(epochs)
    tables = {part: _Table(part, epochs, weights, getattr(photographs, part)) for part in parts}
    ranked: list[tuple[float, float, Part, int]] = []
    for part, table in tables.items():
        order = np.argsort(table.mean, kind="stable")[: np.isfinite(table.mean).sum()]
        ranked += [
            ((rank + 0.5) / len(order), float(table.mean[index]), part, int(index)) for rank, index in enumerate(order)
        ]
    return [tables[part].suspect(index) for _, _, part, index in sorted(ranked)[:first]]


def _read_epochs(folder: RunFolder) -> list[Predictions]:
    """Read the predictions of all epochs that belong to the newest one: those of as many photographs and classes."""
    found, problem = list[Predictions](), ""
    for epoch in prediction_epochs(folder):
        try:
            found.append(read_predictions(folder.predictions_path(epoch)))
        except PredictionsUnreadable as error:
            problem = str(error)
    if not found:
        raise UserError(f"run {folder.name}: {problem}; no other epoch has predictions")
    newest = found[-1]
    return [one for one in found if one.classes == newest.classes and len(one.labels) == len(newest.labels)]


class _Table:
    """The margins of one part in all epochs.

    Args:
        weights: How much each epoch counts.

    Attributes:
        mean: (N,) over the epochs; NaN where no epoch that counts has a margin.
    """

    def __init__(
        self, part: Part, epochs: Sequence[Predictions], weights: npt.NDArray[np.float64], names: Sequence[str]
    ) -> None:
        self._part = part
        self._classes = epochs[-1].classes
        self._names = names
        if part == "validation":
            labels = [one.labels for one in epochs]
            margins = np.stack([margins_of(one.logits, one.labels) for one in epochs])
            self._logits = [one.logits for one in epochs]
        else:
            weights = weights[[len(one.margins) == len(epochs[-1].margins) for one in epochs]]
            epochs = [one for one in epochs if len(one.margins) == len(epochs[-1].margins)]
            labels = [one.train_labels for one in epochs]
            margins = np.stack([one.margins for one in epochs])
            self._logits = []
        self._labels: Labels = np.max(labels, axis=0)  # -1 in an epoch in which a photograph was not seen
        self._wrong = margins < 0
        known = np.isfinite(margins) & (self._labels >= 0)
        self._known, self._contradicted = known.sum(0), self._wrong.sum(0)
        with np.errstate(invalid="ignore"):
            self.mean = (weights @ np.where(known, margins, 0)) / (weights @ known)

    def suspect(self, index: int) -> Suspect:
        """Describe one photograph."""
        label, contradicted, epochs = (int(of[index]) for of in (self._labels, self._contradicted, self._known))
        predicted, margin = self._predicted(index, label) if contradicted else "", float(self.mean[index])
        how = f"predicted {predicted}" if predicted else "not predicted as labelled"
        return Suspect(
            part=self._part,
            index=index,
            file=printable(self._names[index]) if index < len(self._names) else "",
            label=self._classes[label],
            predicted=predicted,
            margin=margin,
            contradicted=contradicted,
            epochs=epochs,
            reason=f"{how} in {contradicted} of {counted(epochs, 'epoch')}, mean margin {margin:.1f}",
        )

    def _predicted(self, index: int, label: int) -> str:
        """The class that the photograph was taken for most often in the epochs that contradict its label."""
        if len(self._classes) == 2:
            return self._classes[1 - label]
        if not self._logits:
            return ""
        wrong = [int(self._logits[epoch][index].argmax()) for epoch in np.flatnonzero(self._wrong[:, index])]
        return self._classes[max(wrong, key=wrong.count)]
