"""The callback that says in the journal and the manifest what a run trains on, and which files it leaves out."""

from __future__ import annotations

import torch
from pytorch_lightning import Callback, LightningModule, Trainer
from pytorch_lightning.accelerators import CUDAAccelerator

from facegender.data.datamodule import FaceDataModule
from facegender.network.model import parameter_count
from facegender.network.module import FaceGenderModule
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
        data, session = self._data, self._session
        manifest = session.setup.folder.read_manifest()
        if session.setup.resumed and manifest and manifest.data_digest and manifest.data_digest != data.digest:
            session.notice("the photographs have changed since the run began", "warning")
        session.update_manifest(
            data=data.source,
            data_digest=data.digest,
            parameters=parameter_count(pl_module.network),
            layers=[name for name, part in pl_module.network.named_modules() if isinstance(part, torch.nn.Conv2d)],
            skipped=data.skipped,
            near_copies=data.near_copies or [],
        )
        if isinstance(trainer.accelerator, CUDAAccelerator):
            session.watch(trainer.device_ids)
        if skipped := data.skipped:
            files = f"{len(skipped)} file{'s are' if len(skipped) > 1 else ' is'}"
            session.notice(f"{files} left out, e.g. {skipped[0].file}: {skipped[0].reason}", "warning")
        self._report()

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Report what came up during the epoch."""
        self._report()

    def _report(self) -> None:
        for text in self._data.notices:
            if text not in self._announced:
                self._announced.add(text)
                self._session.notice(text, "warning")
