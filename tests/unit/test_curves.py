"""Curves of very long runs: reduced as they come, and the same as if they had been reduced at once."""

from __future__ import annotations

import math

import numpy as np
import pytest
import recorded

from facegender.runs.events import RunFinished
from tui.run.curves import BUCKETS, SMOOTHING, X_AXES, Buckets, Smoother, StepCurves
from tui.run.series import StepColumns
from tui.run.state import RunState, apply, apply_all


def noise(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=count)


def many_steps(count: int, loss: np.ndarray | None = None, first: int = 1) -> StepColumns:
    values = noise(count) if loss is None else loss
    return StepColumns().extended(
        recorded.steps(
            0, step=list(range(first, first + count)), batch=[1] * count, seconds=list(map(float, range(count))),
            loss=values.tolist(), accuracy=[0.5] * count,
        )
    )  # fmt: skip


# Smoothing


def slowly_smoothed(y: np.ndarray, weight: float) -> list[float]:
    """TensorBoard's formula, value by value."""
    out, value, norm = [], 0.0, 0.0
    for item in y.tolist():
        if not math.isfinite(item):
            out.append(math.nan)
            continue
        value, norm = value * weight + (1 - weight) * item, norm * weight + (1 - weight)
        out.append(value / norm)
    return out


@pytest.mark.parametrize("weight", [0.5, 0.8, 0.97, 0.999])
@pytest.mark.parametrize("parts", [[5000], [1] * 100, [31, 1, 32, 33, 64, 0, 1000], [7] * 300])
def test_a_curve_smoothed_in_parts_is_what_the_formula_says(weight: float, parts: list[int]) -> None:
    y = noise(sum(parts))
    y[::13] = np.nan
    smoother = Smoother(weight)
    ends = np.cumsum(parts)
    out = np.concatenate([smoother(y[end - part : end]) for part, end in zip(parts, ends, strict=True)])
    np.testing.assert_allclose(out, slowly_smoothed(y, weight), rtol=1e-9, atol=1e-12)


# Buckets


@pytest.mark.parametrize("parts", [[1] * 50, [BUCKETS], [BUCKETS + 1], [3, 5000, 1, 20_000, 17, 0, 9], [100_000]])
def test_buckets_filled_in_parts_have_the_first_lowest_highest_and_last_of_their_values(parts: list[int]) -> None:
    values = noise(sum(parts))
    buckets = Buckets()
    for part, end in zip(parts, np.cumsum(parts), strict=True):
        buckets.extend(values[end - part : end])
        assert len(buckets.points()) <= 4 * BUCKETS
    assert buckets.length == len(values)
    if buckets.size == 1:
        np.testing.assert_array_equal(buckets.points(), values)
        return
    wanted = [
        figure
        for begin in range(0, len(values), buckets.size)
        for part in [values[begin : begin + buckets.size]]
        for figure in (part[0], part.min(), part.max(), part[-1])
    ]
    np.testing.assert_array_equal(buckets.points(), wanted)
    assert len(buckets.firsts()) == len(buckets.lasts()) == len(wanted) // 4


def test_a_bucket_skips_nan() -> None:
    values = noise(3 * BUCKETS)
    values[5:7] = np.nan
    buckets = Buckets()
    buckets.extend(values)
    assert buckets.size == 4
    here = values[4], values[7]
    assert buckets.points()[4:8].tolist() == [values[4], min(here), max(here), values[7]]


# Curves of a run


def test_the_peak_of_a_million_steps_is_not_lost() -> None:
    loss = np.abs(noise(1_000_000))
    loss[654_321] = 99.0
    steps, curves = many_steps(len(loss), loss), StepCurves()
    curves.update(steps)
    state = apply(RunState("otter-3"), recorded.run_started(steps_per_epoch=100_000, epochs=10))
    curve = curves.curves(RunState("otter-3", started=state.started, steps=steps), "steps", 0.0).loss[0]
    at = int(np.argmax(curve.y))
    assert curve.y[at] == 99.0
    assert curve.x[at] == pytest.approx(654_322, abs=1_000_000 / BUCKETS * 2)
    assert curve.y[-1] == loss[-1]


@pytest.mark.parametrize("axis", X_AXES)
@pytest.mark.parametrize("weight", SMOOTHING)
def test_a_short_run_is_drawn_point_by_point(axis: str, weight: float) -> None:
    state = apply_all(
        RunState("otter-3"), [recorded.run_started(), *recorded.epoch_events(0), *recorded.epoch_events(1)]
    )
    curves = StepCurves()
    curves.update(state.steps)
    shown = curves.curves(state, axis, weight)
    train, validation = shown.loss
    np.testing.assert_allclose(train.y, Smoother(weight)(state.steps.loss))
    expected = {
        "epochs": state.steps.step / recorded.STEPS_PER_EPOCH,
        "steps": state.steps.step,
        "minutes": (state.steps.seconds - state.since) / 60,
    }[axis]
    np.testing.assert_allclose(train.x, expected)
    assert validation.y.tolist() == [0.6, 0.59]
    assert shown.x_range[1] >= max(train.x[-1], validation.x[-1])


def test_minutes_count_training_without_the_time_between_segments() -> None:
    events = [
        recorded.run_started(time=1000.0),
        *recorded.epoch_events(0),
        RunFinished(time=1017.0, status="stopped"),
        recorded.run_started(time=90_000.0, start_epoch=1, start_step=5, resumed=True),
        recorded.epoch_started(1, time=90_000.0),
        recorded.steps(1, time=90_003.0, seconds=[90_001.0, 90_001.5, 90_002.0, 90_002.5, 90_003.0]),
        recorded.epoch_finished(1, time=90_004.0),
    ]
    state = apply_all(RunState("otter-3", process_state="training"), events)
    curves = StepCurves()
    curves.update(state.steps)
    shown = curves.curves(state, "minutes", 0.0)
    train, validation = shown.loss
    np.testing.assert_allclose(60 * train.x, [1, 1.1, 1.2, 1.3, 1.4, 18, 18.5, 19, 19.5, 20])
    np.testing.assert_allclose(60 * validation.x, [2, 21])
    assert 60 * shown.x_range[1] == pytest.approx(state.elapsed_s(90_004.0))


def test_non_finite_values_are_marked_where_they_are_after_any_reduction() -> None:
    loss = noise(50_000)
    loss[40_000] = math.inf
    loss[123] = math.nan
    curves, steps = StepCurves(), many_steps(50_000, loss)
    curves.update(steps)
    curve = curves.curves(RunState("otter-3", steps=steps), "steps", 0.8).loss[0]
    assert curve.non_finite_x.tolist() == [124.0, 40_001.0]
    assert not np.isinf(curve.y).any()


def test_a_run_of_nothing_but_nan_keeps_a_bounded_number_of_marks() -> None:
    curves, steps = StepCurves(), many_steps(100_000, np.full(100_000, math.nan))
    curves.update(steps)
    assert 0 < len(curves.curves(RunState("otter-3", steps=steps), "steps", 0.8).loss[0].non_finite_x) <= BUCKETS


def test_a_step_that_is_not_finite_again_after_a_resume_is_marked_again() -> None:
    curves = StepCurves()
    curves.extend(many_steps(10, np.array([0.5] * 9 + [math.nan])))
    curves.truncate(5)
    curves.extend(many_steps(5, np.array([0.5] * 4 + [math.nan]), first=6))
    assert curves.curves(RunState("otter-3"), "steps", 0.0).loss[0].non_finite_x.tolist() == [10.0]


def test_steps_trained_again_replace_the_old_ones() -> None:
    before = many_steps(100)
    curves = StepCurves()
    curves.update(before)
    again = recorded.steps(
        0, step=list(range(51, 151)), batch=[1] * 100, seconds=[0.0] * 100, loss=[7.0] * 100, accuracy=[1.0] * 100
    )  # fmt: skip
    resumed = before.until(50).extended(again)
    curves.update(resumed)
    y = curves.curves(RunState("otter-3", steps=resumed), "steps", 0.0).loss[0].y
    np.testing.assert_array_equal(y, resumed.loss)


def test_longer_columns_have_the_history_of_the_shorter_ones_unless_something_was_dropped() -> None:
    short = many_steps(10)
    longer = short.extended(recorded.steps(0))
    assert longer.history is short.history
    assert longer.extended(*[recorded.steps(0)] * 500).history is short.history
    assert short.extended(recorded.steps(1)).history is not short.history
    assert short.until(5).history is not short.history
    assert short.until(10).history is short.history
