"""The line chart: honest about gaps and peaks, whatever the numbers and the room."""

from __future__ import annotations

import math
import warnings
from dataclasses import replace

import numpy as np
import pytest
from piloting import until
from rich.style import Style
from textual.app import ComposeResult
from textual.strip import Strip

from tui.colours import ColouredApp
from tui.run.curves import Curve, Smoother
from tui.widgets.chart import Chart
from tui.widgets.plotting import Canvas, Plot, column_means, cropped, log_ticks, nice_ticks, reduced_to_columns, short

SIZES = ((80, 12), (40, 8), (20, 5), (16, 3), (15, 3), (17, 4), (30, 6), (3, 1), (120, 30), (0, 0))


def curve(y: list[float], name: str = "train", points: bool = False) -> Curve:
    return Curve(name, np.arange(len(y), dtype=float), np.array(y, float), "#61afef", points)


class ChartApp(ColouredApp):
    """Only a chart."""

    def __init__(self, chart: Chart) -> None:
        super().__init__()
        self.chart = chart

    def compose(self) -> ComposeResult:
        yield self.chart


async def drawn(
    chart: Chart, *curves: Curve, size: tuple[int, int] = (60, 12), x_end: float | None = None
) -> list[str]:
    """The rows of text of a chart on a screen of a size."""
    async with ChartApp(chart).run_test(size=size) as pilot:
        if curves:
            end = x_end if x_end is not None else max((float(c.x[-1]) for c in curves if len(c.x)), default=1.0)
            chart.show(curves, (0.0, end), "epochs")
        await pilot.pause()
        return [chart.render_line(y).text for y in range(chart.size.height)]


def plot(*curves: Curve, x_end: float = 20.0) -> Plot:
    """Curves with axes, outside of an application."""
    return Plot(curves, (0.0, x_end), "epochs", None, False, Style())


def dots(rows: list[str]) -> list[list[bool]]:
    """Whether each cell of the plot has a dot."""
    return [[0x2800 < ord(character) <= 0x28FF for character in row] for row in rows]


# Saying what there is


async def test_an_empty_chart_shows_its_placeholder() -> None:
    rows = await drawn(Chart("the loss will stand here"))
    assert "the loss will stand here" in "\n".join(rows)


async def test_curves_without_points_show_the_placeholder() -> None:
    rows = await drawn(Chart("the loss will stand here"), curve([]), curve([]))
    assert "the loss will stand here" in "\n".join(rows)


async def test_a_chart_too_small_to_draw_in_says_as_much_as_fits() -> None:
    rows = await drawn(Chart("the loss will stand here"), curve([1, 2, 3]), size=(12, 2))
    assert any("the loss" in row for row in rows)


async def test_the_axes_are_labelled() -> None:
    rows = await drawn(Chart("waiting"), curve([0.0, 0.25, 0.5, 1.0]), size=(60, 12), x_end=10.0)
    assert rows[-1].rstrip().endswith("epochs")
    assert "└0 " in rows[-1]
    assert " 5 " in rows[-1]
    assert any(row.strip().startswith("0.5") or "0.4┤" in row or "0.5┤" in row for row in rows)


async def test_a_falling_curve_falls() -> None:
    rows = dots((await drawn(Chart("waiting"), curve([3, 2, 1, 0]), size=(40, 12)))[:-1])
    columns = [column for column in zip(*rows, strict=True) if any(column)]
    heights = [column.index(True) for column in columns]
    assert heights == sorted(heights)
    assert heights[0] <= 1
    assert heights[-1] >= len(rows) - 2


# What is not finite


async def test_nan_interrupts_the_line_and_is_marked_below() -> None:
    whole = await drawn(Chart("waiting"), curve([1.0] * 9))
    broken = await drawn(Chart("waiting"), curve([1.0, 1.0, 1.0, math.nan, math.nan, math.nan, 1.0, 1.0, 1.0]))
    filled = [sum(map(sum, dots(rows))) for rows in (whole, broken)]
    assert filled[1] < filled[0] * 0.75
    assert "×" not in whole[-1]
    assert broken[-1].count("×") >= 1
    mark = broken[-1].index("×")
    assert not any(row[mark] for row in dots(broken)[:-1])


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf], ids=str)
async def test_every_kind_of_not_finite_is_marked_and_does_not_stretch_the_axis(value: float) -> None:
    rows = await drawn(Chart("waiting"), curve([1.0, 2.0, value, 2.0]))
    assert "×" in rows[-1]
    assert not any("e3" in row or "inf" in row or "nan" in row for row in rows)


async def test_a_curve_of_nothing_but_nan_is_still_marked() -> None:
    rows = await drawn(Chart("waiting"), curve([math.nan] * 5))
    assert "×" in rows[-1]
    assert not any(map(any, dots(rows)))


@pytest.mark.parametrize("broken", range(12))
async def test_a_gap_is_marked_wherever_it_is_even_below_a_label_or_the_name_of_the_axis(broken: int) -> None:
    y = [1.0] * 12
    y[broken] = math.nan
    rows = await drawn(Chart("waiting"), curve(y), size=(40, 6))
    assert rows[-1].count("×") == 1
    assert abs((rows[-1].index("×") - 5) - broken / 11 * 34) <= 8


async def test_a_training_loss_that_became_nan_is_marked_after_smoothing_too() -> None:
    y = Smoother(0.8)(np.array([1.0, 0.9, math.nan, math.nan]))
    assert np.isnan(y[2:]).all()
    assert "×" in (await drawn(Chart("waiting"), curve(y.tolist())))[-1]


# Logarithmic


async def test_a_logarithmic_axis_is_labelled_in_values_and_draws_a_power_as_a_straight_line() -> None:
    chart = Chart("waiting")
    chart.logarithmic = True
    rows = await drawn(chart, curve([10.0**-n for n in range(5)]), size=(60, 22))
    assert any("0.01" in row for row in rows)
    plot = dots(rows[:-1])
    heights = [column.index(True) for column in zip(*plot, strict=True) if any(column)]
    steps = np.diff(heights)
    assert steps.min() >= 0
    assert steps.max() <= 1


async def test_zero_and_negative_values_interrupt_a_logarithmic_curve_without_harm() -> None:
    chart = Chart("waiting")
    chart.logarithmic = True
    for y in ([0.0, -1.0, -2.0], [1.0, 0.0, 2.0], [0.0], [math.nan, 0.0]):
        rows = await drawn(chart, curve(y))
        assert len(rows) == 12
        chart = Chart("waiting")
        chart.logarithmic = True


# Any numbers, any room


def all_widths(chart: Chart, width: int, height: int) -> list[int]:
    strips: list[Strip] = chart._draw(width, height)
    assert len(strips) == height or not strips, "without rows Textual draws the placeholder"
    return [len(strip.text) for strip in strips]


async def test_no_values_and_no_size_make_it_fail_or_overflow() -> None:
    random = np.random.default_rng(0)
    chart = Chart("waiting")
    async with ChartApp(chart).run_test(size=(20, 5)):
        for round_ in range(600):
            count = int(random.choice([0, 1, 2, 3, 50, 700]))
            scale = 10.0 ** random.uniform(-12, 30)
            y = random.normal(size=count) * scale + random.choice([0.0, scale, -scale, 1.0])
            if random.random() < 0.4:
                y = np.abs(y)
            if random.random() < 0.3:
                y = np.round(y / scale) * scale
            for special in (math.nan, math.inf, -math.inf, 0.0):
                if random.random() < 0.3:
                    y[random.random(count) < 0.1] = special
            x = np.sort(random.uniform(0, 50, count))
            chart.logarithmic = bool(random.random() < 0.3)
            chart.limits = (0.0, 1.0) if round_ % 7 == 0 else None
            if chart.limits:
                y = np.clip(y, 0, 1)
            end = float(random.choice([0.0, 1e-9, 50.0, 1e6]))
            chart.show((Curve("a", x, y, "#61afef"), Curve("b", x, y[::-1], "#e5a05a", True)), (0.0, end), "minutes")
            width, height = SIZES[round_ % len(SIZES)]
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                assert set(all_widths(chart, width, height)) <= {width}, (width, height, y[:5])


@pytest.mark.timeout(20)
async def test_the_largest_float_is_drawn_without_delay() -> None:
    for outlier in (1e9, 1e30, 1e300, -1e30):
        y = [1.0 + math.sin(n) / 2 for n in range(200)]
        y[0] = y[100] = outlier
        rows = await drawn(Chart("waiting"), curve(y), curve([1.0, outlier], points=True), size=(60, 12))
        assert any(map(any, dots(rows)))


async def test_every_size_gives_rows_of_its_width() -> None:
    chart = Chart("waiting for the first batches")
    async with ChartApp(chart).run_test(size=(20, 5)):
        chart.show((curve([0.05, 0.47, 0.3]), curve([-12345.678, 0.00012])), (0.0, 2.0), "minutes")
        for width in range(0, 60):
            for height in range(0, 12):
                widths = all_widths(chart, width, height)
                assert set(widths) <= {width}, (width, height)
                assert widths or height < 3 or width < 16, (width, height)


async def test_a_chart_is_drawn_again_when_its_size_changes() -> None:
    chart = Chart("waiting")
    async with ChartApp(chart).run_test(size=(40, 10)) as pilot:
        chart.show((curve([1, 2, 3]),), (0.0, 2.0), "steps")
        for size in ((60, 20), (20, 4), (15, 2), (40, 10)):
            await pilot.resize_terminal(*size)
            await until(lambda size=size: chart.size == size)
            assert [chart.render_line(y).cell_length for y in range(size[1])] == [size[0]] * size[1]


# Decimation


def test_no_peak_is_lost_when_points_are_reduced_to_columns() -> None:
    random = np.random.default_rng(0)
    y = random.normal(size=100_000)
    y[31_415], y[27_182] = 99.0, -99.0
    x = np.arange(len(y), dtype=float)
    xs, ys = reduced_to_columns(x, y, (0.0, float(x[-1])), 100)
    assert len(xs) == len(ys) <= 400
    assert (ys.max(), ys.min()) == (99.0, -99.0)
    assert (ys[0], ys[-1]) == (y[0], y[-1])
    assert np.diff(xs).min() >= 0
    assert abs(xs[int(ys.argmax())] - 31_415 / len(y) * 99) <= 1


def test_each_column_keeps_its_lowest_and_highest_point() -> None:
    y = np.random.default_rng(1).normal(size=10_000)
    x = np.arange(len(y), dtype=float)
    xs, ys = reduced_to_columns(x, y, (0.0, 9999.0), 50)
    column = np.rint(x / 9999 * 49)
    for number in range(50):
        assert ys[xs == number].max() == y[column == number].max()
        assert ys[xs == number].min() == y[column == number].min()


def test_few_points_are_left_as_they_are() -> None:
    x, y = np.arange(4.0), np.array([1.0, math.nan, 3.0, 2.0])
    xs, ys = reduced_to_columns(x, y, (0.0, 3.0), 31)
    assert xs.tolist() == [0.0, 10.0, 20.0, 30.0]
    np.testing.assert_array_equal(ys, y)


def test_a_long_gap_stays_a_gap_after_reduction() -> None:
    y = np.ones(10_000)
    y[4000:6000] = math.nan
    xs, ys = reduced_to_columns(np.arange(10_000.0), y, (0.0, 9999.0), 100)
    assert np.isnan(ys[(xs > 41) & (xs < 58)]).all()
    assert np.isfinite(ys[(xs < 38) | (xs > 62)]).all()


async def test_one_enormous_first_loss_does_not_flatten_the_rest_and_its_peak_is_noted() -> None:
    y = [1e6] + [math.sin(n / 5) + 2 for n in range(200)]
    rows = await drawn(Chart("waiting"), curve(y), size=(60, 14))
    assert "peak 1e6" in rows[0]
    used = [any(row) for row in dots(rows[:-1])]
    assert sum(used) > len(used) / 2


# Parts


def test_smoothing_stays_within_the_values_and_keeps_a_constant() -> None:
    y = np.random.default_rng(0).normal(size=500)
    out = Smoother(0.9)(y)
    assert y.min() <= out.min()
    assert out.max() <= y.max()
    assert out.std() < y.std() / 2
    np.testing.assert_allclose(Smoother(0.97)(np.full(50, 3.0)), 3.0)
    assert Smoother(0.0)(y) is y
    assert out[0] == pytest.approx(y[0])


def test_smoothing_skips_non_finite_values_and_keeps_gaps() -> None:
    out = Smoother(0.5)(np.array([1.0, math.nan, math.inf, 1.0]))
    assert np.isnan(out[1:3]).all()
    assert out[[0, 3]].tolist() == [1.0, 1.0]


def test_ticks_are_round_ascending_and_within_their_range() -> None:
    random = np.random.default_rng(0)
    for _ in range(2000):
        low = random.normal() * 10.0 ** random.uniform(-9, 9)
        span = 10.0 ** random.uniform(-3, 3) * max(abs(low), 1e-9)
        ticks = nice_ticks(low, low + span, int(random.integers(1, 12)))
        assert ticks, (low, span)
        assert ticks == sorted(ticks)
        assert min(ticks) >= low - span * 1e-6
        assert max(ticks) <= low + span * (1 + 1e-6)


@pytest.mark.parametrize("bad", [(0.0, 0.0), (1.0, 0.0), (0.0, math.inf), (math.nan, 1.0)])
def test_an_empty_range_has_one_tick(bad: tuple[float, float]) -> None:
    assert len(nice_ticks(*bad, 5)) == 1


@pytest.mark.parametrize(
    ("low", "high", "count", "texts"),
    [
        (0.15, 1.2, 6, "0.2 0.5 1"),
        (0.19, 0.85, 6, "0.2 0.5"),
        (0.01, 1.2, 6, "0.01 0.03 0.1 0.3 1"),
        (1e-5, 2, 6, "1e-5 1e-4 0.001 0.01 0.1 1"),
        (1e-30, 1e5, 5, "1e-30 1e-22 1e-14 1e-6 100"),
        (0.68, 0.79, 6, "0.68 0.7 0.72 0.74 0.76 0.78"),
        (1.15e-4, 1.45e-4, 3, "1.2e-4 1.3e-4 1.4e-4"),
        (1e308, 1.79e308, 3, "1e308 1.5e308"),
    ],
)
def test_a_logarithmic_axis_has_round_numbers_as_many_as_fit(low: float, high: float, count: int, texts: str) -> None:
    ticks = log_ticks(math.log10(low), math.log10(high), count)
    assert " ".join(short(10**tick) for tick in ticks) == texts


def test_a_logarithmic_axis_has_a_tick_wherever_it_begins_and_ends() -> None:
    random = np.random.default_rng(0)
    for _ in range(2000):
        low = random.uniform(-30, 30)
        high = low + 10.0 ** random.uniform(-6, 1.5)
        ticks = log_ticks(low, high, int(random.integers(2, 12)))
        assert ticks == sorted(ticks)
        assert low - 1e-6 <= ticks[0] <= ticks[-1] <= high + 1e-6


def test_numbers_on_an_axis_are_short() -> None:
    texts = {0: "0", 0.5: "0.5", 0.001: "0.001", 0.0001: "1e-4", 12_345: "12k", -0.25: "-0.25"}
    texts |= {250_000: "2.5e5", 1e30: "1e30", 1.2e-4: "1.2e-4"}
    assert {value: short(value) for value in texts} == texts


def test_a_line_has_no_holes_and_stays_inside() -> None:
    canvas = Canvas(20, 10)
    canvas.line(np.array([0.0, 39.0]), np.array([0.0, 39.0]), 0)
    assert (np.diag(canvas.dots.repeat(2, axis=1)[::1, ::4]) > 0).all()
    canvas = Canvas(4, 4)
    canvas.line(np.array([-50.0, 50.0]), np.array([-10.0, 90.0]), 0)
    canvas.mark(np.array([0.0, 7.0, 99.0, 3.0]), np.array([0.0, 15.0, -5.0, math.nan]), 1)
    assert set(np.unique(canvas.colour)) <= {-1, 0, 1}


async def test_the_cursor_leaves_the_labels_of_the_axis_readable() -> None:
    chart = Chart("")
    async with ChartApp(chart).run_test(size=(60, 12)) as pilot:
        chart.show((curve([0.0] * 11),), (0.0, 10.0), "epochs")
        await pilot.pause()
        axis = chart.render_line(11).text
        for x in range(11):
            chart.show_cursor(float(x))
            marked = chart.render_line(11).text
            assert marked.replace("▴", " ") == axis
        assert marked.endswith("epochs▴")


async def test_the_cursor_leaves_the_note_about_the_peak_readable() -> None:
    chart = Chart("")
    async with ChartApp(chart).run_test(size=(60, 12)) as pilot:
        chart.show((curve([9.0, *[1.0] * 100]),), (0.0, 100.0), "epochs")
        await pilot.pause()
        for x in range(101):
            chart.show_cursor(float(x))
            assert "peak 9" in chart.render_line(0).text.replace("▾", " ")


# Several runs over each other


async def test_a_band_is_filled_and_a_line_over_it_is_drawn_through() -> None:
    x = np.arange(21.0)
    band = Curve("band", x, np.full(21, 0.5), "#445566", band=(np.zeros(21), np.ones(21)))
    line = Curve("mean", x, np.full(21, 0.5), "#61afef")
    filled = dots(await drawn(Chart(""), band, line, x_end=20.0))
    assert all(all(row[8:-2]) for row in filled[1:-2])
    (rows,) = [await drawn(Chart(""), line, x_end=20.0)]
    assert sum(map(any, dots(rows))) == 1


async def test_a_curve_behind_others_does_not_stretch_the_axis_and_is_not_drawn_over_them() -> None:
    x = np.arange(21.0)
    front = Curve("front", x, np.linspace(0.2, 0.4, 21), "#61afef")
    noisy = Curve("raw", x, np.where(x % 2, 9.0, -9.0), "#303030", behind=True)
    chart = Chart("")
    rows = await drawn(chart, noisy, front, x_end=20.0)
    assert "0.4" in "".join(row[:6] for row in rows)
    assert "9" not in "".join(row[:6] for row in rows)
    canvas = plot(noisy, front)._drawn([(x, noisy.y), (x, front.y)], 50, 11, 0.2, 0.4)
    alone = plot(front)._drawn([(x, front.y)], 50, 11, 0.2, 0.4)
    lit = alone.dots > 0
    assert (canvas.dots[lit] == alone.dots[lit]).all()
    assert (canvas.colour[lit] == 1).all()


async def test_a_glyph_stands_at_the_end_of_its_line() -> None:
    x = np.arange(11.0)
    short_run, long_run = (
        Curve(name, x[:length], np.full(length, height), "#61afef", glyph=name)
        for name, length, height in (("1", 5, 0.2), ("2", 11, 0.8))
    )
    rows = await drawn(Chart("", limits=(0.0, 1.0)), short_run, long_run, x_end=10.0)
    upper = next(row for row in rows if "2" in row[6:])
    lower = next(row for row in rows if "1" in row[6:])
    assert upper.rstrip().endswith("2")
    assert 0.35 < (lower.rindex("1") - 5) / 54 < 0.45


@pytest.mark.parametrize("scale", [1, 100])
async def test_a_zoom_shows_the_range_alone_with_its_own_y_axis(scale: int) -> None:
    """Of a run of few points and of one that is reduced to columns."""
    x = np.arange(10.0 * scale + 1)
    line = Curve("train", x, x / scale, "#61afef")
    chart = Chart("")
    async with ChartApp(chart).run_test(size=(60, 12)) as pilot:
        chart.show((line,), (2.5 * scale, 3.5 * scale), "steps")
        await pilot.pause()
        rows = [chart.render_line(y).text for y in range(12)]
    labels = [float(row.partition("┤")[0]) for row in rows[:-1] if "┤" in row]
    assert min(labels) >= 2.4
    assert max(labels) <= 3.6
    columns = [[row[column] for row in rows[:-1]] for column in range(7, 60)]
    assert all(any(0x2800 < ord(cell) <= 0x28FF for cell in column) for column in columns)


@pytest.mark.parametrize("dotted", [False, True])
def test_a_dense_line_is_the_line_through_all_its_points(dotted: bool) -> None:
    generator = np.random.default_rng(0)
    y = generator.uniform(0, 39, (100, 4))
    y[:, 1], y[:, 2] = y.min(axis=1), y.max(axis=1)
    y[40:45] = np.nan
    columns = np.r_[0:50, 60:110]
    fast, slow = Canvas(60, 10), Canvas(60, 10)
    fast.dense_line(columns, y, 0)
    slow.line(np.repeat(columns, 4).astype(float), y.ravel(), 0)
    assert np.bitwise_count(fast.dots ^ slow.dots).sum() <= 0.1 * np.bitwise_count(slow.dots).sum()
    dashed = Canvas(60, 10)
    dashed.dense_line(columns, y, 0, dotted=True)
    assert not (dashed.dots & ~fast.dots).any()
    assert 0.6 < np.bitwise_count(dashed.dots).sum() / np.bitwise_count(fast.dots).sum() < 0.9


def test_a_cropped_curve_keeps_the_way_it_enters_and_leaves() -> None:
    x, y, other = cropped(np.array([0.0, 1, 2, 3]), 0.5, 2.5, np.array([0.0, 10, 20, 30]), np.array([1.0, 1, 1, 5]))
    assert x.tolist() == [0.5, 1, 2, 2.5]
    assert y.tolist() == [5, 10, 20, 25]
    assert other.tolist() == [1, 1, 1, 3]


def test_a_curve_outside_of_a_range_is_cropped_to_what_crosses_it() -> None:
    for low, high in ((0.0, 1.0), (8.0, 9.0)):
        assert [part.tolist() for part in cropped(np.array([5.0, 6]), low, high, np.array([1.0, 1]))] == [[], []]
    x, y = cropped(np.array([0.0, 10]), 4.0, 6.0, np.array([0.0, 10]))
    assert (x.tolist(), y.tolist()) == ([4, 6], [4, 6])


def test_a_thin_curve_has_the_mean_of_each_column() -> None:
    x, y = column_means(np.arange(1.0, 9.0), 2, (0.0, 10.0), np.array([1.0, 3, math.nan, 2, 4, math.nan, math.nan, 8]))
    assert x.tolist() == [2.5, 6.5]
    assert y.tolist() == [2, 6]
    assert np.isnan(column_means(np.arange(4.0), 2, (0.0, 4.0), np.full(4, math.nan))[1]).all()
    few = np.array([1.0, 2.0])
    assert column_means(few, 2, (0.0, 2.0), few)[1] is few


async def test_a_thin_curve_of_many_noisy_points_is_a_line() -> None:
    x = np.arange(50_000.0)
    noisy = Curve("train", x, np.random.default_rng(0).normal(1 - x / 50_000, 0.1), "#61afef")
    lit = [dots(await drawn(Chart(""), replace(noisy, thin=thin))) for thin in (True, False)]
    assert sum(map(sum, lit[0])) < 0.5 * sum(map(sum, lit[1]))


async def test_a_chart_that_a_thread_draws_keeps_its_rows_until_it_gets_others() -> None:
    chart, line = Chart("nothing"), curve([1.0, 2.0, 3.0])
    async with ChartApp(chart).run_test(size=(60, 12)) as pilot:
        size = chart.size
        rows = chart.plot((line,), (0.0, 2.0), "epochs").strips(*size)
        chart.show((line,), (0.0, 2.0), "epochs", (rows, size))
        chart.show_cursor(2.0)
        for width, height in ((70, 14), (40, 8)):
            await pilot.resize_terminal(width, height)
            await pilot.pause()
            assert [chart.render_line(y).text.rstrip("▾▴ ") for y in range(1, min(height, 11))] == [
                row.text.rstrip() for row in rows[1 : min(height, 11)]
            ]


def test_a_mark_is_a_line_with_its_word_beside_it_and_covers_no_curve() -> None:
    curve = Curve("train", np.arange(11.0), np.full(11, 1.0), "red")
    plot = Plot((curve,), (0.0, 10.0), "steps", None, False, Style())
    marks = (5.0, "lr 0.0001"), (5.01, "9 epochs"), (9.9, "20 epochs"), (99.0, "beyond")
    marked = replace(plot, marks=marks)
    before, after = ([strip.text for strip in one.strips(60, 8)] for one in (plot, marked))
    column = after[0].index("┊")
    assert after[1][column + 1 :].startswith("lr 0.0001")
    assert after[2][column + 1 :].startswith("9 epochs")
    assert after[1].rstrip().endswith("20 epochs┊")
    assert "beyond" not in "".join(after)
    for row in (0, *range(3, 7)):
        assert (before[row][column] == " ") == (after[row][column] == "┊")
    assert [len(row) for row in after] == [len(row) for row in before]
    assert after[-1] == before[-1]
