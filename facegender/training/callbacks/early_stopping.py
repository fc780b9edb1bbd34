"""Ends training where it no longer gets better."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from pytorch_lightning import Callback, LightningModule, Trainer

from facegender.runs.events import Event, Notice
from facegender.support.text import counted
from facegender.training.callbacks.checkpoints import RunCheckpoints


class Patience(Callback):
    """Ends a run, as completed, after some epochs without a better validation accuracy.

    Has to come after `RunCheckpoints` among the callbacks, which finds out whether an epoch is the best; all devices
    have the same accuracy and so end at the same epoch.

    Args:
        epochs: How many in a row.
        checkpoints: Of the run.
        announce: Is told why training ends.

    Attributes:
        epochs_since_best: Epochs since the best one.
    """

    def __init__(self, epochs: int, checkpoints: RunCheckpoints, announce: Callable[[Event], None]) -> None:
        self._epochs = epochs
        self._checkpoints = checkpoints
        self._announce = announce
        self.epochs_since_best = 0

    def state_dict(self) -> dict[str, Any]:
        """How many were waited, so that a resumed run does not begin to wait anew."""
        return {"waited": self.epochs_since_best}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Takes it up again."""
        self.epochs_since_best = state_dict["waited"]

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Counts."""
        self.epochs_since_best = 0 if self._checkpoints.improved else self.epochs_since_best + 1

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Ends training if it is time."""
        epoch = trainer.current_epoch
        if self.epochs_since_best < self._epochs or epoch + 1 >= (trainer.max_epochs or 0):
            return
        trainer.should_stop = True
        best = self._checkpoints.best_accuracy
        text = (
            f"ended early, after epoch {epoch}: no better validation accuracy than {best:.3f} of epoch "
            f"{epoch - self.epochs_since_best} for {counted(self.epochs_since_best, 'epoch')} (--patience)"
        )
        self._announce(Notice(time=time.time(), level="info", text=text))
