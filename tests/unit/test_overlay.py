"""Curves of several runs over each other: who has which colour, means with bands, values at the cursor."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import recorded
from msgspec import structs

from facegender.runs.config import TrainConfig
from facegender.runs.events import RequestDone
from facegender.runs.folder import RunFolder
from tui.run.curves import Curve, StepCurves
from tui.run.follow_many import ReducedRun
from tui.run.overlay import MAX_MARKS, Entry, curves_of, entries, lines, marks, mean_of
from tui.run.state import RunState, apply_all


def run(name: str, *, epochs: int = 3, **config: object) -> ReducedRun:
    """A run of some epochs with a configuration."""
    folder = RunFolder(Path(), name)
    events = [recorded.run_started(), *(event for epoch in range(epochs) for event in recorded.epoch_events(epoch))]
    state = apply_all(RunState(name), events)
    curves = StepCurves()
    curves.extend(state.steps)
    manifest = structs.replace(recorded.manifest(folder), config=TrainConfig(**config))
    return ReducedRun(folder, state, manifest, curves, 0)


def changed(of: ReducedRun, *steps: int) -> ReducedRun:
    """The run with other learning rates from these steps on."""
    changes = [
        RequestDone(time=1500.0, request="set", done=True, outcome="changed", step=step, learning_rate=1e-4)
        for step in steps
    ]
    return replace(of, state=apply_all(of.state, changes))


def curve(x: list[float], y: list[float]) -> Curve:
    return Curve("train", np.array(x), np.array(y), "#ffffff")


def test_runs_that_differ_only_in_their_seed_are_one_entry_with_one_colour_and_glyph() -> None:
    runs = [run("a", seed=1), run("b", learning_rate=1e-4), run("c", seed=2)]
    grouped = entries(runs, grouped=True)
    assert [(entry.name, entry.glyph) for entry in grouped] == [("a, c", "1"), ("b", "2")]
    assert len({entry.colour for entry in grouped}) == 2
    assert [entry.name for entry in entries(runs, grouped=False)] == ["a", "b", "c"]


def test_a_mean_has_a_band_from_the_lowest_to_the_highest() -> None:
    mean = mean_of([curve([1, 2, 3], [1, 2, 3]), curve([1, 2, 3], [3, 6, math.nan])])
    assert mean.y.tolist() == [2, 4, 3]
    assert [edge.tolist() for edge in mean.band] == [[1, 2, 3], [3, 6, 3]]


def test_a_mean_follows_the_runs_that_go_on_when_others_have_ended() -> None:
    mean = mean_of([curve([1, 2], [0, 0]), curve([1, 2, 3, 4], [2, 2, 2, 8])])
    assert mean.x.tolist() == [1, 2, 3, 4]
    assert mean.y.tolist() == [1, 1, 2, 8]


def test_a_mean_reads_curves_between_their_points() -> None:
    mean = mean_of([curve([0, 1, 2, 3, 4], [0, 0, 0, 0, 0]), curve([0, 4], [0, 4])])
    assert mean.y.tolist() == [0, 0.5, 1, 1.5, 2]


@pytest.mark.parametrize("other", [[], [math.nan, math.nan]])
def test_a_mean_with_a_curve_without_values_is_the_other_one(other: list[float]) -> None:
    mean = mean_of([curve([1, 2], [5, 6]), curve([1.0, 2.0][: len(other)], other)])
    assert mean.y.tolist() == [5, 6]


def test_values_are_those_at_the_cursor_and_none_beyond_the_end_of_a_run() -> None:
    curves = curves_of(entries([run("a")], grouped=True)[0], "epochs", 0.0, "accuracy")
    assert curves.value("loss", "validation", None) == pytest.approx(0.58)
    assert curves.value("loss", "validation", 2.0) == pytest.approx(0.59)
    assert curves.value("loss", "validation", 2.4) == pytest.approx(0.59)
    assert curves.value("metric", "validation", 3.0) == pytest.approx(0.62)
    assert math.isnan(curves.value("loss", "validation", 0.5))
    assert math.isnan(curves.value("loss", "validation", 3.1))


def test_raw_values_stand_behind_smoothed_ones_and_only_there() -> None:
    entry = entries([run("a")], grouped=True)[0]
    smoothed = lines([curves_of(entry, "epochs", 0.8, "accuracy")], "loss", ("train", "validation"))
    assert [(one.name, one.behind) for one in smoothed] == [("train", True), ("train", False), ("validation", False)]
    raw = lines([curves_of(entry, "epochs", 0.0, "accuracy")], "loss", ("train", "validation"))
    assert [one.name for one in raw] == ["train", "validation"]
    alone = lines([curves_of(entry, "epochs", 0.8, "accuracy")], "loss", ("validation",))
    assert [(one.name, one.glyph) for one in alone] == [("validation", "1")]


def test_training_curves_are_dotted_and_validation_curves_have_points() -> None:
    entry = entries([run("a")], grouped=True)[0]
    curves = curves_of(entry, "epochs", 0.0, "accuracy")
    assert curves.loss["train"].dotted
    assert not curves.loss["train"].points
    assert curves.loss["validation"].points
    assert not curves.loss["validation"].dotted


def test_of_a_metric_without_training_values_one_curve_is_drawn() -> None:
    entry = entries([run("a")], grouped=True)[0]
    for metric in ("learning rate", "F1"):
        shown = lines([curves_of(entry, "epochs", 0.8, metric)], "metric", ("train", "validation"))
        assert [one.name for one in shown] == ["validation"]


def test_the_best_accuracy_of_several_seeds_is_their_mean() -> None:
    both = Entry((run("a", epochs=3), run("b", epochs=2)), "1", "#ffffff")
    accuracy, epochs = both.best
    assert accuracy == pytest.approx(0.615)
    assert epochs == "2–3"
    assert Entry((run("a", epochs=0),), "1", "#ffffff").best[1] == ""


def test_marks_name_the_run_that_was_changed_and_are_left_out_where_they_are_too_many() -> None:
    runs = [run("a"), changed(run("b"), 5, 10), changed(run("c"), *range(1, MAX_MARKS))]
    _, b, c = (curves_of(entry, "epochs", 0.0, "accuracy") for entry in entries(runs, grouped=False))
    assert marks([b]) == ((1.0, "2: lr 0.0001"), (2.0, "2: lr 0.0001"))
    assert len(marks([c])) == MAX_MARKS - 1
    assert marks([b, c]) == ()
