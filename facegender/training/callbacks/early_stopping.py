"""Lightning's early stopping on the validation accuracy, which says in the journal why it ended the run."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import torch
from pytorch_lightning import LightningModule, Trainer, callbacks

from facegender.support.text import counted


class EarlyStopping(callbacks.EarlyStopping):
    """Count the epochs since the best validation accuracy, and end the run after ``patience`` of them.

    Every run has one, as it also decides which epoch is the best. Other callbacks find it as
    `Trainer.early_stopping_callback`: from `on_train_epoch_end` on, ``wait_count`` is the number of epochs since the
    best one, so 0 where the epoch that just ended is the best so far.

    Args:
        patience: Epochs in a row without a better accuracy; 0 trains all epochs.
    """

    state_key = "EarlyStopping"  # of the state in a checkpoint, without Lightning's suffix of arguments

    def __init__(self, patience: int, notice: Callable[[str], None]) -> None:
        # An accuracy that is not finite counts as one that is not better.
        super().__init__(
            "validation_accuracy",
            patience=patience or sys.maxsize,
            mode="max",
            check_finite=False,
            check_on_train_epoch_end=False,
        )
        self._notice = notice

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue counting. The patience is the one given now, which a resumed run may change."""
        best = torch.as_tensor(state_dict["best_score"], dtype=torch.float32)
        super().load_state_dict({**state_dict, "best_score": best, "patience": self.patience})

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Report an early end."""
        epoch = trainer.current_epoch
        if self.wait_count < self.patience or epoch + 1 >= (trainer.max_epochs or 0):
            return
        text = (
            f"ended early after epoch {epoch + 1}: no better validation accuracy than {float(self.best_score):.3f} of "
            f"epoch {epoch + 1 - self.wait_count} for {counted(self.wait_count, 'epoch')} (--patience)"
        )
        self._notice(text)
