"""The events of a journal: one definition for the trainer that writes them and the interface that reads them.

A line is a JSON object with a ``type`` tag and ``v``, the schema version. JSON has no NaN and no infinity, so they are
written as the strings "NaN", "Infinity" and "-Infinity", which any reader can tell from a missing value. Epochs and
class indices count from 0, steps and batches from 1.
"""

from __future__ import annotations

import contextlib
import math
from functools import cache
from typing import Annotated, Any, Literal

import msgspec

from facegender.support.text import counted, printable_strings, significant

SCHEMA_VERSION = 1
LATEST_TIME = 1e11
"""Seconds since 1970: more than three thousand years. No calendar function can show a much later time."""
Integer = Annotated[int, msgspec.Meta(ge=-(2**53), le=2**53)]
"""An integer that a float holds exactly. A damaged line with a larger one is skipped; no calculation could show it."""
MAX_LISTED = 64
"""Channels that a list of `LayerHealth` names at most."""

Status = Literal["completed", "stopped", "failed"]
Level = Literal["info", "warning", "error"]
"""Severity of a notice."""


class Event(msgspec.Struct, frozen=True, kw_only=True, tag_field="type"):
    """The fields that all events have.

    Attributes:
        time: Seconds since 1970, by the trainer's clock.
        v: Version of this schema.
    """

    time: Annotated[float, msgspec.Meta(ge=0, lt=LATEST_TIME)]
    v: Integer = SCHEMA_VERSION


class LayerInfo(msgspec.Struct, frozen=True, kw_only=True):
    """One convolution, named as in ``named_modules()``.

    Attributes:
        channels: Output channels, which is also the number of filters.
        size: (height, width) of its output in pixels for the run's image size.
        kernel: (input channels per group, kernel height, kernel width).
    """

    name: str
    channels: Integer
    size: tuple[Integer, Integer]
    kernel: tuple[Integer, Integer, Integer]


class RunStarted(Event, frozen=True, kw_only=True, tag="run_started"):
    """Training is about to start, or to continue from a checkpoint (``resumed``).

    Attributes:
        epochs: Epochs planned in total; 0 if a script did not say.
        steps_per_epoch: Training batches; 0 if the data loader has no length.
        start_epoch: First epoch that this process trains.
        start_step: Optimiser steps already done. In a run that a script records, a step is a training batch, because
            gradients may be accumulated.
        recipe: Empty in a run that a script records.
        device: As torch names it, e.g. "cuda:0".
        device_name: The model of the GPU, or "CPU".
        train_images: Number of training photographs per class name; of a script whose data set lists no targets, the
            number of all under one name, or nothing.
        validation_images: Number of validation photographs per class name.
        skipped_files: Number of files that were left out; their names are in the manifest.
        patience: As in `TrainConfig`; 0 in journals that lack it.
        visualize_every: As in `TrainConfig`, or 0 for a network without feature maps; 1 in journals that lack it.
        network: Name of the network; empty in journals that lack it, and for the recipe's own network.
        classes: Names of the classes in the order of the labels; empty in journals that lack them.
    """

    run: str
    epochs: Integer
    steps_per_epoch: Integer
    batch_size: Integer
    start_epoch: Integer = 0
    start_step: Integer = 0
    resumed: bool = False
    recipe: str
    device: str
    device_name: str
    precision: str
    image_size: Integer
    parameters: Integer
    train_images: dict[str, Integer]
    validation_images: dict[str, Integer]
    skipped_files: Integer = 0
    demo: bool = False
    patience: Integer = 0
    visualize_every: Integer = 1
    network: str = ""
    classes: list[str] = []
    layers: list[LayerInfo]

    @property
    def device_text(self) -> str:
        """The device with its model, or only "CPU"."""
        return self.device_name if self.device_name == self.device.upper() else f"{self.device} ({self.device_name})"


class EpochStarted(Event, frozen=True, kw_only=True, tag="epoch_started"):
    """An epoch started, with this learning rate at its first step; some schedules change it with every step."""

    epoch: Integer
    learning_rate: float


class Steps(Event, frozen=True, kw_only=True, tag="steps"):
    """Some consecutive training steps of one epoch, in columns of equal length.

    In a run on several devices, loss and accuracy are those of the first device's batches: collecting the others at
    each step would make all devices wait. `EpochFinished` has the means over all devices.

    Attributes:
        step: Optimiser steps since the run started, counted from 1.
        batch: Batches trained in this epoch, counted from 1.
        seconds: When each step ended, in seconds since 1970.
        loss: Cross-entropy of each batch, in nats.
        accuracy: Share of each batch that was classified correctly, in [0, 1].
        images_per_second: Throughput of all devices together over these steps; 0 if unknown.
    """

    epoch: Integer
    step: list[Integer]
    batch: list[Integer]
    seconds: list[float]
    loss: list[float]
    accuracy: list[float]
    images_per_second: float = 0.0


class EpochFinished(Event, frozen=True, kw_only=True, tag="epoch_finished"):
    """An epoch was trained and validated.

    Attributes:
        validation_loss, validation_accuracy: NaN in a run of a script without validation, or whose predictions were
            not recognised; then the lists of the next fields are empty.
        precision, recall, f1: Per class, in the order of `classes`, each in [0, 1].
        macro_f1: Unweighted mean of ``f1``.
        confusion: Validation photographs by ``confusion[label][predicted]``; empty for more than a hundred classes.
        learning_rate: As in `EpochStarted`.
        images_per_second: Throughput of the training, without validation.
        seconds: Duration of training and validation together.
        best: This epoch has the highest validation accuracy so far.
        epochs_since_best: Epochs since the best one, as early stopping counts them; 0 without early stopping. It is
            "waited" in the file.
        metrics: Everything else that the training module logged, by name, e.g. {"learning_rate_head": 0.1}.
    """

    epoch: Integer
    step: Integer
    train_loss: float
    train_accuracy: float
    validation_loss: float
    validation_accuracy: float
    classes: list[str]
    precision: list[float]
    recall: list[float]
    f1: list[float]
    macro_f1: float
    confusion: list[list[Integer]]
    learning_rate: float
    images_per_second: float
    seconds: float
    best: bool
    epochs_since_best: Integer = msgspec.field(default=0, name="waited")
    metrics: dict[str, float] = {}


class LayerHealth(msgspec.Struct, frozen=True, kw_only=True):
    """How one convolution did in an epoch. Channels count from 0; lists name the first `MAX_LISTED` of them.

    Attributes:
        gradient_norm: L2 norm of the gradient of its weights, a mean over some steps of the epoch; NaN if unknown,
            as for weights that are not trained.
        update_ratio: L2 norm of the change of its weights in a step, divided by that of the weights; likewise a mean.
        channels: Number of output channels.
        dead_count: Channels whose activation was zero everywhere on every validation photograph.
        dead: Which they are.
        saturated: Channels whose activation is stuck at a bound of its function, on every probe; none for ReLU.
        duplicates: Pairs of nearly equal filters with their cosine similarity, the most similar first.
    """

    name: str
    gradient_norm: float = math.nan
    update_ratio: float = math.nan
    channels: Integer = 0
    dead_count: Integer = 0
    dead: list[Integer] = []
    saturated: list[Integer] = []
    duplicates: list[tuple[Integer, Integer, float]] = []


class HealthMeasured(Event, frozen=True, kw_only=True, tag="layer_health"):
    """The state of the convolutions after an epoch.

    Attributes:
        layers: In the order of the forward pass.
        first_not_finite: The first layer with a weight, gradient or activation that is NaN or infinite; "" if none.
    """

    epoch: Integer
    step: Integer
    layers: list[LayerHealth]
    first_not_finite: str = ""


class RequestDone(Event, frozen=True, kw_only=True, tag="request_done"):
    """A request to the trainer, see `facegender.runs.requests`, was carried out or refused.

    Attributes:
        request: Its type, e.g. "frame".
        done: False if it was refused.
        outcome: What was done, or why not.
        id: That of the request; empty if it has none, as in journals that lack it.
        epoch: The epoch in training, counted from 0; -1 if unknown, as in journals that lack it.
        step: Optimiser steps done; likewise.
        learning_rate: What the request changed it to; None if it did not.
        epochs: What the request changed the number of planned epochs to; likewise.
    """

    request: str
    done: bool
    outcome: str
    id: str = ""
    epoch: Integer = -1
    step: Integer = -1
    learning_rate: float | None = None
    epochs: Integer | None = None

    @property
    def change(self) -> str:
        """What was changed, in a few characters, e.g. "lr 0.0001"; empty if nothing was."""
        if not self.done:
            return ""
        rate = "" if self.learning_rate is None else f"lr {significant(self.learning_rate)}"
        return rate if self.epochs is None else counted(self.epochs, "epoch")


def changes_until(changes: tuple[RequestDone, ...], step: int) -> tuple[RequestDone, ...]:
    """Return the changes that hold in a run that resumes from a step.

    The last number of epochs that was set after that step holds from the resumed run's first step on. So does the
    last learning rate, but the trainer writes that into the journal again.
    """
    later = [one for one in changes if one.step > step and one.epochs is not None][-1:]
    moved = (msgspec.structs.replace(one, step=step, learning_rate=None) for one in later)
    return (*(one for one in changes if one.step <= step), *moved)


class FrameSaved(Event, frozen=True, kw_only=True, tag="frame_saved"):
    """The three files of an epoch's feature maps and filters were written to the visuals folder.

    Attributes:
        epoch: -1 for the initial weights. A frame made on request within an epoch has that epoch, and is replaced when
            the epoch ends.
        step: Optimiser steps before it; tells a frame within an epoch from the one at its end.
        file: Name of the ``.safetensors`` file in ``visuals/<run>/``.
        pictures: Names of the ``.png`` files beside it.
    """

    epoch: Integer
    step: Integer
    file: str
    pictures: list[str]


class PredictionsSaved(Event, frozen=True, kw_only=True, tag="predictions_saved"):
    """What the network said of every validation photograph was written, see `facegender.runs.predictions`.

    Attributes:
        file: Name of the file in ``visuals/<run>/``.
    """

    epoch: Integer
    file: str


class CheckpointSaved(Event, frozen=True, kw_only=True, tag="checkpoint_saved"):
    """A checkpoint, "last.ckpt" or "best.ckpt", was written to the run folder."""

    file: str
    epoch: Integer
    step: Integer


class Gpu(msgspec.Struct, frozen=True, kw_only=True):
    """Load of one GPU that the run uses.

    Attributes:
        index: Index in torch, e.g. 0 of "cuda:0".
        utilisation_percent: NaN where the driver does not report it, as for a GPU that is divided by MIG.
    """

    index: Integer
    name: str
    utilisation_percent: float
    memory_used_bytes: Integer
    memory_total_bytes: Integer


class System(Event, frozen=True, kw_only=True, tag="system"):
    """Load of the machine the trainer runs on.

    Attributes:
        cpu_percent: Load of all cores together, in [0, 100].
        process_memory_bytes: Resident memory of the trainer and its children.
        gpus: The GPUs that the run uses; empty until they are known.
    """

    cpu_percent: float
    memory_used_bytes: Integer
    memory_total_bytes: Integer
    process_memory_bytes: Integer
    gpus: list[Gpu] = []


class Notice(Event, frozen=True, kw_only=True, tag="notice"):
    """A sentence for the user."""

    level: Level
    text: str


class Heartbeat(Event, frozen=True, kw_only=True, tag="heartbeat"):
    """The trainer is alive, although nothing else was written for some seconds."""


class RunFinished(Event, frozen=True, kw_only=True, tag="run_finished"):
    """The run ended. A run whose process ended without this line has crashed.

    Attributes:
        error: One line that says why the run failed; empty otherwise.
    """

    status: Status
    error: str = ""


AnyEvent = (
    RunStarted
    | EpochStarted
    | Steps
    | EpochFinished
    | HealthMeasured
    | RequestDone
    | FrameSaved
    | PredictionsSaved
    | CheckpointSaved
    | System
    | Notice
    | Heartbeat
    | RunFinished
)


@cache
def _decoder(strict: bool) -> msgspec.json.Decoder[AnyEvent]:
    """Return a decoder; making one takes milliseconds, which an import would cost every program.

    The strict one is much faster but refuses numbers that are written as strings, such as "NaN". Few lines have them.
    """
    return msgspec.json.Decoder(AnyEvent, strict=strict)


def encode(event: Event) -> bytes:
    """Encode an event as a journal line, with its newline."""
    return msgspec.json.encode(_spell_out(msgspec.to_builtins(event))) + b"\n"


def decode(line: bytes) -> AnyEvent | None:
    """Decode a journal line. No string of the event can control a terminal, whoever wrote the line.

    Returns:
        None for a line that this version does not know or cannot read.
    """
    for strict in (True, False):
        try:
            event = _decoder(strict).decode(line)
        except msgspec.ValidationError:
            continue
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return None
        # JSON escapes all other control characters. Steps are numbers, so that long journals cost nothing more.
        is_plain = line.isascii() and b"\\" not in line and b"\x7f" not in line
        return event if is_plain else printable_strings(event)
    return None


def decode_lines(data: bytes) -> list[AnyEvent]:
    """Decode whole journal lines as `decode` does, at once where nothing about them is unusual, which is faster."""
    if data.isascii() and b"\\" not in data and b"\x7f" not in data:
        with contextlib.suppress(msgspec.DecodeError, RecursionError):
            events = _decoder(True).decode_lines(data)
            # JSON may go on after a line break, a line of the journal may not.
            if len(events) == data.count(b"\n"):
                return events
    return [event for line in data.split(b"\n") if line and (event := decode(line)) is not None]


def _spell_out(value: Any) -> Any:
    """Replace numbers that are not finite, for which msgspec writes null, by strings, in a tree of plain types."""
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    if isinstance(value, dict):
        return {key: _spell_out(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_spell_out(item) for item in value]
    return value
