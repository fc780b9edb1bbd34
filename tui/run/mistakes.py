"""What the mistakes screen shows of a run: reads files and computes, so its functions are called in a thread."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

import numpy as np
import numpy.typing as npt
from cachetools import LRUCache

from facegender.evaluation.metrics import (
    Reliability,
    calibration_error,
    confusion,
    counted_rows,
    predicted_labels,
    reliability,
    roc_auc,
    roc_curve,
    softmax,
)
from facegender.evaluation.mistakes import (
    CheckedPredictions,
    Mask,
    check_predictions,
    never_correct,
    read_checked,
    worst_first,
)
from facegender.evaluation.suspects import Part, Suspect, rank_suspects
from facegender.runs.folder import RunFolder
from facegender.runs.lock import modified
from facegender.runs.photographs import Photographs, read_photographs
from facegender.runs.predictions import PredictionRow, PredictionsUnreadable, read_prediction_row, read_predictions
from facegender.support.text import one_line

Floats = npt.NDArray[np.float64]

EPOCHS_KEPT = 8
"""Epochs whose checked predictions are kept: 1.3 MB each for 40 000 photographs."""
MAX_SUSPECTS = 1000
"""Nobody looks at more of them."""
MAX_CURVE_EPOCHS = 200
"""Epochs of a photograph's curve at most, the newest one among them."""


@dataclass(frozen=True)
class MistakesFilter:
    """Which photographs are listed.

    Attributes:
        cell: Only those of this cell (label, prediction) of the confusion matrix.
        reference: Only those that changed sides since this epoch, counted from 0.
        never_correct: Only those that were wrong in every epoch.
    """

    cell: tuple[int, int] | None = None
    reference: int | None = None
    never_correct: bool = False


@dataclass(frozen=True)
class MistakesList:
    """The photographs of an epoch in the order in which they are shown.

    Attributes:
        checked: The predictions of the epoch.
        order: (n,) indices of photographs.
        wrong: How many predictions are wrong.
        counted: How many count.
    """

    checked: CheckedPredictions
    order: npt.NDArray[np.intp]
    wrong: int
    counted: int


@dataclass(frozen=True)
class PhotographHistory:
    """Figures of one photograph over the epochs.

    Attributes:
        epochs: Counted from 0, ascending.
        names: Of the figures: the classes, whose probabilities they are, or "margin".
        values: (len(epochs), len(names)), NaN where they are not known.
    """

    epochs: tuple[int, ...]
    names: tuple[str, ...]
    values: Floats


@dataclass(frozen=True)
class Figures:
    """Figures of an epoch, see `facegender.evaluation.metrics`.

    Attributes:
        confusion: (K, K) counts.
        roc: False and true positive rates of one class against all others.
        roc_auc: Area below that curve; NaN where a side has no photographs.
    """

    classes: Sequence[str]
    confusion: npt.NDArray[np.int64]
    reliability: Reliability
    calibration_error: float
    roc: tuple[Floats, Floats]
    roc_auc: float


class MistakesReader:
    """Reads the predictions of one run. Several threads may use it."""

    def __init__(self, folder: RunFolder) -> None:
        self.folder = folder
        self._lock = threading.Lock()
        self._kept: LRUCache[tuple[int, int], CheckedPredictions] = LRUCache(EPOCHS_KEPT)
        self._never: tuple[object, Mask] | None = None
        self._suspects: tuple[object, list[Suspect]] | None = None

    def photographs(self) -> Photographs:
        """Return the names of the photographs; none where the run has no list of them."""
        return read_photographs(self.folder) or Photographs([], [])

    def suspects(self) -> list[Suspect]:
        """Return the photographs with the most doubtful labels.

        Raises:
            UserError: The run has no predictions that can be read.
        """
        stamp, kept = self._stamp(self.folder.prediction_epochs()), self._suspects
        if kept is None or kept[0] != stamp:
            kept = self._suspects = stamp, rank_suspects(self.folder, first=MAX_SUSPECTS)
        return kept[1]

    def figures(self, epoch: int, positive: int) -> Figures:
        """Compute the figures of an epoch, counted from 0.

        Args:
            positive: Index of the class that the ROC curve tells from all others.

        Raises:
            PredictionsUnreadable: Its file is missing or damaged.
        """
        predictions = read_predictions(self.folder.predictions_path(epoch))
        labels, logits, classes = predictions.labels, predictions.logits, len(predictions.classes)
        probabilities = softmax(logits)
        scores = probabilities[:, min(positive, classes - 1)]
        known = counted_rows(logits, labels)
        return Figures(
            classes=predictions.classes,
            confusion=confusion(labels, predicted_labels(logits), classes),
            reliability=reliability(probabilities, labels),
            calibration_error=calibration_error(probabilities, labels),
            roc=roc_curve(scores[known], labels[known] == positive),
            roc_auc=roc_auc(scores[known], labels[known] == positive),
        )

    def checked(self, epoch: int) -> CheckedPredictions:
        """Return the checked predictions of an epoch, counted from 0.

        Raises:
            PredictionsUnreadable: Its file is missing or damaged.
        """
        path = self.folder.predictions_path(epoch)
        try:
            key = epoch, path.stat().st_mtime_ns  # a resumed run writes some epochs again
        except OSError as error:
            raise PredictionsUnreadable(f"{path.name} cannot be read ({error.strerror})") from None
        with self._lock:
            kept = self._kept.get(key)
        if kept is None:
            kept = check_predictions(read_predictions(path))
            with self._lock:
                self._kept[key] = kept
        return kept

    def list(self, epoch: int, filter: MistakesFilter, epochs: Sequence[int]) -> MistakesList:
        """Order the photographs of an epoch.

        Args:
            epoch: Counted from 0.
            filter: Which photographs are wanted.
            epochs: All epochs with predictions, for those that were never correct.

        Raises:
            PredictionsUnreadable: The file of the epoch, or of the reference, is missing or damaged.
        """
        checked = self.checked(epoch)
        reference = None if filter.reference is None else self.checked(filter.reference)
        among = self._never_correct(epochs, len(checked.labels)) if filter.never_correct else None
        order = worst_first(checked, cell=filter.cell, reference=reference, among=among)
        return MistakesList(checked, order, int(checked.wrong.sum()), int(checked.counted.sum()))

    def _never_correct(self, epochs: Sequence[int], count: int) -> Mask:
        stamp, never = self._stamp(epochs), self._never
        if never is None or never[0] != stamp or len(never[1]) != count:
            never = self._never = stamp, never_correct(read_checked(self.folder, epochs), count)
        return never[1]

    def _stamp(self, epochs: Sequence[int]) -> object:
        """Return something that changes when an epoch is added, or written again by a resumed run."""
        return [(epoch, modified(self.folder.predictions_path(epoch))) for epoch in epochs]

    def history(self, index: int, epochs: Sequence[int]) -> PhotographHistory:
        """Return the probabilities of a validation photograph in evenly spaced epochs that can be read."""
        rows: dict[int, Floats] = {}
        names: tuple[str, ...] = ()
        for epoch, read in self._rows(epochs, "validation", index):
            if len(names) not in (0, len(read.values)):
                rows.clear()  # a resumed run has found more classes
            names = tuple(read.classes)
            rows[epoch] = softmax(read.values[None])[0]
        return PhotographHistory(tuple(rows), names, np.array(list(rows.values())).reshape(len(rows), len(names)))

    def margins(self, index: int, epochs: Sequence[int]) -> PhotographHistory:
        """Return the margins of a training photograph in evenly spaced epochs that can be read."""
        rows = {epoch: float(read.values) for epoch, read in self._rows(epochs, "train", index)}
        return PhotographHistory(tuple(rows), ("margin",), np.array(list(rows.values()), float).reshape(-1, 1))

    def _rows(self, epochs: Sequence[int], part: Part, index: int) -> Iterator[tuple[int, PredictionRow]]:
        step = max(1, -(-len(epochs) // MAX_CURVE_EPOCHS))
        for epoch in epochs[::-1][::step][::-1]:
            with contextlib.suppress(PredictionsUnreadable):
                yield epoch, read_prediction_row(self.folder.predictions_path(epoch), part, index)


def short_name(name: str) -> str:
    """Return the file name of a photograph, safe to show."""
    return one_line(PurePosixPath(name).name)
