"""A run with predictions of single photographs, some of them wrong."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import recorded
from PIL import Image

from facegender.runs.config import TrainConfig
from facegender.runs.events import PredictionsSaved, RunFinished
from facegender.runs.folder import RunFolder
from facegender.runs.photographs import Photographs, write_photographs
from facegender.runs.predictions import Predictions, write_predictions

COUNT = 60
NAMES = [f"{'male' if number % 2 else 'female'}/face_{number}.png" for number in range(COUNT)]


def of_label(epoch: int) -> list[float]:
    """The probability of each photograph's label: 7 and 3 are wrong in all epochs, 11 only in the first one."""
    values = [0.6 + 0.3 * number / COUNT for number in range(COUNT)]
    values[7], values[3] = 0.05, 0.2 + 0.01 * epoch
    values[11] = 0.1 if epoch == 0 else 0.97
    values[5] = 0.9 if epoch < 2 else 0.3
    return values


def add_predictions(folder: RunFolder, epoch: int) -> None:
    share = np.array(of_label(epoch))
    labels = np.arange(COUNT) % 2
    first = np.where(labels == 1, 1 - share, share)
    path = folder.predictions_path(epoch)
    write_predictions(
        path,
        Predictions(
            epoch=epoch,
            classes=["female", "male"],
            logits=np.log(np.stack([first, 1 - first], 1)).astype(np.float32),
            labels=labels,
            margins=np.full(4, -1.0 - epoch, np.float32),
            train_labels=np.array([0, 1, 0, 1]),
        ),
    )
    recorded.append(folder, PredictionsSaved(time=0.0, epoch=epoch, file=path.name))


def write_run(
    root: Path,
    name: str = "otter-3",
    *,
    photographs: bool = True,
    epochs: int = 3,
    ended: bool = True,
    created: float | None = None,
) -> RunFolder:
    """A run of some epochs whose photographs are plain rectangles."""
    data = root / "data"
    config = TrainConfig(data=str(data), epochs=5, image_size=32)
    created = time.time() if created is None else created
    folder = recorded.write_run(root, name, epochs_done=epochs, created=created, data=str(data), config=config)
    if photographs:
        for number, name in enumerate(NAMES):
            (data / name).parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (24, 32), (number * 4, 100, 100)).save(data / name)
        write_photographs(folder, Photographs(NAMES, NAMES[:4]))
    for epoch in range(epochs):
        add_predictions(folder, epoch)
    if ended:
        recorded.append(folder, RunFinished(time=time.time(), status="completed"))
    return folder
