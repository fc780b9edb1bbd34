"""Where a resumed run continues, what a crash has cost it, and whether its checkpoint fits."""

from __future__ import annotations

import math
import time
import traceback
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import torch
from pytorch_lightning import LightningModule, Trainer
from torch import Tensor

from facegender.data.dataset import CLASSES
from facegender.network.checkpoint_file import (
    DamagedCheckpoint,
    leaves,
    network_weights,
    read_checkpoint,
    require_count,
)
from facegender.network.recipes import build_network
from facegender.runs.config import TrainConfig
from facegender.runs.events import (
    CheckpointSaved,
    EpochFinished,
    Event,
    FrameSaved,
    Notice,
    PredictionsSaved,
    RunStarted,
)
from facegender.runs.folder import RunFolder
from facegender.runs.journal import read_kinds
from facegender.runs.predictions import Predictions, check_shapes
from facegender.runs.tensors import DamagedTensors
from facegender.support.errors import UserError
from facegender.support.files import exists
from facegender.support.text import counted, one_line, printable
from facegender.training.callbacks.early_stopping import EarlyStopping
from facegender.training.failures import is_out_of_memory, reason
from facegender.training.run_setup import RunSetup

FINISHED_EPOCH = "finished_epoch"
"""In a checkpoint saved after an epoch: its `EpochFinished`, which a crash may keep from the journal."""

FINISHED_PREDICTIONS = "finished_predictions"
"""In the same checkpoint: the `Predictions` of the epoch, with tensors for arrays."""


@dataclass(frozen=True)
class ResumePoint:
    """Where training continues: each of ``devices`` has trained ``batch`` batches of ``epoch``.

    Attributes:
        epoch: Counted from 0.
        step: Optimiser steps done.
        kind: Of the devices, as torch names it, e.g. "cuda".
        precision: As `Hardware.precision`; empty if the checkpoint does not tell.
        epochs_since_best: Epochs in a row without a better validation accuracy.
        missing_events: Journal lines that the crash has cost and the checkpoint still knows.
        missing_frame: The epoch whose frame the crash has cost; the checkpoint has the weights of that moment.
        missing_predictions: The predictions whose file the crash has cost.
    """

    epoch: int
    batch: int
    step: int
    devices: int
    kind: str
    precision: str
    epochs_since_best: int = 0
    missing_events: Sequence[Event] = ()
    missing_frame: int | None = None
    missing_predictions: Predictions | None = None

    def is_finished(self, config: TrainConfig) -> bool:
        """Whether nothing is left to train: all epochs are done, or the patience is used up."""
        return self.batch == 0 and (self.epoch >= config.epochs or 0 < config.patience <= self.epochs_since_best)


def resume_point(setup: RunSetup) -> ResumePoint | None:
    """Read where a run continues; None if it is new, or ended before it had saved anything.

    A run that was killed after its last epoch has nothing left to train, see `ResumePoint.is_finished`, and can be
    completed.

    Raises:
        UserError: Its ``last.ckpt`` cannot be read, is damaged, or belongs to another network; or the options given now
            leave nothing to train.
    """
    path, name = setup.folder.last_checkpoint, setup.folder.name
    if not setup.resumed or not exists(path):
        return None
    try:
        checkpoint = upgrade_checkpoint(read_checkpoint(path))
        point = _resume_point(setup.folder, setup.config, checkpoint)
    except OSError as error:
        raise UserError(
            f"{printable(path)} cannot be read ({reason(error)}): check the disk and resume again"
        ) from None
    except (DamagedCheckpoint, msgspec.ValidationError, LookupError, TypeError, ValueError, AttributeError) as error:
        raise UserError(unusable(path, error)) from None
    if setup.before is None or not (point.is_finished(setup.config) or point.epoch >= setup.config.epochs):
        return point
    completed = setup.ended is not None and setup.ended.status == "completed"
    if point.is_finished(setup.before.config) and not completed:
        return point
    if point.epoch >= setup.config.epochs:
        done = counted(point.epoch, "epoch")
        raise UserError(f"run {name} has trained {done} already: give more than that with --epochs")
    raise UserError(
        f"run {name} ended early: {counted(point.epochs_since_best, 'epoch')} without improvement; "
        "give a larger --patience to continue, or 0 to train all epochs"
    )


def upgrade_checkpoint(checkpoint: dict[str, Any]) -> dict[str, Any]:
    """Rename what earlier versions of this program named otherwise. Changes and returns the checkpoint."""
    states = checkpoint["callbacks"]
    if EarlyStopping.state_key not in states:
        waited = (states.pop("Patience", None) or {"waited": 0})["waited"]
        best = states["RunCheckpoints"]["best_accuracy"]
        states[EarlyStopping.state_key] = {"wait_count": waited, "best_score": best, "stopped_epoch": 0}
    return checkpoint


def _resume_point(folder: RunFolder, config: TrainConfig, checkpoint: dict[str, Any]) -> ResumePoint:
    """Read and check what this program has put into a checkpoint; Lightning checks its own part when it restores it."""
    at = checkpoint["resume_at"]
    epoch, batch = require_count(at["epoch"], "epoch"), require_count(at["batch"], "batch")
    if require_count(checkpoint["epoch"], "epoch") != (epoch if batch else epoch - 1):
        raise DamagedCheckpoint("its epochs contradict each other")
    with torch.device("meta"):
        network = build_network(config.recipe, config.image_size, config.widths, len(CLASSES), config.network)
    network_weights(checkpoint["state_dict"], network)
    (_,), (_,) = checkpoint["optimizer_states"], checkpoint["lr_schedulers"]
    for count in leaves(checkpoint["loops"]):  # Lightning's record of its progress, which it does not check itself
        if count is not None and not isinstance(count, bool):
            require_count(count, "Lightning's progress")
    point = ResumePoint(
        epoch=epoch,
        batch=batch,
        step=require_count(checkpoint["global_step"], "step"),
        devices=require_count(at.get("devices", 1), "devices"),
        kind=at.get("kind", ""),
        precision=at.get("precision", "").partition("-")[0],  # Lightning names it e.g. "bf16-mixed"
        epochs_since_best=require_count(checkpoint["callbacks"][EarlyStopping.state_key]["wait_count"], "patience"),
    )
    if batch:
        return point
    saved = read_kinds(folder.journal_path, FrameSaved)
    # A frame that was requested within the epoch has fewer steps.
    frames = {(event.epoch, event.step) for event in saved if isinstance(event, FrameSaved)}
    due = config.frame_is_due(epoch - 1) or (config.visualize_every and point.is_finished(config))
    missing_frame = epoch - 1 if due and (epoch - 1, point.step) not in frames else None
    written = _events_of_epochs(folder)
    events = _missing_events(folder, checkpoint, [event for event in written if event.epoch == epoch - 1])
    predicted = {event.epoch for event in written if isinstance(event, PredictionsSaved)}
    predictions = checkpoint.get(FINISHED_PREDICTIONS)  # missing in those of earlier versions
    if predictions is not None and epoch - 1 not in predicted:
        point = replace(point, missing_predictions=_predictions_from_tensors(predictions))
    if gaps := [str(gap + 1) for gap in range(min(predicted, default=epoch), epoch - 1) if gap not in predicted]:
        text = f"the predictions of epoch {', '.join(gaps)} are missing: they had not been written when the run ended"
        events.append(Notice(time=time.time(), level="warning", text=text))
    return replace(point, missing_events=events, missing_frame=missing_frame)


def predictions_to_tensors(predictions: Predictions) -> dict[str, Any]:
    """Turn arrays into tensors, because checkpoints are read without running code from them."""
    fields = msgspec.structs.asdict(predictions)
    return {
        name: torch.from_numpy(np.ascontiguousarray(value)) if isinstance(value, np.ndarray) else value
        for name, value in fields.items()
    }


def _predictions_from_tensors(stored: dict[str, Any]) -> Predictions:
    arrays: dict[str, Any] = {
        name: value.numpy() if isinstance(value, Tensor) else value for name, value in stored.items()
    }
    predictions = Predictions(**arrays)
    try:
        check_shapes(predictions)
    except DamagedTensors as error:
        raise DamagedCheckpoint(f"its predictions are damaged: {error}") from None
    return predictions


def _events_of_epochs(folder: RunFolder) -> list[EpochFinished | CheckpointSaved | PredictionsSaved]:
    """The journal lines about all epochs, as they were trained last."""
    written: list[EpochFinished | CheckpointSaved | PredictionsSaved] = []
    for event in read_kinds(folder.journal_path, RunStarted, EpochFinished, CheckpointSaved, PredictionsSaved):
        if isinstance(event, RunStarted):  # what was trained beyond this point is trained again
            written = [earlier for earlier in written if earlier.epoch < event.start_epoch]
        elif isinstance(event, (EpochFinished, CheckpointSaved, PredictionsSaved)):
            written.append(event)
    return written


def _missing_events(folder: RunFolder, checkpoint: dict[str, Any], written: Sequence[Event]) -> list[Event]:
    """The journal lines about the epoch that a checkpoint was saved after, if they were not written.

    Args:
        written: Those that were.
    """
    epoch, step, missing = checkpoint["epoch"], checkpoint["global_step"], list[Event]()
    finished = checkpoint.get(FINISHED_EPOCH)
    if finished is not None and not any(isinstance(event, EpochFinished) for event in written):
        missing.append(msgspec.convert(finished, EpochFinished))
    announced = {event.file for event in written if isinstance(event, CheckpointSaved)}
    is_best = finished is not None and finished["best"]
    for path in ([folder.best_checkpoint] if is_best else []) + [folder.last_checkpoint]:
        if path.name not in announced and exists(path):
            missing.append(CheckpointSaved(time=time.time(), file=path.name, epoch=epoch, step=step))
    return missing


def check_restored(point: ResumePoint, trainer: Trainer, module: LightningModule) -> None:
    """Check what Lightning has restored, before anything is trained: epoch, devices, batches, optimiser and schedule.

    Raises:
        DamagedCheckpoint: The state of loops, optimiser or schedule does not fit.
        UserError: The rest of an epoch cannot be divided among other devices, or no batch of it is left.
    """
    if trainer.current_epoch != point.epoch:
        raise DamagedCheckpoint("its epochs contradict each other")
    if point.batch and trainer.world_size != point.devices:
        raise UserError(
            f"the run stopped in the middle of an epoch on {counted(point.devices, 'device')}, and there "
            f"are {trainer.world_size} now: resume it on {point.devices}, at least to the end of that epoch"
        )
    if point.batch >= trainer.num_training_batches:
        raise UserError("the run stopped at a batch that its photographs no longer reach: start a new run")
    optimiser, schedule = trainer.optimizers[0], trainer.lr_scheduler_configs[0].scheduler
    rates = [group.get("lr") for group in optimiser.param_groups] + list(schedule.base_lrs)
    if not all(isinstance(rate, float) and math.isfinite(rate) for rate in rates):
        raise DamagedCheckpoint("its learning rate is no number")
    for parameter in (parameter for group in optimiser.param_groups for parameter in group["params"]):
        values = optimiser.state[parameter].values()
        shapes = (parameter.shape, torch.Size())
        if not values or not all(isinstance(value, Tensor) and value.shape in shapes for value in values):
            raise DamagedCheckpoint("the state of its optimiser is missing or of another shape")


def is_restore_error(error: Exception) -> bool:
    """Whether the content of a checkpoint caused an error, rather than the machine.

    Lightning raises whatever a wrong value leads to. The traceback tells whether it was restoring the checkpoint.
    """
    if isinstance(error, DamagedCheckpoint):
        return True
    if isinstance(error, OSError) or is_out_of_memory(error) or "CUDA error" in str(error):
        return False
    calls = traceback.extract_tb(error.__traceback__)
    # Not `resume_end`, in which the processes of a run wait for each other.
    return any(call.filename.endswith("checkpoint_connector.py") and call.name != "resume_end" for call in calls)


def unusable(path: Path, error: Exception) -> str:
    """One line about a checkpoint that cannot be resumed from."""
    cause = one_line(str(error))[:120] or type(error).__name__
    return f"{printable(path)} is no checkpoint to resume from ({cause}): start a new run"
