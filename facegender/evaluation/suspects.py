"""Photographs whose label is probably wrong, ranked by how the network saw them in all epochs of a run.

The measure is the area under the margin (Pleiss et al. 2020, https://arxiv.org/abs/2001.10528): the logit of the
assigned label minus the largest other one, as a mean over the epochs. While it trains, a network learns what most
photographs have in common, which contradicts a wrong label; that it fits such a label late in training changes the mean
little. Margins of training photographs are those of the training pass, with augmentation.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import msgspec
import numpy as np
import numpy.typing as npt

from facegender.runs.folder import RunFolder
from facegender.runs.photographs import read_photographs
from facegender.runs.predictions import Labels, Predictions, PredictionsUnreadable, read_predictions
from facegender.support.arrays import Float32Array
from facegender.support.errors import UserError
from facegender.support.text import printable

Part = Literal["train", "validation"]
PARTS: tuple[Part, ...] = ("train", "validation")


class Suspect(msgspec.Struct, frozen=True, kw_only=True):
    """A photograph, and what speaks against its label. Strings are safe to print.

    Attributes:
        part: The part of the data that it belongs to.
        index: Its place in that part of ``photographs.json``, counted from 0.
        file: Its name relative to the data folder; empty where the run has no list of its photographs.
        label: Name of the class that it is filed under.
        predicted: Name of the class that it was taken for most often in the epochs that contradict the label; empty if
            that is not known, as for training photographs of more than two classes.
        margin: Mean over the epochs of the logit of the label minus the largest other one.
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
    with np.errstate(invalid="ignore"):
        margins = np.where(of_label, logits, -np.inf).max(1) - np.where(of_label, -np.inf, logits).max(1)
    return np.where(known, margins, np.nan).astype(np.float32)


def rank_suspects(folder: RunFolder, parts: Sequence[Part] = PARTS, *, first: int | None = None) -> list[Suspect]:
    """Rank the photographs of a run, those with the most doubtful label first.

    Within a part the lowest mean margin comes first. Margins of the two parts have different scales, as the network was
    fitted to one of them, so that both are merged by the share of their part that ranks before them: photographs are
    divided at random, and either part has about the same share of wrong labels.

    Args:
        first: So many at most.

    Raises:
        UserError: The run has no predictions that can be read.
    """
    epochs = _read_epochs(folder)
    ranked: list[tuple[float, float, Part, int]] = []
    tables = {part: _Table(part, epochs) for part in parts}
    for part, table in tables.items():
        order = np.argsort(table.mean, kind="stable")[: np.isfinite(table.mean).sum()]
        ranked += [
            ((rank + 0.5) / len(order), float(table.mean[index]), part, int(index)) for rank, index in enumerate(order)
        ]
    photographs = read_photographs(folder)
    names: dict[Part, list[str]] = {
        "train": photographs.train if photographs else [],
        "validation": photographs.validation if photographs else [],
    }
    return [tables[part].suspect(index, names[part]) for _, _, part, index in sorted(ranked)[:first]]


def _read_epochs(folder: RunFolder) -> list[Predictions]:
    """Read the predictions of all epochs that belong to the newest one: those of as many photographs and classes."""
    found, problem = list[Predictions](), ""
    for epoch in folder.prediction_epochs():
        try:
            found.append(read_predictions(folder.predictions_path(epoch)))
        except PredictionsUnreadable as error:
            problem = f": {error}"
    if not found:
        raise UserError(
            f"run {folder.name} has no predictions{problem}: this version records them in every epoch of a new run"
        )
    newest = found[-1]
    return [one for one in found if one.classes == newest.classes and len(one.labels) == len(newest.labels)]


class _Table:
    """The margins of one part in all epochs.

    Attributes:
        mean: (N,) over the epochs; NaN where no epoch has a margin.
    """

    def __init__(self, part: Part, epochs: Sequence[Predictions]) -> None:
        self._part = part
        self._classes = epochs[-1].classes
        if part == "validation":
            self._labels = epochs[-1].labels
            margins = [margins_of(one.logits, one.labels) for one in epochs]
            self._predicted = np.stack([np.nan_to_num(one.logits, nan=-np.inf).argmax(1) for one in epochs])
        else:
            counted = [one for one in epochs if len(one.margins) == len(epochs[-1].margins)]
            self._labels = np.max([one.train_labels for one in counted], axis=0)
            margins = [one.margins for one in counted]
            other = 1 - self._labels if len(self._classes) == 2 else np.full(len(self._labels), -1)
            self._predicted = np.tile(other, (len(margins), 1))
        self._margins = np.stack(margins)
        self._known: npt.NDArray[np.int64] = np.isfinite(self._margins).sum(0)
        with np.errstate(invalid="ignore"):
            self.mean = np.where(np.isfinite(self._margins), self._margins, 0).sum(0, dtype=np.float64) / self._known

    def suspect(self, index: int, names: Sequence[str]) -> Suspect:
        """Describe one photograph."""
        wrong = self._margins[:, index] < 0
        contradicted, epochs, margin = int(wrong.sum()), int(self._known[index]), float(self.mean[index])
        taken_for = self._predicted[wrong, index]
        likely = int(np.bincount(taken_for).argmax()) if taken_for.size and taken_for.min() >= 0 else -1
        predicted = self._classes[likely] if likely >= 0 else ""
        how = f"predicted {predicted}" if predicted else "not predicted as labelled"
        return Suspect(
            part=self._part,
            index=index,
            file=printable(names[index]) if index < len(names) else "",
            label=self._classes[int(self._labels[index])],
            predicted=predicted,
            margin=margin,
            contradicted=contradicted,
            epochs=epochs,
            reason=f"{how} in {contradicted} of {epochs} epochs, mean margin {margin:.1f}",
        )
