"""Carries out requests between two batches: pictures, a checkpoint, another learning rate, another number of epochs."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import msgspec
from pytorch_lightning import LightningModule, Trainer
from torch import Tensor
from torch.optim import lr_scheduler
from torch.optim.optimizer import Optimizer

from facegender.runs.events import RequestDone
from facegender.runs.requests import CheckpointRequest, FrameRequest, SetRequest, TrainerRequest
from facegender.support.text import counted
from facegender.training.callbacks.checkpoints import STOP_CHECK_STEPS
from facegender.training.callbacks.source import Source
from facegender.training.failures import reason

_RATES_OF_GROUP = ("initial_lr", "max_lr", "min_lr")
"""Where torch's schedules keep further rates in a parameter group."""

MIN_SCALABLE_RATE = 1e-30
"""From a smaller learning rate, the factor to another one and its products may leave the range of numbers."""

_PROPORTIONAL = (
    lr_scheduler.ConstantLR,
    lr_scheduler.CosineAnnealingLR,
    lr_scheduler.CosineAnnealingWarmRestarts,
    lr_scheduler.ExponentialLR,
    lr_scheduler.LambdaLR,
    lr_scheduler.LinearLR,
    lr_scheduler.MultiplicativeLR,
    lr_scheduler.MultiStepLR,
    lr_scheduler.OneCycleLR,
    lr_scheduler.PolynomialLR,
    lr_scheduler.ReduceLROnPlateau,
    lr_scheduler.StepLR,
)
"""Schedules whose later rates are proportional to the rates that `scale_learning_rates` changes."""


class Steering:
    """Carries out the requests of a run. All of its processes do the same after the same batch.

    Args:
        source: The training; its `Source.sink` has the requests and takes the answers.
        record_frame: Records a frame; returns whether it succeeded, and the text of the answer.
    """

    def __init__(self, source: Source, record_frame: Callable[[Trainer, LightningModule], tuple[bool, str]]) -> None:
        self._source = source
        self._record_frame = record_frame

    def after_batch(self, trainer: Trainer, pl_module: LightningModule, batch_idx: int) -> bool:
        """Carry out what was requested.

        On several devices the processes exchange at some batches whether there is anything, as for a stop.

        Returns:
            Whether the learning rate may have changed.
        """
        if trainer.world_size > 1 and batch_idx % STOP_CHECK_STEPS:
            return False
        return self._carry_out_all(trainer, pl_module, TrainerRequest)

    def after_epoch(self, trainer: Trainer, pl_module: LightningModule) -> bool:
        """Change what was requested during validation, because after the last epoch there is no further batch."""
        return self._carry_out_all(trainer, pl_module, SetRequest)

    def _carry_out_all(self, trainer: Trainer, pl_module: LightningModule, kinds: Any) -> bool:
        sink = self._source.sink
        if sink is None or (not sink.requests and trainer.world_size == 1):
            return False
        waiting = [sink.requests.popleft() for _ in range(len(sink.requests))]
        sink.requests.extend(request for request in waiting if not isinstance(request, kinds))
        taken = [request for request in waiting if isinstance(request, kinds)]
        if trainer.world_size > 1:
            if not trainer.strategy.reduce_boolean_decision(bool(taken), all=False):
                return False
            taken = trainer.strategy.broadcast(taken)
        recorded: list[tuple[bool, str]] = []
        for request in taken:
            try:
                self._carry_out(trainer, pl_module, request, recorded)
            except Exception as error:
                if not self._source.tolerant:
                    raise
                self._answer(self._answer_to(trainer, request), False, f"it could not be carried out: {reason(error)}")
        return bool(trainer.optimizers) and any(isinstance(request, SetRequest) for request in taken)

    def _carry_out(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        request: TrainerRequest,
        recorded: list[tuple[bool, str]],
    ) -> None:
        """Carry out one request; ``recorded`` keeps the answer of a frame, which answers further requests for one."""
        answer = self._answer_to(trainer, request)
        match request:
            case SetRequest():
                self._set(trainer, pl_module, request, answer)
            case FrameRequest():
                if not recorded:
                    recorded.append(self._record_frame(trainer, pl_module))
                self._answer(answer, *recorded[0])
            case CheckpointRequest():
                self._source.save_checkpoint(trainer, lambda saved, outcome: self._answer(answer, saved, outcome))

    def _answer_to(self, trainer: Trainer, request: TrainerRequest) -> RequestDone:
        return RequestDone(
            time=time.time(),
            request=str(request.__struct_config__.tag),
            done=False,
            outcome="",
            id=request.id,
            epoch=trainer.current_epoch,
            step=self._source.steps_done(trainer),
        )

    def _answer(self, answer: RequestDone, done: bool, outcome: str) -> None:
        if self._source.sink is not None:
            self._source.sink.put(msgspec.structs.replace(answer, time=time.time(), done=done, outcome=outcome))

    def _set(self, trainer: Trainer, pl_module: LightningModule, request: SetRequest, answer: RequestDone) -> None:
        rate, epochs = request.learning_rate, request.epochs
        why_not = request.problem()
        if not why_not and epochs is not None:
            why_not = self._source.epochs_problem(trainer, epochs)
        if not why_not and rate is not None:
            why_not = learning_rate_problem(trainer)
        if why_not:
            self._answer(answer, False, why_not)
            return
        outcomes, rate_before = [], learning_rate(trainer)
        if epochs is not None:
            before = trainer.max_epochs
            self._source.set_epochs(trainer, pl_module, epochs)
            outcomes.append(f"{planned_epochs(epochs)} instead of {before}")
            if rate is None and learning_rate(trainer) != rate_before:
                outcomes.append(f"with the stretched schedule the learning rate is {learning_rate(trainer):.4g} now")
        if rate is not None:
            set_learning_rate(trainer, rate)
            text = f"the learning rate is {rate:g} instead of {rate_before:.4g} from step {answer.step + 1} on"
            others = [
                type(config.scheduler).__name__
                for config in trainer.lr_scheduler_configs
                if not isinstance(config.scheduler, _PROPORTIONAL)
            ]
            outcomes.append(text + (f", until its schedule ({others[0]}) sets another one" if others else ""))
        new_rate = learning_rate(trainer)
        answer = msgspec.structs.replace(
            answer, epochs=epochs, learning_rate=None if new_rate == rate_before else new_rate
        )
        store = self._source.changes_to_store(trainer, request)

        def stored() -> RequestDone:
            problem = store()
            texts = "; ".join([*outcomes, *([problem] if problem else [])])
            return msgspec.structs.replace(answer, time=time.time(), done=True, outcome=texts)

        if self._source.sink is not None:
            self._source.sink.put(stored)


def planned_epochs(epochs: int) -> str:
    """Say in words how many epochs are planned."""
    return f"{counted(epochs, 'epoch')} {'is' if epochs == 1 else 'are'} planned"


def learning_rate(trainer: Trainer) -> float:
    """Return the learning rate of the next step, of the first parameter group."""
    return float(trainer.optimizers[0].param_groups[0]["lr"])


def learning_rate_problem(trainer: Trainer) -> str:
    """Return why the learning rate cannot be changed, as a clause; empty if it can."""
    if len(trainer.optimizers) != 1:
        return f"the module has {len(trainer.optimizers)} optimisers: only the learning rate of a single one can be set"
    if not (rate := learning_rate(trainer)) > MIN_SCALABLE_RATE:
        now = f"the learning rate is {rate:g} at this step"
        return f"{now}, and later rates are changed in proportion: try again after some steps"
    return ""


def set_learning_rate(trainer: Trainer, rate: float) -> None:
    """Set the learning rate of the next step; other parameter groups and later rates change in proportion."""
    scale_learning_rates(trainer, rate / learning_rate(trainer))
    _put_rate(trainer.optimizers[0], 0, rate)  # without the rounding of a product


def scale_learning_rates(trainer: Trainer, factor: float) -> None:
    """Multiply the rates of the next step, and those from which schedules compute later rates, by a factor."""
    (optimiser,) = trainer.optimizers
    for index, group in enumerate(optimiser.param_groups):
        _put_rate(optimiser, index, float(group["lr"]) * factor)
        group.update({name: group[name] * factor for name in _RATES_OF_GROUP if name in group})
    for config in trainer.lr_scheduler_configs:
        if rates := getattr(config.scheduler, "base_lrs", None):
            config.scheduler.base_lrs = [rate * factor for rate in rates]


def _put_rate(optimiser: Optimizer, index: int, rate: float) -> None:
    group = optimiser.param_groups[index]
    if isinstance(group["lr"], Tensor):  # a compiled or captured step reads the same tensor
        group["lr"].fill_(rate)
    else:
        group["lr"] = rate
