"""From a configuration to `Trainer.fit`: data, network, hardware, callbacks, and where a resumed run continues."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
from pytorch_lightning import Callback
from pytorch_lightning.callbacks import LambdaCallback

from facegender.data.datamodule import FaceDataModule
from facegender.data.dataset import CLASSES
from facegender.network.checkpoint_file import DamagedCheckpoint, network_weights, read_checkpoint
from facegender.network.module import FaceGenderModule
from facegender.runs.config import TrainConfig, validate
from facegender.runs.events import Notice, Status
from facegender.runs.folder import RunFolder
from facegender.runs.frames import Frame
from facegender.support.errors import UserError
from facegender.training.callbacks.checkpoints import DurableCheckpointIO, RunCheckpoints
from facegender.training.callbacks.data_report import DataReporter
from facegender.training.callbacks.divergence import Diverged, DivergenceGuard
from facegender.training.callbacks.early_stopping import EarlyStopping
from facegender.training.callbacks.recorder import RunRecorder, Sink
from facegender.training.hardware import choose_hardware
from facegender.training.resume import (
    ResumePoint,
    check_restored,
    is_restore_error,
    recorded_precision,
    resume_point,
    unusable,
)
from facegender.training.run_setup import RunSetup
from facegender.training.session import Session
from facegender.training.stop import Stopped, StopSwitch
from facegender.training.threads.journal import Item
from facegender.training.trainer import build_trainer, configure_torch, silence_lightning


def fit(session: Session) -> None:
    """Train the run of a session.

    Raises:
        UserError: The data, the devices or the checkpoint cannot be used.
        Stopped: A stop was requested, and ``last.ckpt`` is saved.
    """
    setup = session.setup
    near_copies = _recorded_near_copies(setup.folder)
    data = FaceDataModule(setup.config, setup.folder.root, progress=session.preparing, near_copies=near_copies)
    _fit(setup, data, session, session.stop, [DataReporter(data, session)])


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
        data = FaceDataModule(setup.config, root, near_copies=_recorded_near_copies(folder))
        _fit(setup, data, NullSink(), StopSwitch(), [])
    except Stopped:
        return "stopped"
    except Diverged:  # the first process reports it
        return "failed"
    return "completed"


class NullSink:
    """The sink of a process that reports nothing."""

    def put(self, item: Item) -> None:
        """Drop a report."""

    def submit(self, epoch: int, make_frame: Callable[[], Frame], *, last: bool = False) -> None:
        """Drop a frame."""


def _recorded_near_copies(folder: RunFolder) -> list[list[str]] | None:
    """The groups of near-copies that a run was split by: none in a run of an earlier version, None before the split."""
    manifest = folder.read_manifest()
    return manifest.near_copies if manifest and manifest.data_digest else None


def _fit(setup: RunSetup, data: FaceDataModule, sink: Sink, stop: StopSwitch, reporters: Sequence[Callback]) -> None:
    config, folder = setup.config, setup.folder
    hardware = choose_hardware(config)
    resume = resume_point(setup)
    silence_lightning()
    for event in resume.missing_events if resume else ():
        sink.put(event)
    with contextlib.closing(data):
        if resume and resume.is_finished(config):
            _complete(setup, data, sink, resume)
            return
        data.prepare()
        hardware = recorded_precision(hardware, config, resume)
        configure_torch(config, hardware)
        module = FaceGenderModule(config, CLASSES, data.train_images)
        files = DurableCheckpointIO(folder, sink.put)
        checkpoints = RunCheckpoints(folder, stop, files)
        callbacks = [
            *([LambdaCallback(on_train_start=partial(check_restored, resume))] if resume else []),
            EarlyStopping(config.patience, sink.put),
            RunRecorder(sink, setup, data, resume),
            DivergenceGuard(folder, config.on_nan, files, sink.put),
            *reporters,
            checkpoints,
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
    if checkpoints.lost:  # resuming the run trains that epoch again
        raise checkpoints.lost


def _complete(setup: RunSetup, data: FaceDataModule, sink: Sink, resume: ResumePoint) -> None:
    """Record the missing frame of a run that was killed after its last epoch; its journal lines are written already."""
    if resume.missing_frame is None:
        return
    data.prepare()
    module = FaceGenderModule(setup.config, CLASSES)
    weights = network_weights(read_checkpoint(setup.folder.last_checkpoint)["state_dict"], module.eval_network)
    module.eval_network.load_state_dict(weights)
    RunRecorder(sink, setup, data, resume).record_missing_frame(module, resume.step)
