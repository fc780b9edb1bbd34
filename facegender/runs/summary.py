"""The summary of a run that lists show, read without decoding its whole journal."""

from __future__ import annotations

import math
from pathlib import Path

import msgspec

from facegender.runs.events import LATEST_TIME, EpochFinished, RunStarted, Steps
from facegender.runs.folder import Manifest, RunFolder, State, list_runs
from facegender.runs.journal import read_kinds


class RunSummary(msgspec.Struct, frozen=True, kw_only=True):
    """A row in a list of runs. A number that is not known is NaN, unless something else is said.

    Attributes:
        network: Name of the network; `RECIPE_NETWORK` for the recipe's own.
        recipe: Empty for a run that a script records, as are 0 for sizes and -1 for the seed.
        learning_rate: That of the configuration; of a script that of its first epoch.
        epochs_done: Epochs that were trained and validated.
        epochs: Epochs planned; 0 if the run never started.
        best_accuracy: Highest validation accuracy.
        best_epoch: The epoch of that accuracy, counted from 0; -1 before the first validation.
        train_loss, validation_loss: Those of the last epoch.
        lowest_loss: The lowest validation loss.
        duration_s: What the epochs took, with their validation; pauses between two trainers do not count.
        created: Seconds since 1970; 0 if unknown.
        data: The folder that was read, or "demo faces", or e.g. "script train.py".
        note: What the user wrote about the run.
    """

    run: str
    state: State
    network: str = ""
    recipe: str = ""
    learning_rate: float = math.nan
    batch_size: int = 0
    image_size: int = 0
    seed: int = -1
    epochs_done: int = 0
    epochs: int = 0
    best_accuracy: float = math.nan
    best_epoch: int = -1
    train_loss: float = math.nan
    validation_loss: float = math.nan
    lowest_loss: float = math.nan
    duration_s: float = 0.0
    created: float = 0.0
    data: str = ""
    demo: bool = False
    note: str = ""


def finished_epochs(folder: RunFolder) -> tuple[RunStarted | None, dict[int, EpochFinished]]:
    """Read how a run was started last, and its finished epochs in order; of one trained again, the last time counts."""
    started: RunStarted | None = None
    finished: dict[int, EpochFinished] = {}
    for event in read_kinds(folder.journal_path, RunStarted, EpochFinished):
        if isinstance(event, RunStarted):
            started = event
            finished = {epoch: value for epoch, value in finished.items() if epoch < event.start_epoch}
        elif isinstance(event, EpochFinished):
            finished[event.epoch] = event
    return started, dict(sorted(finished.items()))


def summarise(folder: RunFolder) -> RunSummary:
    """Summarise a run. Files that are missing or damaged leave their fields at the defaults."""
    manifest = folder.read_manifest()
    finished: dict[int, EpochFinished] = {}
    started, finished = finished_epochs(folder)
    accuracy = {n: event.validation_accuracy for n, event in finished.items()}
    accuracy = {epoch: value for epoch, value in accuracy.items() if not math.isnan(value)}
    best = max(accuracy, key=lambda epoch: (accuracy[epoch], -epoch), default=-1)
    losses = [event.validation_loss for event in finished.values() if not math.isnan(event.validation_loss)]
    last = finished[max(finished)] if finished else None
    summary = RunSummary(
        run=folder.name,
        state=folder.state(),
        epochs_done=len(finished),
        epochs=started.epochs if started else 0,
        best_accuracy=accuracy.get(best, math.nan),
        best_epoch=best,
        train_loss=last.train_loss if last else math.nan,
        validation_loss=last.validation_loss if last else math.nan,
        lowest_loss=min(losses, default=math.nan),
        duration_s=sum(event.seconds for event in finished.values()),
        note=folder.read_note(),
    )
    if manifest is None:
        return summary
    config, known = manifest.config, {}
    if not manifest.script:
        fields = ("network", "recipe", "learning_rate", "batch_size", "image_size", "seed", "demo")
        known = {field: getattr(config, field) for field in fields}
    elif started:
        known = {"network": started.network, "batch_size": started.batch_size, "image_size": started.image_size}
        known["learning_rate"] = finished[min(finished)].learning_rate if finished else math.nan
    return msgspec.structs.replace(
        summary,
        **known,
        # A request may have changed it since the last `RunStarted`. Of a script, the journal has the number.
        epochs=(manifest.script and summary.epochs) or config.epochs,
        created=manifest.created if 0 < manifest.created < LATEST_TIME else 0.0,
        data=manifest.data,
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
