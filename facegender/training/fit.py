"""From a configuration to `Trainer.fit`: data, network, hardware, callbacks, and where a resumed run continues."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
from pytorch_lightning import LightningModule, Trainer
from pytorch_lightning.accelerators import CUDAAccelerator
from pytorch_lightning.callbacks import LambdaCallback
from torch import nn

from facegender.data.datamodule import FaceDataModule
from facegender.data.dataset import CLASSES
from facegender.network.checkpoint_file import DamagedCheckpoint, network_weights, read_checkpoint
from facegender.network.model import parameter_count
from facegender.network.module import FaceGenderModule
from facegender.runs.config import TrainConfig, validate
from facegender.runs.events import RequestDone, Status
from facegender.runs.folder import RunFolder
from facegender.runs.photographs import write_photographs
from facegender.support.errors import UserError
from facegender.support.text import counted
from facegender.training.callbacks.checkpoints import DurableCheckpointIO, RunCheckpoints
from facegender.training.callbacks.divergence import Diverged, DivergenceGuard
from facegender.training.callbacks.early_stopping import EarlyStopping
from facegender.training.callbacks.own_source import OwnSource
from facegender.training.callbacks.recorder import RunRecorder
from facegender.training.callbacks.steering import learning_rate, planned_epochs, scale_learning_rates
from facegender.training.failures import reason
from facegender.training.hardware import choose_hardware
from facegender.training.resume import ResumePoint, check_restored, is_restore_error, resume_point, unusable
from facegender.training.run_setup import RunSetup
from facegender.training.session import ConsoleSession, Sink
from facegender.training.stop import Stopped, StopSwitch
from facegender.training.trainer import build_trainer, configure_libraries


def run_nonzero_rank(
    config: TrainConfig, root: Path, run: str | None, resume: str | None, changes: Mapping[str, Any]
) -> Status:
    """Train as one of a run's further processes, which owns no files and reports nothing.

    Raises:
        UserError: As in the first process.
    """
    folder = RunFolder(root, run or resume or "follower")
    if resume:
        manifest = folder.read_manifest()
        if manifest is None:
            raise UserError(f"run {resume} has no readable run.json to resume with")
        config = msgspec.structs.replace(manifest.config, **changes)
    setup = RunSetup(folder, validate(config), resumed=bool(resume))
    try:
        fit(setup, Sink(), StopSwitch())
    except Stopped:
        return "stopped"
    except Diverged:  # the first process reports it
        return "failed"
    return "completed"


def fit(setup: RunSetup, sink: Sink, stop: StopSwitch) -> None:
    """Train a run.

    Args:
        sink: Takes the reports; the `ConsoleSession` in the run's first process.

    Raises:
        UserError: The data, the devices or the checkpoint cannot be used.
        Stopped: A stop was requested, and ``last.ckpt`` is saved.
    """
    config, folder = setup.config, setup.folder
    resume = resume_point(setup)
    hardware = choose_hardware(config, resume)
    for event in resume.missing_events if resume else ():
        sink.put(event)
    if resume and (missing := resume.missing_predictions):
        sink.submit_predictions(missing.epoch, lambda: missing)
    manifest = folder.read_manifest()
    # The groups that the run was split by: none in a run of an earlier version, None before the split.
    near_copies = manifest.near_copies if manifest and manifest.data_digest else None
    data = FaceDataModule(config, folder.root, progress=sink.preparing, near_copies=near_copies)
    with contextlib.closing(data):
        if resume and resume.is_finished(config):
            _record_missing_frame(setup, data, sink, resume)
            return
        data.prepare()
        configure_libraries(config, hardware)
        module = FaceGenderModule(config, CLASSES, data.train_images)
        files = DurableCheckpointIO(folder, sink.put)
        reported: list[str] = []

        def report_notices(*_: object) -> None:
            for text in data.notices[len(reported) :]:
                reported.append(text)
                sink.notice(text, "warning")

        base = manifest.base_learning_rate if manifest and setup.resumed else None
        check = partial(check_restored, resume) if resume else None
        callbacks = [
            LambdaCallback(on_train_start=check, on_validation_end=report_notices),
            LambdaCallback(on_train_start=partial(_restore_learning_rate, sink, base)),
            LambdaCallback(on_train_start=partial(_report_epochs, sink, setup)),
            EarlyStopping(config.patience, sink.notice),
            _recorder(sink, setup, data, files, resume),
            DivergenceGuard(folder, config.on_nan, files, sink.notice),
            RunCheckpoints(folder, stop, files),
        ]
        trainer = build_trainer(config, hardware, folder.path, config.epochs, callbacks=callbacks, plugins=[files])
        if resume:
            data.resume_from(resume.epoch, resume.batch)
        sink.notice(data.choose_location(trainer.strategy.root_device, trainer.num_devices))
        if isinstance(sink, ConsoleSession):
            _complete_manifest(sink, data, module.network)
            if isinstance(trainer.accelerator, CUDAAccelerator):
                sink.watch(trainer.device_ids)
        report_notices()
        try:
            trainer.fit(module, datamodule=data, ckpt_path=folder.last_checkpoint if resume else None)
        except Exception as error:
            if resume and stop.preparing and is_restore_error(error):
                raise UserError(unusable(folder.last_checkpoint, error)) from error
            raise
    if resume and stop.preparing:
        raise UserError(unusable(folder.last_checkpoint, DamagedCheckpoint("says that all is trained")))
    if lost := files.wait(folder.last_checkpoint):  # resuming the run trains that epoch again
        raise lost


def _recorder(
    sink: Sink, setup: RunSetup, data: FaceDataModule, files: DurableCheckpointIO, resume: ResumePoint | None
) -> RunRecorder:
    source = OwnSource(sink, setup, data, files, resume)
    return RunRecorder(setup.folder.name, CLASSES, visualize_every=setup.config.visualize_every, source=source)


def _restore_learning_rate(sink: Sink, base: float | None, trainer: Trainer, module: LightningModule) -> None:
    """Restore a learning rate that was requested, also if the run ended before a checkpoint recorded it.

    Args:
        base: `Manifest.base_learning_rate`.
    """
    schedule = trainer.lr_scheduler_configs[0].scheduler
    before = float(schedule.base_lrs[0])
    if base is None or base == before or not 0 < base < math.inf:  # a run.json that somebody has damaged
        return
    scale_learning_rates(trainer, base / before)
    schedule.base_lrs = [base for _ in schedule.base_lrs]  # without the rounding of a product
    rate, step = learning_rate(trainer), trainer.global_step
    outcome = f"the learning rate set before the run ended is restored: {rate:.4g} from step {step + 1} on"
    answer = RequestDone(time=time.time(), request="set", done=True, outcome=outcome, learning_rate=rate)
    sink.put(msgspec.structs.replace(answer, epoch=trainer.current_epoch, step=step))


def _report_epochs(sink: Sink, setup: RunSetup, trainer: Trainer, module: LightningModule) -> None:
    """Write into the journal that a run was resumed with another number of epochs, as if a request had set it."""
    epochs = setup.config.epochs
    if setup.before is None or setup.before.config.epochs == epochs:
        return
    outcome = f"{planned_epochs(epochs)} instead of {setup.before.config.epochs}"
    answer = RequestDone(time=time.time(), request="set", done=True, outcome=outcome, epochs=epochs)
    sink.put(msgspec.structs.replace(answer, epoch=trainer.current_epoch, step=trainer.global_step))


def _complete_manifest(session: ConsoleSession, data: FaceDataModule, network: nn.Module) -> None:
    """Say in the manifest and in ``photographs.json`` what the run trains on, and in the journal what is left out."""
    if skipped := data.skipped:
        text = f"skipped {counted(len(skipped), 'file')}, e.g. {skipped[0].file}: {skipped[0].reason}; see run.json"
        session.notice(text, "warning")
    folder = session.setup.folder
    manifest = folder.read_manifest()
    if manifest is None or folder.lock.is_lost():
        return
    if session.setup.resumed and manifest.data_digest not in ("", data.digest):
        session.notice("the photographs have changed since the run began", "warning")
    manifest = msgspec.structs.replace(
        manifest,
        data=data.source,
        data_digest=data.digest,
        parameters=parameter_count(network),
        layers=[name for name, part in network.named_modules() if isinstance(part, nn.Conv2d)],
        skipped=skipped,
        near_copies=data.near_copies or [],
    )
    try:
        folder.write_manifest(manifest)
        write_photographs(folder, data.photographs)
    except OSError as error:  # which does not end the run
        session.notice(f"run.json or photographs.json could not be updated: {reason(error)}", "warning")


def _record_missing_frame(setup: RunSetup, data: FaceDataModule, sink: Sink, resume: ResumePoint) -> None:
    """Record the missing frame of a run that was killed after its last epoch; its journal lines are written already."""
    if resume.missing_frame is None:
        return
    data.prepare()
    module = FaceGenderModule(setup.config, CLASSES)
    weights = network_weights(read_checkpoint(setup.folder.last_checkpoint)["state_dict"], module.eval_network)
    module.eval_network.load_state_dict(weights)
    files = DurableCheckpointIO(setup.folder, sink.put)
    _recorder(sink, setup, data, files, resume).record_frame(module, resume.missing_frame, resume.step)
