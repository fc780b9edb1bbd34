"""What a curve of loss against learning rate suggests, and how it is printed."""

from __future__ import annotations

import math

import numpy as np
import pytest

from facegender.training.lr_finder import MIN_POINTS, RateCurve

RATES = np.logspace(-5, 0, 100)


def curve(fall_at: float = 1e-3, lowest_at: float = 1e-2, noise: float = 0.0, seed: int = 0) -> RateCurve:
    """A loss that falls from 0.7 around one learning rate, and grows without bound above another."""
    decades = np.log10(RATES)
    losses = 0.7 - 0.4 / (1 + np.exp(-6 * (decades - math.log10(fall_at))))
    losses += 3 * np.maximum(0, decades - math.log10(lowest_at)) ** 2
    losses += noise * np.random.default_rng(seed).normal(size=len(RATES))
    return RateCurve.of(RATES.tolist(), losses.tolist())


@pytest.mark.parametrize("fall_at", [1e-4, 1e-3, 1e-2])
def test_the_suggestion_lies_between_where_half_of_the_fall_is_done_and_the_lowest_loss(fall_at: float) -> None:
    found = curve(fall_at, 10 * fall_at)
    suggestion = found.suggestion()
    assert suggestion is not None
    assert fall_at < suggestion < found.rates[found.smoothed.argmin()]
    assert suggestion == float(f"{suggestion:.1e}")


def test_noise_moves_the_suggestion_little() -> None:
    suggestions = [curve(noise=0.1, seed=seed).suggestion() or math.nan for seed in range(50)]
    assert max(suggestions) < 5 * min(suggestions)


def test_a_dip_before_the_fall_does_not_draw_the_suggestion_to_where_the_loss_is_high_again() -> None:
    decades = np.log10(RATES)
    dip = 0.35 * np.exp(-(((decades + 4) / 0.3) ** 2))
    found = RateCurve.of(RATES.tolist(), (curve(1e-2, 1e-1).losses - dip).tolist())
    index, smoothed = found.suggested_index, found.smoothed
    assert index is not None
    assert smoothed[index] < (smoothed.max(initial=0, where=RATES < 1e-2) + smoothed[found.smoothed.argmin()]) / 2


def test_a_loss_that_does_not_fall_suggests_nothing() -> None:
    level = RateCurve.of(RATES.tolist(), [0.7] * len(RATES))
    growing = RateCurve.of(RATES.tolist(), np.linspace(0.7, 9.0, len(RATES)).tolist())
    for found in (level, growing):
        assert found.suggestion() is None
        assert "did not clearly fall" in found.problem()


def test_noise_suggests_nothing() -> None:
    random = np.random.default_rng(0)
    found = [RateCurve.of(RATES.tolist(), (0.7 + 0.2 * random.normal(size=100)).tolist()) for _ in range(100)]
    assert sum(curve.suggestion() is not None for curve in found) < 20


def test_losses_after_one_that_is_not_finite_do_not_count() -> None:
    losses = curve().losses.tolist()
    expected = RateCurve.of(RATES[:70].tolist(), losses[:70])
    for bad in (math.nan, math.inf):
        found = RateCurve.of(RATES.tolist(), [*losses[:70], bad, *losses[71:]])
        assert found.suggestion() == expected.suggestion()
        assert found.table() == expected.table()


def test_an_enormous_loss_does_not_change_the_suggestion() -> None:
    found = curve()
    losses = found.losses.copy()
    losses[85:] = 1e30
    assert RateCurve.of(RATES.tolist(), losses.tolist()).suggestion() == found.suggestion()


@pytest.mark.parametrize("count", [0, 1, MIN_POINTS - 1])
def test_too_few_losses_suggest_nothing(count: int) -> None:
    found = RateCurve.of(RATES.tolist(), [0.7] * count + [math.nan])
    assert found.suggestion() is None
    assert f"for only {count} batches" in found.problem()


def test_the_table_has_the_suggestion_and_the_lowest_loss_and_fits_eighty_columns() -> None:
    found = curve()
    lines = found.table()
    assert lines[0].split() == ["learning", "rate", "loss"]
    assert 15 <= len(lines) <= 25
    assert max(map(len, lines)) <= 80
    assert all(line.isascii() for line in lines)
    rates = [float(line.split()[0]) for line in lines[1:]]
    assert rates == sorted(rates)
    (suggested,) = [line for line in lines if line.endswith("<- suggested")]
    (lowest,) = [line for line in lines if line.endswith("<- lowest")]
    assert float(suggested.split()[0]) == found.suggestion()
    assert lowest.index("*") < suggested.index("*")
    assert lines[-1].endswith(">")


def test_lowest_and_suggested_may_share_a_row() -> None:
    found = RateCurve.of(RATES[:12].tolist(), [0.7] * 6 + [0.1] * 6)
    assert len(found.table()) == len(set(found.table()))
