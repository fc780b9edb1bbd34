"""What becomes of a run whose loss is not finite, and of one whose loss has exploded."""

from __future__ import annotations

import math
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from facegender.__main__ import run
from facegender.network.module import FaceGenderModule
from facegender.runs.events import EpochFinished, Notice, RunFinished
from facegender.runs.folder import RunFolder
from facegender.training.callbacks import divergence
from facegender.training.callbacks.divergence import DivergenceGuard, first_non_finite_layer
from facegender.training.run import train
from facegender.training.threads import watchdog
from tests.ml.conftest import STEPS_PER_EPOCH, events_of, losses_of, tiny

Patch = pytest.MonkeyPatch
Capture = pytest.CaptureFixture[str]
BAD_STEP = STEPS_PER_EPOCH + 2
"""Counted from 1: the second of the second epoch."""


def make_loss_nan(monkeypatch: Patch, *steps: int) -> None:
    """Multiply the loss of some steps, counted from 1, with NaN."""
    original = FaceGenderModule.training_step

    def training_step(self: FaceGenderModule, *arguments: Any) -> dict[str, Any]:
        result = original(self, *arguments)
        factor = math.nan if self.global_step + 1 in steps else 1.0
        return {**result, **{name: result[name] * factor for name in ("loss", "loss_sum_and_correct")}}

    monkeypatch.setattr(FaceGenderModule, "training_step", training_step)


def weights_of(path: Path) -> dict[str, Tensor]:
    content = torch.load(path, weights_only=True)["state_dict"]
    return {name: tensor for name, tensor in content.items() if tensor.is_floating_point()}


def warnings_of(root: Path, name: str = "a") -> list[str]:
    return [event.text for event in events_of(root, name) if isinstance(event, Notice) and event.level == "warning"]


def error_of(root: Path, name: str = "a") -> str:
    last = events_of(root, name)[-1]
    assert isinstance(last, RunFinished)
    assert last.status == "failed"
    return last.error


@pytest.fixture(params=["at once", "sixteen steps later"])
def _examined(request: pytest.FixtureRequest, monkeypatch: Patch) -> None:
    """When losses are examined: as on one processor, or as on a GPU."""
    if request.param != "at once":
        monkeypatch.setattr(DivergenceGuard, "_arrives_at_once", lambda self, trainer: False)


# stop


@pytest.mark.usefixtures("_examined")
@pytest.mark.parametrize(("recipe", "precision"), [("reference", "32"), ("tuned", "32"), ("reference", "bf16")])
def test_a_loss_that_is_not_finite_ends_the_run_as_failed_and_keeps_the_last_good_checkpoint(
    recipe: Any, precision: Any, tmp_path: Path, monkeypatch: Patch
) -> None:
    make_loss_nan(monkeypatch, BAD_STEP)
    assert train(tiny(recipe=recipe, precision=precision), tmp_path, "a", show=False) == "failed"
    error = error_of(tmp_path)
    assert f"the loss is not finite at step {BAD_STEP} (epoch 2 of 3)" in error
    assert "the last good checkpoint is last.ckpt of epoch 1" in error
    checkpoint = torch.load(RunFolder(tmp_path, "a").last_checkpoint, weights_only=True)
    assert checkpoint["global_step"] == STEPS_PER_EPOCH
    assert all(tensor.isfinite().all() for tensor in weights_of(RunFolder(tmp_path, "a").last_checkpoint).values())


def test_it_is_one_line_and_exit_code_1_and_the_line_says_how_to_go_on(
    tmp_path: Path, monkeypatch: Patch, capsys: Capture
) -> None:
    monkeypatch.chdir(tmp_path)
    options = ["--demo", "--demo-faces=10", "--image-size=32", "--widths=4,8,8", "--batch-size=4", "--epochs=2"]
    with monkeypatch.context() as patch:
        make_loss_nan(patch, BAD_STEP)
        assert run(["train", *options, "--accelerator=cpu", "--precision=32", "--run=a"]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"facegender: run a failed: the loss is not finite at step {BAD_STEP} (epoch 2 of 2)")
    make_loss_nan(monkeypatch, BAD_STEP)
    assert run(line.split("facegender train ")[1].join(["train ", ""]).split()) == 0
    assert RunFolder(tmp_path, "a").state() == "completed"


@pytest.mark.usefixtures("_examined")
def test_a_stop_request_after_a_bad_step_saves_nothing(tmp_path: Path, monkeypatch: Patch) -> None:
    make_loss_nan(monkeypatch, BAD_STEP)
    original = DivergenceGuard.on_before_optimizer_step

    def request_stop(self: DivergenceGuard, trainer: Any, *arguments: Any) -> None:
        if trainer.global_step + 1 == BAD_STEP:
            RunFolder(tmp_path, "a").request_stop()
        original(self, trainer, *arguments)

    monkeypatch.setattr(DivergenceGuard, "on_before_optimizer_step", request_stop)
    assert train(tiny(), tmp_path, "a", show=False) == "failed"
    assert torch.load(RunFolder(tmp_path, "a").last_checkpoint, weights_only=True)["global_step"] == STEPS_PER_EPOCH


def test_the_last_good_checkpoint_is_named_also_while_it_is_being_flushed(tmp_path: Path, monkeypatch: Patch) -> None:
    make_loss_nan(monkeypatch, BAD_STEP)
    flush = os.fsync

    def slow_disk(file: int) -> None:
        time.sleep(0.3)
        flush(file)

    monkeypatch.setattr(os, "fsync", slow_disk)
    assert train(tiny(), tmp_path, "a", show=False) == "failed"
    assert "the last good checkpoint is last.ckpt of epoch 1" in error_of(tmp_path)


@pytest.mark.usefixtures("_examined")
def test_a_bad_step_at_the_end_of_an_epoch_is_noticed_before_anything_is_saved(
    tmp_path: Path, monkeypatch: Patch
) -> None:
    make_loss_nan(monkeypatch, STEPS_PER_EPOCH)
    assert train(tiny(), tmp_path, "a", show=False) == "failed"
    assert "no checkpoint has been saved yet" in error_of(tmp_path)
    assert not RunFolder(tmp_path, "a").last_checkpoint.exists()
    assert not RunFolder(tmp_path, "a").best_checkpoint.exists()


@pytest.mark.parametrize("layer", ["conv2", "bn3"])
def test_the_first_layer_that_is_not_finite_is_named(layer: str, tmp_path: Path, monkeypatch: Patch) -> None:
    original = FaceGenderModule.training_step

    def training_step(self: FaceGenderModule, *arguments: Any) -> dict[str, Any]:
        if self.global_step + 1 == BAD_STEP:
            nn.init.constant_(getattr(self.network, layer).bias, math.inf)
        return original(self, *arguments)

    monkeypatch.setattr(FaceGenderModule, "training_step", training_step)
    assert train(tiny(), tmp_path, "a", show=False) == "failed"
    assert f"first layer that is not finite: {layer};" in error_of(tmp_path)


def test_a_validation_loss_that_is_not_finite_ends_the_run_too(
    tmp_path: Path, at_step: Callable[[int, Callable[[], None]], None], monkeypatch: Patch
) -> None:
    original = FaceGenderModule.on_validation_epoch_end

    def on_validation_epoch_end(self: FaceGenderModule) -> None:
        original(self)
        if self.current_epoch == 1:
            self.validation_results["loss"] *= math.inf

    monkeypatch.setattr(FaceGenderModule, "on_validation_epoch_end", on_validation_epoch_end)
    assert train(tiny(), tmp_path, "a", show=False) == "failed"
    assert error_of(tmp_path).startswith("the validation loss of epoch 2 of 3 is not finite")
    assert torch.load(RunFolder(tmp_path, "a").last_checkpoint, weights_only=True)["global_step"] == STEPS_PER_EPOCH


def test_layers_are_searched_in_the_order_of_the_forward_pass() -> None:
    model = nn.Sequential(nn.Conv2d(3, 2, 1), nn.Sequential(nn.ReLU(), nn.Conv2d(2, 2, 1)), nn.Conv2d(2, 2, 1)).train()
    images = torch.rand(1, 3, 4, 4)
    assert first_non_finite_layer(model, images) is None
    nn.init.constant_(model[2].bias, math.nan)
    assert first_non_finite_layer(model, images) == "2"
    nn.init.constant_(model[1][1].weight, math.inf)
    assert first_non_finite_layer(model, images) == "1.1"
    assert model.training


# skip


@pytest.mark.usefixtures("_examined")
@pytest.mark.parametrize("recipe", ["reference", "tuned"])
def test_a_batch_that_is_left_out_changes_neither_weights_nor_running_statistics(
    recipe: Any, tmp_path: Path, monkeypatch: Patch
) -> None:
    states: dict[int, dict[str, Tensor]] = {}
    original = FaceGenderModule.training_step

    def training_step(self: FaceGenderModule, *arguments: Any) -> dict[str, Any]:
        step = self.global_step + 1
        states[step] = {name: value.clone() for name, value in self.network.state_dict().items()}
        if step != BAD_STEP:
            return original(self, *arguments)
        first = next(module for module in self.network.modules() if isinstance(module, nn.Conv2d))
        handle = first.register_forward_hook(lambda module, inputs, output: output * math.nan)
        try:
            return original(self, *arguments)
        finally:
            handle.remove()

    monkeypatch.setattr(FaceGenderModule, "training_step", training_step)
    assert train(tiny(recipe=recipe, on_nan="skip"), tmp_path, "a", show=False) == "completed"
    before, after, later = states[BAD_STEP], states[BAD_STEP + 1], states[BAD_STEP + 2]
    assert all(torch.equal(value, after[name]) for name, value in before.items())
    assert not all(torch.equal(value, later[name]) for name, value in after.items())
    events = events_of(tmp_path, "a")
    assert [step for step, loss in losses_of(events).items() if math.isnan(loss)] == [BAD_STEP]
    epochs = [event for event in events if isinstance(event, EpochFinished)]
    assert all(math.isfinite(event.train_loss) and math.isfinite(event.validation_loss) for event in epochs)
    (warning,) = warnings_of(tmp_path)
    assert warning.startswith(f"the loss is not finite at step {BAD_STEP} (epoch 2 of 3)")
    assert warning.endswith("this batch is left out (--on-nan skip)")
    weights = weights_of(RunFolder(tmp_path, "a").last_checkpoint)
    assert all(tensor.isfinite().all() for tensor in weights.values())


def test_the_mean_of_an_epoch_is_that_of_the_batches_that_count(tmp_path: Path, monkeypatch: Patch) -> None:
    make_loss_nan(monkeypatch, 2)
    assert train(tiny(on_nan="skip", epochs=1), tmp_path, "a", show=False) == "completed"
    events = events_of(tmp_path, "a")
    counted = [loss for loss in losses_of(events).values() if math.isfinite(loss)]
    (finished,) = [event for event in events if isinstance(event, EpochFinished)]
    assert len(counted) == STEPS_PER_EPOCH - 1
    assert finished.train_loss == pytest.approx(sum(counted) / len(counted))


@pytest.mark.usefixtures("_examined")
def test_too_many_batches_in_a_row_end_the_run(tmp_path: Path, monkeypatch: Patch) -> None:
    monkeypatch.setattr(divergence, "MAX_SKIPPED_IN_A_ROW", 2)
    make_loss_nan(monkeypatch, 2, 3, 5, 6, 7, 8)
    assert train(tiny(on_nan="skip"), tmp_path, "a", show=False) == "failed"
    error = error_of(tmp_path)
    assert "the loss is not finite at step 7 (epoch 2 of 3), nor was it for the 2 batches before" in error
    assert "--on-nan skip" not in error
    assert "2 batches of epoch 1 were left out (--on-nan skip)" in warnings_of(tmp_path)


# continue


@pytest.mark.usefixtures("_examined")
def test_continue_says_it_once_and_trains_on(tmp_path: Path, monkeypatch: Patch) -> None:
    make_loss_nan(monkeypatch, *range(BAD_STEP, 100))
    assert train(tiny(on_nan="continue"), tmp_path, "a", show=False) == "completed"
    training, validation = warnings_of(tmp_path)
    assert f"not finite at step {BAD_STEP}" in training
    assert validation.startswith("the validation loss of epoch 2 of 3 is not finite")


# Finite, but exploded


@pytest.mark.usefixtures("_examined")
def test_a_loss_that_has_exploded_is_said_once_with_numbers(tmp_path: Path, monkeypatch: Patch) -> None:
    for module in (divergence, watchdog):
        monkeypatch.setattr(module, "MEDIAN_OF", 4)
    assert train(tiny(learning_rate=10.0, epochs=4), tmp_path, "a", show=False) == "completed"
    (warning,) = warnings_of(tmp_path)
    assert warning.startswith("the loss has exploded: its median over 4 steps is ")
    assert "guessing gives 0.69" in warning


def test_an_ordinary_run_and_single_outliers_are_no_explosion(
    trained: Path, tmp_path: Path, monkeypatch: Patch
) -> None:
    assert warnings_of(trained, "done") == []
    original = FaceGenderModule.training_step

    def training_step(self: FaceGenderModule, *arguments: Any) -> dict[str, Any]:
        result = original(self, *arguments)
        return {**result, "loss": result["loss"] * (1e6 if self.global_step % 4 == 1 else 1)}

    for module in (divergence, watchdog):
        monkeypatch.setattr(module, "MEDIAN_OF", 4)
    monkeypatch.setattr(FaceGenderModule, "training_step", training_step)
    assert train(tiny(), tmp_path, "a", show=False) == "completed"
    assert warnings_of(tmp_path) == []


# Several devices

SECOND_DEVICE_DIVERGES = """
import math, sys
from facegender.__main__ import run
from facegender.network.module import FaceGenderModule

original = FaceGenderModule.training_step

def training_step(self, *arguments):
    result = original(self, *arguments)
    if self.global_rank == 1 and self.global_step == 2:
        result["loss"] = result["loss"] * math.nan
    return result

FaceGenderModule.training_step = training_step
sys.exit(run([*sys.argv[1:], "--run=a"]))
"""


def on_two_devices(tmp_path: Path, *options: str) -> subprocess.CompletedProcess[str]:
    script = tmp_path / "diverging.py"
    script.write_text(SECOND_DEVICE_DIVERGES)
    command = [
        sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2", "--standalone", str(script), "train",
        "--demo", "--demo-faces=10", "--image-size=32", "--widths=4,8,8", "--batch-size=4", "--accelerator=cpu",
        "--precision=32", "--epochs=2", "--visualize-every=0", f"--root={tmp_path}", *options,
    ]  # fmt: skip
    return subprocess.run(command, capture_output=True, text=True, timeout=120, stdin=subprocess.DEVNULL)


def test_all_devices_end_at_a_bad_step_of_one_of_them(tmp_path: Path) -> None:
    done = on_two_devices(tmp_path)
    assert done.returncode == 1
    assert done.stderr.count("the loss is not finite at step 3 (epoch 2 of 2)") == 1
    assert RunFolder(tmp_path, "a").state() == "failed"


def test_all_devices_leave_out_a_bad_batch_of_one_of_them(tmp_path: Path) -> None:
    done = on_two_devices(tmp_path, "--on-nan=skip")
    assert done.returncode == 0, done.stderr
    (warning,) = [text for text in warnings_of(tmp_path) if "not finite" in text]
    assert "at step 3" in warning
    weights = weights_of(RunFolder(tmp_path, "a").last_checkpoint)
    assert all(tensor.isfinite().all() for tensor in weights.values())
