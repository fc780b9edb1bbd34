"""``facegender report``: a page of charts about runs, for printing."""

from __future__ import annotations

import time
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from facegender.cli.options import Root, not_empty, to_path
from facegender.cli.output import CHARTS, check_output, write_chart
from facegender.runs.calibration import read_calibration
from facegender.runs.comparison import WITHOUT_INFLUENCE, differences, setting_text
from facegender.runs.config import FIELDS
from facegender.runs.events import EpochFinished, RequestDone, RunStarted, changes_until
from facegender.runs.folder import Manifest, RunFolder, open_run
from facegender.runs.journal import read_kinds
from facegender.runs.presets import unused_fields
from facegender.runs.summary import RunSummary, finished_epochs, summarise
from facegender.support.errors import UserError, print_error
from facegender.support.text import counted, end_of, figure, one_line, printable, printable_strings, thousands

if TYPE_CHECKING:
    from facegender.rendering.charts import Curve, NamedPredictions


def report(
    runs: Annotated[list[str], typer.Argument(metavar="RUN...", parser=not_empty, help="One or more runs.")],
    output: Annotated[
        Path,
        typer.Option("--output", metavar="F.pdf|png|svg", parser=to_path, help="The file to write."),
    ] = Path("report.pdf"),
    root: Root = Path(),
) -> None:
    """Write a page of charts: curves, ROC, reliability, confusion, and what differs between the runs.

    ROC, reliability and confusion are those of the best epoch, from the predictions recorded in training.
    """
    names = list(dict.fromkeys(runs))
    folders = [open_run(root, name) for name in names]
    check_output(output, "--output", *CHARTS)
    from facegender.rendering import charts

    if len(names) > charts.MAX_RUNS:
        raise UserError(f"{len(names)} runs are too many to tell apart: name at most {charts.MAX_RUNS}")
    summaries = [printable_strings(summarise(folder)) for folder in folders]
    manifests = [folder.read_manifest() for folder in folders]
    loss: list[Curve] = []
    accuracy: list[Curve] = []
    predictions: list[tuple[int, NamedPredictions]] = []
    for index, folder in enumerate(folders):
        epochs = finished_epochs(folder)[1]
        numbers = [epoch + 1 for epoch in epochs]
        for curves, metric in ((loss, "loss"), (accuracy, "accuracy")):
            for part in ("train", "validation"):
                values = [getattr(event, f"{part}_{metric}") for event in epochs.values()]
                curves.append(charts.Curve(run=index, epochs=numbers, values=values, dashed=part == "train"))
        if not epochs:
            print_error(f"run {folder.name} has no finished epoch yet: its curves are empty")
        if (found := _predictions(folder, epochs)) is not None:
            predictions.append((index, found))
    temperatures = {index: one.temperature for index, one in predictions}
    page = charts.Report(
        title="Report of " + (f"run {names[0]}" if len(names) == 1 else counted(len(names), "run")),
        runs=[_line(summary, temperatures.get(index, 1.0)) for index, summary in enumerate(summaries)],
        note=time.strftime("Written %Y-%m-%d %H:%M. Labels are those of the data."),
        loss=loss,
        accuracy=accuracy,
        predictions=predictions,
        table=_settings(names, manifests),
        changes=[charts.Change(index, *one) for index, folder in enumerate(folders) for one in _changes(folder)],
    )
    write_chart(charts.report_figure(page), output, "--output")
    print(f"{printable(output)}: {', '.join(names)}")


def _predictions(folder: RunFolder, epochs: dict[int, EpochFinished]) -> NamedPredictions | None:
    """What training recorded at the best epoch, with the temperature if its checkpoint is calibrated."""
    from facegender.cli.predictions import recorded_predictions
    from facegender.rendering.charts import NamedPredictions

    try:
        recorded = recorded_predictions(folder)
    except UserError as error:
        print_error(f"{error}; its ROC, reliability and confusion are left out")
        return None
    epoch = recorded.source["epoch"]
    step = epochs[epoch].step if epoch in epochs else -1
    calibration = read_calibration(folder.best_checkpoint, epoch, step)
    return NamedPredictions(
        name=f"{folder.name}, epoch {epoch + 1}",
        classes=recorded.classes,
        logits=recorded.logits,
        labels=recorded.labels,
        temperature=calibration.temperature if calibration else 1.0,
    )


def _changes(folder: RunFolder) -> list[tuple[float, str]]:
    """What requests have changed while the run was trained, each with the epochs trained before."""
    changes: tuple[RequestDone, ...] = ()
    steps_per_epoch = 1
    for event in read_kinds(folder.journal_path, RunStarted, RequestDone):
        if isinstance(event, RunStarted):
            changes, steps_per_epoch = changes_until(changes, event.start_step), max(1, event.steps_per_epoch)
        elif isinstance(event, RequestDone) and event.change:
            changes = (*changes, event)
    return [(change.step / steps_per_epoch, change.change) for change in changes]


def _line(run: RunSummary, temperature: float) -> str:
    best = f", best accuracy {figure(run.best_accuracy)} at epoch {run.best_epoch + 1}" if run.best_epoch >= 0 else ""
    calibrated = "" if temperature == 1 else f", temperature {temperature:.3g}"
    note = f" ({run.note})" if run.note else ""
    epochs = f"{run.epochs_done} of {run.epochs} epochs"
    return f"{run.run}: {run.state}, {epochs}{best}{calibrated}, {end_of(run.data, 30)}{note}"


def _settings(names: list[str], manifests: list[Manifest | None]) -> list[list[str]]:
    """What differs between several runs, or the settings of one in two columns; rows of cells below the heads."""
    if len(names) > 1:
        rows = [[row.label, *(one_line(setting_text(value)) for value in row.values)] for row in differences(manifests)]
        return [["setting", *names], *rows] if rows else []
    (manifest,) = manifests
    if manifest is None or manifest.script:
        return []
    config = manifest.config
    left_out = {*unused_fields(config.recipe, config.network), *WITHOUT_INFLUENCE}
    left_out |= {"data"} if config.demo else {"demo", "demo_faces"}
    shown = [name for name in FIELDS if name not in left_out]
    cells = [[FIELDS[name].label, one_line(setting_text(getattr(config, name)))] for name in shown]
    cells.append(["parameters", thousands(manifest.parameters)])
    half = -(-len(cells) // 2)
    pairs = zip_longest(cells[:half], cells[half:], fillvalue=["", ""])
    return [["setting", "", "setting", ""], *([*left, *right] for left, right in pairs)]
