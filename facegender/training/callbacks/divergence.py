"""Handles losses that are not finite (``--on-nan``) and warns of exploded ones, without waiting for the device."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from pytorch_lightning import Callback, LightningModule, Trainer
from torch import Tensor, nn
from torch.optim import Optimizer

from facegender.data.dataset import CLASSES
from facegender.interpret.layers import hooked
from facegender.network.model import normalise
from facegender.network.module import FaceGenderModule
from facegender.runs.config import OnNan
from facegender.runs.events import Level
from facegender.runs.folder import RunFolder
from facegender.support.errors import UserError
from facegender.support.files import exists
from facegender.support.text import shell_command
from facegender.training.callbacks.checkpoints import DurableCheckpointIO
from facegender.training.threads.watchdog import EXPLODED, MEDIAN_OF, LossWatch

CHECK_EVERY = 16
"""Steps whose losses are copied from a GPU together. They are examined after as many further steps."""

MAX_SKIPPED_IN_A_ROW = 10
"""Consecutive batches that ``--on-nan skip`` leaves out before the run fails."""

GUESSING_LOSS = math.log(len(CLASSES))
"""Cross-entropy of a network that gives all classes the same probability."""


class Diverged(UserError):
    """The loss is not finite, so training ends."""


class DivergenceGuard(Callback):
    """Ends the run or leaves the batch out, as ``--on-nan`` says, if a loss or a gradient is not finite.

    The gradient of the first layer stands for all gradients: the backward pass carries a NaN or an infinity of any
    later layer into it. With "stop" and "skip" the device itself leaves out the optimiser's step if that gradient is
    not finite. The weights therefore stay finite until the losses, which are copied without blocking, are examined. No
    checkpoint is written before the losses of all steps have been examined.

    The processes of a run on several devices have the same gradients, share at each copy which losses are finite, and
    examine them at the same step, so all of them end together.
    """

    def __init__(
        self, folder: RunFolder, on_nan: OnNan, files: DurableCheckpointIO, notice: Callable[[str, Level], None]
    ) -> None:
        self._folder = folder
        self._on_nan = on_nan
        self._files = files
        self._report = notice
        self._first_weight: nn.Parameter | None = None
        self._buffers: list[tuple[Tensor, Tensor]] = []
        self._loss: Tensor | None = None
        self._pending: list[tuple[Tensor, Tensor]] = []
        self._copy: tuple[int, Tensor, torch.cuda.Event | None] | None = None
        self._images: Tensor | None = None
        self._skipped_in_a_row = self._skipped_in_epoch = 0
        # The loss of a new network can be high for some steps.
        self._losses = LossWatch(GUESSING_LOSS, EXPLODED * GUESSING_LOSS)
        self._announced: set[str] = set()

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Find the first layer's weights, and the running statistics that "skip" restores."""
        assert isinstance(pl_module, FaceGenderModule)
        self._first_weight = next(pl_module.network.parameters())
        if self._on_nan == "skip":
            self._buffers = [(buffer, buffer.clone()) for buffer in pl_module.network.buffers()]

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Remember the batch, and the running statistics, which the forward pass changes."""
        self._images = batch[0]
        for buffer, before in self._buffers:
            before.copy_(buffer)

    def on_before_backward(self, trainer: Trainer, pl_module: LightningModule, loss: Tensor) -> None:
        """Keep the loss."""
        self._loss = loss.detach()

    def on_before_optimizer_step(self, trainer: Trainer, pl_module: LightningModule, optimizer: Optimizer) -> None:
        """Leave weights and running statistics as they were before a batch that is not finite."""
        assert self._loss is not None
        assert self._first_weight is not None
        assert self._first_weight.grad is not None
        # float16 gradients overflow now and then; Lightning's gradient scaler leaves out those steps itself.
        scaled = trainer.precision == "16-mixed"
        gradient = torch.zeros_like(self._loss) if scaled else self._first_weight.grad.sum()
        self._pending.append((self._loss, gradient))
        if self._on_nan == "continue":
            return
        bad = ~(self._loss if scaled else gradient).isfinite()
        for buffer, before in self._buffers:
            buffer.copy_(torch.where(bad, before, buffer))
        if scaled:
            return
        # The recipes' fused kernels change nothing if this is 1; `torch.amp.GradScaler.step` sets it in the same way.
        optimizer.found_inf = bad.float()  # type: ignore[attr-defined]  # torch does not declare it

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Examine the loss at once on a single CPU device, otherwise the losses of earlier steps.

        Raises:
            Diverged: One is not finite.
        """
        if self._arrives_at_once(trainer):
            self._examine_all(trainer, pl_module)
        elif len(self._pending) >= CHECK_EVERY:
            self._examine_copy(trainer, pl_module)
            self._start_copy(trainer)

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Examine all losses of the epoch; validation has to wait for its steps anyway.

        Raises:
            Diverged: One is not finite.
        """
        self._examine_all(trainer, pl_module)
        if self._skipped_in_epoch > 1:
            epoch = trainer.current_epoch + 1
            self._notice(f"{self._skipped_in_epoch} batches of epoch {epoch} were left out (--on-nan skip)")
        self._skipped_in_epoch = 0

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Examine the validation loss; `RunCheckpoints` waits for the accuracy anyway.

        Raises:
            Diverged: It is not finite.
        """
        assert isinstance(pl_module, FaceGenderModule)
        if math.isfinite(float(pl_module.validation_results["loss"])):
            return
        text = f"the validation loss of {_epoch(trainer)} is not finite"
        if self._on_nan != "continue":
            raise Diverged(f"{text}; {self._remedy(trainer)}")
        self._notice(f"{text}; training continues (--on-nan continue)", once="validation")

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Examine all losses, so that no checkpoint is written after a step that is not finite.

        Raises:
            Diverged: One is not finite.
        """
        self._examine_all(trainer, pl_module)

    # The losses on their way from the device --------------------------------------------------------------------------

    def _arrives_at_once(self, trainer: Trainer) -> bool:
        """Whether a loss can be read after its step without waiting for a GPU or another process."""
        return trainer.world_size == 1 and trainer.strategy.root_device.type == "cpu"

    def _examine_all(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._examine_copy(trainer, pl_module)
        self._start_copy(trainer)
        self._examine_copy(trainer, pl_module)

    def _start_copy(self, trainer: Trainer) -> None:
        """Copy what is pending without waiting for it. All processes of a run call this at the same steps.

        `_copy` is then the optimiser step of the last loss, counted from 1; (2, N) float32, the losses and 1 for each
        step that is not finite on some device, else 0; and the event after the copy from a GPU, if there is one.
        """
        if not self._pending:
            return
        losses, gradients = (torch.stack(values).float() for values in zip(*self._pending, strict=True))
        self._pending.clear()
        bad = trainer.strategy.reduce((~(losses + gradients).isfinite()).float(), reduce_op="max")
        values, arrived = torch.stack([losses, bad]), None
        if values.device.type == "cuda":
            values, arrived = values.to("cpu", non_blocking=True), torch.cuda.Event()  # type: ignore[no-untyped-call]
            arrived.record()
        self._copy = trainer.global_step, values, arrived

    def _examine_copy(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Examine what was copied. `CHECK_EVERY` steps after the copy was started it has long arrived."""
        copy, self._copy = self._copy, None
        if copy is None:
            return
        last_step, values, arrived = copy
        if arrived is not None:
            arrived.synchronize()
        steps = range(last_step - values.shape[1] + 1, last_step + 1)
        for step, loss, bad in zip(steps, *values.tolist(), strict=True):
            if bad:
                self._on_bad_step(trainer, pl_module, step)
            else:
                self._skipped_in_a_row = 0
                self._look_for_explosion(trainer, step, loss)

    # What follows from them -------------------------------------------------------------------------------------------

    def _on_bad_step(self, trainer: Trainer, pl_module: LightningModule, step: int) -> None:
        self._skipped_in_a_row += 1
        self._skipped_in_epoch += 1
        text = f"the loss is not finite at step {step} ({_epoch(trainer)})"
        if self._on_nan == "continue":
            self._skipped_in_epoch = 0
            text += f"; {self._layer(trainer, pl_module)}; training continues (--on-nan continue)"
            self._notice(text, once="training")
        elif self._on_nan == "skip" and self._skipped_in_a_row <= MAX_SKIPPED_IN_A_ROW:
            if self._skipped_in_epoch == 1:
                self._notice(f"{text}; {self._layer(trainer, pl_module)}; this batch is left out (--on-nan skip)")
        else:
            if self._on_nan == "skip":
                text += f", nor was it for the {MAX_SKIPPED_IN_A_ROW} batches before"
            raise Diverged(f"{text}; {self._layer(trainer, pl_module)}; {self._remedy(trainer)}")

    def _layer(self, trainer: Trainer, pl_module: LightningModule) -> str:
        """Name the first layer that is not finite for the latest batch, as a clause. Waits for the device."""
        assert isinstance(pl_module, FaceGenderModule)
        assert self._images is not None
        with trainer.precision_plugin.forward_context():  # in the precision of training, in which it overflows
            layer = first_non_finite_layer(pl_module.network, normalise(self._images))
        return f"first layer that is not finite: {layer}" if layer else "the outputs of all layers are finite"

    def _remedy(self, trainer: Trainer) -> str:
        """Name the last good checkpoint and the remedy, as a clause."""
        lower = "start a new run with a lower --learning-rate"
        self._files.wait(self._folder.last_checkpoint)
        if not exists(self._folder.last_checkpoint):
            return f"no checkpoint has been saved yet: {lower}"
        epoch = f" of epoch {trainer.current_epoch}" if trainer.current_epoch else ""
        kept = f"the last good checkpoint is {self._folder.last_checkpoint.name}{epoch}: {lower}"
        if self._on_nan == "skip":
            return kept
        command = shell_command(self._folder.root, "train", "--resume", self._folder.name, "--on-nan=skip")
        return f"{kept}, or leave out such batches: {command}"

    def _look_for_explosion(self, trainer: Trainer, step: int, loss: float) -> None:
        if (median := self._losses.exploded(step, loss)) is not None:
            self._notice(
                f"the loss has exploded: its median over {MEDIAN_OF} steps is {median:.3g} at step {step} "
                f"({_epoch(trainer)}), guessing gives {GUESSING_LOSS:.2f}: stop the run and lower --learning-rate",
                once="explosion",
            )

    def _notice(self, text: str, once: str = "") -> None:
        """Report a warning; with ``once``, only the first of those that give this name."""
        if once not in self._announced:
            self._report(text, "warning")
        if once:
            self._announced.add(once)


def _epoch(trainer: Trainer) -> str:
    return f"epoch {trainer.current_epoch + 1} of {trainer.max_epochs}"


def first_non_finite_layer(model: nn.Module, images: Tensor) -> str | None:
    """Run a forward pass in evaluation mode and name the first layer whose output has a NaN or an infinity.

    Weights and running statistics that are not finite show in the output of their layer too. Waits for the device.

    Args:
        images: (N, 3, H, W) float as the network takes them, on its device.

    Returns:
        The layer as in ``named_modules()``, or None if every output is finite.
    """
    names = {module: name for name, module in model.named_modules() if not list(module.children())}
    found: list[str] = []

    def hook(module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        if not found and isinstance(output, Tensor) and not bool(output.isfinite().all()):
            found.append(names[module])

    with torch.no_grad(), hooked(model, images, [(module, hook) for module in names]):
        model(images)
    return found[0] if found else None
