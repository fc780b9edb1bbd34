"""From a configuration to `Trainer.fit`: data, network, hardware, callbacks, and where a resumed run continues."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
from pytorch_lightning.callbacks import LambdaCallback

from facegender.data.datamodule import FaceDataModule
from facegender.data.dataset import CLASSES
from facegender.network.checkpoint_file import DamagedCheckpoint, network_weights, read_checkpoint
from facegender.network.module import FaceGenderModule
from facegender.runs.config import TrainConfig, validate
from facegender.runs.events import Notice, Status
from facegender.runs.folder import RunFolder
from facegender.support.errors import UserError
from facegender.training.callbacks.checkpoints import DurableCheckpointIO, RunCheckpoints
from facegender.training.callbacks.data_report import DataReporter
from facegender.training.callbacks.divergence import Diverged, DivergenceGuard
from facegender.training.callbacks.early_stopping import EarlyStopping
from facegender.training.callbacks.recorder import RunRecorder
from facegender.training.hardware import choose_hardware
from facegender.training.resume import ResumePoint, check_restored, is_restore_error, resume_point, unusable
from facegender.training.run_setup import RunSetup
from facegender.training.session import Session, Sink
from facegender.training.stop import Stopped, StopSwitch
from facegender.training.trainer import build_trainer, configure_torch, silence_lightning


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
        sink: Takes the reports; the `Session` in the run's first process.

    Raises:
        UserError: The data, the devices or the checkpoint cannot be used.
        Stopped: A stop was requested, and ``last.ckpt`` is saved.
    """
    config, folder = setup.config, setup.folder
    resume = resume_point(setup)
    hardware = choose_hardware(config, resume)
    silence_lightning()
    for event in resume.missing_events if resume else ():
        sink.put(event)
    manifest = folder.read_manifest()
    # The groups that the run was split by: none in a run of an earlier version, None before the split.
    near_copies = manifest.near_copies if manifest and manifest.data_digest else None
    data = FaceDataModule(config, folder.root, progress=sink.preparing, near_copies=near_copies)
    with contextlib.closing(data):
        if resume and resume.is_finished(config):
            _complete(setup, data, sink, resume)
            return
        data.prepare()
        configure_torch(config, hardware)
        module = FaceGenderModule(config, CLASSES, data.train_images)
        files = DurableCheckpointIO(folder, sink.put)
        callbacks = [
            *([LambdaCallback(on_train_start=partial(check_restored, resume))] if resume else []),
            EarlyStopping(config.patience, sink.put),
            RunRecorder(sink, setup, data, resume),
            DivergenceGuard(folder, config.on_nan, files, sink.put),
            *([DataReporter(data, sink)] if isinstance(sink, Session) else []),
            RunCheckpoints(folder, stop, files),
        ]
        trainer = build_trainer(config, hardware, folder.path, config.epochs, callbacks=callbacks, plugins=[files])
        if resume:
            data.resume_from(resume.epoch, resume.batch)
        held = data.choose_location(trainer.strategy.root_device, trainer.num_devices)
        sink.put(Notice(time=time.time(), level="info", text=held))
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


def _complete(setup: RunSetup, data: FaceDataModule, sink: Sink, resume: ResumePoint) -> None:
    """Record the missing frame of a run that was killed after its last epoch; its journal lines are written already."""
    if resume.missing_frame is None:
        return
    data.prepare()
    module = FaceGenderModule(setup.config, CLASSES)
    weights = network_weights(read_checkpoint(setup.folder.last_checkpoint)["state_dict"], module.eval_network)
    module.eval_network.load_state_dict(weights)
    RunRecorder(sink, setup, data, resume).record_frame(module, resume.missing_frame, resume.step)
