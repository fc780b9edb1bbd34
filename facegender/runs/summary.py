"""The summary of a run that lists show, read without decoding its whole journal."""

from __future__ import annotations

import math
from pathlib import Path

import msgspec

from facegender.runs.events import LATEST_TIME, EpochFinished, RunStarted, Steps
from facegender.runs.folder import Manifest, RunFolder, State, list_runs
from facegender.runs.journal import read_kinds


class RunSummary(msgspec.Struct, frozen=True, kw_only=True):
    """A row in a list of runs.

    Attributes:
        epochs_done: Epochs that were trained and validated.
        epochs: Epochs planned; 0 if the run never started.
        best_accuracy: Highest validation accuracy; NaN before the first validation.
        best_epoch: The epoch of that accuracy, counted from 0; -1 before the first validation.
        created: Seconds since 1970; 0 if unknown.
        data: The folder that was read, or "demo faces", or e.g. "script train.py".
    """

    run: str
    state: State
    epochs_done: int = 0
    epochs: int = 0
    best_accuracy: float = math.nan
    best_epoch: int = -1
    created: float = 0.0
    data: str = ""
    image_size: int = 0
    demo: bool = False


def summarise(folder: RunFolder) -> RunSummary:
    """Summarise a run. Files that are missing or damaged leave their fields at the defaults."""
    manifest = folder.read_manifest()
    accuracy: dict[int, float] = {}
    epochs = 0
    for event in read_kinds(folder.journal_path, RunStarted, EpochFinished):
        if isinstance(event, RunStarted):
            epochs = event.epochs
            accuracy = {epoch: value for epoch, value in accuracy.items() if epoch < event.start_epoch}
        elif isinstance(event, EpochFinished):
            accuracy[event.epoch] = event.validation_accuracy
    known = {epoch: value for epoch, value in accuracy.items() if not math.isnan(value)}
    best = max(known, key=lambda epoch: (known[epoch], -epoch), default=-1)
    return RunSummary(
        run=folder.name,
        state=folder.state(),
        epochs_done=len(accuracy),
        epochs=epochs or (manifest.config.epochs if manifest else 0),
        best_accuracy=known.get(best, math.nan),
        best_epoch=best,
        created=manifest.created if manifest and 0 < manifest.created < LATEST_TIME else 0.0,
        data=manifest.data if manifest else "",
        image_size=manifest.config.image_size if manifest else 0,
        demo=bool(manifest and manifest.config.demo),
    )


def trained_manifest(root: Path, preferred: RunFolder | None = None) -> Manifest | None:
    """Find the manifest of a run whose settings are known to work, because it made at least one training step.

    Args:
        preferred: Use this run if it made a step, else the newest one that did.
    """
    for folder in ([preferred] if preferred else []) + list_runs(root):
        manifest = folder.read_manifest()
        if manifest is not None and not manifest.script and any(read_kinds(folder.journal_path, Steps)):
            return manifest
    return None
