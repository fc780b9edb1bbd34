"""What the mistakes screen shows of a run: reads files and computes, so its functions are called in a thread."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

import numpy as np
import numpy.typing as npt
from cachetools import LRUCache

from facegender.evaluation.metrics import softmax
from facegender.evaluation.mistakes import Mask, Outcomes, never_right, outcomes_of, read_outcomes, worst_first
from facegender.runs.folder import RunFolder
from facegender.runs.photographs import read_photographs
from facegender.runs.predictions import PredictionsUnreadable, read_logits_of, read_predictions
from facegender.support.text import one_line

Floats = npt.NDArray[np.float64]

EPOCHS_KEPT = 8
"""Epochs whose outcomes are kept: 1.3 MB each for 40 000 photographs."""
MAX_CURVE_EPOCHS = 200
"""Epochs of a photograph's curve at most, the newest one among them."""


@dataclass(frozen=True)
class MistakesFilter:
    """Which photographs are listed.

    Attributes:
        cell: Only those of this cell (label, answer) of the confusion matrix.
        reference: Only those that changed sides since this epoch, counted from 0.
        never_right: Only those that were wrong in every epoch.
    """

    cell: tuple[int, int] | None = None
    reference: int | None = None
    never_right: bool = False


@dataclass(frozen=True)
class MistakesList:
    """The photographs of an epoch in the order in which they are shown.

    Attributes:
        outcomes: Of the epoch.
        order: (n,) indices of photographs.
        wrong: How many of all photographs differ from their label.
        counted: How many count.
    """

    outcomes: Outcomes
    order: npt.NDArray[np.intp]
    wrong: int
    counted: int


@dataclass(frozen=True)
class PhotographHistory:
    """The probabilities of one photograph over the epochs.

    Attributes:
        epochs: Counted from 0.
        probabilities: (len(epochs), K), NaN where it was not validated.
    """

    epochs: tuple[int, ...]
    probabilities: Floats


class OutcomeReader:
    """Reads the predictions of one run. Several threads may use it."""

    def __init__(self, folder: RunFolder) -> None:
        self.folder = folder
        self._lock = threading.Lock()
        self._kept: LRUCache[tuple[int, int], Outcomes] = LRUCache(EPOCHS_KEPT)
        self._never: tuple[tuple[int, ...], Mask] | None = None

    def names(self) -> Sequence[str]:
        """Return the names of the validation photographs as in ``photographs.json``; empty where there are none."""
        photographs = read_photographs(self.folder)
        return photographs.validation if photographs is not None else ()

    def outcomes(self, epoch: int) -> Outcomes:
        """Return the outcomes of an epoch, counted from 0.

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
            kept = outcomes_of(read_predictions(path))
            with self._lock:
                self._kept[key] = kept
        return kept

    def list(self, epoch: int, filter: MistakesFilter, epochs: Sequence[int]) -> MistakesList:
        """Order the photographs of an epoch.

        Args:
            epoch: Counted from 0.
            filter: Which photographs are wanted.
            epochs: All epochs with predictions, for those that were never right.

        Raises:
            PredictionsUnreadable: The file of the epoch, or of the reference, is missing or damaged.
        """
        outcomes = self.outcomes(epoch)
        reference = None if filter.reference is None else self.outcomes(filter.reference)
        among = self._never_right(tuple(epochs), len(outcomes.labels)) if filter.never_right else None
        order = worst_first(outcomes, cell=filter.cell, reference=reference, among=among)
        return MistakesList(outcomes, order, int(outcomes.wrong.sum()), int(outcomes.counted.sum()))

    def _never_right(self, epochs: tuple[int, ...], count: int) -> Mask:
        never = self._never
        if never is None or never[0] != epochs or len(never[1]) != count:
            never = self._never = epochs, never_right(read_outcomes(self.folder, epochs), count)
        return never[1]

    def history(self, index: int, epochs: Sequence[int]) -> PhotographHistory:
        """Return the probabilities of a photograph in evenly spaced epochs; files that cannot be read are left out."""
        step = max(1, -(-len(epochs) // MAX_CURVE_EPOCHS))
        rows: dict[int, Floats] = {}
        for epoch in epochs[::-1][::step][::-1]:
            try:
                logits, _ = read_logits_of(self.folder.predictions_path(epoch), index)
            except PredictionsUnreadable:
                continue
            rows[epoch] = softmax(logits[None])[0]
        classes = max(map(len, rows.values()), default=0)
        rows = {epoch: row for epoch, row in rows.items() if len(row) == classes}
        return PhotographHistory(tuple(rows), np.array(list(rows.values())).reshape(len(rows), classes))


def short_name(name: str) -> str:
    """Return the file name of a photograph, safe to show."""
    return one_line(PurePosixPath(name).name)
