"""Says what there is to know of a run's photographs, also what only turns out while they are decoded."""

from __future__ import annotations

import contextlib
from collections.abc import Callable

import msgspec
from pytorch_lightning import Callback, LightningModule, Trainer

from facegender.data.datamodule import FaceDataModule
from facegender.runs.events import Level
from facegender.training.run_lock import Claim


class PhotographAccount(Callback):
    """Tells of files that are left out and of other troubles once, and keeps the manifest's list of them."""

    def __init__(self, data: FaceDataModule, claim: Claim, notice: Callable[[str, Level], None]) -> None:
        """Say nothing yet.

        Args:
            notice: Is told a sentence and its level.
        """
        self._data = data
        self._claim = claim
        self._notice = notice
        self._told: set[str] = set()
        self._left_out: set[str] = set()

    def begin(self, held: str) -> None:
        """Say what is known before training begins.

        Args:
            held: Where the photographs are.
        """
        self._notice(held, "info")
        self._tell()

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Says what an epoch has brought to light."""
        self._tell()

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Says what the end has brought to light."""
        self._tell()

    def _tell(self) -> None:
        for text in self._data.notices:
            if text not in self._told:
                self._told.add(text)
                self._notice(text, "warning")
        new = [file for file in self._data.skipped if file.file not in self._left_out]
        if not new:
            return
        more = " more" if self._left_out else ""
        self._left_out.update(file.file for file in new)
        files = f"{len(new)}{more} file{'s are' if len(new) > 1 else ' is'}"
        self._notice(f"{files} left out, e.g. {new[0].file}: {new[0].reason}", "warning")
        if not self._claim.is_gone():
            self._keep()

    def _keep(self) -> None:
        # The journal has said it; a disk that is full must not end the run.
        with contextlib.suppress(OSError):
            manifest = self._claim.folder.read_manifest()
            if manifest is not None and manifest.skipped != self._data.skipped:
                self._claim.folder.write_manifest(msgspec.structs.replace(manifest, skipped=self._data.skipped))
