"""The callback that says in the journal and the manifest what a run trains on, and which files it leaves out."""

from __future__ import annotations

import msgspec
import torch
from pytorch_lightning import Callback, LightningModule, Trainer
from pytorch_lightning.accelerators import CUDAAccelerator

from facegender.data.datamodule import FaceDataModule
from facegender.network.model import parameter_count
from facegender.network.module import FaceGenderModule
from facegender.support.text import counted
from facegender.training.failures import reason
from facegender.training.session import Session


class DataReporter(Callback):
    """Reports the data of a run. For the first process only."""

    def __init__(self, data: FaceDataModule, session: Session) -> None:
        self._data = data
        self._session = session
        self._announced: set[str] = set()

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Complete the manifest, and report the load of the GPUs from now on."""
        assert isinstance(pl_module, FaceGenderModule)
        data, session, folder = self._data, self._session, self._session.setup.folder
        manifest = folder.read_manifest()
        if manifest is not None and not folder.lock.is_lost():
            if session.setup.resumed and manifest.data_digest not in ("", data.digest):
                session.notice("the photographs have changed since the run began", "warning")
            layers = [name for name, part in pl_module.network.named_modules() if isinstance(part, torch.nn.Conv2d)]
            manifest = msgspec.structs.replace(
                manifest,
                data=data.source,
                data_digest=data.digest,
                parameters=parameter_count(pl_module.network),
                layers=layers,
                skipped=data.skipped,
                near_copies=data.near_copies or [],
            )
            try:
                folder.write_manifest(manifest)
            except OSError as error:  # which does not end the run
                session.notice(f"run.json could not be updated: {reason(error)}", "warning")
        if isinstance(trainer.accelerator, CUDAAccelerator):
            session.watch(trainer.device_ids)
        if skipped := data.skipped:
            text = f"skipped {counted(len(skipped), 'file')}, e.g. {skipped[0].file}: {skipped[0].reason}; see run.json"
            session.notice(text, "warning")
        self._report()

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Report what came up during the epoch."""
        self._report()

    def _report(self) -> None:
        for text in self._data.notices:
            if text not in self._announced:
                self._announced.add(text)
                self._session.notice(text, "warning")
