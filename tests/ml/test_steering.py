"""Requests change a run while it trains: at the next batch, the same in all processes, and for good."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import pytest
import torch

from facegender.network.recipes import lr_factor
from facegender.runs.events import CheckpointSaved, EpochFinished, EpochStarted, RequestDone, RunStarted
from facegender.runs.folder import RunFolder
from facegender.runs.requests import CheckpointRequest, Request, SetRequest, send_request
from facegender.runs.summary import summarise
from facegender.training.run import train
from tests.ml.conftest import events_of, losses_of, tiny

AtStep = Callable[[int, Callable[[], None]], None]


@pytest.fixture(autouse=True)
def _poll_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("facegender.training.threads.journal.POLL_EVERY_S", 0.02)


def ask(folder: RunFolder, *requests: Request) -> None:
    """Send requests, and wait until the journal thread has handed them over: then it refuses the last file."""
    for request in requests:
        send_request(folder, request)
    before = len(refusals(folder))
    (folder.requests_path / "~.json").write_text("{}")
    until = time.monotonic() + 20
    while len(refusals(folder)) == before and time.monotonic() < until:
        time.sleep(0.01)


def refusals(folder: RunFolder) -> list[RequestDone]:
    """Answers to files that are no requests."""
    events = events_of(folder.root, folder.name)
    return [event for event in events if isinstance(event, RequestDone) and not event.request]


def answers_of(root: Path, run: str) -> list[RequestDone]:
    return [event for event in events_of(root, run) if isinstance(event, RequestDone) and event.request]


def rates_of(root: Path, run: str) -> dict[int, float]:
    return {event.epoch: event.learning_rate for event in events_of(root, run) if isinstance(event, EpochStarted)}


def optimiser_rates(folder: RunFolder) -> list[float]:
    checkpoint = torch.load(folder.last_checkpoint, weights_only=True)
    return [group["lr"] for group in checkpoint["optimizer_states"][0]["param_groups"]]


def test_a_learning_rate_is_that_of_the_next_step_and_the_schedule_goes_on_from_it(
    tmp_path: Path, at_step: AtStep
) -> None:
    folder = RunFolder(tmp_path, "a")
    at_step(5, lambda: ask(folder, SetRequest(learning_rate=5e-4)))
    assert train(tiny(step_size=2, gamma=0.1), tmp_path, "a", show=False) == "completed"
    (answer,) = answers_of(tmp_path, "a")
    assert (answer.done, answer.epoch, answer.step, answer.learning_rate) == (True, 1, 6, 5e-4)
    assert answer.outcome == "the learning rate is 0.0005 instead of 0.001 from step 7 on"
    assert rates_of(tmp_path, "a") == {0: 1e-3, 1: 1e-3, 2: pytest.approx(5e-5)}
    finished = [event.learning_rate for event in events_of(tmp_path, "a") if isinstance(event, EpochFinished)]
    assert finished == [1e-3, 5e-4, pytest.approx(5e-5)]
    manifest = folder.read_manifest()
    assert manifest is not None
    assert (manifest.config.learning_rate, manifest.base_learning_rate) == (1e-3, 5e-4)


def test_the_cycle_of_the_tuned_recipe_is_scaled_by_a_learning_rate_and_stretched_to_more_epochs(
    tmp_path: Path, at_step: AtStep
) -> None:
    folder = RunFolder(tmp_path, "a")
    at_step(5, lambda: ask(folder, SetRequest(learning_rate=2e-4), SetRequest(epochs=4)))
    config = tiny(recipe="tuned", widths=(4, 8, 8), learning_rate=2e-3)
    assert train(config, tmp_path, "a", show=False) == "completed"
    _, epochs = answers_of(tmp_path, "a")
    base = 2e-4 / lr_factor(6, 12)
    assert epochs.learning_rate == pytest.approx(base * lr_factor(6, 16))
    assert epochs.outcome.startswith(
        "4 epochs are planned instead of 3; with the stretched schedule the learning rate is "
    )
    assert rates_of(tmp_path, "a")[2] == pytest.approx(base * lr_factor(8, 16))
    assert rates_of(tmp_path, "a")[3] == pytest.approx(base * lr_factor(12, 16))
    assert optimiser_rates(folder) == pytest.approx([base * lr_factor(16, 16)] * 2)


def test_the_number_of_epochs_is_that_of_the_whole_run(tmp_path: Path, at_step: AtStep) -> None:
    folder = RunFolder(tmp_path, "a")
    at_step(5, lambda: ask(folder, SetRequest(epochs=1), SetRequest(epochs=2)))
    assert train(tiny(visualize_every=10), tmp_path, "a", show=False) == "completed"
    low, enough = answers_of(tmp_path, "a")
    assert (low.done, low.outcome) == (False, "epoch 2 is in training: epochs must be at least 2")
    assert (enough.done, enough.epochs, enough.outcome) == (True, 2, "2 epochs are planned instead of 3")
    summary = summarise(folder)
    assert (summary.epochs_done, summary.epochs) == (2, 2)
    assert folder.frame_epochs() == [-1, 0, 1]  # the last epoch has a frame


def test_epochs_that_are_requested_during_the_last_validation_are_trained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from facegender.network.module import FaceGenderModule

    folder, original = RunFolder(tmp_path, "a"), FaceGenderModule.on_validation_epoch_end

    def on_validation_epoch_end(self: FaceGenderModule) -> None:
        if self.current_epoch == 0:
            ask(folder, SetRequest(epochs=2))
        original(self)

    monkeypatch.setattr(FaceGenderModule, "on_validation_epoch_end", on_validation_epoch_end)
    assert train(tiny(epochs=1), tmp_path, "a", show=False) == "completed"
    assert summarise(folder).epochs_done == 2


def test_values_out_of_bounds_in_a_request_written_by_hand_are_refused(tmp_path: Path, at_step: AtStep) -> None:
    folder = RunFolder(tmp_path, "a")

    def write() -> None:
        (folder.requests_path).mkdir(exist_ok=True)
        (folder.requests_path / "1.json").write_text('{"type":"set","learning_rate":-1,"epochs":9}')
        ask(folder)

    at_step(5, write)
    assert train(tiny(), tmp_path, "a", show=False) == "completed"
    (answer,) = answers_of(tmp_path, "a")
    assert (answer.done, answer.outcome) == (False, "learning rate must be above 0 and at most 10, not -1")
    assert summarise(folder).epochs_done == 3


def test_a_checkpoint_is_saved_within_an_epoch_and_the_run_resumes_from_it(
    tmp_path: Path, at_step: AtStep, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, copy = RunFolder(tmp_path, "a"), tmp_path / "copy.ckpt"
    at_step(5, lambda: ask(folder, CheckpointRequest(), CheckpointRequest()))
    at_step(7, lambda: copy.write_bytes(folder.last_checkpoint.read_bytes()))
    assert train(tiny(), tmp_path, "a", show=False) == "completed"
    for answer in answers_of(tmp_path, "a"):
        assert (answer.done, answer.outcome) == (True, "last.ckpt of epoch 2 after step 6 is saved")
    saved = [event.step for event in events_of(tmp_path, "a") if isinstance(event, CheckpointSaved)]
    assert 6 in saved
    assert (
        torch.load(copy, weights_only=True)["resume_at"] | {"epoch": 1, "batch": 2}
        == torch.load(copy, weights_only=True)["resume_at"]
    )


def test_what_was_set_stands_after_a_kill_and_a_resume_even_without_a_checkpoint_that_has_it(
    tmp_path: Path, at_step: AtStep
) -> None:
    """A child process trains, sets both, and kills itself one step later; its last checkpoint is older."""
    child = """
import os, signal, sys
from pathlib import Path
from facegender.network.module import FaceGenderModule
from facegender.runs.folder import RunFolder
from facegender.runs.requests import SetRequest
from facegender.training.run import train
from tests.ml import test_steering
from tests.ml.conftest import tiny
import facegender.training.threads.journal as journal
journal.POLL_EVERY_S = 0.02
root = Path(sys.argv[1])
folder = RunFolder(root, "a")
original = FaceGenderModule.training_step
def training_step(self, batch, batch_idx):
    if self.global_step == 5:
        test_steering.ask(folder, SetRequest(learning_rate=1e-4, epochs=5))
    if self.global_step == 7:
        test_steering.wait_for_answer(root, "a")
        os.kill(os.getpid(), signal.SIGKILL)
    return original(self, batch, batch_idx)
FaceGenderModule.training_step = training_step
train(tiny(), root, "a", show=False)
"""
    done = subprocess.run([sys.executable, "-c", child, str(tmp_path)], timeout=120, check=False)
    assert done.returncode == -signal.SIGKILL
    folder = RunFolder(tmp_path, "a")
    assert folder.state() == "crashed"
    assert optimiser_rates(folder) == [1e-3]
    assert train(tiny(), tmp_path, resume="a", show=False) == "completed"
    events = events_of(tmp_path, "a")
    resumed = [event for event in events if isinstance(event, RunStarted)][-1]
    assert (resumed.epochs, resumed.start_step) == (5, 4)
    again = answers_of(tmp_path, "a")[-1]
    assert (again.step, again.learning_rate) == (4, 1e-4)
    assert again.outcome == "the learning rate set before the run ended is restored: 0.0001 from step 5 on"
    assert {epoch: rates_of(tmp_path, "a")[epoch] for epoch in range(1, 5)} == dict.fromkeys(range(1, 5), 1e-4)
    assert summarise(folder).epochs_done == 5
    # From a checkpoint that has the rate, nothing has to be restored, and no digit of it changes.
    assert optimiser_rates(folder) == [1e-4]
    count = len(answers_of(tmp_path, "a"))
    assert train(tiny(), tmp_path, resume="a", changes={"epochs": 6}, show=False) == "completed"
    assert [(one.epochs, one.learning_rate) for one in answers_of(tmp_path, "a")[count:]] == [(6, None)]
    assert optimiser_rates(folder) == [1e-4]


def wait_for_answer(root: Path, run: str) -> None:
    """Wait until the journal has one."""
    until = time.monotonic() + 20
    while not answers_of(root, run) and time.monotonic() < until:
        time.sleep(0.01)


@pytest.mark.parametrize("recipe", ["reference", "tuned"])
def test_a_stopped_and_resumed_run_is_the_same_as_one_that_was_not_stopped(
    tmp_path: Path, at_step: AtStep, recipe: Literal["reference", "tuned"]
) -> None:
    run = "whole"
    at_step(5, lambda: ask(RunFolder(tmp_path, run), SetRequest(learning_rate=3e-4, epochs=4)))
    at_step(6, lambda: signal.raise_signal(signal.SIGTERM) if run == "stopped" else None)
    assert train(tiny(recipe=recipe), tmp_path, run, show=False) == "completed"
    run = "stopped"
    assert train(tiny(recipe=recipe), tmp_path, run, show=False) == "stopped"
    assert train(tiny(), tmp_path, resume=run, show=False) == "completed"
    losses = losses_of(events_of(tmp_path, run))
    assert len(losses) == 16
    assert losses == losses_of(events_of(tmp_path, "whole"))
