"""What a journal line can say: one definition for the trainer that writes it and the interface that reads it.

A line is a JSON object with a ``type`` tag and ``v``, the schema version. JSON has no NaN and no infinity; they are
written as the strings "NaN", "Infinity" and "-Infinity", which any reader can tell from a missing value.
"""

from __future__ import annotations

import math
from typing import Any, Literal

import msgspec

from facegender.support.text import printable_strings

SCHEMA_VERSION = 1
LATEST_TIME = 1e11
"""Seconds since 1970: more than three thousand years."""

Status = Literal["completed", "stopped", "failed"]
Level = Literal["info", "warning", "error"]
"""Of a notice."""


class Event(msgspec.Struct, frozen=True, kw_only=True, tag_field="type"):
    """Common to all events.

    Attributes:
        time: Seconds since 1970, by the trainer's clock.
        v: Version of this schema.
    """

    time: float
    v: int = SCHEMA_VERSION


class LayerInfo(msgspec.Struct, frozen=True, kw_only=True):
    """One convolution, named as in ``named_modules()``.

    Attributes:
        channels: Output channels, which is also the number of filters.
        size: (height, width) of its output in pixels for the run's image size.
        kernel: (input channels per group, kernel height, kernel width).
    """

    name: str
    channels: int
    size: tuple[int, int]
    kernel: tuple[int, int, int]


class RunStarted(Event, frozen=True, kw_only=True, tag="run_started"):
    """Training is about to begin, or goes on from a checkpoint (``resumed``).

    Attributes:
        epochs: Epochs planned in all.
        start_epoch: First epoch that this process trains, counted from 0.
        start_step: Optimiser steps already done.
        device: As torch names it, e.g. "cuda:0".
        device_name: As the hardware names itself, or "CPU".
        train_images: Photographs per class name in the training part.
        validation_images: The same for validation.
        skipped_files: How many files were left out; their names are in the manifest.
        patience: As in `TrainConfig`; 0 also in journals that do not tell.
        visualize_every: As in `TrainConfig`, and 0 where nobody can look inside; 1 in journals that do not tell.
    """

    run: str
    epochs: int
    steps_per_epoch: int
    batch_size: int
    start_epoch: int = 0
    start_step: int = 0
    resumed: bool = False
    recipe: str
    device: str
    device_name: str
    precision: str
    image_size: int
    parameters: int
    train_images: dict[str, int]
    validation_images: dict[str, int]
    skipped_files: int = 0
    demo: bool = False
    patience: int = 0
    visualize_every: int = 1
    layers: list[LayerInfo]


class EpochStarted(Event, frozen=True, kw_only=True, tag="epoch_started"):
    """An epoch begins; epochs count from 0.

    Attributes:
        learning_rate: Of its first step; some schedules change it with every step.
    """

    epoch: int
    learning_rate: float


class Steps(Event, frozen=True, kw_only=True, tag="steps"):
    """Some consecutive training steps of one epoch, in columns of equal length.

    In a run on several devices loss and accuracy are those of the first device's batches; asking the others at each
    step would make all of them wait. `EpochFinished` has the means over all devices.

    Attributes:
        step: Optimiser steps since the run began, counted from 1.
        batch: Batches done in this epoch, counted from 1.
        seconds: Since 1970, when each step ended.
        loss: Cross-entropy of each batch, in nats.
        accuracy: Share of each batch classified as annotated.
        images_per_second: Of all devices together, over the steps of this line; 0 when unknown.
    """

    epoch: int
    step: list[int]
    batch: list[int]
    seconds: list[float]
    loss: list[float]
    accuracy: list[float]
    images_per_second: float = 0.0


class EpochFinished(Event, frozen=True, kw_only=True, tag="epoch_finished"):
    """An epoch was trained and validated.

    Attributes:
        precision, recall, f1: Per class, in the order of `classes`, each in [0, 1].
        macro_f1: Unweighted mean of ``f1``.
        confusion: ``confusion[annotated][predicted]`` counts validation photographs.
        learning_rate: As in `EpochStarted`.
        images_per_second: Training only, without validation.
        seconds: Training and validation together.
        best: This epoch has the highest validation accuracy so far.
        epochs_since_best: Epochs since the best one, as far as the run's patience counts them; 0 where it has none.
    """

    epoch: int
    step: int
    train_loss: float
    train_accuracy: float
    validation_loss: float
    validation_accuracy: float
    classes: list[str]
    precision: list[float]
    recall: list[float]
    f1: list[float]
    macro_f1: float
    confusion: list[list[int]]
    learning_rate: float
    images_per_second: float
    seconds: float
    best: bool
    epochs_since_best: int = msgspec.field(default=0, name="waited")


class FrameSaved(Event, frozen=True, kw_only=True, tag="frame_saved"):
    """The three files of one epoch's feature maps and filters exist in the visuals folder.

    Attributes:
        file: Name of the ``.safetensors`` file in ``visuals/<run>/``.
        pictures: Names of the ``.png`` files beside it.
    """

    epoch: int
    step: int
    file: str
    pictures: list[str]


class CheckpointSaved(Event, frozen=True, kw_only=True, tag="checkpoint_saved"):
    """A checkpoint exists in the run folder.

    Attributes:
        file: "last.ckpt" or "best.ckpt".
    """

    file: str
    epoch: int
    step: int


class Gpu(msgspec.Struct, frozen=True, kw_only=True):
    """One GPU that the run uses, at one moment.

    Attributes:
        index: As torch counts it, e.g. 0 of "cuda:0".
        utilisation_percent: NaN where it is not told, as of a GPU that is divided among several users (MIG).
    """

    index: int
    name: str
    utilisation_percent: float
    memory_used_bytes: int
    memory_total_bytes: int


class System(Event, frozen=True, kw_only=True, tag="system"):
    """Load of the machine the trainer runs on.

    Attributes:
        cpu_percent: Of all cores together, 0 to 100.
        process_memory_bytes: Resident memory of the trainer and its children.
        gpus: Those that the run uses; empty until it is known which.
    """

    cpu_percent: float
    memory_used_bytes: int
    memory_total_bytes: int
    process_memory_bytes: int
    gpus: list[Gpu] = []


class Notice(Event, frozen=True, kw_only=True, tag="notice"):
    """A sentence for the person who watches."""

    level: Level
    text: str


class Heartbeat(Event, frozen=True, kw_only=True, tag="heartbeat"):
    """The trainer is alive although nothing else happened for some seconds."""


class RunFinished(Event, frozen=True, kw_only=True, tag="run_finished"):
    """The trainer ended by its own will; a process that is gone without this line has crashed.

    Attributes:
        error: One line that says why a run failed; empty otherwise.
    """

    status: Status
    error: str = ""


AnyEvent = (
    RunStarted
    | EpochStarted
    | Steps
    | EpochFinished
    | FrameSaved
    | CheckpointSaved
    | System
    | Notice
    | Heartbeat
    | RunFinished
)

# The strict one is much faster and refuses numbers that are spelt out, such as "NaN", which only few lines have.
_strict: msgspec.json.Decoder[AnyEvent] = msgspec.json.Decoder(AnyEvent)
_lax: msgspec.json.Decoder[AnyEvent] = msgspec.json.Decoder(AnyEvent, strict=False)


def encode(event: Event) -> bytes:
    """One journal line with its newline."""
    return msgspec.json.encode(_spell_out(msgspec.to_builtins(event))) + b"\n"


def decode(line: bytes) -> AnyEvent | None:
    """The event of one journal line, or None for what this version does not know or cannot read.

    Whoever wrote the line, no string of the event can control a terminal.
    """
    for decoder in (_strict, _lax):
        try:
            event = decoder.decode(line)
        except msgspec.ValidationError:
            continue
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return None
        # A time that no clock shows is none that the reader's calendar can.
        if not 0 <= event.time < LATEST_TIME:
            return None
        # JSON escapes all other control characters. Steps are numbers, so that long journals cost nothing more.
        is_plain = line.isascii() and b"\\" not in line and b"\x7f" not in line
        return event if is_plain else printable_strings(event)
    return None


def _spell_out(value: Any) -> Any:
    """The same tree with non-finite numbers as the strings that JSON can carry."""
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    if isinstance(value, dict):
        return {key: _spell_out(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_spell_out(item) for item in value]
    return value
