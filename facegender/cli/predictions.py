"""The predictions of a network for labelled photographs: computed with a checkpoint, or recorded in training."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from facegender.cli.options import Split
from facegender.cli.progress import progress_bar
from facegender.evaluation.metrics import Int64Array, softmax
from facegender.runs.checkpoints import Checkpoint
from facegender.runs.folder import RunFolder, trained_by_script
from facegender.runs.photographs import read_photographs
from facegender.runs.predictions import PredictionsUnreadable, prediction_epochs, predictions_of, read_predictions
from facegender.runs.summary import summarise
from facegender.support.arrays import Float32Array
from facegender.support.errors import UserError, print_error
from facegender.support.files import is_folder
from facegender.support.text import counted, printable

if TYPE_CHECKING:
    from facegender.classifier import Classifier

_PARTS: dict[Split, str] = {"validation": "validation photograph", "train": "training photograph", "all": "photograph"}

MAX_DRIFT = 0.1
"""Largest difference of a probability to that of the training, whose precision may be bf16."""


@dataclass(frozen=True, kw_only=True)
class LabelledPredictions:
    """The predictions of a network for N labelled photographs.

    Attributes:
        network: What predicted, e.g. "run otter-3, best.ckpt, epoch 3 of 10".
        part: What one of the photographs is, e.g. "validation photograph".
        origin: Where the photographs are from, e.g. "run otter-3".
        source: The same for JSON.
        classes: K names.
        logits: (N, K) float32; a row of NaN where there is no prediction.
        labels: (N,) int64; -1 where the label is none of the classes.
        names: Of the photographs, as they are on the disk; empty where they are not known.
        problems: Why there is no prediction, by index.
        temperature: That divides the logits before the softmax.
    """

    network: str
    part: str
    origin: str
    source: dict[str, Any]
    classes: Sequence[str]
    logits: Float32Array
    labels: Int64Array
    names: Sequence[str]
    problems: dict[int, str] = field(default_factory=dict)
    temperature: float = 1.0


def recorded_predictions(run: RunFolder, epoch: int | None = None) -> LabelledPredictions:
    """Read the predictions that training recorded.

    Args:
        run: A run of this program or of a script.
        epoch: Counted from 0; None means the best epoch, or the newest if the best has none.

    Raises:
        UserError: There are none, or they cannot be read.
    """
    epochs, summary = prediction_epochs(run), summarise(run)
    if epoch is None:
        epoch = summary.best_epoch if summary.best_epoch in epochs else epochs[-1]
    predictions = predictions_of(run, epoch)
    photographs = read_photographs(run)
    names = photographs.validation if photographs else []
    return LabelledPredictions(
        network=f"run {run.name}, epoch {epoch + 1} of {summary.epochs}, recorded in training",
        part="validation photograph",
        origin=f"run {run.name}",
        source={"run": run.name, "epoch": epoch, "recorded": True, "data": summary.data, "split": "validation"},
        classes=predictions.classes,
        logits=predictions.logits,
        labels=predictions.labels,
        names=names if len(names) == len(predictions.labels) else [],
    )


def computed_predictions(
    checkpoint: Checkpoint, data: Path | None, split: Split | None
) -> tuple[LabelledPredictions, Classifier]:
    """Classify photographs with a checkpoint.

    Args:
        checkpoint: Of a run or not.
        data: Folder of labelled photographs; None means that of the run.
        split: Part of the run's photographs, which are looked for in ``data``; None means the validation part, or all
            photographs of ``data``, be they of the run or not.

    Raises:
        UserError: The checkpoint or the photographs cannot be read.
    """
    if data is None:
        split = split or "validation"
    photographs = _listed(data) if data is not None and split is None else _of_run(checkpoint, data, split or "all")
    from facegender.classifier import load_classifier
    from facegender.data.dataset import CLASSES

    classifier = load_classifier(checkpoint.path)
    if set(classifier.classes) != set(CLASSES):
        raise UserError(f"{printable(checkpoint.path)}: has other classes than {' and '.join(CLASSES)}")
    if split is None:
        _warn_of_training_photographs(checkpoint, photographs)
    logits, problems = _classify(classifier, photographs)
    if split == "validation":
        _warn_of_changes(checkpoint, classifier.epoch, photographs, logits)
    order = np.array([classifier.classes.index(name) for name in CLASSES])
    predictions = LabelledPredictions(
        network=checkpoint.describe(classifier.epoch, classifier.temperature),
        part=photographs.part,
        origin=photographs.origin,
        source={
            "run": checkpoint.run.name if checkpoint.run else None,
            "checkpoint": printable(checkpoint.path),
            "epoch": classifier.epoch,
            "recorded": False,
            "data": printable(photographs.folder),
            "split": split or "all",
        },
        classes=classifier.classes,
        logits=logits,
        labels=np.where(photographs.labels < 0, -1, order[photographs.labels]),
        names=photographs.names,
        problems=problems,
        temperature=classifier.temperature,
    )
    return predictions, classifier


@dataclass(frozen=True)
class _Labelled:
    """Photographs with labels, and how to read one by its name."""

    part: str
    origin: str
    folder: str
    names: Sequence[str]
    labels: Int64Array
    read: Callable[[str], Any]


def _listed(data: Path) -> _Labelled:
    """All photographs of a folder with one folder for each class."""
    from facegender.data.dataset import find_data_folder, list_labelled_files, system_file_reason
    from facegender.data.recorded import open_below

    folder = find_data_folder(str(data), Path())
    files = [(path, label) for path, label in list_labelled_files(folder) if not system_file_reason(path, folder)]
    return _Labelled(
        part="photograph",
        origin=printable(folder),
        folder=str(folder),
        names=[path.relative_to(folder).as_posix() for path, _ in files],
        labels=np.array([label for _, label in files], np.int64),
        read=partial(open_below, folder),
    )


def _of_run(checkpoint: Checkpoint, data: Path | None, split: Split) -> _Labelled:
    """A part of the photographs of the run that a checkpoint belongs to."""
    from facegender.data.dataset import CLASSES, class_named_by
    from facegender.data.recorded import open_below

    run = checkpoint.run
    if run is None:
        raise UserError(f"{printable(checkpoint.path)}: belongs to no run; name labelled photographs with --data DIR")
    manifest, photographs = run.read_manifest(), read_photographs(run)
    if manifest is None:
        raise UserError(f"run {run.name}: {run.manifest_path.name} cannot be read; name photographs with --data DIR")
    if photographs is None:
        raise UserError(
            f"run {run.name} has no list of its photographs, as an earlier version trained it: name labelled "
            "photographs with --data DIR"
        )
    parts = {"validation": photographs.validation, "train": photographs.train}
    names = parts.get(split, photographs.validation + photographs.train)
    labels = {name: label for label, name in enumerate(CLASSES)}
    read: Callable[[str], Any]
    if manifest.config.demo:
        folder = manifest.data
        read = partial(_draw_demo, side=manifest.config.image_size, seed=manifest.config.seed)
    else:
        folder = str(data or manifest.data)
        if not is_folder(Path(folder)):
            raise PhotographsGone(
                f"the photographs of run {run.name} are gone: no folder {printable(folder)}; say where they are with "
                f"--data DIR --split {split}"
            )
        read = partial(open_below, Path(folder))
    return _Labelled(
        part=_PARTS[split],
        origin=f"run {run.name}",
        folder=folder,
        names=names,
        labels=np.array([labels.get(class_named_by(name.partition("/")[0]), -1) for name in names], np.int64),
        read=read,
    )


def _draw_demo(name: str, side: int, seed: int) -> Any:
    from facegender.data.demo.photograph import draw_demo_photograph
    from facegender.data.image import UnreadableImage

    try:
        return draw_demo_photograph(name, side, seed)
    except ValueError as error:
        raise UnreadableImage(str(error)) from None


class PhotographsGone(UserError):
    """The folder of a run's photographs is not there."""


def _warn_of_changes(checkpoint: Checkpoint, epoch: int, photographs: _Labelled, logits: Float32Array) -> None:
    """Say which validation photographs are no longer those of the training, going by what it predicted for them."""
    run = checkpoint.run
    if run is None or epoch not in run.prediction_epochs():
        return
    try:
        recorded = read_predictions(run.predictions_path(epoch)).logits
    except PredictionsUnreadable:
        return
    if recorded.shape != logits.shape:
        return
    changed = np.flatnonzero(np.abs(softmax(recorded) - softmax(logits)).max(1) > MAX_DRIFT)
    if len(changed):
        first = printable(photographs.names[changed[0]])
        print_error(
            f"{len(changed)} of {len(logits)} photographs changed since run {run.name} was trained, e.g. {first}"
        )


def _warn_of_training_photographs(checkpoint: Checkpoint, photographs: _Labelled) -> None:
    """Say how many of the photographs of a folder the network was trained on."""
    run = checkpoint.run
    manifest, own = (run.read_manifest(), read_photographs(run)) if run else (None, None)
    if run and manifest and own and Path(manifest.data).resolve() == Path(photographs.folder).resolve():
        seen = len(set(own.train).intersection(photographs.names))
        print_error(f"run {run.name} was trained on {seen} of these photographs; without --data only the others count")


def _classify(classifier: Classifier, photographs: _Labelled) -> tuple[Float32Array, dict[int, str]]:
    """Logits (N, K) of all photographs, and why some have none."""
    from facegender.data.image import UnreadableImage

    names = photographs.names
    logits = np.full((len(names), len(classifier.classes)), np.nan, np.float32)
    problems: dict[int, str] = {}
    with progress_bar("classifying", len(names)) as advance:
        for index, result in enumerate(classifier.logits(names, photographs.read)):
            if isinstance(result, UnreadableImage):
                problems[index] = str(result)
            else:
                logits[index] = result
            advance()
    if problems:
        first = next(iter(problems))
        more = f", and {len(problems) - 1} more" if len(problems) > 1 else ""
        print_error(
            f"{len(problems)} of {counted(len(names), 'photograph')} cannot be read and {'do' if more else 'does'} not "
            f"count: {printable(names[first])} ({problems[first]}){more}"
        )
    return logits, problems


def by_script(run: RunFolder) -> str:
    """Say in a clause that a script trained the run; empty if this program did."""
    manifest = run.read_manifest()
    return trained_by_script(manifest) if manifest and manifest.script else ""
