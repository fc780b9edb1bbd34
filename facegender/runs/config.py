"""What a training run is asked to do: the values of the reference recipe, their limits, and one check for all doors."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any, Literal, get_args

import msgspec

from facegender.support.errors import UserError
from facegender.support.files import read_regular

Recipe = Literal["reference", "tuned"]
Precision = Literal["auto", "32", "bf16", "16"]
ClassWeights = Literal["none", "auto"]
Cache = Literal["auto", "disk", "memory", "gpu"]

RECIPES: tuple[str, ...] = get_args(Recipe)
PRECISIONS: tuple[str, ...] = get_args(Precision)
CLASS_WEIGHTS: tuple[str, ...] = get_args(ClassWeights)
CACHES: tuple[str, ...] = get_args(Cache)
STRATEGIES = ("auto", "ddp")
RUN_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_DEVICES = re.compile(r"0*[1-9][0-9]{0,4}")


class TrainConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One training run. The defaults are the reference recipe's; those of others are in `facegender.runs.presets`.

    Attributes:
        data: Folder with ``male/`` and ``female/``; None looks for one (see `facegender.data.dataset.locate`).
        demo: Draw demo faces instead of reading photographs.
        demo_faces: How many demo faces to draw, per class.
        batch_size: Photographs a step on each device.
        learning_rate: At the start, or where a recipe raises it first, at its highest.
        step_size: Epochs between two reductions of the learning rate (StepLR).
        gamma: What the learning rate is multiplied with at each reduction.
        image_size: Side in pixels that photographs are resized to (not cropped).
        widths: Output channels of the three convolutions, or stages of convolutions.
        val_split: Share of the photographs kept for validation, in (0, 1).
        class_weights: "auto" lets all classes count the same in the loss, however many photographs each has.
        patience: Epochs without a better validation accuracy after which training ends; 0 trains all epochs.
        precision: "auto" is bf16 on a GPU that has it, and on a processor where the recipe gains from it and no other
            process trains along; else 32. A resumed run keeps what it was.
        devices: Number of devices, or "auto".
        strategy: One of `STRATEGIES`: Lightning's choice, or one process a device with a copy of the network each.
        cache: Where the decoded photographs are held while a run trains; "auto" chooses by their size.
        workers: Processes that load batches; 0 loads in the trainer, unless the photographs do not fit into memory.
        visualize_every: Epochs between two frames of feature maps; 0 saves none.
        probes: Validation photographs whose feature maps are kept.
    """

    data: str | None = None
    demo: bool = False
    demo_faces: int = 120
    epochs: int = 10
    batch_size: int = 32
    learning_rate: float = 1e-3
    step_size: int = 10
    gamma: float = 0.1
    image_size: int = 512
    widths: tuple[int, int, int] = (32, 64, 128)
    val_split: float = 0.2
    seed: int = 42
    recipe: Recipe = "reference"
    class_weights: ClassWeights = "none"
    patience: int = 0
    precision: Precision = "auto"
    accelerator: str = "auto"
    devices: str = "auto"
    num_nodes: int = 1
    strategy: str = "auto"
    cache: Cache = "auto"
    workers: int = 0
    visualize_every: int = 1
    probes: int = 4


FIELDS: dict[str, Any] = {field.name: field for field in msgspec.structs.fields(TrainConfig)}

_LIMITS: dict[str, tuple[float, float]] = {
    "demo_faces": (10, 100_000),
    "epochs": (1, 100_000),
    "batch_size": (1, 65_536),
    "step_size": (1, 100_000),
    "image_size": (16, 4096),
    "seed": (0, 2**32 - 1),
    "patience": (0, 100_000),
    "num_nodes": (1, 4096),
    "workers": (0, 256),
    "visualize_every": (0, 100_000),
    "probes": (1, 64),
}


def check(field: str, value: Any) -> str:
    """What is wrong with one value, as a clause without the field's name; empty if nothing is.

    Args:
        field: A field of `TrainConfig`.
        value: Already of the field's type.
    """
    if field in _LIMITS:
        low, high = _LIMITS[field]
        if not low <= value <= high:
            return f"must be between {int(low)} and {int(high)}, not {value}"
    elif field in ("learning_rate", "gamma"):
        high = 10.0 if field == "learning_rate" else 1.0
        if not (math.isfinite(value) and 0 < value <= high):
            return f"must be above 0 and at most {high:g}, not {value:g}"
    elif field == "val_split":
        if not 0 < value < 1:
            return f"must be between 0 and 1, not {value:g}"
    elif field == "widths":
        if any(not 1 <= width <= 4096 for width in value):
            return "must be three numbers between 1 and 4096"
    elif field == "devices":
        if value != "auto" and not _DEVICES.fullmatch(value):
            return f"must be auto or a number of devices, not {_shown(value)}"
    elif field == "accelerator":
        if value not in ("auto", "cpu", "gpu", "cuda", "mps"):
            return f"must be auto, cpu, gpu, cuda or mps, not {_shown(value)}"
    elif field == "strategy":
        if value not in STRATEGIES:
            return f"must be {' or '.join(STRATEGIES)}, not {_shown(value)}"
    elif field == "data" and value is not None:
        if not value.strip():
            return "must not be empty"
        if "\0" in value:
            return "must not have a zero byte in it"
    return ""


def _shown(text: str) -> str:
    """A value in a message: whatever is in it, and however long it is."""
    text = _clipped(text)
    return text if text and text.isprintable() else repr(text)


def _clipped(text: str) -> str:
    return text if len(text) <= 64 else text[:63] + "…"


def parse(field: str, text: str) -> Any:
    """The value that a person's text means for a field.

    Raises:
        UserError: The text is no value of the field's type or lies outside its limits; the message is a clause.
    """
    kind = FIELDS[field].type
    text = text.strip()
    value: Any
    try:
        value = [part.strip() for part in text.split(",")] if field == "widths" else text
        value = msgspec.convert(value, kind, strict=False)
    except msgspec.ValidationError:
        raise UserError(f"must be {_wanted(field)}") from None
    if problem := check(field, value):
        raise UserError(problem)
    return value


def _wanted(field: str) -> str:
    """What a field takes, in words."""
    choices = {"recipe": RECIPES, "precision": PRECISIONS, "class_weights": CLASS_WEIGHTS, "cache": CACHES}
    if field in choices:
        return "one of " + ", ".join(choices[field])
    if field == "widths":
        return "three numbers, 32,64,128"
    return {int: "a whole number", float: "a number", bool: "true or false"}.get(FIELDS[field].type, "text")


def option_of(field: str) -> str:
    """The option of `facegender train` that stands for a field."""
    return f"--{field.replace('_', '-')}"


def validate(config: TrainConfig) -> TrainConfig:
    """The same configuration, if every field is within its limits.

    Raises:
        UserError: The first field that is not, as the option of `facegender train`.
    """
    for name in FIELDS:
        if problem := check(name, getattr(config, name)):
            raise UserError(f"{option_of(name)} {problem}")
    if config.demo and config.data:
        raise UserError("--demo and --data exclude each other: give one of them")
    if config.workers and config.cache in ("memory", "gpu"):
        raise UserError(f"--workers loads from the disk, not from --cache {config.cache}: give one of them")
    return config


def check_run_name(name: str) -> str:
    """The same name, if it can be a folder's name on every system and is safe on a screen.

    Raises:
        UserError: It is not.
    """
    if not RUN_NAME.fullmatch(name):
        raise UserError(
            f"run name {_clipped(name)!r}: use 1 to 64 letters, digits, '.', '_' or '-', "
            "beginning with a letter or digit"
        )
    return name


def read_toml(path: Path) -> dict[str, Any]:
    """The fields set in a TOML file, e.g. ``epochs = 5``, converted to their types.

    Raises:
        UserError: The file is missing, is no TOML, or names something `TrainConfig` does not have.
    """
    try:
        raw = msgspec.toml.decode(read_regular(path), type=dict[str, Any])
    except OSError as error:
        raise UserError(f"--config {path}: {error.strerror or error}; give a readable TOML file") from None
    except (msgspec.DecodeError, ValueError, RecursionError) as error:  # the last two of too many digits or brackets
        raise UserError(f"--config {path}: not a TOML table ({error})") from None
    raw = {key.replace("-", "_"): value for key, value in raw.items()}
    if unknown := sorted(set(raw) - set(FIELDS)):
        import difflib  # the first screen does not wait for what only a mistake needs

        close = difflib.get_close_matches(unknown[0], FIELDS, 1)
        remedy = f"did you mean {close[0]!r}?" if close else f"known are {', '.join(FIELDS)}"
        raise UserError(f"--config {path}: unknown setting {unknown[0]!r}; {remedy}")
    values: dict[str, Any] = {}
    for key, value in raw.items():
        try:
            values[key] = msgspec.convert(value, FIELDS[key].type, strict=False)
        except msgspec.ValidationError:
            raise UserError(f"--config {path}: {key} must be {_wanted(key)}") from None
    return values
