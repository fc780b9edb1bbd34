"""``epoch_N_predictions.safetensors``: what the network said of every validation photograph after an epoch.

Tensors, for N validation and M training photographs in the order of ``photographs.json``, and K classes:

- ``validation/logits`` (N, K) float32; a row of NaN where a photograph was not validated
- ``validation/labels`` (N,) int64, index into ``classes`` of the metadata; -1 where the label is none of them
- ``train/margin`` (M,) float32: the logit of the label minus the largest other one, when the photograph was last
  trained on in this epoch; NaN where it was not. M is 0 where the recorder does not know which photographs a batch has
- ``train/labels`` (M,) int64, likewise
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt

from facegender.runs.folder import RunFolder
from facegender.runs.tensors import DamagedTensors, open_tensors, write_tensors
from facegender.support.arrays import Float32Array
from facegender.support.errors import UserError
from facegender.support.text import printable_strings

Labels = npt.NDArray[np.int64]

MAX_CLASSES = 10_000
"""A confusion matrix of so many takes 800 MB."""
MAX_NAMED = 12
"""Epochs that an error message names."""


class Predictions(msgspec.Struct, frozen=True, kw_only=True):
    """The tensors of the file.

    Attributes:
        epoch: Counted from 0.
        classes: Names of the K classes.
        logits: (N, K) float32.
        labels: (N,) int64.
        margins: (M,) float32.
        train_labels: (M,) int64.
    """

    epoch: int
    classes: Sequence[str]
    logits: Float32Array
    labels: Labels
    margins: Float32Array
    train_labels: Labels


class PredictionsUnreadable(Exception):
    """A file of predictions is missing or damaged; the message is one line."""


def write_predictions(path: Path, predictions: Predictions) -> None:
    """Write a file of predictions; it appears whole or not at all.

    Raises:
        OSError: The disk is full or gone.
    """
    tensors: dict[str, npt.NDArray[Any]] = {
        "validation/logits": np.ascontiguousarray(predictions.logits, dtype=np.float32),
        "validation/labels": np.ascontiguousarray(predictions.labels, dtype=np.int64),
        "train/margin": np.ascontiguousarray(predictions.margins, dtype=np.float32),
        "train/labels": np.ascontiguousarray(predictions.train_labels, dtype=np.int64),
    }
    metadata = {"epoch": str(predictions.epoch), "classes": msgspec.json.encode(list(predictions.classes)).decode()}
    write_tensors(path, tensors, metadata)


def read_predictions(path: Path) -> Predictions:
    """Read a file of predictions; its strings are safe to print.

    Raises:
        PredictionsUnreadable: The file is missing or damaged.
    """
    with open_tensors(path, PredictionsUnreadable) as file:
        predictions = Predictions(
            epoch=msgspec.json.decode(file.metadata["epoch"], type=int),
            classes=printable_strings(msgspec.json.decode(file.metadata["classes"], type=list[str])),
            logits=file.tensor("validation/logits"),
            labels=file.tensor("validation/labels"),
            margins=file.tensor("train/margin"),
            train_labels=file.tensor("train/labels"),
        )
        check_shapes(predictions)
    return predictions


def prediction_epochs(run: RunFolder) -> list[int]:
    """The epochs of a run that have predictions, in order and counted from 0; at least one.

    Raises:
        UserError: There are none.
    """
    if epochs := run.prediction_epochs():
        return epochs
    raise UserError(
        f"run {run.name} has no predictions: they are recorded when an epoch ends, and not by earlier versions"
    )


def predictions_of(run: RunFolder, epoch: int) -> Predictions:
    """Read the predictions of an epoch of a run, counted from 0.

    Raises:
        UserError: There are none of this epoch, or they cannot be read; the message names some epochs that have some.
    """
    epochs = prediction_epochs(run)
    if epoch not in epochs:
        known = ", ".join(str(one + 1) for one in epochs[-MAX_NAMED:])
        which = "the newest are of" if len(epochs) > MAX_NAMED else "it has those of"
        raise UserError(f"run {run.name} has no predictions of epoch {epoch + 1}; {which} {known}")
    try:
        return read_predictions(run.predictions_path(epoch))
    except PredictionsUnreadable as error:
        raise UserError(f"run {run.name}: {error}; choose another epoch") from None


class PredictionRow(NamedTuple):
    """What a file of predictions says of one photograph.

    Attributes:
        classes: Names of the K classes.
        values: (K,) float32, its logits; of a training photograph () float32, its margin.
    """

    classes: Sequence[str]
    values: Float32Array


def read_prediction_row(path: Path, part: Literal["train", "validation"], index: int) -> PredictionRow:
    """Read what belongs to one photograph, and nothing else of the file; its strings are safe to print.

    Raises:
        PredictionsUnreadable: The file is missing or damaged, or has no such photograph.
    """
    name = "validation/logits" if part == "validation" else "train/margin"
    with open_tensors(path, PredictionsUnreadable) as file:
        classes = printable_strings(msgspec.json.decode(file.metadata["classes"], type=list[str]))
        values = file.tensor(name, index)
        if values.shape != ((len(classes),) if part == "validation" else ()) or values.dtype != np.float32:
            raise DamagedTensors(f"has {name} of another type or shape")
    return PredictionRow(classes, values)


def check_shapes(predictions: Predictions) -> None:
    """Raise `DamagedTensors` if the arrays do not fit each other."""
    count, trained, classes = predictions.labels.size, predictions.train_labels.size, len(predictions.classes)
    if not 1 <= classes <= MAX_CLASSES:
        raise DamagedTensors(f"has {classes} classes, not 1 to {MAX_CLASSES}")
    arrays: dict[str, tuple[npt.NDArray[Any], type[np.generic], tuple[int, ...]]] = {
        "validation/logits": (predictions.logits, np.float32, (count, classes)),
        "validation/labels": (predictions.labels, np.int64, (count,)),
        "train/margin": (predictions.margins, np.float32, (trained,)),
        "train/labels": (predictions.train_labels, np.int64, (trained,)),
    }
    for name, (array, dtype, shape) in arrays.items():
        if array.dtype != dtype or array.shape != shape:
            raise DamagedTensors(f"has {name} of another type or shape")
    for name, labels in (("validation/labels", predictions.labels), ("train/labels", predictions.train_labels)):
        if labels.size and not -1 <= labels.min() <= labels.max() < classes:
            raise DamagedTensors(f"has {name} that are no classes")
