"""What the pane of a run says, without a screen."""

from __future__ import annotations

import pytest
import recorded

from facegender.runs.events import AnyEvent, RunFinished
from tui.run.state import RunState, apply_all
from tui.widgets.facts import run_facts


def said(*events: AnyEvent) -> list[str]:
    """The lines of the pane after some events."""
    state = apply_all(RunState("otter-3", process_state="training"), events)
    return run_facts(state).plain.splitlines()


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
