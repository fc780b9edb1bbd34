"""``last.ckpt`` and ``best.ckpt``: when they are saved, how they reach the disk, and where a stop ends a run.

The training thread writes a checkpoint to a temporary file. A second thread flushes that file to the disk, renames it
and announces it, while the next epoch trains.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

from pytorch_lightning import LightningModule, Trainer
from pytorch_lightning.callbacks import Checkpoint
from pytorch_lightning.plugins import TorchCheckpointIO

from facegender.network.checkpoint_file import read_checkpoint, write_checkpoint
from facegender.runs.events import CheckpointSaved, Event, Notice
from facegender.runs.folder import RunFolder
from facegender.support.errors import print_error
from facegender.support.files import replacing
from facegender.training.failures import reason
from facegender.training.resume import upgrade_checkpoint
from facegender.training.stop import Stopped, StopSwitch

STOP_CHECK_STEPS = 16
"""Steps between two checks for a stop on several devices: each check makes all processes wait for each other."""


class DurableCheckpointIO(TorchCheckpointIO):
    """Writes checkpoints that survive a kill and a power loss; reads tensors and plain values only.

    A checkpoint that cannot be written is reported and training continues: the file of an earlier epoch is still there.
    Errors are not raised, because only the first of several processes writes: it alone would miss the barrier that
    follows. Nothing is written once the run folder was removed.

    Args:
        announce: Reports an event; called from the training thread and from the thread that flushes.
    """

    def __init__(self, folder: RunFolder, announce: Callable[[Event], None]) -> None:
        self._folder = folder
        self._announce = announce
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="checkpoints")
        self._flushing: dict[Path, Future[None]] = {}
        self._failures: dict[Path, OSError] = {}

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any | None = None) -> None:
        """Write a checkpoint, and flush and announce it in the background."""
        target = Path(path)
        self.wait(target)
        if self._folder.lock.is_lost():
            return
        try:
            with contextlib.ExitStack() as stack:
                temporary = stack.enter_context(replacing(target, durable=True))
                write_checkpoint(checkpoint, temporary)
                replacement = stack.pop_all()
        except OSError as error:
            self._fail(target, error)
            return
        epoch, step = checkpoint["epoch"], checkpoint["global_step"]
        event = CheckpointSaved(time=time.time(), file=target.name, epoch=epoch, step=step)
        self._flushing[target] = self._executor.submit(self._replace, target, replacement, event)

    def _replace(self, target: Path, replacement: contextlib.ExitStack, event: CheckpointSaved) -> None:
        try:
            replacement.close()
        except OSError as error:
            self._fail(target, error)
        else:
            self._failures.pop(target, None)
            self._announce(event)

    def _fail(self, target: Path, error: OSError) -> None:
        if self._folder.lock.is_lost():
            return
        if target not in self._failures:
            self.report(f"{target.name} could not be saved: {reason(error)}; make room; training continues")
        self._failures[target] = error

    def report(self, text: str) -> None:
        """Report an error to the journal and on stderr."""
        self._announce(Notice(time=time.time(), level="error", text=text))
        print_error(f"run {self._folder.name}: {text}")

    def wait(self, path: Path) -> OSError | None:
        """Wait until a checkpoint that was written is on the disk; return why its newest content is not there."""
        if flush := self._flushing.pop(path, None):
            flush.result()
        return self._failures.get(path)

    def when_flushed(self, path: Path, report: Callable[[OSError | None], None]) -> None:
        """Report once a written checkpoint has been flushed to the disk.

        Args:
            report: Called with None, or with the error that kept the newest content from the disk; from any thread.
        """
        if flush := self._flushing.get(path):
            flush.add_done_callback(lambda _: report(self._failures.get(path)))
        else:
            report(self._failures.get(path))

    def load_checkpoint(
        self, path: str | Path, map_location: Any | None = None, weights_only: bool | None = None
    ) -> dict[str, Any]:
        """Read a checkpoint without running code from it."""
        return upgrade_checkpoint(read_checkpoint(Path(path)))

    def teardown(self) -> None:
        """Flush what was written. Lightning calls this however training ends."""
        self._executor.shutdown()


class RunCheckpoints(Checkpoint):
    """Saves ``last.ckpt`` after every epoch and at a stop, and ``best.ckpt`` when the validation accuracy improves.

    As a `Checkpoint`, Lightning calls its hooks after those of all other callbacks: what they report of an epoch is
    part of the checkpoint, and reported before a stop ends the run.
    """

    def __init__(self, folder: RunFolder, stop: StopSwitch, files: DurableCheckpointIO) -> None:
        self._folder = folder
        self._stop = stop
        self._files = files

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Add where to resume, and the hardware and precision used so far."""
        epoch, batch = trainer.current_epoch, trainer.fit_loop.batch_idx + 1
        if batch == trainer.num_training_batches:
            epoch, batch = epoch + 1, 0
        checkpoint["resume_at"] = {
            "epoch": epoch,
            "batch": batch,
            "devices": trainer.world_size,
            "kind": trainer.strategy.root_device.type,
            "precision": trainer.precision,
        }

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """From now on a stop waits for the end of a batch."""
        # Lightning has replaced our SIGTERM handler by its own, which would end the run without saving.
        self._stop.install()
        self._stop.preparing = False

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Save and end the run if a stop was requested. After an epoch's last batch its validation comes first.

        Raises:
            Stopped: ``last.ckpt`` is on the disk.
            OSError: It could not be saved.
        """
        if batch_idx + 1 < trainer.num_training_batches and self._must_stop(trainer, batch_idx):
            trainer.save_checkpoint(self._folder.last_checkpoint)
            if error := self._files.wait(self._folder.last_checkpoint):
                raise error
            raise Stopped(self._stop.reason)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Save; end the run if a stop was requested and epochs are left.

        Raises:
            Stopped: ``last.ckpt`` is on the disk, or a notice says why not.
        """
        early_stopping = trainer.early_stopping_callback
        if early_stopping is not None and early_stopping.wait_count == 0:
            trainer.save_checkpoint(self._folder.best_checkpoint, weights_only=True)
        trainer.save_checkpoint(self._folder.last_checkpoint)
        is_last = trainer.current_epoch + 1 >= (trainer.max_epochs or 0)
        if not is_last and self._must_stop(trainer, 0):
            self._report_losses()
            raise Stopped(self._stop.reason)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Report if the best or the last epoch is not on the disk."""
        self._report_losses()

    def _report_losses(self) -> None:
        for name, path in (("best", self._folder.best_checkpoint), ("last", self._folder.last_checkpoint)):
            if error := self._files.wait(path):
                self._files.report(f"the {name} epoch is not in {path.name}: {reason(error)}")

    def _must_stop(self, trainer: Trainer, batch_idx: int) -> bool:
        """Whether to stop now. All processes of a run get the same answer at the same batch."""
        if trainer.world_size == 1:
            return self._stop.requested
        if batch_idx % STOP_CHECK_STEPS:
            return False
        return trainer.strategy.reduce_boolean_decision(self._stop.requested, all=False)
