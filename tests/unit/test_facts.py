"""What the pane of a run says, without a screen."""

from __future__ import annotations

import math
from typing import Any

import pytest
import recorded
from rich.cells import cell_len

from facegender.runs.events import AnyEvent, EpochFinished, RunFinished
from tui.format import CLASSES, class_colour, class_name
from tui.run.state import RunState, apply_all
from tui.widgets.facts import run_facts

WIDTH = 46


def said(*events: AnyEvent) -> list[str]:
    """The lines of the pane after some events."""
    state = apply_all(RunState("otter-3", process_state="training"), events)
    return run_facts(state, None, WIDTH).plain.splitlines()


def test_a_run_without_patience_does_not_mention_it() -> None:
    lines = said(recorded.run_started(), recorded.epoch_finished(0))
    assert not any("patience" in line for line in lines)
    assert lines[0] == "best 0.600 at epoch 1   learning rate 0.001"


@pytest.mark.parametrize(
    ("rate", "said_of_it"), [(0.00128093, "0.00128"), (0.001, "0.001"), (1e-4, "0.0001"), (4.1e-9, "4.1e-09"), (0, "0")]
)
def test_a_learning_rate_has_at_most_three_digits(rate: float, said_of_it: str) -> None:
    lines = said(recorded.run_started(), recorded.epoch_started(0, learning_rate=rate))
    assert lines[0].endswith(f"   learning rate {said_of_it}")


@pytest.mark.parametrize(
    ("waited", "line"), [((), "patience 10"), ((0, 1, 2, 3), "patience 10, no improvement for 3 epochs")]
)
def test_patience_is_shown_as_epochs_since_the_best_of_the_limit(waited: tuple[int, ...], line: str) -> None:
    epochs = [recorded.epoch_finished(epoch, epochs_since_best=count) for epoch, count in enumerate(waited)]
    assert said(recorded.run_started(patience=10), *epochs)[1] == line


@pytest.mark.parametrize(("patience", "epochs"), [(1, "1 epoch"), (3, "3 epochs")])
def test_a_run_that_ended_early_says_why(patience: int, epochs: str) -> None:
    events = [recorded.epoch_finished(epoch, epochs_since_best=epoch) for epoch in range(patience + 1)]
    end = RunFinished(time=2000.0, status="completed")
    lines = said(recorded.run_started(patience=patience), *events, end)
    assert lines[1] == f"ended early: {epochs} without improvement"
    assert not any("patience" in line for line in lines)


def test_a_stopped_run_shows_its_patience() -> None:
    lines = said(
        recorded.run_started(patience=2),
        recorded.epoch_finished(0),
        recorded.epoch_finished(1, epochs_since_best=1),
        RunFinished(time=2000.0, status="stopped"),
    )
    assert lines[1] == "patience 2, no improvement for 1 epoch"


def test_an_epoch_that_names_no_classes_is_no_error() -> None:
    lines = said(
        recorded.run_started(), recorded.epoch_finished(0, classes=[], confusion=[], precision=[], recall=[], f1=[])
    )
    assert lines[-2].startswith("macro F1")


def many_classes(count: int, epoch: int = 0, **changes: Any) -> EpochFinished:
    """An epoch with so many classes, of which the first ones have the lowest F1."""
    values: dict[str, Any] = {
        "classes": [f"class-{number:02}" for number in range(count)],
        "precision": [0.5] * count,
        "recall": [0.5] * count,
        "f1": [number / count for number in range(count)],
        "confusion": [[2 if column == row else 0 for column in range(count)] for row in range(count)],
    }
    return recorded.epoch_finished(epoch, **(values | changes))


def test_of_many_classes_those_with_the_lowest_f1_are_shown() -> None:
    lines = said(recorded.run_started(), many_classes(11))
    assert [line.split()[0] for line in lines if line.startswith(("class", "●", "▲"))] == ["●"] * 4
    assert "the lowest F1; and 7 more classes" in lines


def test_a_class_without_photographs_is_no_bad_class() -> None:
    lines = said(recorded.run_started(), many_classes(6, f1=[math.nan, 0.9, 0.8, 0.7, 0.6, 0.5]))
    assert [line.split()[0] for line in lines if line.startswith("class")] == [f"class-{n:02}" for n in (5, 4, 3, 2)]


def test_long_names_are_cut_so_that_a_row_stays_a_row() -> None:
    names = ["a very long name of a class", "日本語の長い名前です"]
    lines = said(recorded.run_started(), recorded.epoch_finished(0, classes=names))
    assert all(cell_len(line) <= WIDTH for line in lines)
    assert any(line.startswith("a very …") for line in lines)


def test_what_was_not_measured_is_a_dash() -> None:
    nothing = recorded.epoch_finished(
        0,
        math.nan,
        validation_loss=math.nan,
        macro_f1=math.nan,
        classes=[],
        confusion=[],
        precision=[],
        recall=[],
        f1=[],
    )
    lines = said(recorded.run_started(train_images={}, validation_images={}), nothing)
    assert lines[0].startswith("best epoch: unknown, as no validation accuracy was recorded")
    assert lines[-1] == "macro F1 -   loss -   of epoch 1"


def test_the_figures_are_of_the_shown_epoch() -> None:
    events = [recorded.run_started(), *(recorded.epoch_finished(epoch) for epoch in range(3))]
    state = apply_all(RunState("otter-3", process_state="training"), events)
    assert "loss 0.590   of epoch 2\n" in run_facts(state, 1, WIDTH).plain
    assert "of epoch 3\n" in run_facts(state, 2, WIDTH).plain
    assert "epoch 0, initial weights: not validated" in run_facts(state, -1, WIDTH).plain


def test_ten_classes_have_ten_colours_and_more_have_glyphs() -> None:
    assert len({class_colour(number) for number in range(CLASSES)}) == 10
    names = [str(number) for number in range(25)]
    looks = {(class_name(number, names)[0], class_colour(number)) for number in range(25)}
    assert len(looks) == 25
