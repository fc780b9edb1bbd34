"""Where a resumed run goes on, and whether its checkpoint can be gone on from: found out before anything is trained."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from pytorch_lightning import Callback, LightningModule, Trainer
from torch import Tensor, nn

from facegender.data.dataset import CLASSES
from facegender.network.checkpoint_file import DamagedCheckpoint, network_weights, read_checkpoint, require_count
from facegender.network.module import EMA_STEPS, TRAINED_WEIGHTS
from facegender.network.recipes import RECIPES, build_network
from facegender.runs.config import TrainConfig
from facegender.runs.events import FrameSaved
from facegender.runs.folder import RunFolder
from facegender.runs.journal import read_kinds
from facegender.support.errors import UserError
from facegender.support.files import exists
from facegender.support.text import counted, one_line, printable
from facegender.training.callbacks.recorder import EPOCH_SO_FAR, frame_is_due
from facegender.training.hardware import Hardware, has_bf16
from facegender.training.run_lock import Claim
from facegender.training.trainer import LIGHTNING_PRECISION


@dataclass(frozen=True)
class ResumePoint:
    """Where a checkpoint goes on: ``batch`` batches of ``epoch`` are done, by each of ``devices``.

    Attributes:
        kind: Of the devices, as torch names it, e.g. "cuda".
        precision: As `Hardware.precision`; None if the checkpoint does not tell.
    """

    path: Path
    epoch: int
    batch: int
    devices: int
    kind: str
    precision: str | None


def resume_point(claim: Claim) -> ResumePoint | None:
    """Where the run of a claim goes on; None if it is new, or ended before it had saved anything.

    Raises:
        UserError: Its ``last.ckpt`` is damaged or another network's, or there is nothing left to train.
    """
    path, name = claim.folder.last_checkpoint, claim.folder.name
    if not claim.resumed or not exists(path):
        return None
    try:
        checkpoint = read_checkpoint(path)
        point = _point(path, checkpoint)
        network_weights(checkpoint["state_dict"], _shape_of(claim.config))
        _check_average(checkpoint, claim.config)
        _check_optimiser(checkpoint, claim.config)
        _check_progress(checkpoint["loops"])
        _check_rest(checkpoint)
    except Exception as error:  # a stranger's values fail wherever they are first used, in whatever way
        raise UserError(unusable(path, error)) from None
    if point.epoch >= claim.config.epochs:
        done = counted(point.epoch, "epoch")
        raise UserError(f"run {name} has trained {done} already: give more than that with --epochs")
    waited = (checkpoint["callbacks"].get("Patience") or {"waited": 0})["waited"]
    if 0 < claim.config.patience <= waited:
        raise UserError(
            f"run {name} has had no better epoch for {waited}, and its patience is used up: "
            "give more with --patience to go on, or 0 to train all epochs"
        )
    return point


def missing_frame(folder: RunFolder, config: TrainConfig, resume: ResumePoint | None) -> int | None:
    """The epoch whose frame a crash has cost and the checkpoint can still give: it has the weights of that moment."""
    if resume is None or resume.batch or not frame_is_due(config, resume.epoch - 1):
        return None
    saved = read_kinds(folder.journal_path, FrameSaved)
    done = any(isinstance(event, FrameSaved) and event.epoch == resume.epoch - 1 for event in saved)
    return None if done else resume.epoch - 1


def as_before(hardware: Hardware, config: TrainConfig, resume: ResumePoint | None) -> Hardware:
    """The hardware, with "auto" in the precision that the run began in, as measuring again may come out otherwise.

    On another kind of device, or one without that precision, it is decided anew.
    """
    if resume is None or resume.precision is None or config.precision != "auto" or resume.kind != hardware.kind:
        return hardware
    if resume.precision == "bf16" and not has_bf16(hardware.kind):
        return hardware
    return replace(hardware, precision=resume.precision)


class ResumeCheck(Callback):
    """Ends training before it begins where Lightning goes on from somewhere else, or others would get the batches."""

    def __init__(self, point: ResumePoint) -> None:
        self._point = point

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Compares epochs, devices and batches.

        Raises:
            DamagedCheckpoint: The epochs differ.
            UserError: The devices do, and the rest of an epoch cannot be divided among others; or none is left.
        """
        point = self._point
        if trainer.current_epoch != point.epoch:
            raise DamagedCheckpoint("its epochs contradict each other")
        if point.batch and trainer.world_size != point.devices:
            raise UserError(
                f"stopped in the middle of an epoch on {counted(point.devices, 'device')}, and there "
                f"are {trainer.world_size} now: resume it on as many, or end that epoch so first"
            )
        if point.batch >= trainer.num_training_batches:
            raise UserError("the run stopped at a batch that its photographs no longer reach: start a new run")


def unusable(path: Path, error: Exception) -> str:
    """One line about a checkpoint that cannot be resumed from."""
    reason = one_line(str(error))[:120] or type(error).__name__
    return f"{printable(path)} is no checkpoint to resume from ({reason}): start a new run"


def _point(path: Path, checkpoint: dict[str, Any]) -> ResumePoint:
    at = checkpoint["resume_at"]
    epoch, batch = require_count(at["epoch"], "epoch"), require_count(at["batch"], "batch")
    if require_count(checkpoint["epoch"], "epoch") != (epoch if batch else epoch - 1):
        raise DamagedCheckpoint("its epochs contradict each other")
    require_count(checkpoint["global_step"], "step")
    devices, kind = require_count(at.get("devices", 1), "devices"), at.get("kind", "")
    precision = next((name for name, word in LIGHTNING_PRECISION.items() if word == at.get("precision")), None)
    return ResumePoint(path, epoch, batch, devices, kind, precision)


def _shape_of(config: TrainConfig) -> nn.Module:
    """This run's network without numbers."""
    with torch.device("meta"):
        return build_network(config.recipe, config.image_size, config.widths, len(CLASSES))


def _check_average(checkpoint: dict[str, Any], config: TrainConfig) -> None:
    """Beside the average of the weights there are those that are trained."""
    if RECIPES[config.recipe].ema_decay is not None:
        network_weights(checkpoint[TRAINED_WEIGHTS], _shape_of(config))
        if require_count(checkpoint[EMA_STEPS], "average") > checkpoint["global_step"]:
            raise DamagedCheckpoint("its average has more steps than were trained")


def _check_optimiser(checkpoint: dict[str, Any], config: TrainConfig) -> None:
    """Takes a step with it, on tensors that have a shape and no numbers."""
    network = _shape_of(config)
    recipe = RECIPES[config.recipe]
    optimiser = recipe.optimiser(network.parameters(), config)
    schedule = recipe.schedule(optimiser, config, checkpoint["global_step"] + 1)
    # In the order that the optimiser numbers them in.
    parameters = [parameter for group in optimiser.param_groups for parameter in group["params"]]
    (state,), (scheduled,) = checkpoint["optimizer_states"], checkpoint["lr_schedulers"]
    if state["state"].keys() != set(range(len(parameters))):
        raise DamagedCheckpoint("its optimiser is another network's")
    for index, values in state["state"].items():
        if not values:
            raise DamagedCheckpoint("its optimiser remembers nothing")
        for name, value in values.items():
            if not isinstance(value, Tensor) or value.shape not in (parameters[index].shape, torch.Size()):
                raise DamagedCheckpoint(f"{name} of the optimiser is of another shape or kind")
    # The kernel that does all at once is for devices; what it computes is the same.
    groups = [{**group, "fused": None, "foreach": False} for group in state["param_groups"]]
    optimiser.load_state_dict({"state": state["state"], "param_groups": groups})
    schedule.load_state_dict(scheduled)
    for parameter in parameters:
        parameter.grad = torch.empty_like(parameter)
    optimiser.step()
    schedule.step()
    rates = [group["lr"] for group in optimiser.param_groups]
    if not all(isinstance(rate, float) and math.isfinite(rate) for rate in rates):
        raise DamagedCheckpoint("its learning rate is no number")


def _check_progress(value: Any) -> None:
    """Lightning's own account of how far it came has nothing but counts."""
    if isinstance(value, (dict, list)):
        for item in value.values() if isinstance(value, dict) else value:
            _check_progress(item)
    elif value is not None and not isinstance(value, bool):
        require_count(value, "Lightning's progress")


def _check_rest(checkpoint: dict[str, Any]) -> None:
    """What this program's callbacks have put in."""
    kept = checkpoint["callbacks"]["RunCheckpoints"]
    if not isinstance(kept["best_accuracy"], float):
        raise DamagedCheckpoint("its best accuracy is no number")
    if (patience := checkpoint["callbacks"].get("Patience")) is not None:
        require_count(patience["waited"], "patience")
    torch.Generator().set_state(kept["generators"]["cpu"])
    accuracy = checkpoint["validation_accuracy"]
    if accuracy is not None and not isinstance(accuracy, float):
        raise DamagedCheckpoint("its accuracy is no number")
    sums = checkpoint[EPOCH_SO_FAR]
    if sums is not None and not (len(sums) == 3 and all(isinstance(number, float) for number in sums)):
        raise DamagedCheckpoint("the sums of its epoch are no numbers")
