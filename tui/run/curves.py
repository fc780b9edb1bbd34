"""From the steps of a run to the curves of its charts: smoothed, and reduced as they come, never all over again.

A run may have millions of steps, and its charts are drawn anew several times a second. Each curve is therefore kept in
at most some thousand buckets of steps; what a redraw costs depends on their number and on how many steps came since.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from tui import format as fmt
from tui.run.smoothing import Floats, Smoother
from tui.run.state import Part, RunState
from tui.run.step_columns import StepColumns

Axis = Literal["epochs", "steps", "minutes"]
X_AXES: tuple[Axis, ...] = ("epochs", "steps", "minutes")
SMOOTHING = (0.8, 0.0, 0.97)

BUCKETS = 4096
"""More than any chart has columns of dots, so that reducing does not show."""
STEPS_AT_ONCE = 60_000
"""As many as are taken in in some milliseconds."""


class Buckets:
    """A growing row of values reduced to the first, lowest, highest and last of every so many.

    Attributes:
        size: How many values share a bucket; a power of two.
        length: How many values there are.
    """

    def __init__(self) -> None:
        self.size = 1
        self.length = 0
        # (4, N): first, lowest, highest and last. A bucket without any finite value has NaN.
        self._values = np.empty((4, 0))

    def extend(self, values: Floats) -> None:
        """Add values at the end."""
        if not len(values):
            return
        # Whole buckets, with NaNs in the place of what the last one has already and of what the new last one lacks.
        before = self.length % self.size
        self.length += len(values)
        padded = np.full(-(-(before + len(values)) // self.size) * self.size, np.nan)
        padded[before : before + len(values)] = values
        lowest = highest = padded
        for _ in range(self.size.bit_length() - 1):
            lowest = np.fmin(lowest[::2], lowest[1::2])
            highest = np.fmax(highest[::2], highest[1::2])
        first, last = padded[:: self.size].copy(), padded[self.size - 1 :: self.size].copy()
        first[0], last[-1] = values[0], values[-1]
        new = np.stack([first, lowest, highest, last])
        if before:
            new[:, :1] = _merged(self._values[:, -1:], new[:, :1])
            self._values = self._values[:, :-1]
        self._values = np.concatenate([self._values, new], axis=1)
        while self._values.shape[1] > BUCKETS:
            odd = self._values[:, self._values.shape[1] // 2 * 2 :]
            pairs = _merged(self._values[:, :-1:2], self._values[:, 1::2])
            self._values = np.concatenate([pairs, odd], axis=1)
            self.size *= 2

    def points(self) -> Floats:
        """(N,) values in the order they are drawn in: four a bucket, or one where a bucket holds one value."""
        return self._values[0] if self.size == 1 else self._values.T.ravel()

    def places(self, x: Floats) -> Floats:
        """(N,) where the points lie, of the (length,) places of the values."""
        return x[: self.length] if self.size == 1 else np.repeat(x[: self.length : self.size], 4)


def _merged(left: Floats, right: Floats) -> Floats:
    return np.stack([left[0], np.fmin(left[1], right[1]), np.fmax(left[2], right[2]), right[3]])


class _Metric:
    """One metric of the steps, in buckets for every weight of smoothing."""

    def __init__(self) -> None:
        self.smoothers = {weight: Smoother(weight) for weight in SMOOTHING}
        self.buckets = {weight: Buckets() for weight in SMOOTHING}
        self.broken: list[int] = []

    def extend(self, values: Floats) -> None:
        begin = self.buckets[0.0].length
        finite = np.isfinite(values)
        if not finite.all():
            self._mark(begin + np.flatnonzero(~finite))
            values = np.where(finite, values, np.nan)
        for weight, buckets in self.buckets.items():
            buckets.extend(self.smoothers[weight](values))

    def _mark(self, indices: np.ndarray) -> None:
        """Keep where values were not finite: in a bucket one place stands for all."""
        size = self.buckets[0.0].size
        last = self.broken[-1] // size if self.broken else -1
        _, firsts = np.unique(indices // size, return_index=True)
        self.broken += [int(index) for index in indices[firsts] if index // size != last]
        while len(self.broken) > BUCKETS:
            self.broken = self.broken[::2]


@dataclass(frozen=True)
class Curve:
    """A named line.

    Attributes:
        x: (N,) ascending, finite.
        y: (N,); what is not finite interrupts the line and is marked at the bottom.
        colour: For Rich, e.g. "#61afef".
        points: Mark every point, for lines of few points.
        broken: (M,) where values were not finite, of a curve whose points stand for several values; None tells that
            ``y`` has all of them.
    """

    name: str
    x: Floats
    y: Floats
    colour: str
    points: bool = False
    broken: Floats | None = None


@dataclass(frozen=True)
class Curves:
    """What both charts show.

    Attributes:
        loss, accuracy: Training and validation.
        x_range: From the beginning to the planned end, or to the last step where that is further.
    """

    loss: tuple[Curve, ...]
    accuracy: tuple[Curve, ...]
    x_range: tuple[float, float]


class StepCurves:
    """Keeps the reduced curves of one run and brings them up to date."""

    def __init__(self) -> None:
        self._begin(StepColumns())

    def _begin(self, steps: StepColumns) -> None:
        self._history = steps.history
        self._length = 0
        self._loss, self._accuracy = _Metric(), _Metric()

    def update(self, steps: StepColumns) -> bool:
        """Take in steps that came; whether all of them are in. Otherwise call again, a moment later.

        Steps that are no continuation of those before, as of a run that was resumed, are taken in from their beginning.
        """
        if steps.history is not self._history or len(steps) < self._length:
            self._begin(steps)
        end = min(len(steps), self._length + STEPS_AT_ONCE)
        self._loss.extend(steps.loss[self._length : end])
        self._accuracy.extend(steps.accuracy[self._length : end])
        self._length = end
        return end == len(steps)

    def curves(self, state: RunState, axis: Axis, weight: float) -> Curves:
        """The curves of what was taken in.

        Args:
            state: The run whose steps were given to `update`.
            weight: Of the past in the smoothed training curves, one of `SMOOTHING`.
        """
        steps, started, length = state.steps, state.started, self._length
        per_epoch = max(1, started.steps_per_epoch if started else 1)
        # Of a run whose beginning is not known, the clock begins with its first step.
        parts = state.parts or (Part(float(steps.seconds[0]) if length else 0.0, 0.0),)

        def places(column: Floats) -> Floats:
            if axis == "minutes":
                return _trained_s(column, parts) / 60
            return column / per_epoch if axis == "epochs" else column

        along = (steps.seconds if axis == "minutes" else steps.step)[:length]
        ends = places(np.array([epoch.time if axis == "minutes" else epoch.step for epoch in state.epochs], float))
        planned = float(started.epochs) if started else 1.0
        last = max(float(place[-1]) if len(place) else 0.0 for place in (places(along[-1:]), ends))
        least = {"epochs": planned, "steps": planned * per_epoch, "minutes": 0.0}[axis]
        pairs = []
        for metric, validation in (
            (self._loss, [epoch.validation_loss for epoch in state.epochs]),
            (self._accuracy, [epoch.validation_accuracy for epoch in state.epochs]),
        ):
            buckets = metric.buckets[weight]
            broken = places(along[np.array(metric.broken, int)]) if metric.broken else np.empty(0)
            pairs.append(
                (
                    Curve("train", places(buckets.places(along)), buckets.points(), fmt.TRAIN_COLOUR, broken=broken),
                    Curve("validation", ends, np.array(validation, float), fmt.VALIDATION_COLOUR, points=True),
                )
            )
        return Curves(pairs[0], pairs[1], (0.0, max(last, least, 1e-9)))


def _trained_s(times: Floats, parts: tuple[Part, ...]) -> Floats:
    """How long the run had trained at times in seconds since 1970: as in its header, without the time between parts."""
    since = np.array([part.since for part in parts])
    before_s = np.array([part.before_s for part in parts])
    part = np.maximum(np.searchsorted(since, times, side="right") - 1, 0)
    trained_s: Floats = before_s[part] + times - since[part]
    return trained_s
