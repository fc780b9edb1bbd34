"""``last.ckpt`` and ``best.ckpt``: written whole or not at all, announced afterwards, and where a stop is obeyed."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from pytorch_lightning import Callback, LightningModule, Trainer
from pytorch_lightning.plugins import CheckpointIO

from facegender.network.checkpoint_file import read_checkpoint, write_checkpoint
from facegender.network.module import FaceGenderModule
from facegender.runs.events import CheckpointSaved, Event, Notice
from facegender.runs.folder import RunFolder
from facegender.support.errors import print_error
from facegender.support.files import replacing
from facegender.training.failures import reason
from facegender.training.stop import Stopped, StopSwitch

ASK_OTHERS_EVERY = 16
"""Steps between two questions to the other processes of a run on several devices; each makes all of them wait.
Lightning has them wait for each other at every step as well."""


class AtomicCheckpointIO(CheckpointIO):
    """Writes to a temporary name, then replaces; reads tensors and plain values only.

    Args:
        announce: Is told of a checkpoint once it exists.
        gone: Tells whether the run folder is gone; then nothing is written any more.

    Attributes:
        failure: Why the last checkpoint could not be written, or None. It is not raised where it happens: of several
            devices only the first writes, and it would miss the moment when all of them wait for each other afterwards.
    """

    def __init__(self, announce: Callable[[Event], None], gone: Callable[[], bool]) -> None:
        self._announce = announce
        self._gone = gone
        self.failure: OSError | None = None

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any | None = None) -> None:
        """Write a checkpoint, or say in `failure` that the disk is full or gone."""
        self.failure = None
        if self._gone():
            return
        target = Path(path)
        try:
            with replacing(target) as temporary:
                write_checkpoint(checkpoint, temporary)
        except OSError as error:
            self.failure = error
            return
        epoch, step = checkpoint["epoch"], checkpoint["global_step"]
        self._announce(CheckpointSaved(time=time.time(), file=target.name, epoch=epoch, step=step))

    def load_checkpoint(
        self, path: str | Path, map_location: Any | None = None, weights_only: bool | None = None
    ) -> dict[str, Any]:
        """Read a checkpoint, never running code from it."""
        return read_checkpoint(Path(path))

    def remove_checkpoint(self, path: str | Path) -> None:
        """Remove a checkpoint."""
        Path(path).unlink(missing_ok=True)


class RunCheckpoints(Callback):
    """Saves ``last.ckpt`` after every epoch and at a stop, and ``best.ckpt`` when the validation accuracy improves.

    Attributes:
        improved: The validation that just ended is the best so far.
        best_accuracy: The best validation accuracy so far.
    """

    def __init__(
        self, folder: RunFolder, stop: StopSwitch, announce: Callable[[Event], None], files: AtomicCheckpointIO
    ) -> None:
        self._folder = folder
        self._stop = stop
        self._files = files
        self._announce = announce
        self._middle = False
        self._unsaved: dict[Path, OSError] = {}
        self._generators: dict[str, torch.Tensor] | None = None
        self.improved = False
        self.best_accuracy = -math.inf

    # State ------------------------------------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """The best score, and the random generators, so that a resumed run drops out the same neurons."""
        generators = {"cpu": torch.get_rng_state()}
        if _uses_cuda():
            generators["cuda"] = torch.cuda.get_rng_state()
        return {"best_accuracy": self.best_accuracy, "generators": generators}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Takes them up again."""
        self.best_accuracy = state_dict["best_accuracy"]
        self._generators = state_dict["generators"]

    def _restore_generators(self) -> None:
        generators, self._generators = self._generators, None
        if generators is None:
            return
        torch.set_rng_state(generators["cpu"].cpu())
        if "cuda" in generators and _uses_cuda():
            torch.cuda.set_rng_state(generators["cuda"].cpu())

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Adds where to go on, and on what it was trained so far."""
        epoch, batch = trainer.current_epoch, trainer.fit_loop.batch_idx + 1
        if not self._middle:
            epoch, batch = epoch + 1, 0
        checkpoint["resume_at"] = {
            "epoch": epoch,
            "batch": batch,
            "devices": trainer.world_size,
            "kind": trainer.strategy.root_device.type,
            "precision": trainer.precision,
        }

    # Saving and stopping ----------------------------------------------------------------------------------------------

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """From here on a stop waits for the end of a batch."""
        self._restore_generators()
        # Lightning has put its own handler of SIGTERM above ours; it would end without saving.
        self._stop.install()
        self._stop.preparing = False

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Saves and ends if a stop was asked for. After the last batch of an epoch, its validation comes first."""
        if batch_idx + 1 < trainer.num_training_batches and self._asked(trainer, batch_idx):
            self._middle = True
            try:
                trainer.save_checkpoint(self._folder.last_checkpoint)
            finally:
                self._middle = False
            if self._files.failure:
                raise self._files.failure
            raise Stopped(self._stop.reason)

    def on_validation_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Ends in the middle of a validation only where nothing can be saved after it."""
        if self._stop.abandoned and trainer.world_size == 1:  # several devices end together, at a batch
            raise Stopped(self._stop.reason)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Finds out whether this is the best so far, for which training waits."""
        assert isinstance(pl_module, FaceGenderModule)
        accuracy = float(pl_module.validation_results["accuracy"])
        pl_module.validation_accuracy = accuracy
        self.improved = accuracy > self.best_accuracy
        if self.improved:
            self.best_accuracy = accuracy

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Saves; ends here if a stop was asked for and there are epochs left."""
        if self.improved:
            self._save(trainer, self._folder.best_checkpoint, weights_only=True)
        self._save(trainer, self._folder.last_checkpoint, weights_only=False)
        last = trainer.current_epoch + 1 >= (trainer.max_epochs or 0)
        if not last and self._asked(trainer, 0):
            self._tell_of_the_end()
            raise Stopped(self._stop.reason)

    def _save(self, trainer: Trainer, path: Path, *, weights_only: bool) -> None:
        trainer.save_checkpoint(path, weights_only=weights_only)
        if error := self._files.failure:  # one from before is still there
            if path not in self._unsaved:
                self._tell(f"{path.name} could not be saved: {reason(error)}; make room; training goes on")
            self._unsaved[path] = error
        else:
            self._unsaved.pop(path, None)

    @property
    def lost(self) -> OSError | None:
        """Why the last epoch is not on the disk, if it is not."""
        return self._unsaved.get(self._folder.last_checkpoint)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Says so if the run's best or last epoch is not on the disk."""
        self._tell_of_the_end()

    def _tell_of_the_end(self) -> None:
        for path, error in self._unsaved.items():
            which = "best" if path == self._folder.best_checkpoint else "last"
            self._tell(f"the {which} epoch is not in {path.name}: {reason(error)}")

    def _tell(self, text: str) -> None:
        self._announce(Notice(time=time.time(), level="error", text=text))
        print_error(f"run {self._folder.name}: {text}")

    def _asked(self, trainer: Trainer, batch_idx: int) -> bool:
        """Whether to stop now. All processes of a run must come to the same answer at the same batch."""
        if trainer.world_size == 1:
            return self._stop.requested
        if batch_idx % ASK_OTHERS_EVERY:
            return False
        return trainer.strategy.reduce_boolean_decision(self._stop.requested, all=False)


def _uses_cuda() -> bool:
    """Whether this process has a GPU already: a run on the processor leaves them alone."""
    return bool(torch.cuda.is_initialized())  # type: ignore[no-untyped-call]  # torch has no types for it
