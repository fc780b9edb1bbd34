"""Line charts in braille dots: reduction, ticks, canvas and axes, as Textual strips.

Imported with the first curve, so that the first screen does not wait for numpy.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from rich.segment import Segment
from rich.style import Style
from textual.strip import Strip

from tui.run.curves import Curve, Floats

Ints = npt.NDArray[np.int_]

MAX_POWER = 308.25
"""Ten to a larger power may overflow a float."""
CORNER = "└"
"""Where the axes meet: in the last row, one column to the left of the plot."""
_BRAILLE = 0x2800
# Bit of each of the 4 × 2 dots of a braille cell, by row and column (Unicode, block 2800).
_DOTS = np.array([[0x01, 0x08], [0x02, 0x10], [0x04, 0x20], [0x40, 0x80]], np.uint8)


def reduced_to_columns(x: Floats, y: Floats, x_range: tuple[float, float], columns: int) -> tuple[Floats, Floats]:
    """Reduce a curve to four points per column: its first, lowest, highest and last, so that no peak is lost.

    Returns:
        x in columns (float) and y; NaN where the curve is interrupted.
    """
    low, high = x_range
    position = (x - low) / ((high - low) or 1.0) * (columns - 1)
    if len(x) <= 4 * columns:
        return position, y
    cell = np.clip(np.rint(position), 0, columns - 1).astype(np.int64)
    starts = np.flatnonzero(np.r_[True, cell[1:] != cell[:-1]])
    ends = np.r_[starts[1:], len(cell)] - 1
    with np.errstate(invalid="ignore"):
        lowest = np.fmin.reduceat(y, starts)
        highest = np.fmax.reduceat(y, starts)
    xs = np.repeat(cell[starts].astype(float), 4)
    ys = np.stack([y[starts], lowest, highest, y[ends]], axis=1).ravel()
    return xs, ys


class Canvas:
    """A grid of braille cells, each with the colour of the last line drawn through it."""

    def __init__(self, width: int, height: int) -> None:
        self.width, self.height = width, height
        self.dots = np.zeros((height, width), np.uint8)
        self.colour = np.full((height, width), -1, np.int8)

    def line(self, x: Floats, y: Floats, colour: int) -> None:
        """Draw a line through points in dots, y downwards; a non-finite point interrupts it."""
        finite, xs, ys = self._rounded(x, y)
        if not len(xs):
            return
        joined = np.diff(np.flatnonzero(finite)) == 1
        steps = np.where(joined, np.maximum(np.abs(np.diff(xs)), np.abs(np.diff(ys))), 0)
        # The dots between two points: numbers 1 to steps - 1 of each pair.
        between = np.maximum(steps - 1, 0)
        pair = np.repeat(np.arange(len(steps)), between)
        number = np.arange(len(pair)) - np.repeat(np.cumsum(between) - between, between) + 1
        along = number / steps[pair]
        between_x = np.rint(xs[pair] + along * (xs[pair + 1] - xs[pair])).astype(int)
        between_y = np.rint(ys[pair] + along * (ys[pair + 1] - ys[pair])).astype(int)
        self._set(np.concatenate([xs, between_x]), np.concatenate([ys, between_y]), colour)

    def mark(self, x: Floats, y: Floats, colour: int) -> None:
        """Draw a small cross around each finite point."""
        _, xs, ys = self._rounded(x, y)
        for dx, dy in ((0, 0), (1, 0), (-1, 0), (0, 1), (0, -1)):
            self._set(xs + dx, ys + dy, colour)

    def _rounded(self, x: Floats, y: Floats) -> tuple[npt.NDArray[np.bool_], Ints, Ints]:
        """Return which points are finite, and those points in whole dots, clipped to bound the work for a line."""
        finite = np.isfinite(y)
        xs = np.clip(x[finite], -2 * self.width, 4 * self.width)
        ys = np.clip(y[finite], -4 * self.height, 8 * self.height)
        return finite, np.rint(xs).astype(int), np.rint(ys).astype(int)

    def _set(self, x: Ints, y: Ints, colour: int) -> None:
        inside = (x >= 0) & (x < 2 * self.width) & (y >= 0) & (y < 4 * self.height)
        x, y = x[inside], y[inside]
        np.bitwise_or.at(self.dots, (y // 4, x // 2), _DOTS[y % 4, x % 2])
        self.colour[y // 4, x // 2] = colour


def nice_ticks(low: float, high: float, count: int) -> list[float]:
    """Return about ``count`` round numbers within a range: steps of 1, 2 or 5 times a power of ten."""
    span = high - low
    if not (math.isfinite(span) and span > 0 and count > 0):
        return [low]
    raw = span / count
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= raw * 0.999)
    first = math.ceil(low / step - 1e-9)
    last = math.floor(high / step + 1e-9)
    return [index * step for index in range(first, last + 1)] or nice_ticks(low, high, count + 1)


def log_ticks(low: float, high: float, count: int) -> list[float]:
    """Return at most ``count`` ticks of a logarithmic axis; they and the range are exponents of ten.

    The ticks are 1, 2 and 5 times powers of ten, or fewer of these. If the range has less than two of them, they are
    those of a linear axis.
    """
    powers = range(math.floor(low), math.floor(high) + 1)
    for factors in ((1, 2, 5), (1, 3), (1,)):
        ticks = [tick for power in powers for factor in factors if low <= (tick := power + math.log10(factor)) <= high]
        if 2 <= len(ticks) <= count:
            return ticks
        if len(ticks) < 2:
            lowest, highest = (10.0 ** min(end, MAX_POWER) for end in (low, high))
            linear = [math.log10(tick) for tick in nice_ticks(lowest, highest, count) if tick > 0]
            return linear or ticks or [low]
    return ticks[:: math.ceil(len(ticks) / count)]


def short(value: float) -> str:
    """Format a number for an axis, in at most six characters where possible."""
    if value == 0:
        return "0"
    size = abs(value)
    if size >= 100_000 or size < 0.001:
        return f"{value:.1e}".replace(".0e", "e").replace("e-0", "e-").replace("e+0", "e").replace("e+", "e")
    if size >= 10_000:
        return f"{value / 1000:.0f}k"
    return f"{value:.4g}"


@dataclass(frozen=True)
class Plot:
    """Curves and their axes.

    Attributes:
        limits: Bounds of the y axis, e.g. (0, 1) for a share.
        base: Style of everything but the curves.
    """

    curves: tuple[Curve, ...]
    x_range: tuple[float, float]
    x_name: str
    limits: tuple[float, float] | None
    logarithmic: bool
    base: Style

    def strips(self, width: int, height: int) -> list[Strip]:
        """Draw the chart at a size in cells; returns its rows, or none if there is nothing to draw or no room."""
        finite = [curve.y[np.isfinite(curve.y)] for curve in self.curves]
        if self.logarithmic:
            finite = [values[values > 0] for values in finite]
        values = np.concatenate(finite) if finite else np.empty(0)
        if height < 3 or width < 16 or (not len(values) and not any(len(curve.y) for curve in self.curves)):
            return []
        low, high = self._y_range(values)
        rows = height - 1
        ticks = (log_ticks if self.logarithmic else nice_ticks)(low, high, max(2, rows // 2))
        labels = [short(10**tick if self.logarithmic else tick) for tick in ticks]
        margin = max(4, max(map(len, labels))) + 1
        columns = width - margin
        canvas = Canvas(columns, rows)
        non_finite: dict[int, int] = {}
        for number, curve in enumerate(self.curves):
            y = curve.y
            if self.logarithmic:
                with np.errstate(invalid="ignore", divide="ignore"):
                    y = np.where(y > 0, np.log10(y), np.nan)
            xs, ys = reduced_to_columns(curve.x, y, self.x_range, 2 * columns)
            down = (high - ys) / (high - low) * (4 * rows - 1)
            canvas.line(xs, down, number)
            if curve.points:
                canvas.mark(xs, down, number)
            span = (self.x_range[1] - self.x_range[0]) or 1.0
            bad_x = curve.x[~np.isfinite(curve.y)] if curve.non_finite_x is None else curve.non_finite_x
            for column in np.unique(((bad_x - self.x_range[0]) / span * (columns - 1)).astype(int)).tolist():
                non_finite.setdefault(column, number)
        label_rows = {
            round((high - tick) / (high - low) * (rows - 1)): text for tick, text in zip(ticks, labels, strict=True)
        }
        rows_drawn = [self._row(canvas, row, label_rows.get(row, ""), margin) for row in range(rows)]
        peak = float(values.max(initial=-math.inf))
        if not self.logarithmic and peak > high * 1.05:
            note = f" peak {short(peak)} "
            rows_drawn[0] = Strip.join(
                [rows_drawn[0].crop(0, width - len(note)), Strip([Segment(note, self.base + Style(dim=True))])]
            )
        return [*rows_drawn, self._axis(margin, columns, non_finite)]

    def _y_range(self, values: Floats) -> tuple[float, float]:
        if not len(values):
            return 0.0, 1.0
        shown = np.log10(values) if self.logarithmic else values
        low, high = float(shown.min()), float(shown.max())
        if not self.logarithmic and len(shown) > 50:
            # Otherwise a few first batches with an enormous loss would flatten the rest of the curve.
            typical = 1.5 * float(np.quantile(shown, 0.9))
            high = typical if 0 < typical < high else high
        if high - low < 1e-9:
            low, high = low - 0.05 * (abs(low) or 1), high + 0.05 * (abs(high) or 1)
        pad = (high - low) * 0.05
        low, high = low - pad, high + pad
        if self.limits and not self.logarithmic:
            low, high = max(low, self.limits[0]), min(high, self.limits[1])
        elif not self.logarithmic and values.min() >= 0:
            low = max(0.0, low)
        return low, high

    def _row(self, canvas: Canvas, row: int, label: str, margin: int) -> Strip:
        base, dim = self.base, self.base + Style(dim=True)
        segments = [Segment(label.rjust(margin - 1) + ("┤" if label else "│"), dim)]
        dots, colours = canvas.dots[row], canvas.colour[row]
        start = 0
        for end in [*(np.flatnonzero(np.diff(colours)) + 1).tolist(), canvas.width]:
            text = "".join(chr(_BRAILLE + dot) if dot else " " for dot in dots[start:end].tolist())
            number = int(colours[start])
            segments.append(Segment(text, base if number < 0 else base + Style(color=self.curves[number].colour)))
            start = end
        return Strip(segments, margin + canvas.width)

    def _axis(self, margin: int, columns: int, non_finite: dict[int, int]) -> Strip:
        low, high = self.x_range
        line = [" "] * columns
        name = f" {self.x_name} "[:columns]  # the last column is free for the cursor at the latest epoch
        room = columns - len(name)
        for tick in nice_ticks(low, high, max(1, columns // 12)):
            text = short(tick)
            at = round((tick - low) / ((high - low) or 1.0) * (columns - 1)) - len(text) // 2
            at = min(max(0, at), columns - len(text))
            if at + len(text) <= room and all(cell == " " for cell in line[max(0, at - 1) : at + len(text) + 1]):
                line[at : at + len(text)] = text
        line[room:] = name
        dim = self.base + Style(dim=True)
        segments = [Segment(" " * (margin - 1) + CORNER, dim)]
        # If a label is in the way, the mark moves to the nearest free column.
        free = [column for column, cell in enumerate(line) if cell == " "]
        marks = {}
        for column, curve in non_finite.items() if free else ():
            marks[min(free, key=lambda other: abs(other - column))] = curve
        for column, cell in enumerate(line):
            if column in marks:
                segments.append(Segment("×", self.base + Style(color=self.curves[marks[column]].colour, bold=True)))
            else:
                segments.append(Segment(cell, dim))
        return Strip(segments, margin + columns).simplify()
