"""Run folders as a trainer would have left them, made with the project's own writers, small and in milliseconds."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
from msgspec import structs

from facegender.runs.config import TrainConfig
from facegender.runs.events import (
    AnyEvent,
    CheckpointSaved,
    EpochFinished,
    EpochStarted,
    Event,
    FrameSaved,
    Gpu,
    HealthMeasured,
    Heartbeat,
    LayerHealth,
    LayerInfo,
    Notice,
    PredictionsSaved,
    RequestDone,
    RunFinished,
    RunStarted,
    Status,
    Steps,
    System,
)
from facegender.runs.folder import Manifest, RunFolder
from facegender.runs.frames import TOP, Frame, LayerFrame, TopPatches, write_frame
from facegender.runs.journal import JournalReader, JournalWriter
from facegender.runs.lock import Process
from facegender.runs.predictions import Predictions

CLASSES = ["female", "male"]
LAYERS = {"conv1": (4, 8), "conv2": (6, 4), "conv3": (9, 4)}
"""Name: channels and side of the maps."""
STEPS_PER_EPOCH = 5
IMAGE_PX = 24


def layer_infos() -> list[LayerInfo]:
    """The layers of the small network."""
    return [
        LayerInfo(name=name, channels=channels, size=(side, side), kernel=(3, 3, 3))
        for name, (channels, side) in LAYERS.items()
    ]


def run_started(**changes: Any) -> RunStarted:
    """The first line of a journal."""
    values: dict[str, Any] = {
        "time": 1000.0,
        "run": "otter-3",
        "epochs": 5,
        "steps_per_epoch": STEPS_PER_EPOCH,
        "batch_size": 32,
        "recipe": "reference",
        "device": "cpu",
        "device_name": "CPU",
        "precision": "32",
        "image_size": IMAGE_PX,
        "parameters": 1234,
        "train_images": {"female": 80, "male": 80},
        "validation_images": {"female": 20, "male": 20},
        "layers": layer_infos(),
    }
    return RunStarted(**(values | changes))


def epoch_started(epoch: int, **changes: Any) -> EpochStarted:
    """An epoch begins."""
    return EpochStarted(**({"time": 1001.0 + epoch, "epoch": epoch, "learning_rate": 1e-3} | changes))


def steps(epoch: int, count: int = STEPS_PER_EPOCH, **changes: Any) -> Steps:
    """The first steps of an epoch."""
    first = epoch * STEPS_PER_EPOCH + 1
    values: dict[str, Any] = {
        "time": 1001.5 + epoch,
        "epoch": epoch,
        "step": list(range(first, first + count)),
        "batch": list(range(1, count + 1)),
        "seconds": [1001.0 + epoch + index / 10 for index in range(count)],
        "loss": [1.0 / (first + index) for index in range(count)],
        "accuracy": [0.5] * count,
        "images_per_second": 320.0,
    }
    return Steps(**(values | changes))


def epoch_finished(epoch: int, accuracy: float | None = None, **changes: Any) -> EpochFinished:
    """An epoch was trained and validated."""
    values: dict[str, Any] = {
        "time": 1002.0 + epoch,
        "epoch": epoch,
        "step": (epoch + 1) * STEPS_PER_EPOCH,
        "train_loss": 0.5 - epoch / 100,
        "train_accuracy": 0.7,
        "validation_loss": 0.6 - epoch / 100,
        "validation_accuracy": 0.6 + epoch / 100 if accuracy is None else accuracy,
        "classes": CLASSES,
        "precision": [0.8, 0.7],
        "recall": [0.9, 0.6],
        "f1": [0.85, 0.65],
        "macro_f1": 0.75,
        "confusion": [[18, 2], [5, 15]],
        "learning_rate": 1e-3,
        "images_per_second": 300.0,
        "seconds": 2.0,
        "best": True,
    }
    return EpochFinished(**(values | changes))


def frame_saved(epoch: int, **changes: Any) -> FrameSaved:
    """The pictures of an epoch exist."""
    values: dict[str, Any] = {
        "time": 1002.1 + epoch,
        "epoch": epoch,
        "step": (epoch + 1) * STEPS_PER_EPOCH,
        "file": f"epoch_{epoch}.safetensors",
        "pictures": [f"epoch_{epoch}.png", f"epoch_{epoch}_filters.png"],
    }
    return FrameSaved(**(values | changes))


def health_measured(epoch: int, **changes: Any) -> HealthMeasured:
    """The layers after an epoch: the second has a dead channel, the third two filters that are nearly equal."""
    layers = [
        LayerHealth(name="conv1", gradient_norm=0.5, update_ratio=1e-3, channels=4, saturated=[3]),
        LayerHealth(name="conv2", gradient_norm=0.2, update_ratio=2e-3, channels=6, dead_count=1, dead=[2]),
        LayerHealth(name="conv3", gradient_norm=0.1, update_ratio=3e-3, channels=9, duplicates=[(1, 4, 0.995)]),
    ]
    values: dict[str, Any] = {
        "time": 1002.05 + epoch,
        "epoch": epoch,
        "step": (epoch + 1) * STEPS_PER_EPOCH,
        "layers": layers,
    }
    return HealthMeasured(**(values | changes))


def epoch_events(epoch: int) -> list[Event]:
    """Everything that a whole epoch writes."""
    return [
        epoch_started(epoch),
        steps(epoch),
        epoch_finished(epoch),
        frame_saved(epoch),
        CheckpointSaved(time=1002.2 + epoch, file="last.ckpt", epoch=epoch, step=(epoch + 1) * STEPS_PER_EPOCH),
    ]


def one_of_each() -> list[Event]:
    """An event of every type, with no field left at its default."""
    gpu = Gpu(index=1, name="H200", utilisation_percent=87.0, memory_used_bytes=11, memory_total_bytes=139)
    return [
        run_started(
            start_epoch=2,
            start_step=10,
            resumed=True,
            skipped_files=3,
            demo=True,
            patience=4,
            network="resnet18",
            classes=CLASSES,
        ),
        epoch_started(2),
        steps(2),
        epoch_finished(2, epochs_since_best=1, metrics={"val_auc": 0.75}),
        health_measured(2, first_not_finite="conv2"),
        RequestDone(time=1.5, request="frame", done=True, outcome="pictures of step 12 are being made"),
        frame_saved(2),
        PredictionsSaved(time=1.2, epoch=2, file="epoch_2_predictions.safetensors"),
        CheckpointSaved(time=1.0, file="best.ckpt", epoch=2, step=15),
        System(
            time=2.0, cpu_percent=12.5, memory_used_bytes=1, memory_total_bytes=2, process_memory_bytes=3, gpus=[gpu]
        ),
        Notice(time=3.0, level="warning", text="a file could not be read: Zoë.jpg"),
        Heartbeat(time=4.0),
        RunFinished(time=5.0, status="failed", error="out of memory"),
    ]


def frame(epoch: int, *, probes: int = 2, heatmap: bool = False, names: Sequence[str] | None = None) -> Frame:
    """A frame of the small network with random numbers that depend on the epoch alone."""
    random = np.random.default_rng(epoch + 1)
    layers = []
    for name, (channels, side) in LAYERS.items():
        maps = random.normal(size=(probes, channels, side, side)).astype(np.float32)
        axes = (2, 3)
        stats = [maps.mean(axes), maps.std(axes), maps.min(axes), maps.max(axes), (maps == 0).mean(axes)]
        filters = random.normal(size=(channels, 3, 3, 3)).astype(np.float32)
        layers.append(LayerFrame(name=name, maps=maps, filters=filters, stats=np.stack(stats, -1).astype(np.float32)))
    probabilities = random.dirichlet([1, 1], size=probes).astype(np.float32)
    images = random.integers(0, 256, (probes, IMAGE_PX, IMAGE_PX, 3), dtype=np.uint8)
    shown_heatmap = random.integers(0, 256, (probes, 4, 4), dtype=np.uint8) if heatmap else None
    for number, layer in enumerate(layers):
        channels, side = LAYERS[layer.name]
        value = -np.sort(-random.random((channels, TOP)).astype(np.float32), axis=1)
        image = random.permuted(np.tile(np.arange(40, dtype=np.int32), (channels, 1)), axis=1)[:, :TOP]
        at = random.integers(0, side, (channels, TOP, 2), dtype=np.int16)
        units = np.stack([value.mean(1), value.max(1), random.random(channels)], 1).astype(np.float32)
        top = TopPatches(value=value, image=np.ascontiguousarray(image), at=at)
        layers[number] = structs.replace(layer, units=units, top=top)
    return Frame(
        epoch=epoch,
        step=(epoch + 1) * STEPS_PER_EPOCH,
        images=images,
        labels=np.arange(probes, dtype=np.int64) % 2,
        probabilities=probabilities,
        classes=CLASSES,
        probe_names=list(names) if names else [f"face-{number}.png" for number in range(probes)],
        layers=layers,
        maps_of={name: f"{name}, relu" for name in LAYERS},
        heatmap=shown_heatmap,
        cams={name: random.random((probes, 4, 4)).astype(np.float32) for name in CLASSES},
        cam_method="LayerCAM at conv3",
    )


def dead_process() -> Process:
    """A process of this host that has ended."""
    # Linux gives out no number above 2**22.
    return Process(pid=2**22 + 1, host=Process.this().host)


def manifest(folder: RunFolder, **changes: Any) -> Manifest:
    """The manifest of a run that the calling process trains."""
    values: dict[str, Any] = {
        "run": folder.name,
        "config": TrainConfig(epochs=5, image_size=IMAGE_PX),
        "process": Process.this(),
        "created": time.time(),
        "program": "facegender-tui test",
        "data": "/photographs",
        "layers": list(LAYERS),
    }
    return Manifest(**(values | changes))


def add_epoch(folder: RunFolder, epoch: int, *, frame_file: bool = True) -> None:
    """Train one more epoch: first its frame file, then the lines that tell of it."""
    if frame_file:
        folder.visuals.mkdir(parents=True, exist_ok=True)
        write_frame(folder.frame_path(epoch), frame(epoch))
    append(folder, *epoch_events(epoch))


def append(folder: RunFolder, *events: Event) -> None:
    """Append lines to a run's journal."""
    with closing(JournalWriter(folder.journal_path)) as journal:
        journal.write(*events)


def read_all(path: Path) -> list[AnyEvent]:
    """Every event of a journal."""
    reader = JournalReader(path)
    events: list[AnyEvent] = []
    while not reader.caught_up:
        events += reader.read()
    return events


def predictions(of_label: Sequence[float], labels: Sequence[int] | None = None, epoch: int = 0) -> Predictions:
    """Predictions of two classes with the probability of each photograph's label, by default class 0."""
    chosen = np.array(labels if labels is not None else [0] * len(of_label))
    share = np.array(of_label)
    first = np.where(chosen == 1, 1 - share, share)
    return Predictions(
        epoch=epoch,
        classes=["female", "male"],
        logits=np.log(np.stack([first, 1 - first], 1)).astype(np.float32),
        labels=chosen,
        margins=np.zeros(0, np.float32),
        train_labels=np.zeros(0, np.int64),
    )


def write_run(
    root: Path, name: str = "otter-3", *, epochs_done: int = 3, end: Status | None = None, **in_manifest: Any
) -> RunFolder:
    """A run folder.

    Args:
        epochs_done: Epochs with journal lines and frame files; of the five that are planned.
        end: How the trainer ended; None leaves it training, or crashed if ``process`` in the manifest is dead.
    """
    folder = RunFolder(root, name)
    folder.path.mkdir(parents=True)
    folder.visuals.mkdir(parents=True)
    folder.write_manifest(manifest(folder, **in_manifest))
    folder.log_path.touch()
    now = time.time()
    append(folder, run_started(time=now, run=name))
    for epoch in range(epochs_done):
        add_epoch(folder, epoch)
    if end is not None:
        append(folder, RunFinished(time=now, status=end, error="the disk is full" if end == "failed" else ""))
    return folder
