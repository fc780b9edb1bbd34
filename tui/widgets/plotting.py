"""Line charts in braille dots: reduction, ticks, canvas and axes, as Textual strips.

Imported with the first curve, so that the first screen does not wait for numpy.
"""

from __future__ import annotations

import math
from collections.abc import Callable
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
GLYPH_EVERY, GLYPH_GAP = 40, 6
"""Columns from one glyph of a line to the next, and to the last one, at least."""
QUANTILE_OF = 20_000
"""Values of which a quantile is computed, of more about every n-th."""
CORNER = "└"
"""Where the axes meet: in the last row, one column to the left of the plot."""
MARK = "┊"
MARK_ROWS = 3
"""Rows for the words of marks that are close together."""
_DIM = -2
"""Stands for marks where a cell of the canvas has the number of a curve."""
_BRAILLE = 0x2800
# Bit of each of the 4 × 2 dots of a braille cell, by row and column (Unicode, block 2800).
_DOTS = np.array([[0x01, 0x08], [0x02, 0x10], [0x04, 0x20], [0x40, 0x80]], np.uint8)


def cropped(x: Floats, low: float, high: float, *series: Floats) -> tuple[Floats, ...]:
    """Cut curves at the ends of an x range, where they get a point on the line that leads out of it.

    Args:
        x: (N,) ascending.
        series: (N,) y coordinates.

    Returns:
        The x coordinates, and each of the series.
    """
    if not len(x) or (x[0] >= low and x[-1] <= high):
        return x, *series
    inside = slice(int(x.searchsorted(low, "left")), int(x.searchsorted(high, "right")))
    ends = np.array([end for end, index in ((low, inside.start), (high, inside.stop)) if 0 < index < len(x)])
    columns = [np.concatenate([x[inside], ends])]
    order = np.argsort(columns[0], kind="stable")
    columns += [np.concatenate([y[inside], np.interp(ends, x, y)]) for y in series]
    return tuple(column[order] for column in columns)


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


def column_means(x: Floats, columns: int, x_range: tuple[float, float], *series: Floats) -> tuple[Floats, ...]:
    """Reduce curves to at most one point per column: the mean of its finite values.

    Returns:
        x, which is the mean as well, and each of the series; NaN for a column without a finite value.
    """
    if len(x) <= columns:
        return x, *series
    low, high = x_range
    cell = ((x - low) / ((high - low) or 1.0) * columns).astype(np.int64)
    starts = np.flatnonzero(np.r_[True, cell[1:] != cell[:-1]])

    def mean(values: Floats) -> Floats:
        finite = np.isfinite(values)
        with np.errstate(invalid="ignore"):
            means: Floats = np.add.reduceat(np.where(finite, values, 0), starts) / np.add.reduceat(
                finite, starts, dtype=int
            )
        return means

    return tuple(mean(values) for values in (x, *series))


class Canvas:
    """A grid of braille cells, each with the colour of the last line drawn through it."""

    def __init__(self, width: int, height: int) -> None:
        self.width, self.height = width, height
        self.dots = np.zeros((height, width), np.uint8)
        self.colour = np.full((height, width), -1, np.int16)
        self.glyphs: dict[tuple[int, int], str] = {}
        """Characters in the place of dots, by row and column."""

    def line(self, x: Floats, y: Floats, colour: int, *, dotted: bool = False) -> None:
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
        xs, ys = np.concatenate([xs, between_x]), np.concatenate([ys, between_y])
        if dotted:
            kept = (xs + ys) % 4 < 3
            xs, ys = xs[kept], ys[kept]
        self._set(xs, ys, colour)

    def dense_line(self, x: Ints, figures: Floats, colour: int, *, dotted: bool = False) -> None:
        """Draw a line that has many points in each column of dots; much faster than `line`.

        Args:
            x: (N,) columns, ascending.
            figures: (N, 4) of each column the first, lowest, highest and last point, y downwards; not finite where
                there is none.
        """
        first, last = figures[:, 0], figures[:, 3]
        with np.errstate(invalid="ignore"):
            top, bottom = np.fmin.reduce(figures, axis=1), np.fmax.reduce(figures, axis=1)
            # Two neighbours meet half way between their points.
            meeting = (last[:-1] + first[1:]) / 2
            for side in (slice(None, -1), slice(1, None)):
                top[side], bottom[side] = np.fmin(top[side], meeting), np.fmax(bottom[side], meeting)
        far = np.flatnonzero(np.diff(x) > 1)
        rows = np.arange(4 * self.height)
        inside = (rows >= np.rint(top)[:, None]) & (rows <= np.rint(bottom)[:, None])
        if dotted:
            inside &= (rows + x[:, None]) % 4 < 3
        index, ys = np.nonzero(inside)
        self._set(x[index], ys, colour)
        for left in far.tolist():
            self.line(x[left : left + 2].astype(float), np.array([last[left], first[left + 1]]), colour, dotted=dotted)

    def fill(self, x: Floats, top: Floats, bottom: Floats, colour: int) -> None:
        """Fill what is between two lines with a fourth of the dots; ``x`` is ascending, y downwards."""
        finite = np.isfinite(top) & np.isfinite(bottom)
        if not finite.any():
            return
        columns = np.arange(2 * self.width)
        x = x[finite]
        edges = [np.interp(columns, x, edge[finite], left=np.nan, right=np.nan)[:, None] for edge in (top, bottom)]
        rows = np.arange(4 * self.height)
        # A column without values is NaN, and nothing is inside of it.
        inside = (rows >= edges[0]) & (rows <= edges[1]) & ((rows % 2 == 0) & (columns[:, None] % 2 == 0))
        xs, ys = np.nonzero(inside)
        self._set(xs, ys, colour)

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
        style_of: Returns the style of a named colour.
        marks: X coordinates of dotted vertical lines, and the word beside each at the top.
    """

    curves: tuple[Curve, ...]
    x_range: tuple[float, float]
    x_name: str
    limits: tuple[float, float] | None
    logarithmic: bool
    base: Style
    style_of: Callable[[str], Style] = Style.parse
    marks: tuple[tuple[float, str], ...] = ()

    def strips(self, width: int, height: int) -> list[Strip]:
        """Draw the chart at a size in cells; returns its rows, or none if there is nothing to draw or no room."""
        if height < 3 or width < 16 or not any(len(curve.y) for curve in self.curves):
            return []
        lines = [self._line(curve, 2 * width) for curve in self.curves]
        front = [y for (_, *ys), curve in zip(lines, self.curves, strict=True) if not curve.behind for y in ys]
        values = np.concatenate(front) if front else np.empty(0)
        values = values[np.isfinite(values)]
        low, high = self._y_range(values)
        rows = height - 1
        ticks = (log_ticks if self.logarithmic else nice_ticks)(low, high, max(2, rows // 2))
        labels = [short(10**tick if self.logarithmic else tick) for tick in ticks]
        margin = max(4, max(map(len, labels))) + 1
        columns = width - margin
        canvas = self._drawn(lines, columns, rows, low, high)
        non_finite: dict[int, int] = {}
        span = (self.x_range[1] - self.x_range[0]) or 1.0
        for number, curve in enumerate(self.curves):
            bad_x = curve.x[~np.isfinite(curve.y)] if curve.non_finite_x is None else curve.non_finite_x
            share = (bad_x - self.x_range[0]) / span
            for column in sorted({*(share[(share >= 0) & (share <= 1)] * (columns - 1)).astype(int).tolist()}):
                non_finite.setdefault(column, number)
        label_rows = {
            round((high - tick) / (high - low) * (rows - 1)): text for tick, text in zip(ticks, labels, strict=True)
        }
        rows_drawn = [self._row(canvas, row, label_rows.get(row, ""), margin) for row in range(rows)]
        peak = float(values.max(initial=-math.inf))  # of a linear axis
        if not self.logarithmic and peak > high * 1.05:
            note = f" peak {short(peak)} "
            rows_drawn[0] = Strip.join(
                [rows_drawn[0].crop(0, width - len(note)), Strip([Segment(note, self.base + Style(dim=True))])]
            )
        return [*rows_drawn, self._axis(margin, columns, non_finite)]

    def _line(self, curve: Curve, columns: int) -> tuple[Floats, ...]:
        """Return what of a curve is in the x range: x, y, and the lower and upper edge of its band if it has one.

        Values are exponents of ten on a logarithmic axis. A thin curve has one value for each of the columns.
        """
        x, *series = cropped(curve.x, *self.x_range, curve.y, *(curve.band or ()))
        if curve.thin:
            x, *series = column_means(x, columns, self.x_range, *series)
        if self.logarithmic:
            with np.errstate(invalid="ignore", divide="ignore"):
                series = [np.where(y > 0, np.log10(y), np.nan) for y in series]
        return x, *series

    def _drawn(self, lines: list[tuple[Floats, ...]], columns: int, rows: int, low: float, high: float) -> Canvas:
        """Draw the curves: what is behind others shows only in cells that those leave free."""
        front, back = Canvas(columns, rows), Canvas(columns, rows)

        def down(y: Floats) -> Floats:
            return (high - y) / (high - low) * (4 * rows - 1)

        for number, ((x, y, *band), curve) in enumerate(zip(lines, self.curves, strict=True)):
            if band:
                span = (self.x_range[1] - self.x_range[0]) or 1.0
                back.fill((x - self.x_range[0]) / span * (2 * columns - 1), down(band[1]), down(band[0]), number)
                continue
            xs, ys = reduced_to_columns(x, y, self.x_range, 2 * columns)
            canvas = back if curve.behind else front
            if len(x) > 8 * columns:  # reduced
                canvas.dense_line(xs[::4].astype(int), down(ys.reshape(-1, 4)), number, dotted=curve.dotted)
            else:
                canvas.line(xs, down(ys), number, dotted=curve.dotted)
            if curve.points:
                canvas.mark(xs, down(ys), number)
        free = front.dots == 0
        front.dots[free], front.colour[free] = back.dots[free], back.colour[free]
        self._draw_glyphs(front, lines, down)
        self._draw_marks(front)
        return front

    def _draw_marks(self, canvas: Canvas) -> None:
        """Draw vertical lines where no curve is, and beside each its word, in a row near the top where it has room."""
        span = (self.x_range[1] - self.x_range[0]) or 1.0
        words: dict[tuple[int, int], str] = {}
        for x, word in self.marks:
            column = round((x - self.x_range[0]) / span * (canvas.width - 1))
            if not 0 <= column < canvas.width:
                continue
            for row in range(canvas.height):
                if not canvas.dots[row, column]:
                    canvas.glyphs[row, column], canvas.colour[row, column] = MARK, _DIM
            # At the right edge the word stands to the left.
            first = column + 1 if column + len(word) < canvas.width else column - len(word)
            for row in range(1, min(1 + MARK_ROWS, canvas.height)):  # the cursor has the first row
                cells = {(row, first + index): letter for index, letter in enumerate(word)}
                if first >= 0 and not cells.keys() & words.keys():
                    words |= cells
                    break
        for at, letter in words.items():
            canvas.glyphs[at], canvas.colour[at] = letter, _DIM

    def _draw_glyphs(self, canvas: Canvas, lines: list[tuple[Floats, ...]], down: Callable[[Floats], Floats]) -> None:
        """Write the glyphs of the lines onto them: at the end, and where no other line has its own."""
        named = [number for number, curve in enumerate(self.curves) if curve.glyph and len(lines[number][0])]
        every = max(GLYPH_EVERY, 2 * len(named))
        span = (self.x_range[1] - self.x_range[0]) or 1.0
        for index, number in enumerate(named):
            x, y, *_ = lines[number]
            finite = np.isfinite(y)
            position = (x[finite] - self.x_range[0]) / span * (canvas.width - 1)
            if not len(position):
                continue
            columns = np.arange(every * (2 * index + 1) // (2 * len(named)), canvas.width, every)
            columns = np.r_[
                columns[(columns >= position[0]) & (columns < position[-1] - GLYPH_GAP)], round(position[-1])
            ]
            heights: Floats = np.asarray(np.interp(columns, position, y[finite]), float)
            rows = np.rint(down(heights) / 4 - 0.5).astype(int)
            for column, row in zip(columns.tolist(), rows.tolist(), strict=True):
                if 0 <= row < canvas.height and 0 <= column < canvas.width:
                    canvas.glyphs[row, column] = self.curves[number].glyph
                    canvas.colour[row, column] = number

    def _y_range(self, values: Floats) -> tuple[float, float]:
        if not len(values):
            return 0.0, 1.0
        shown = values
        low, high = float(shown.min()), float(shown.max())
        if not self.logarithmic and len(shown) > 50:
            # Otherwise a few first batches with an enormous loss would flatten the rest of the curve.
            # An odd stride, because buckets have four values each.
            some = np.sort(shown[:: len(shown) // QUANTILE_OF | 1])
            # np.quantile and np.unique would import numpy.ma first, which takes 20 ms.
            typical = 1.5 * float(np.interp(0.9 * (len(some) - 1), np.arange(len(some)), some))
            high = typical if 0 < typical < high else high
        if high - low < 1e-9:
            low, high = low - 0.05 * (abs(low) or 1), high + 0.05 * (abs(high) or 1)
        pad = (high - low) * 0.05
        low, high = low - pad, high + pad
        if self.limits and not self.logarithmic:
            low, high = max(low, self.limits[0]), min(high, self.limits[1])
        elif not self.logarithmic and shown.min() >= 0:
            low = max(0.0, low)
        return low, high

    def _row(self, canvas: Canvas, row: int, label: str, margin: int) -> Strip:
        base, dim = self.base, self.base + Style(dim=True)
        segments = [Segment(label.rjust(margin - 1) + ("┤" if label else "│"), dim)]
        dots, colours = canvas.dots[row], canvas.colour[row]
        start = 0
        for end in [*(np.flatnonzero(np.diff(colours)) + 1).tolist(), canvas.width]:
            text = "".join(
                canvas.glyphs.get((row, column)) or (chr(_BRAILLE + dot) if dot else " ")
                for column, dot in enumerate(dots[start:end].tolist(), start)
            )
            number = int(colours[start])
            style = dim if number == _DIM else base if number < 0 else base + self.style_of(self.curves[number].colour)
            segments.append(Segment(text, style))
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
                segments.append(Segment("×", self.base + self.style_of(f"bold {self.curves[marks[column]].colour}")))
            else:
                segments.append(Segment(cell, dim))
        return Strip(segments, margin + columns).simplify()
