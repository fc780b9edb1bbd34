"""A recorded run of made-up numbers, written with the program's own writers, to measure reading and showing it."""

from __future__ import annotations

import time
from contextlib import closing
from pathlib import Path

import numpy as np

from facegender.runs.config import TrainConfig
from facegender.runs.events import (
    EpochFinished,
    FrameSaved,
    LayerInfo,
    PredictionsSaved,
    RunFinished,
    RunStarted,
    Steps,
)
from facegender.runs.folder import Manifest, RunFolder, create_run
from facegender.runs.frames import TOP, Frame, LayerFrame, TopPatches, write_frame
from facegender.runs.journal import JournalWriter
from facegender.runs.lock import Process
from facegender.runs.predictions import Predictions, write_predictions

LAYERS = (("conv1", 32, 128, 3, 7), ("conv2", 64, 128, 32, 5), ("conv3", 128, 64, 64, 3))


DIFFERENT_FRAMES = 10
"""Frame files with numbers of their own; those of later epochs are hard links to them, to save the disk."""


def write_run(
    root: Path,
    name: str,
    epochs: int = 5,
    steps_per_epoch: int = 200,
    *,
    frames: bool = True,
    predictions: int = 0,
    config: TrainConfig | None = None,
) -> RunFolder:
    """A completed run with one frame an epoch, shaped as the network's at 512 px, or with none.

    Args:
        predictions: Validation photographs, of which each epoch has predictions; and as many training photographs.
    """
    folder = create_run(root, name)
    now = time.time()
    generator = np.random.default_rng(0)
    config = config or TrainConfig(epochs=epochs)
    folder.write_manifest(Manifest(run=name, config=config, process=Process.this(), created=now, program="benchmark"))
    layers = [LayerInfo(name=n, channels=c, size=(s, s), kernel=(i, k, k)) for n, c, s, i, k in LAYERS]
    images = {"female": 810, "male": 810}
    with closing(JournalWriter(folder.journal_path)) as journal:
        journal.write(
            RunStarted(
                time=now, run=name, epochs=epochs, steps_per_epoch=steps_per_epoch, batch_size=32, recipe="reference",
                device="cpu", device_name="CPU", precision="32", image_size=512, parameters=33_685_506,
                train_images=images, validation_images=images, layers=layers,
            )
        )  # fmt: skip
        for epoch in range(epochs):
            for first in range(0, steps_per_epoch, 20):
                step = [epoch * steps_per_epoch + first + number + 1 for number in range(20)]
                loss = (np.exp(-np.array(step) / 300) + generator.normal(0, 0.05, 20)).tolist()
                accuracy = (generator.integers(16, 33, 20) / 32).tolist()
                journal.write(
                    Steps(
                        time=now, epoch=epoch, step=step, batch=[first + n + 1 for n in range(20)],
                        seconds=[now + value for value in step], loss=loss, accuracy=accuracy,
                    )
                )  # fmt: skip
            journal.write(_epoch_finished(now, epoch, steps_per_epoch))
            if frames:
                file = folder.frame_path(epoch)
                if epoch < DIFFERENT_FRAMES:
                    write_frame(file, _frame(epoch, generator))
                else:
                    file.hardlink_to(folder.frame_path(epoch % DIFFERENT_FRAMES))
                journal.write(FrameSaved(time=now, epoch=epoch, step=0, file=file.name, pictures=[]))
            if predictions:
                file = folder.predictions_path(epoch)
                write_predictions(file, made_up_predictions(epoch, predictions, predictions))
                journal.write(PredictionsSaved(time=now, epoch=epoch, file=file.name))
        journal.write(RunFinished(time=now + 1, status="completed"))
    return folder


def made_up_predictions(epoch: int, validation: int, train: int, wrong: float = 0.2) -> Predictions:
    """Predictions of so many photographs, about the share `wrong` of them wrong; labels are the same in every epoch."""
    labels = np.random.default_rng(0).integers(0, 2, validation)
    train_labels = np.random.default_rng(1).integers(0, 2, train)
    generator = np.random.default_rng(2 + epoch)
    margin = generator.normal(1, 2, validation)
    margin = np.abs(margin) * np.where(generator.random(validation) < wrong, -1, 1)
    logits = np.stack([-margin, margin], 1) / 2 * np.where(labels == 1, 1, -1)[:, None]
    return Predictions(
        epoch=epoch, classes=["female", "male"], logits=logits.astype(np.float32), labels=labels,
        margins=generator.normal(1, 2, train).astype(np.float32), train_labels=train_labels,
    )  # fmt: skip


def _epoch_finished(now: float, epoch: int, steps_per_epoch: int) -> EpochFinished:
    return EpochFinished(
        time=now, epoch=epoch, step=(epoch + 1) * steps_per_epoch, train_loss=0.5, train_accuracy=0.8,
        validation_loss=0.5, validation_accuracy=0.8 + epoch / 100, classes=["female", "male"], precision=[0.8, 0.8],
        recall=[0.8, 0.8], f1=[0.8, 0.8], macro_f1=0.8, confusion=[[80, 20], [20, 80]], learning_rate=1e-3,
        images_per_second=100.0, seconds=60.0, best=True,
    )  # fmt: skip


def _frame(epoch: int, generator: np.random.Generator) -> Frame:
    y, x = np.mgrid[0:128, 0:128] / 128
    layers = []
    for name, channels, side, inputs, kernel in LAYERS:
        waves = generator.normal(0, 8, (channels, 3))
        maps = np.stack([np.sin(a * x + b * y + c + epoch) for a, b, c in waves]).clip(0)[
            None, :, :: 128 // side, :: 128 // side
        ]
        layers.append(
            LayerFrame(
                name=name,
                maps=np.repeat(maps, 2, axis=0).astype(np.float32),
                filters=generator.normal(size=(channels, inputs, kernel, kernel)).astype(np.float32),
                stats=np.zeros((2, channels, 5), np.float32),
                units=generator.random((channels, 3)).astype(np.float32),
                top=TopPatches(
                    value=-np.sort(-generator.random((channels, TOP)).astype(np.float32), axis=1),
                    image=np.tile(np.arange(TOP, dtype=np.int32), (channels, 1)),
                    at=generator.integers(0, side, (channels, TOP, 2), dtype=np.int16),
                ),
            )
        )
    return Frame(
        epoch=epoch, step=0, images=np.full((2, 512, 512, 3), 128, np.uint8), labels=np.array([0, 1]),
        probabilities=np.full((2, 2), 0.5, np.float32), classes=["female", "male"], probe_names=["a", "b"],
        layers=layers, maps_of={}, cam_method="LayerCAM at conv3",
        cams={name: generator.random((2, 64, 64)).astype(np.float32) for name in ("female", "male")},
    )  # fmt: skip
