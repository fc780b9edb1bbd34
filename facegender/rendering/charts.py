"""Charts of runs as PNG, PDF or SVG, by matplotlib's object interface: nothing global is set, no window is opened.

Runs differ by colour and by marker, training and validation by dashed and solid lines, so that charts can be read in
print and by the colour-blind. matplotlib is imported when the first chart is drawn.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from facegender.evaluation.metrics import (
    CALIBRATION_BINS,
    confusion,
    counted_rows,
    predicted_labels,
    reliability,
    roc_auc,
    roc_curve,
    softmax,
)
from facegender.support.files import replacing
from facegender.support.text import one_line

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

OKABE_ITO = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
"""Okabe and Ito, "Color Universal Design", 2008, https://jfly.uni-koeln.de/color/, without yellow, which vanishes on
white."""
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
MAX_RUNS = 12
"""In one report: more curves than that cannot be told apart."""
MAX_CELLS = 20
"""Classes of a confusion matrix whose cells have room for numbers."""
MAX_NAME = 24
LINE_IN = 0.18
"""Height of a line in the head of a report."""
MAX_DISC = 900
"""Area of a disc for all photographs, in square points."""

MARGIN_IN = 0.4
WIDTH_IN = 8.27 - 2 * MARGIN_IN
"""So that a report is as wide as A4."""
_COLUMNS = 3


@dataclass(frozen=True, kw_only=True)
class NamedPredictions:
    """The predictions of a network for labelled photographs.

    Attributes:
        name: Of the run.
        classes: K names.
        logits: (N, K) float; rows of NaN do not count.
        labels: (N,) int; -1 does not count.
        temperature: Divides the logits.
    """

    name: str
    classes: Sequence[str]
    logits: npt.NDArray[Any]
    labels: npt.NDArray[Any]
    temperature: float = 1.0


@dataclass(frozen=True, kw_only=True)
class Curve:
    """A value of each epoch of a run.

    Attributes:
        run: Index of the run, which colour and marker belong to.
        epochs: (N,) counted from 1.
        values: (N,) float; NaN leaves a gap.
        dashed: Of the training, not of the validation.
    """

    run: int
    epochs: Sequence[int]
    values: Sequence[float]
    dashed: bool = False


class Change(NamedTuple):
    """Something that was changed while a run was trained.

    Attributes:
        run: Index of the run.
        epoch: Where on the axis of `Curve.epochs`, e.g. 1.5 for the middle of the second epoch.
        text: What was changed, in a few characters.
    """

    run: int
    epoch: float
    text: str


@dataclass(frozen=True, kw_only=True)
class Report:
    """What a report shows.

    Attributes:
        title: First line.
        runs: A line about each run; beside it are its colour and its marker.
        note: Last line of the head.
        loss, accuracy: Curves.
        predictions: Of the runs that have some; at most one a run, with the run's index.
        table: Rows of cells below a first row of heads.
        changes: Marks on the curves.
    """

    title: str
    runs: Sequence[str]
    note: str
    loss: Sequence[Curve]
    accuracy: Sequence[Curve]
    predictions: Sequence[tuple[int, NamedPredictions]]
    table: Sequence[Sequence[str]]
    changes: Sequence[Change] = ()


def plain(text: str, width: int = MAX_NAME) -> str:
    """Shorten a name, and escape what matplotlib would read as mathematics (``$``) or hide in a legend (``_``)."""
    text = one_line(text)
    shortened = (text if len(text) <= width else f"{text[: width - 1]}…").replace("$", r"\$")
    return f" {shortened}" if shortened.startswith("_") else shortened


def new_figure(width_in: float, height_in: float) -> Figure:
    """A blank figure in inches that belongs to no window."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width_in, height_in), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def save(figure: Figure, path: Path) -> None:
    """Write a figure in the format of the file's name; the file appears whole or not at all.

    Raises:
        OSError: The file cannot be written.
    """
    form = path.suffix.lower()[1:]
    # Without a date the same figure is the same file.
    metadata = {"pdf": {"CreationDate": None}, "svg": {"Date": None}}.get(form)
    with replacing(path) as temporary, warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")  # such a character becomes a box
        figure.savefig(temporary, format=form, dpi=150, metadata=metadata, bbox_inches="tight", pad_inches=MARGIN_IN)


# Single charts -------------------------------------------------------------------------------------------------------


def draw_curves(axes: Axes, curves: Sequence[Curve], title: str, changes: Sequence[Change] = ()) -> None:
    """Draw curves over the epochs, dashed if they are of the training, and a dotted line with a word at each change."""
    from matplotlib.ticker import MaxNLocator

    for curve in curves:
        colour, marker = _look(curve.run)
        every = max(1, len(curve.epochs) // 8)
        axes.plot(
            curve.epochs, curve.values, color=colour, linewidth=1.0 if curve.dashed else 1.6,
            linestyle=(0, (4, 2)) if curve.dashed else "-", marker=None if curve.dashed else marker, markersize=4,
            markevery=(curve.run % every, every),
        )  # fmt: skip
    for run, epoch, text in changes:
        colour = _look(run)[0]
        axes.axvline(epoch, color=colour, linewidth=0.8, linestyle=":")
        axes.annotate(
            plain(text), (epoch, 0.98), xycoords=axes.get_xaxis_transform(), xytext=(-1, 0), textcoords="offset points",
            rotation=90, ha="right", va="top", fontsize=6, color=colour,
        )  # fmt: skip
    _decorate(axes, title, "epoch", "")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))


def draw_confusion(axes: Axes, predictions: NamedPredictions) -> None:
    """Draw the confusion matrix: share of each label as shade, counts as numbers."""
    classes = [plain(name, 12) for name in predictions.classes]
    counts = confusion(predictions.labels, predicted_labels(predictions.logits), len(classes))
    shares = counts / np.maximum(1, counts.sum(1, keepdims=True))
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    if len(classes) <= MAX_CELLS:
        ticks = range(len(classes))
        axes.set_xticks(ticks, classes, fontsize=7, rotation=0 if len(classes) <= 3 else 90)
        axes.set_yticks(ticks, classes, fontsize=7)
        for row, column in np.ndindex(*counts.shape):
            dark = shares[row, column] > 0.5
            text = str(counts[row, column])
            axes.text(column, row, text, ha="center", va="center", fontsize=8, color="white" if dark else "black")
    axes.tick_params(labelsize=7)
    axes.set_title(plain(predictions.name, 30), fontsize=8)
    axes.set_xlabel("predicted", fontsize=8)
    axes.set_ylabel("label", fontsize=8)


def draw_roc(axes: Axes, predictions: Sequence[tuple[int, NamedPredictions]]) -> None:
    """Draw ROC curves, with the area under each: of two classes that of the second, of more the mean of all."""
    axes.plot([0, 1], [0, 1], color="0.6", linewidth=0.8, linestyle=":")
    grid = np.linspace(0, 1, 501)
    for run, one in predictions:
        probabilities, labels = _counted(one)
        classes = range(1, 2) if len(one.classes) == 2 else range(len(one.classes))
        kept = [label for label in classes if 0 < int((labels == label).sum()) < len(labels)]
        if not kept:
            continue
        curves = [roc_curve(probabilities[:, label], labels == label) for label in kept]
        area = np.mean([roc_auc(probabilities[:, label], labels == label) for label in kept])
        x, y = curves[0] if len(curves) == 1 else (grid, np.mean([np.interp(grid, *curve) for curve in curves], 0))
        _line(axes, run, x, y, f"{area:.3f}")
    _decorate(axes, "ROC, area under the curve", "false positive rate", "true positive rate")
    _limit(axes, 0.0)
    if axes.get_legend_handles_labels()[1]:
        axes.legend(fontsize=7, framealpha=0.85, loc="lower right", ncols=1 + len(predictions) // 7)


def draw_reliability(axes: Axes, predictions: Sequence[tuple[int, NamedPredictions]]) -> None:
    """Draw accuracy by confidence; on the diagonal a confidence of 80 % means that 80 % are correct."""
    axes.plot([0, 1], [0, 1], color="0.6", linewidth=0.8, linestyle=":")
    for run, one in predictions:
        probabilities, labels = _counted(one)
        if not len(labels):
            continue
        bins = reliability(probabilities, labels, CALIBRATION_BINS)
        filled = bins.count > 0
        x, y = bins.confidence[filled], bins.accuracy[filled]
        _line(axes, run, x, y, "", every=1)
        shares = bins.count[filled] / len(labels)
        axes.scatter(x, y, s=MAX_DISC * shares, color=_look(run)[0], alpha=0.25, linewidths=0)
    _decorate(axes, "reliability (disc size: photographs)", "confidence", "accuracy")
    two = all(len(one.classes) == 2 for _, one in predictions)
    _limit(axes, 0.5 if two else 0.0)


def _look(run: int) -> tuple[str, str]:
    return OKABE_ITO[run % len(OKABE_ITO)], MARKERS[run % len(MARKERS)]


def _line(axes: Axes, run: int, x: Any, y: Any, label: str, every: int | None = None) -> None:
    colour, marker = _look(run)
    step = every or max(1, len(x) // 8)
    axes.plot(x, y, color=colour, linewidth=1.5, marker=marker, markersize=4, markevery=(run % step, step), label=label)


def _counted(predictions: NamedPredictions) -> tuple[npt.NDArray[np.float64], npt.NDArray[Any]]:
    counted = counted_rows(predictions.logits, predictions.labels)
    return softmax(predictions.logits[counted], predictions.temperature), predictions.labels[counted]


def _decorate(axes: Axes, title: str, x: str, y: str) -> None:
    axes.set_title(title, fontsize=9)
    axes.set_xlabel(x, fontsize=8)
    axes.set_ylabel(y, fontsize=8)
    axes.tick_params(labelsize=7)
    axes.grid(color="0.9", linewidth=0.6)
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)


def _limit(axes: Axes, low: float) -> None:
    """Show shares from ``low`` to 1 on the x axis and all of them on the y axis."""
    axes.set_xlim(low - 0.05 * (1 - low), 1 + 0.05 * (1 - low))
    axes.set_ylim(-0.05, 1.05)
    axes.set_box_aspect(1)


# Pages ---------------------------------------------------------------------------------------------------------------


def report_figure(report: Report) -> Figure:
    """Draw a report on one page: curves, ROC, reliability, confusion matrices, a table."""
    rows = math.ceil((2 + len(report.predictions)) / _COLUMNS) if report.predictions else 0
    lines = [report.title, *report.runs, report.note]
    heights = [0.2 + LINE_IN * len(lines), 2.6, *([2.5 * rows] if rows else [])]
    heights += [0.2 + 0.19 * len(report.table)] if report.table else []
    figure = new_figure(WIDTH_IN, sum(heights))
    parts = iter(figure.subfigures(len(heights), 1, squeeze=False, height_ratios=heights)[:, 0])
    header = next(parts)
    _draw_head(header.subplots(), report)
    loss, accuracy = next(parts).subplots(1, 2)
    draw_curves(loss, report.loss, "loss (dashed: training)", report.changes)
    draw_curves(accuracy, report.accuracy, "accuracy (dashed: training)", report.changes)
    if rows:
        cells = next(parts).subplots(rows, _COLUMNS, squeeze=False).ravel()
        draw_roc(cells[0], report.predictions)
        draw_reliability(cells[1], report.predictions)
        for axes, (_, one) in zip(cells[2:], report.predictions, strict=False):
            draw_confusion(axes, one)
        for axes in cells[2 + len(report.predictions) :]:
            axes.set_axis_off()
    if report.table:
        _draw_table(next(parts).subplots(), report.table)
    return figure


def _draw_head(axes: Axes, report: Report) -> None:
    """Write the title and a line about each run, beside its colour and marker."""
    axes.set_axis_off()
    axes.set_xlim(0, 1)
    axes.set_ylim(len(report.runs) + 1.5, -1)
    axes.text(0, -0.5, plain(report.title, 80), fontsize=13, fontweight="bold", va="center")
    for index, line in enumerate(report.runs):
        colour, marker = _look(index)
        axes.plot([0.003, 0.037], [index + 1] * 2, color=colour, marker=marker, markersize=4, clip_on=False)
        axes.text(0.05, index + 1, plain(line, 125), fontsize=7.5, va="center")
    axes.text(0, len(report.runs) + 1, plain(report.note, 130), fontsize=7.5, va="center")


def _draw_table(axes: Axes, rows: Sequence[Sequence[str]]) -> None:
    from matplotlib.transforms import Bbox

    axes.set_axis_off()
    columns = len(rows[0])
    cells = [[plain(cell, max(8, 100 // columns)) for cell in row] for row in rows]
    table = axes.table(
        cells[1:], colLabels=cells[0], cellLoc="left", colLoc="left", bbox=Bbox.unit(), edges="horizontal"
    )  # fmt: skip
    table.auto_set_font_size(False)
    table.set_fontsize(7 if columns <= 7 else 5)
    for (row, _), cell in table.get_celld().items():
        cell.set_edgecolor("0.85")
        cell.PAD = 0.02
        if row == 0:
            cell.set_text_props(fontweight="bold")


def evaluation_figures(predictions: NamedPredictions) -> dict[str, Figure]:
    """The charts of one evaluation by the names of their files: confusion, roc and reliability."""
    figures: dict[str, Figure] = {}
    for name in ("confusion", "roc", "reliability"):
        figure = new_figure(4.5, 4.5)
        figure.suptitle(plain(predictions.name, 80), fontsize=7)
        axes = figure.subplots()
        if name == "confusion":
            draw_confusion(axes, predictions)
            axes.set_title("confusion", fontsize=9)
        else:
            (draw_roc if name == "roc" else draw_reliability)(axes, [(0, predictions)])
        figures[name] = figure
    return figures


def learning_rate_figure(rates: Any, losses: Any, smoothed: Any, suggested: float | None) -> Figure:
    """The curve of a search for a learning rate.

    Args:
        rates: (N,) learning rates, ascending.
        losses: (N,) loss of each batch.
        smoothed: (N,) the losses, averaged over neighbours.
        suggested: A learning rate to mark, if any.
    """
    figure = new_figure(6.0, 3.6)
    axes = figure.subplots()
    axes.plot(rates, losses, ".", color="0.7", markersize=3, label="loss of a batch")
    axes.plot(rates, smoothed, color=OKABE_ITO[0], linewidth=1.8, label="smoothed")
    if suggested is not None:
        axes.axvline(suggested, color=OKABE_ITO[1], linestyle="--", label=f"suggested: {suggested:g}")
    axes.set_xscale("log")
    # Losses far above the first ones, as at the highest rates, would flatten the rest.
    low, high = float(np.min(smoothed)), float(np.max(smoothed[: int(np.argmin(smoothed)) + 1]))
    axes.set_ylim(low - 0.2 * (high - low) - 1e-3, high + (high - low) + 1e-3)
    _decorate(axes, "loss by learning rate", "learning rate", "loss")
    axes.legend(fontsize=7)
    return figure
