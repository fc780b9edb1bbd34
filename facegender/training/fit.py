"""Configuration to `Trainer.fit`: photographs, network, precision, devices, and where a resumed run goes on."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import torch
from pytorch_lightning import Trainer
from pytorch_lightning.accelerators import CUDAAccelerator

from facegender.data.datamodule import FaceDataModule
from facegender.data.dataset import CLASSES
from facegender.network.checkpoint_file import DamagedCheckpoint
from facegender.network.model import parameter_count
from facegender.network.module import FaceGenderModule
from facegender.runs.config import TrainConfig, validate
from facegender.runs.events import Event, Status
from facegender.runs.folder import RunFolder
from facegender.support.errors import UserError
from facegender.training.callbacks.checkpoints import AtomicCheckpointIO, RunCheckpoints
from facegender.training.callbacks.divergence import Diverged, DivergenceGuard
from facegender.training.callbacks.early_stopping import Patience
from facegender.training.callbacks.recorder import RunInfo, RunRecorder, Sink
from facegender.training.callbacks.skipped_files import PhotographAccount
from facegender.training.failures import is_out_of_memory
from facegender.training.hardware import Hardware, choose_hardware
from facegender.training.resume import ResumeCheck, ResumePoint, as_before, missing_frame, resume_point, unusable
from facegender.training.run_lock import Claim
from facegender.training.session import Session
from facegender.training.stop import Stopped, StopSwitch
from facegender.training.threads.frames import PendingFrame
from facegender.training.threads.journal import Item
from facegender.training.threads.system_metrics import GpuIdentity
from facegender.training.trainer import build_trainer, configure_torch, silence_lightning


def fit(session: Session) -> None:
    """Train the run that a session has claimed.

    Raises:
        UserError: The data, the devices or the checkpoint cannot be used.
        Stopped: Somebody asked, and ``last.ckpt`` is saved.
    """
    claim = session.claim
    hardware = choose_hardware(claim.config)
    data = FaceDataModule(claim.config, claim.folder.root, progress=session.preparing)
    silence_lightning()
    data.prepare()
    try:
        resume = resume_point(claim)
        if claim.resumed:
            manifest = claim.folder.read_manifest()
            if manifest and manifest.data_digest and manifest.data_digest != data.digest:
                session.notice("the photographs are not the same as when the run began", "warning")
        account = PhotographAccount(data, claim, session.notice)
        _fit(claim, hardware, data, session, session.stop, resume, account)
    finally:
        data.close()


def run_nonzero_rank(
    config: TrainConfig, root: Path, run: str | None, resume: str | None, changes: Mapping[str, Any]
) -> Status:
    """Train along as one of a run's further processes, which owns no files and reports nothing.

    Raises:
        UserError: As the first process does.
    """
    folder = RunFolder(root, run or resume or "follower")
    if resume:
        manifest = folder.read_manifest()
        if manifest is None:
            raise UserError(f"run {resume} has no readable run.json to resume with")
        config = msgspec.structs.replace(manifest.config, **changes)
    claim = Claim(folder, validate(config), resumed=bool(resume))
    stop = StopSwitch()
    hardware = choose_hardware(claim.config)
    data = FaceDataModule(claim.config, root)
    silence_lightning()
    data.prepare()
    try:
        _fit(claim, hardware, data, NullSink(), stop, resume_point(claim))
    except Stopped:
        return "stopped"
    except Diverged:  # the first process says so
        return "failed"
    finally:
        data.close()
    return "completed"


class NullSink:
    """The sink of a process that reports nothing."""

    def put(self, item: Item) -> None:
        """Drop a report."""

    def submit(self, frame: PendingFrame, *, last: bool = False) -> bool:
        """Drop a frame."""
        return False


def _fit(
    claim: Claim,
    hardware: Hardware,
    data: FaceDataModule,
    sink: Sink,
    stop: StopSwitch,
    resume: ResumePoint | None,
    account: PhotographAccount | None = None,
) -> None:
    config, folder = claim.config, claim.folder
    hardware = as_before(hardware, config, resume)
    configure_torch(config, hardware)
    module = FaceGenderModule(config, CLASSES, data.train_images)

    def announce(event: Event) -> None:
        sink.put(event)

    files = AtomicCheckpointIO(announce, claim.is_gone)
    checkpoints = RunCheckpoints(folder, stop, announce, files)
    info = RunInfo(
        run=folder.name,
        config=config,
        resumed=claim.resumed,
        classes=CLASSES,
        precision=hardware.precision,
        parameters=parameter_count(module.network),
        train_images=data.train_images,
        validation_images=data.validation_images,
        skipped_files=len(data.skipped),
        probes=data.probes(config.probes),
        missing_frame=missing_frame(folder, config, resume),
        batches_before=resume.batch if resume else 0,
    )
    patience = Patience(config.patience, checkpoints, announce) if config.patience else None
    recorder = RunRecorder(
        sink, info, lambda: checkpoints.improved, lambda: patience.epochs_since_best if patience else 0
    )
    guard = DivergenceGuard(folder, config.on_nan, config.epochs, len(CLASSES), announce)
    callbacks = [*([ResumeCheck(resume)] if resume else []), recorder, guard, checkpoints]
    callbacks += [callback for callback in (patience, account) if callback]
    trainer = build_trainer(hardware, folder.path, config.epochs, callbacks=callbacks, plugins=[files])
    if trainer.is_global_zero and isinstance(sink, Session):
        _complete_manifest(folder, data, module)
        sink.watch(_gpus(trainer))
    if resume:
        data.resume_from(resume.epoch, resume.batch)
    held = data.choose_location(trainer.strategy.root_device, trainer.num_devices)
    if account:
        account.begin(held)
    try:
        trainer.fit(module, datamodule=data, ckpt_path=resume.path if resume else None)
    except UserError:
        raise
    except Exception as error:
        # What Lightning itself keeps in a checkpoint only Lightning can judge, and it does so when it loads it.
        if resume is None or not stop.preparing or is_out_of_memory(error):
            raise
        raise UserError(unusable(resume.path, error)) from error
    if resume and stop.preparing:
        raise UserError(unusable(resume.path, DamagedCheckpoint("says that all is trained")))
    if checkpoints.lost:  # then the run can be resumed and train it again
        raise checkpoints.lost


def _gpus(trainer: Trainer) -> list[GpuIdentity]:
    """The GPUs of this machine that a trainer uses."""
    if not isinstance(trainer.accelerator, CUDAAccelerator):
        return []
    return [GpuIdentity.of_torch(index) for index in trainer.device_ids]


def _complete_manifest(folder: RunFolder, data: FaceDataModule, module: FaceGenderModule) -> None:
    """Adds what is only known now."""
    manifest = folder.read_manifest()
    if manifest is None:
        return
    layers = [name for name, part in module.network.named_modules() if isinstance(part, torch.nn.Conv2d)]
    folder.write_manifest(
        msgspec.structs.replace(
            manifest,
            data=data.source,
            data_digest=data.digest,
            parameters=parameter_count(module.network),
            layers=layers,
            skipped=data.skipped,
        )
    )
