"""``facegender evaluate``: how good a network is on labelled photographs, and its calibration."""

from __future__ import annotations

import dataclasses
import heapq
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import typer

from facegender.cli.options import Json, Root, Split, not_empty, to_path
from facegender.cli.output import check_output, make_folder, write_chart, write_csv
from facegender.runs.calibration import FILE_NAME, Calibration, write_calibration
from facegender.runs.checkpoints import Checkpoint, find_checkpoint
from facegender.runs.folder import open_run
from facegender.support.errors import UserError, print_error
from facegender.support.files import expanded, is_file
from facegender.support.text import counted, figure, json_line, measured, printable

if TYPE_CHECKING:
    from facegender.classifier import Classifier
    from facegender.cli.predictions import LabelledPredictions
    from facegender.evaluation.metrics import Evaluation, TemperatureCheck

WIDTH = 80
MAX_NAME = 20
"""Characters of a class's name in a table."""
MAX_CLASSES = 20
MAX_CONFUSIONS = 10
"""Lines, where the confusion matrix is wider than a terminal."""


def evaluate(
    run: Annotated[
        str | None,
        typer.Argument(
            metavar="RUN|FILE",
            parser=not_empty,
            show_default=False,
            help="A run, or a checkpoint file; default: the newest run on photographs.",
        ),
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(
            "--data", metavar="DIR", parser=to_path, help="Folder with female/ and male/; default: that of the run."
        ),
    ] = None,
    split: Annotated[
        Split | None,
        typer.Option("--split", help="Part of the run's photographs; default: validation, with --data the whole DIR."),
    ] = None,
    recorded: Annotated[
        bool,
        typer.Option(
            "--recorded", metavar="", help="Take the predictions recorded in training, as for runs of scripts."
        ),
    ] = False,
    epoch: Annotated[
        int | None,
        typer.Option("--epoch", metavar="N", min=1, help="Take those recorded in this epoch, counted from 1."),
    ] = None,
    calibrate: Annotated[
        bool,
        typer.Option(
            "--calibrate",
            metavar="",
            help="Fit a temperature on the validation photographs; predict then uses it.",
        ),
    ] = False,
    plots: Annotated[
        Path | None,
        typer.Option("--plots", metavar="DIR", parser=to_path, help="Save confusion, ROC and reliability as PNG."),
    ] = None,
    csv_file: Annotated[
        Path | None,
        typer.Option("--csv", metavar="F.csv", parser=to_path, help="Write the prediction for each photograph."),
    ] = None,
    json: Json = False,
    root: Root = Path(),
) -> None:
    """Measure a network on labelled photographs: accuracy, F1, ROC-AUC, calibration and confusion.

    By default on the validation photographs of the run, with its best checkpoint (the newest while it trains).
    """
    if csv_file is not None:
        check_output(csv_file, "--csv")
    if plots is not None:
        make_folder(plots, "--plots")
    if calibrate and (data is not None or split is not None or recorded or epoch is not None):
        raise UserError(
            "--calibrate uses the validation photographs of the run: leave out --data, --split, --recorded and --epoch"
        )
    if (recorded or epoch is not None) and (data is not None or split is not None):
        raise UserError("--recorded and --epoch are of the validation photographs: leave out --data and --split")
    predictions, check = _predictions(root, run, data, split, recorded or epoch is not None, epoch, calibrate=calibrate)
    from facegender.evaluation import metrics

    try:
        evaluation = metrics.evaluate(
            predictions.logits, predictions.labels, predictions.classes, predictions.temperature
        )
    except metrics.NothingToEvaluate:
        raise UserError(
            f"no {predictions.part} of {predictions.origin} could be read; name others with --data DIR"
        ) from None
    plain = (
        metrics.evaluate(predictions.logits, predictions.labels, predictions.classes)
        if predictions.temperature != 1
        else None
    )
    if csv_file is not None:
        _write_csv(csv_file, predictions)
    if plots is not None:
        _write_plots(plots, predictions)
    if json:
        print(json_line(_as_json(predictions, evaluation, plain, check)))
    else:
        lines = [*_check_lines(check), f"stored in {FILE_NAME} of the run", ""] if check else []
        print("\n".join([*lines, *_as_text(predictions, evaluation, plain)]))


def _predictions(
    root: Path,
    name: str | None,
    data: Path | None,
    split: Split | None,
    recorded: bool,
    epoch: int | None,
    *,
    calibrate: bool,
) -> tuple[LabelledPredictions, TemperatureCheck | None]:
    """Read or compute the predictions; with ``calibrate`` they have the temperature that was stored."""
    from facegender.cli.predictions import PhotographsGone, by_script, computed_predictions, recorded_predictions

    is_path = name is None or os.sep in name or expanded(name).suffix == ".ckpt" or is_file(expanded(name))
    run = None if is_path else open_run(root, str(name))
    if recorded and run is None:
        raise UserError("--recorded and --epoch need a run: name one")
    script = by_script(run) if run else ""
    if run and script and (data is not None or calibrate):
        raise UserError(f"{script}, so only its recorded predictions are known: leave out --data and --calibrate")
    if run and (recorded or script):
        return recorded_predictions(run, None if epoch is None else epoch - 1), None
    checkpoint = find_checkpoint(root, name)
    try:
        predictions, classifier = computed_predictions(checkpoint, data, split)
    except PhotographsGone as error:
        run = checkpoint.run
        if run is None or data is not None or split is not None or calibrate or not run.prediction_epochs():
            raise
        print_error(f"{error}; these are the predictions recorded in training")
        return recorded_predictions(run), None
    return _calibrated(predictions, checkpoint, classifier) if calibrate else (predictions, None)


def _calibrated(
    predictions: LabelledPredictions, checkpoint: Checkpoint, classifier: Classifier
) -> tuple[LabelledPredictions, TemperatureCheck]:
    """Fit a temperature, show what it does to photographs that it was not fitted on, and store it.

    Raises:
        UserError: There is no temperature, or it cannot be stored.
        typer.Exit: It does not lower the loss of photographs that it was not fitted on; nothing is stored.
    """
    from facegender.evaluation import metrics

    name, stored = printable(checkpoint.path), checkpoint.path.with_name(FILE_NAME)
    temperature = metrics.fit_temperature(predictions.logits, predictions.labels)
    check = metrics.check_temperature(predictions.logits, predictions.labels)
    if temperature is None or check is None:
        raise UserError(
            f"{name}: no temperature fits, because all its predictions are correct, or no better than chance"
        )
    if not check.helps:
        print("\n".join(_check_lines(check)))
        print_error(f"{name}: the log loss of a half is no lower with the temperature of the other; nothing is stored")
        raise typer.Exit(1)
    count = int(metrics.counted_rows(predictions.logits, predictions.labels).sum())
    fitted = Calibration(temperature=temperature, epoch=classifier.epoch, step=classifier.step, photographs=count)
    try:
        write_calibration(checkpoint.path, fitted)
    except OSError as error:
        raise UserError(f"{printable(stored)}: cannot be written ({error.strerror})") from None
    network = checkpoint.describe(classifier.epoch, temperature)
    return dataclasses.replace(predictions, temperature=temperature, network=network), check


# What is printed and written -----------------------------------------------------------------------------------------


def _range(interval: tuple[float, float]) -> str:
    return f"{figure(interval[0])} to {figure(interval[1])}"


def _as_json(
    predictions: LabelledPredictions, evaluation: Evaluation, plain: Evaluation | None, check: TemperatureCheck | None
) -> dict[str, Any]:
    """One object; epochs count from 0."""
    figures = ("calibration_error", "calibration_error_interval", "negative_log_likelihood")
    problems = [{"file": _name(predictions, index), "reason": reason} for index, reason in predictions.problems.items()]
    return {
        **predictions.source,
        **msgspec.to_builtins(evaluation),
        "uncalibrated": {name: getattr(plain, name) for name in figures} if plain else None,
        "calibration": msgspec.to_builtins(check),
        "unreadable": problems,
    }


def _check_lines(check: TemperatureCheck) -> list[str]:
    """What a temperature does to photographs that it was not fitted on."""
    rows = [(f"log loss, {half} half", *loss) for half, loss in zip(("first", "second"), check.loss, strict=True)]
    rows.append(("calibration error, both", *check.calibration_error))
    low, high = map(_range, check.calibration_error_interval)
    return [
        f"{'each half with the temperature of the other':<44} {'without':>15} {'with':>16}",
        *(f"{name:<44} {before:>15.4f} {after:>16.4f}" for name, before, after in rows),
        f"{'  95% interval':<44} {low:>15} {high:>16}",
    ]


def _as_text(predictions: LabelledPredictions, evaluation: Evaluation, plain: Evaluation | None) -> list[str]:
    """Lines of at most 80 characters, unless the names of the run and its folder are long."""
    figures = [
        ("accuracy", evaluation.accuracy, f"95% interval {_range(evaluation.accuracy_interval)}"),
        ("macro F1", evaluation.macro_f1, ""),
        ("ROC-AUC", evaluation.roc_auc, "mean of each class against the rest" if len(evaluation.classes) > 2 else ""),
        *_calibration_rows(evaluation, "calibrated" if plain else ""),
        *(_calibration_rows(plain, "uncalibrated") if plain else []),
    ]
    rows = [f"{name:<17} {_number(value):>7}  {note}".rstrip() for name, value, note in figures]
    names = [name if len(name) <= MAX_NAME else f"{name[: MAX_NAME - 1]}…" for name in evaluation.classes]
    width = max(17, *map(len, names))
    scores = sorted(zip(names, evaluation.per_class, strict=True), key=lambda pair: pair[1].f1)
    shown = scores[:MAX_CLASSES] if len(scores) > MAX_CLASSES else zip(names, evaluation.per_class, strict=True)
    first = f"class, {MAX_CLASSES} worst" if len(scores) > MAX_CLASSES else "class"
    missing = f" ({len(predictions.problems)} could not be read)" if predictions.problems else ""
    return [
        predictions.network,
        f"{counted(evaluation.photographs, predictions.part)} of {predictions.origin}{missing}",
        "",
        *rows,
        "",
        f"{first:<{width}} {'precision':>9}  {'recall':>7}  {'F1':>7}  {'photographs':>11}",
        *(
            f"{name:<{width}} {figure(score.precision):>9}  {figure(score.recall):>7}  {figure(score.f1):>7}  "
            f"{score.photographs:>11}"
            for name, score in shown
        ),
        "",
        *_confusion_lines(evaluation.confusion, names, width),
    ]


def _calibration_rows(evaluation: Evaluation, note: str) -> list[tuple[str, float, str]]:
    interval = f"95% interval {_range(evaluation.calibration_error_interval)}"
    return [
        ("calibration error", evaluation.calibration_error, f"{interval}{', ' if note else ''}{note}"),
        ("log loss", evaluation.negative_log_likelihood, note),
    ]


def _number(value: float | None) -> str:
    return measured(value)


def _confusion_lines(counts: Sequence[Sequence[int]], names: Sequence[str], width: int) -> list[str]:
    """The confusion matrix, or its largest cells where it is wider than a terminal."""
    cell = max(9, *map(len, names))
    if width + len(names) * (cell + 2) <= WIDTH:
        rows = zip(names, counts, strict=True)
        return [
            f"{'label, predicted':<{width}}" + "".join(f"  {name:>{cell}}" for name in names),
            *(f"{name:<{width}}" + "".join(f"  {count:>{cell}}" for count in row) for name, row in rows),
        ]
    wrong = [(count, row, column) for row, cells in enumerate(counts) for column, count in enumerate(cells)]
    largest = heapq.nlargest(MAX_CONFUSIONS, (cell for cell in wrong if cell[0] and cell[1] != cell[2]))
    lines = [f"{names[row]:<{width}} {names[column]:<{width}} {count:>7}" for count, row, column in largest]
    return [f"{'label':<{width}} {'predicted':<{width}} {'count':>7}", *lines]


def _name(predictions: LabelledPredictions, index: int) -> str:
    return printable(predictions.names[index]) if predictions.names else f"number {index + 1}"


def _write_csv(path: Path, predictions: LabelledPredictions) -> None:
    """Write one line for each photograph: file, label, prediction, probabilities, and why there are none."""
    from facegender.evaluation import metrics

    predicted = metrics.predicted_labels(predictions.logits)
    probabilities = metrics.softmax(predictions.logits, predictions.temperature)
    classes = [*predictions.classes, ""]  # the label -1 is none of them
    rows = [["file", "label", "predicted", "confidence", *predictions.classes, "problem"]]
    for index, (label, prediction, row) in enumerate(zip(predictions.labels, predicted, probabilities, strict=True)):
        numbers = [f"{number:.6f}" for number in (row.max(), *row)] if prediction >= 0 else [""] * (1 + len(row))
        problem = predictions.problems.get(index, "")
        rows.append([_name(predictions, index), classes[label], classes[prediction], *numbers, problem])
    write_csv(path, rows)


def _write_plots(folder: Path, predictions: LabelledPredictions) -> None:
    from facegender.rendering.charts import NamedPredictions, evaluation_figures

    named = NamedPredictions(
        name=predictions.network,
        classes=predictions.classes,
        logits=predictions.logits,
        labels=predictions.labels,
        temperature=predictions.temperature,
    )
    for name, chart in evaluation_figures(named).items():
        write_chart(chart, folder / f"{name}.png", "--plots")
    print_error(f"{printable(folder)}: confusion.png, roc.png, reliability.png")
