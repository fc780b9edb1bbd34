"""One line about a run, from whatever is left of it."""

from __future__ import annotations

import math
import time
from pathlib import Path

import pytest
import recorded

from facegender.runs.folder import RunFolder
from facegender.runs.summary import summarise, trained_manifest


def test_a_run_is_summed_up_by_its_epochs_and_its_best(root: Path) -> None:
    summary = summarise(recorded.write_run(root, epochs_done=3, end="stopped", created=123.0))
    assert (summary.run, summary.state) == ("otter-3", "stopped")
    assert (summary.epochs_done, summary.epochs) == (3, 5)
    assert (summary.best_epoch, summary.best_accuracy) == (2, 0.62)
    assert (summary.created, summary.data, summary.image_size) == (123.0, "/photographs", recorded.IMAGE_PX)


@pytest.mark.parametrize("created", [-1e300, 1e300, 0.0])
def test_a_moment_that_cannot_be_is_none(root: Path, created: float) -> None:
    assert summarise(recorded.write_run(root, created=created)).created == 0.0


def test_the_first_of_equally_good_epochs_is_the_best(root: Path) -> None:
    folder = recorded.write_run(root, epochs_done=0)
    recorded.append(folder, *[recorded.epoch_finished(epoch, 0.9) for epoch in range(3)])
    assert summarise(folder).best_epoch == 0


def test_a_nan_accuracy_is_never_the_best(root: Path) -> None:
    folder = recorded.write_run(root, epochs_done=0)
    recorded.append(folder, recorded.epoch_finished(0, math.nan), recorded.epoch_finished(1, 0.5))
    recorded.append(folder, recorded.epoch_finished(2, math.nan))
    summary = summarise(folder)
    assert (summary.best_epoch, summary.best_accuracy, summary.epochs_done) == (1, 0.5, 3)


def test_without_any_number_there_is_no_best(root: Path) -> None:
    folder = recorded.write_run(root, epochs_done=0)
    recorded.append(folder, recorded.epoch_finished(0, math.nan))
    summary = summarise(folder)
    assert summary.best_epoch == -1
    assert math.isnan(summary.best_accuracy)


def test_epochs_that_a_resumed_run_trains_again_count_once(root: Path) -> None:
    folder = recorded.write_run(root, epochs_done=4)
    folder.write_manifest(
        recorded.manifest(folder, config=recorded.TrainConfig(epochs=9))
    )  # as whoever resumes it does
    recorded.append(folder, recorded.run_started(epochs=9, start_epoch=2, start_step=10, resumed=True))
    recorded.append(folder, recorded.epoch_finished(2, 0.1))
    summary = summarise(folder)
    assert (summary.epochs_done, summary.epochs) == (3, 9)
    assert (summary.best_epoch, summary.best_accuracy) == (1, 0.61)


def test_a_run_that_never_began_has_what_the_manifest_says(folder: RunFolder) -> None:
    folder.write_manifest(recorded.manifest(folder, process=recorded.dead_process()))
    summary = summarise(folder)
    assert (summary.state, summary.epochs_done, summary.epochs) == ("crashed", 0, 5)


def test_a_run_without_files_or_with_damaged_ones_is_summed_up_as_far_as_it_goes(folder: RunFolder) -> None:
    assert summarise(folder).created == 0.0
    folder.manifest_path.write_bytes(b"{")
    folder.journal_path.write_bytes(b'{"type":"epoch_finished",\xff\n{"type":"run_started"}\ngarbage\n')
    summary = summarise(folder)
    assert (summary.epochs_done, summary.epochs, summary.data) == (0, 0, "")


def test_a_long_journal_is_summed_up_quickly(root: Path) -> None:
    folder = recorded.write_run(root, epochs_done=2)
    line = recorded.steps(0, 5)
    recorded.append(folder, *[line] * 20_000)
    began = time.perf_counter()
    assert summarise(folder).epochs_done == 2
    assert time.perf_counter() - began < 1


def test_the_settings_to_begin_from_are_those_of_a_run_that_trained(root: Path) -> None:
    assert trained_manifest(root) is None
    failed = recorded.write_run(root, "failed", epochs_done=0, end="failed", created=300.0)
    assert trained_manifest(root, failed) is None
    older = recorded.write_run(root, "older", created=100.0)
    recorded.write_run(root, "newer", created=200.0)
    assert trained_manifest(root).run == "newer"
    assert trained_manifest(root, older).run == "older"
    assert trained_manifest(root, failed).run == "newer"


def test_the_settings_and_losses_of_a_run_are_in_its_summary(root: Path) -> None:
    folder = recorded.write_run(root, epochs_done=3, config=recorded.TrainConfig(recipe="tuned", seed=7, batch_size=9))
    recorded.append(folder, recorded.epoch_finished(3, validation_loss=2.0, train_loss=math.nan))
    summary = summarise(folder)
    assert (summary.recipe, summary.network, summary.seed, summary.batch_size) == ("tuned", "recipe", 7, 9)
    assert (summary.validation_loss, summary.lowest_loss, summary.duration_s) == (2.0, 0.58, 8.0)
    assert math.isnan(summary.train_loss)


def test_the_settings_of_a_script_are_those_that_its_journal_has(root: Path) -> None:
    folder = recorded.write_run(root, epochs_done=0, script="train.py", data="script train.py")
    assert math.isnan(summarise(folder).learning_rate)
    recorded.append(folder, recorded.run_started(network="MyNet", batch_size=8, image_size=99, recipe=""))
    recorded.append(folder, *[recorded.epoch_finished(epoch, learning_rate=0.5 / (1 + epoch)) for epoch in range(2)])
    summary = summarise(folder)
    assert (summary.network, summary.recipe, summary.batch_size, summary.image_size) == ("MyNet", "", 8, 99)
    assert (summary.learning_rate, summary.seed) == (0.5, -1)
