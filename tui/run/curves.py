"""From the steps of a run to the curves of its charts: smoothed and reduced incrementally.

A run may have millions of steps, and its charts are redrawn several times a second. Each curve is therefore kept in at
most a few thousand buckets of steps; the cost of a redraw depends on their number and on how many steps are new.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Callable
from copy import copy
from dataclasses import dataclass
from functools import partial
from itertools import accumulate
from typing import Literal, TypeVar

import numpy as np
import numpy.typing as npt

from facegender.runs.events import EpochFinished
from tui import format as fmt
from tui.run.series import StepColumns
from tui.run.state import ACCURACY, F1, LEARNING_RATE, RunState, TrainingSegment

Floats = npt.NDArray[np.float64]
T = TypeVar("T")

Axis = Literal["epochs", "steps", "minutes"]
X_AXES: tuple[Axis, ...] = ("epochs", "steps", "minutes")
SMOOTHING = (0.8, 0.0, 0.97)

MAX_CLASS_CURVES = 4
"""Of more classes only the macro F1 is drawn."""
BUCKETS = 4096
"""More than any chart has columns of dots, so that the reduction is not visible."""


def cycle_from(first: T, choices: tuple[T, ...]) -> tuple[T, ...]:
    """Return the choices in the order in which a key goes through them, beginning with ``first``."""
    index = choices.index(first) if first in choices else 0
    return tuple(dict.fromkeys((first, *choices[index:], *choices[:index])))


class Smoother:
    """Exponential moving average with bias correction, as in TensorBoard; NaNs are kept and skipped.

    Call it with consecutive parts of a curve. Values are averaged in blocks, so short that the powers of the weight
    stay far from the smallest number; then the average is carried from block to block.

    Args:
        weight: Weight of the past, 0 or in [0.1, 1); 0 does not smooth.
    """

    _BLOCK = 256

    def __init__(self, weight: float) -> None:
        self._weight = weight
        self._unbiased_from = math.ceil(-40 / math.log(weight)) if weight > 0 else 0
        self._average = 0.0
        self._count = 0
        self._decay = weight ** np.arange(1, self._BLOCK + 1)
        self._growth = (1 - weight) / self._decay if weight > 0 else self._decay

    def __call__(self, y: Floats) -> Floats:
        """Smooth the next (N,) values; returns (N,)."""
        if self._weight <= 0:
            return y
        finite = np.isfinite(y)
        values = y if finite.all() else y[finite]
        if not len(values):
            return np.full(len(y), np.nan)
        averages = self._averages(values)
        # Bias correction: the average starts at zero. After some hundred values the bias vanishes.
        bias = self._weight ** np.arange(self._count + 1, min(self._count + len(values), self._unbiased_from) + 1)
        averages[: len(bias)] /= 1 - bias
        self._count += len(values)
        if values is y:
            return averages
        out = np.full(len(y), np.nan)
        out[finite] = averages
        return out

    def _averages(self, values: Floats) -> Floats:
        blocks = -(-len(values) // self._BLOCK)
        within = np.zeros((blocks, self._BLOCK))
        within.ravel()[: len(values)] = values
        within *= self._growth
        np.cumsum(within, axis=1, out=within)
        decay = float(self._decay[-1])
        ends = accumulate(within[:, -1].tolist(), lambda average, last: (average + last) * decay, initial=self._average)
        within += np.array(list(ends)[:-1])[:, None]
        within *= self._decay
        averages: Floats = within.ravel()[: len(values)]
        self._average = float(averages[-1])
        return averages


class Buckets:
    """A growing series reduced to the first, lowest, highest, last and mean value of each bucket.

    Attributes:
        size: Values per bucket; a power of two, doubled when there are too many buckets.
        length: Values in all.
    """

    def __init__(self) -> None:
        self.size = 1
        self.length = 0
        # (6, N) float64: first, lowest, highest and last, NaN where a bucket has no finite value; the sum of its finite
        # values and how many they are.
        self._values = np.empty((6, 0))

    def extend(self, values: Floats) -> None:
        """Append values."""
        if not len(values):
            return
        while self.length + len(values) > BUCKETS * self.size:
            odd = self._values[:, self._values.shape[1] // 2 * 2 :]
            pairs = _merged(self._values[:, :-1:2], self._values[:, 1::2])
            self._values = np.concatenate([pairs, odd], axis=1)
            self.size *= 2
        before = self.length % self.size
        self.length += len(values)
        padded = values
        if before or len(values) % self.size:
            # Pad to whole buckets with NaN: before the values where the last bucket is partly full, and after them.
            padded = np.full(-(-(before + len(values)) // self.size) * self.size, np.nan)
            padded[before : before + len(values)] = values
        buckets = padded.reshape(-1, self.size)
        new = np.empty((6, len(buckets)))
        new[0], new[3] = buckets[:, 0], buckets[:, -1]
        new[0, 0], new[3, -1] = values[0], values[-1]
        np.fmin.reduce(buckets, axis=1, out=new[1])
        np.fmax.reduce(buckets, axis=1, out=new[2])
        with np.errstate(invalid="ignore"):  # infinity less infinity
            new[4], new[5] = buckets.sum(axis=1), self.size
        if not np.isfinite(new[4]).all():
            finite = np.isfinite(buckets)
            new[4], new[5] = np.where(finite, buckets, 0).sum(axis=1), finite.sum(axis=1)
        if before:
            new[:, :1] = _merged(self._values[:, -1:], new[:, :1])
            self._values = self._values[:, :-1]
        self._values = np.concatenate([self._values, new], axis=1)

    def points(self) -> Floats:
        """Return the (N,) values to draw, in order: four per bucket, or one if buckets hold one value."""
        return self._values[0] if self.size == 1 else self._values[:4].T.ravel()

    def firsts(self) -> Floats:
        """Return the (N,) first values of the buckets."""
        first: Floats = self._values[0]
        return first

    def lasts(self) -> Floats:
        """Return the (N,) last values of the buckets."""
        last: Floats = self._values[3]
        return last

    def means(self) -> Floats:
        """Return the (N,) means of the finite values of each bucket; NaN where there is none."""
        with np.errstate(invalid="ignore"):
            means: Floats = self._values[4] / self._values[5]
        return means

    def truncate(self, length: int) -> None:
        """Keep the first values; the last bucket that remains may still show those that followed in it."""
        if length < self.length:
            self.length = length
            self._values = self._values[:, : -(-length // self.size)]


def _merged(left: Floats, right: Floats) -> Floats:
    return np.stack([left[0], np.fmin(left[1], right[1]), np.fmax(left[2], right[2]), right[3], *(left + right)[4:]])


class _Metric:
    """One per-step metric, in buckets for each smoothing weight, 0.0 among them.

    Attributes:
        non_finite: Where values are not finite, as (step, seconds since 1970).
    """

    def __init__(self, weights: tuple[float, ...]) -> None:
        self.smoothers = {weight: Smoother(weight) for weight in weights}
        self.buckets = {weight: Buckets() for weight in weights}
        self.non_finite: list[tuple[float, float]] = []
        self._marked_bucket = -1

    def extend(self, values: Floats, steps: Floats, seconds: Floats) -> None:
        """Append (N,) values, with the step and the time of each."""
        finite = np.isfinite(values)
        if not finite.all():
            self._mark(np.flatnonzero(~finite), steps, seconds)
            values = np.where(finite, values, np.nan)
        for weight, buckets in self.buckets.items():
            buckets.extend(self.smoothers[weight](values))

    def _mark(self, indices: np.ndarray, steps: Floats, seconds: Floats) -> None:
        """Remember where non-finite values are, at most one per bucket."""
        raw = self.buckets[0.0]
        buckets, firsts = np.unique((raw.length + indices) // raw.size, return_index=True)
        new = indices[firsts][buckets != self._marked_bucket]
        self._marked_bucket = int(buckets[-1])
        self.non_finite = [*self.non_finite, *zip(steps[new].tolist(), seconds[new].tolist(), strict=True)]
        while len(self.non_finite) > BUCKETS:
            self.non_finite = self.non_finite[::2]

    def truncate(self, length: int, step: int) -> None:
        """Drop the values after the first ``length``, which ends with ``step``."""
        for buckets in self.buckets.values():
            buckets.truncate(length)
        self.non_finite = [one for one in self.non_finite if one[0] <= step]
        self._marked_bucket = -1


@dataclass(frozen=True)
class Curve:
    """A named line.

    Attributes:
        x: (N,) ascending, finite.
        y: (N,); a non-finite value interrupts the line and is marked at the bottom.
        colour: The name of a colour, as `tui.colours` lists them, e.g. "$train".
        points: Mark every point, for lines with few points.
        non_finite_x: (M,) x coordinates of non-finite values, for a curve whose points stand for several values; None
            if they are all in ``y``.
        by_epoch: (E,) its value in each finished epoch; None if these are the points themselves.
        band: (N,) the lowest and the highest of the values whose mean ``y`` is: the area between them is drawn, behind
            all lines, and not ``y``; None for a line.
        glyph: A character of one cell that names the line, drawn on it here and there; "" for none.
        dotted: Draw a dotted line.
        thin: Where a column of dots has several points, draw their mean instead of all that they cover.
        behind: Draw it behind the others; it does not count for the range of the y axis.
    """

    name: str
    x: Floats
    y: Floats
    colour: str
    points: bool = False
    non_finite_x: Floats | None = None
    by_epoch: Floats | None = None
    band: tuple[Floats, Floats] | None = None
    glyph: str = ""
    dotted: bool = False
    thin: bool = False
    behind: bool = False

    def value_at(self, index: int | None) -> float:
        """Return the value in a finished epoch by its index, NaN if there is none; the newest one for None."""
        values = self.y if index is None or self.by_epoch is None else self.by_epoch
        if index is None:
            return float(values[-1]) if len(values) else math.nan
        return float(values[index]) if 0 <= index < len(values) else math.nan


@dataclass(frozen=True)
class Curves:
    """The curves of both charts.

    Attributes:
        loss: The training and the validation curve.
        metric: Those of the second chart.
        x_range: From the start to the planned end, or to the last step if that is later.
        epochs: The finished epochs, counted from 0, ascending.
        ends: (E,) where each of them ends on the x axis.
        last: The x coordinate of the newest value.
        marks: Where a request changed how the run is trained, and what it changed, e.g. "lr 0.0001".
    """

    loss: tuple[Curve, ...]
    metric: tuple[Curve, ...]
    x_range: tuple[float, float]
    epochs: tuple[int, ...]
    ends: Floats
    last: float
    marks: tuple[tuple[float, str], ...] = ()

    def index_of(self, epoch: int) -> int:
        """Return the index of a finished epoch; -1 if it is not finished."""
        index = bisect_left(self.epochs, epoch)
        return index if self.epochs[index : index + 1] == (epoch,) else -1

    def x_of(self, epoch: int) -> float:
        """Return where an epoch is on the x axis: its end, or the newest value if it is not finished."""
        if epoch < 0:
            return 0.0
        index = self.index_of(epoch)
        return self.last if index < 0 else float(self.ends[index])

    def epoch_near(self, x: float) -> int | None:
        """Return the finished epoch that ends nearest to an x coordinate; None before the first."""
        return self.epochs[int(np.abs(self.ends - x).argmin())] if self.epochs else None


class StepCurves:
    """The reduced curves of one run, updated incrementally: by `update` from all of its steps, or by `extend`.

    Args:
        weights: Weights by which the steps are smoothed before they are reduced, 0.0 among them. By other weights the
            means of the buckets are smoothed, as TensorBoard smooths the points that it shows.

    Attributes:
        weights: These weights.
    """

    def __init__(self, weights: tuple[float, ...] = SMOOTHING) -> None:
        self.weights = weights
        self._begin(StepColumns())

    def _begin(self, steps: StepColumns) -> None:
        self._history = steps.history
        self._length = 0
        self._step, self._seconds = Buckets(), Buckets()
        self._loss, self._accuracy = _Metric(self.weights), _Metric(self.weights)

    def update(self, steps: StepColumns) -> None:
        """Add the steps that are new since the last call.

        If the steps do not continue those before, as in a run resumed from an earlier step, it starts over.
        """
        if steps.history is not self._history or len(steps) < self._length:
            self._begin(steps)
        for part in steps.parts(self._length):
            self._append(part)
        self._length = len(steps)

    def extend(self, steps: StepColumns) -> None:
        """Add all of these steps, which follow those added so far and need not be kept."""
        for part in steps.parts():
            self._append(part)

    def _append(self, part: Floats) -> None:
        step, seconds, loss, accuracy = part
        self._loss.extend(loss, step, seconds)
        self._accuracy.extend(accuracy, step, seconds)
        self._step.extend(step)
        self._seconds.extend(seconds)

    def truncate(self, step: int) -> None:
        """Drop what follows an optimiser step, as a resumed run does; the smoothing goes on from what it was."""
        firsts, size = self._step.firsts(), self._step.size
        bucket = int(firsts.searchsorted(step, side="right")) - 1
        length = 0 if bucket < 0 else bucket * size + min(size, step - int(firsts[bucket]) + 1)
        for buckets in (self._step, self._seconds):
            buckets.truncate(length)
        for metric in (self._loss, self._accuracy):
            metric.truncate(length, step)

    def snapshot(self) -> StepCurves:
        """Return a copy that does not change; one thread may read it while another adds steps to this one."""
        # Buckets replace their arrays when they change, so that a copy may share them.
        copied = StepCurves(self.weights)
        copied._step, copied._seconds = copy(self._step), copy(self._seconds)
        for metric, source in ((copied._loss, self._loss), (copied._accuracy, self._accuracy)):
            metric.buckets = {weight: copy(buckets) for weight, buckets in source.buckets.items()}
            metric.non_finite = source.non_finite
        return copied

    def curves(self, state: RunState, axis: Axis, weight: float, metric: str = ACCURACY) -> Curves:
        """Return the curves of the steps added so far.

        Args:
            state: The run whose steps were added.
            axis: The unit of x. In epochs, 1.0 is the end of the first epoch, where its validation is drawn.
            weight: Smoothing weight of the training curves.
            metric: What the second chart shows, one of `RunState.metrics`.
        """
        started = state.started
        per_epoch = max(1, started.steps_per_epoch if started else 1)
        along = self._seconds if axis == "minutes" else self._step
        # If the start of the run is unknown, minutes count from its first step.
        segments = state.segments or (TrainingSegment(float(along.firsts()[0]) if along.length else 0.0, 0.0),)

        def to_axis(column: Floats) -> Floats:
            if axis == "minutes":
                return _trained_s(column, segments) / 60
            return column / per_epoch if axis == "epochs" else column

        along_x = to_axis(along.firsts())
        ends = to_axis(np.array([epoch.time if axis == "minutes" else epoch.step for epoch in state.epochs], float))
        changed = np.array([one.time if axis == "minutes" else one.step for one in state.changes], float)
        planned = float(max(started.epochs, 0)) if started else 1.0
        last = max(float(x[-1]) if len(x) else 0.0 for x in (to_axis(along.lasts()[-1:]), ends))
        planned_end = {"epochs": planned, "steps": planned * per_epoch, "minutes": 0.0}[axis]

        def of_epochs(value: Callable[[EpochFinished], float]) -> Floats:
            return np.array([value(epoch) for epoch in state.epochs], float)

        def points(name: str, values: Floats, colour: str, glyph: str = "") -> Curve:
            return Curve(name, ends, values, colour, points=True, glyph=glyph)

        def pair(series: _Metric, train_values: Floats, validation: Floats) -> tuple[Curve, ...]:
            buckets = series.buckets.get(weight, series.buckets[0.0])
            if weight in series.buckets:
                x, y = along_x if buckets.size == 1 else np.repeat(along_x, 4), buckets.points()
            else:
                x, y = along_x, Smoother(weight)(buckets.means())
            non_finite_x = to_axis(np.array([at[axis == "minutes"] for at in series.non_finite]))
            train = Curve("train", x, y, "$train", non_finite_x=non_finite_x, by_epoch=train_values)
            return train, points("validation", validation, "$validation", fmt.VALIDATION_GLYPH)

        loss = pair(self._loss, of_epochs(lambda one: one.train_loss), of_epochs(lambda one: one.validation_loss))
        # A loss that is never finite has diverged, unless only one of the two is: that one was not measured.
        if any(np.isfinite(curve.y).any() for curve in loss):
            loss = _measured(loss)
        if metric == ACCURACY:
            shown = pair(
                self._accuracy,
                of_epochs(lambda one: one.train_accuracy),
                of_epochs(lambda one: one.validation_accuracy),
            )
        elif metric == F1:
            shown = (points("macro", of_epochs(lambda one: one.macro_f1), "$validation"),)
            if len(state.classes) <= MAX_CLASS_CURVES:
                shown += tuple(
                    points(name, of_epochs(partial(_f1_of, number)), fmt.class_colour(number), fmt.CLASS_GLYPHS[number])
                    for number, name in enumerate(state.classes)
                )
        elif metric == LEARNING_RATE:
            shown = (points("", of_epochs(lambda one: one.learning_rate), "$validation"),)
        else:
            shown = (points("", of_epochs(lambda one: one.metrics.get(metric, math.nan)), "$validation"),)
        return Curves(
            loss=loss,
            metric=_measured(shown),
            x_range=(0.0, max(last, planned_end, 1e-9)),
            epochs=tuple(epoch.epoch for epoch in state.epochs),
            ends=ends,
            last=last,
            marks=tuple(zip(to_axis(changed).tolist(), (one.change for one in state.changes), strict=True)),
        )


def _measured(curves: tuple[Curve, ...]) -> tuple[Curve, ...]:
    """Leave out curves without any finite value."""
    return tuple(curve for curve in curves if not len(curve.y) or np.isfinite(curve.y).any())


def _f1_of(number: int, epoch: EpochFinished) -> float:
    return epoch.f1[number] if number < len(epoch.f1) else math.nan


def _trained_s(times: Floats, segments: tuple[TrainingSegment, ...]) -> Floats:
    """Seconds of training at (N,) times in seconds since 1970, without the time between segments."""
    since = np.array([segment.since for segment in segments])
    before_s = np.array([segment.before_s for segment in segments])
    segment = np.maximum(np.searchsorted(since, times, side="right") - 1, 0)
    trained_s: Floats = before_s[segment] + times - since[segment]
    return trained_s
