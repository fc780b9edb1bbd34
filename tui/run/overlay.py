"""The curves of several runs over each other; runs that differ only in their seed are one mean with a band."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from facegender.runs.comparison import seed_groups
from tui import format as fmt
from tui.run.curves import Axis, Curve, Floats
from tui.run.follow_many import ReducedRun

GLYPHS = "123456789abcdefghijklmnopqrstuvwxyz"
"""They name the lines; the first nine are also the keys that show and hide them."""
SHOWN = ("train", "validation")
MAX_RAW = 6
"""With more entries the raw values behind the curves would be noise all over the chart."""
MAX_MARKS = 12
"""More marks in one chart could not be told apart, and none is drawn."""


@dataclass(frozen=True)
class Entry:
    """A run, or several that differ only in their seed.

    Attributes:
        glyph: Names its lines.
        colour: The name of a colour of a class, which has the fainter relatives "-train", "-raw" and "-band".
    """

    runs: tuple[ReducedRun, ...]
    glyph: str
    colour: str

    @property
    def name(self) -> str:
        """The names of the runs."""
        return ", ".join(run.state.name for run in self.runs)

    @property
    def best(self) -> tuple[float, str]:
        """The best validation accuracy, of several runs their mean, and after which epoch or epochs it was reached."""
        known = [epoch for run in self.runs if (epoch := run.state.best) is not None]
        if not known:
            return math.nan, ""
        accuracy = sum(epoch.validation_accuracy for epoch in known) / len(known)
        first, last = (1 + pick(epoch.epoch for epoch in known) for pick in (min, max))
        return accuracy, str(first) if first == last else f"{first}–{last}"


def entries(runs: Sequence[ReducedRun], *, grouped: bool) -> tuple[Entry, ...]:
    """Return what the legend lists; with ``grouped``, runs that differ only in their seed are one entry."""
    groups = seed_groups([run.manifest for run in runs]) if grouped else [[index] for index in range(len(runs))]
    return tuple(
        Entry(tuple(runs[index] for index in group), GLYPHS[number % len(GLYPHS)], fmt.class_colour(number))
        for number, group in enumerate(groups)
    )


@dataclass(frozen=True)
class EntryCurves:
    """The curves of an entry: those of its runs, or their means.

    Attributes:
        loss, metric: By name, "train" and "validation"; of a metric without the two, "validation" alone.
        raw: The training curves of both charts as they were before smoothing; None where they are not drawn.
        ends: Where epochs end.
        last: The x coordinate of the newest value.
        x_end: The planned end, or the last step if that is later.
        marks: Where a request changed how a run is trained, with the glyph of the entry and what was changed.
    """

    loss: dict[str, Curve]
    metric: dict[str, Curve]
    raw: tuple[Curve | None, Curve | None]
    ends: Floats
    last: float
    x_end: float
    marks: tuple[tuple[float, str], ...] = ()

    def value(self, chart: str, name: str, x: float | None) -> float:
        """Return the value of a curve at an x coordinate, the newest one for None; NaN if it has none there."""
        curve = (self.loss if chart == "loss" else self.metric).get(name)
        if curve is None or not len(curve.y):
            return math.nan
        if x is None:
            return float(curve.y[-1])
        tolerance = 1e-9 * max(1.0, abs(x))
        index = int(curve.x.searchsorted(x + tolerance, side="right")) - 1
        return float(curve.y[index]) if index >= 0 and x <= self.last + tolerance else math.nan


def curves_of(entry: Entry, axis: Axis, weight: float, metric: str) -> EntryCurves:
    """Return the curves of an entry; the arguments are those of `StepCurves.curves`."""
    each = [run.curves.curves(run.state, axis, weight, metric) for run in entry.runs]
    of = partial(_named, entry, thin=weight > 0)
    raw: tuple[Curve | None, Curve | None] = (None, None)
    if len(entry.runs) == 1 and weight > 0:
        run = entry.runs[0]
        unsmoothed = run.curves.curves(run.state, axis, 0.0, metric)
        colour = f"{entry.colour}-raw"
        loss_raw, metric_raw = (
            next(
                (replace(curve, colour=colour, behind=True, non_finite_x=np.empty(0)) for curve in curves
                 if curve.name == "train"),
                None,
            )
            for curves in (unsmoothed.loss, unsmoothed.metric)
        )  # fmt: skip
        raw = loss_raw, metric_raw
    return EntryCurves(
        loss=of([curves.loss for curves in each]),
        metric=of([curves.metric for curves in each]),
        raw=raw,
        ends=np.unique(np.concatenate([curves.ends for curves in each])),
        last=max(curves.last for curves in each),
        x_end=max(curves.x_range[1] for curves in each),
        marks=tuple(dict.fromkeys((x, f"{entry.glyph}: {word}") for curves in each for x, word in curves.marks)),
    )


def _named(entry: Entry, each: list[tuple[Curve, ...]], *, thin: bool) -> dict[str, Curve]:
    """Return the training and the validation curve of an entry from those of its runs."""
    found: dict[str, Curve] = {}
    for name, names in (("train", ("train",)), ("validation", ("validation", "macro", ""))):
        of_runs = [curve for curves in each for curve in curves if curve.name in names]
        if not of_runs:
            continue
        curve = of_runs[0] if len(entry.runs) == 1 else mean_of(of_runs)
        is_train = name == "train"
        colour = f"{entry.colour}-train" if is_train else entry.colour
        found[name] = replace(
            curve, name=name, colour=colour, glyph=entry.glyph, dotted=is_train, thin=thin, points=not is_train
        )
    return found


def mean_of(curves: Sequence[Curve]) -> Curve:
    """Return the mean of several curves, with the band from their lowest to their highest value.

    Where some of them have no value, it is the mean of the others. x is that of the curve with the most points.
    """
    points = [_last_of_each_x(curve) for curve in curves]
    grid = max((x for x, _ in points), key=len)
    if not len(grid):
        return curves[0]
    series = np.full((len(points), len(grid)), np.nan)
    for row, (x, y) in zip(series, points, strict=True):
        finite = np.isfinite(y)
        if finite.any():
            row[:] = np.interp(grid, x[finite], y[finite], left=np.nan, right=np.nan)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # of columns without any value
        mean, low, high = np.nanmean(series, 0), np.nanmin(series, 0), np.nanmax(series, 0)
    marks = [curve.non_finite_x for curve in curves if curve.non_finite_x is not None]
    return replace(
        curves[0], x=grid, y=mean, band=(low, high), by_epoch=None,
        non_finite_x=np.concatenate(marks) if marks else np.empty(0),
    )  # fmt: skip


def _last_of_each_x(curve: Curve) -> tuple[Floats, Floats]:
    """Return a curve with one value for each x: a bucket of steps has four, the last of which is its newest."""
    last = np.r_[curve.x[1:] != curve.x[:-1], True] if len(curve.x) else np.empty(0, bool)
    return curve.x[last], curve.y[last]


def lines(shown: Sequence[EntryCurves], chart: str, names: Sequence[str]) -> tuple[Curve, ...]:
    """Return what a chart draws, from back to front: bands, raw values, training curves, validation curves.

    Args:
        shown: The curves of the entries that are not hidden.
        chart: "loss" or "metric".
        names: Which of "train" and "validation" are drawn.
    """
    raw = [one.raw[chart == "metric"] for one in shown] if "train" in names and len(shown) <= MAX_RAW else []
    of_chart = [one.loss if chart == "loss" else one.metric for one in shown]
    drawn = [curves[name] for name in SHOWN if name in names for curves in of_chart if name in curves]
    # Two bands of one entry would hide each other: with both curves, the one of the validation.
    bands = [
        replace(curve, colour=f"{curve.colour.removesuffix('-train')}-band", glyph="", non_finite_x=np.empty(0))
        for curve in drawn
        if curve.band is not None and curve.name == names[-1]
    ]
    drawn = [replace(curve, band=None) for curve in drawn]
    if len(set(names)) > 1:
        # The validation curve alone has the glyph where both are drawn, and both are if it is missing.
        with_validation = {curves["validation"].glyph for curves in of_chart if "validation" in curves}
        drawn = [
            replace(curve, glyph="") if curve.name == "train" and curve.glyph in with_validation else curve
            for curve in drawn
        ]
    return (*bands, *(curve for curve in raw if curve is not None), *drawn)


def marks(shown: Sequence[EntryCurves]) -> tuple[tuple[float, str], ...]:
    """Return the marks of the entries that are not hidden; none if they are too many to be told apart."""
    found = [mark for one in shown for mark in one.marks]
    return tuple(found) if len(found) <= MAX_MARKS else ()
