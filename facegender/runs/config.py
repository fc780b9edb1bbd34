"""The configuration of a training run: every field with its type, default, limits, help and label, in one place."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec

from facegender.runs.networks import RECIPE_NETWORK, network_problem, size_problem
from facegender.support.errors import UserError
from facegender.support.fields import Field, above_zero_to, between, fields_of, matches, shortened, unknown_setting
from facegender.support.files import read_regular

OnNan = Literal["stop", "skip", "continue"]
RUN_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


def _check_share(value: float) -> str:
    return "" if 0 < value < 1 else f"must be between 0 and 1, not {value:g}"


def _check_widths(value: tuple[int, ...]) -> str:
    return "" if all(1 <= width <= 4096 for width in value) else "must be three numbers between 1 and 4096"


def _check_folder(value: str | None) -> str:
    if value is None:
        return ""
    if not value.strip():
        return "must not be empty"
    return "must not have a zero byte in it" if "\0" in value else ""


# fmt: off
class TrainConfig(msgspec.Struct, frozen=True, kw_only=True):
    """One training run. The defaults are the reference recipe's; `facegender.runs.presets` has those of the others."""

    data: Annotated[str | None, Field(
        "Folder with female/ and male/; by default datasets/ and the Kaggle download are searched.",
        _check_folder, metavar="DIR", label="photographs",
    )] = None
    demo: Annotated[bool, Field("Train on drawn demo faces instead of photographs.")] = False
    demo_faces: Annotated[int, Field("Demo faces per class.", between(10, 100_000), hint="per class, with demo")] = 120
    epochs: Annotated[int, Field("Passes over the training photographs.", between(1, 100_000))] = 10
    batch_size: Annotated[int, Field(
        "Photographs per step on each device.", between(1, 65_536), hint="photographs per step",
    )] = 32
    learning_rate: Annotated[float, Field(
        "Initial learning rate; with the tuned recipe its peak.", above_zero_to(10), hint="at the start",
    )] = 1e-3
    step_size: Annotated[int, Field(
        "Epochs between learning rate reductions.", between(1, 100_000), hint="epochs between reductions",
    )] = 10
    gamma: Annotated[float, Field(
        "Factor of each learning rate reduction.", above_zero_to(1), hint="factor of each reduction",
    )] = 0.1
    image_size: Annotated[int, Field(
        "Side in pixels that photographs are resized to (not cropped).", between(16, 4096), hint="pixels per side",
    )] = 512
    widths: Annotated[tuple[int, int, int], Field(
        "Output channels of the three convolutions or stages.", _check_widths, metavar="A,B,C",
        hint="channels of the convolutions",
    )] = (32, 64, 128)
    val_split: Annotated[float, Field(
        "Share of photographs kept for validation.", _check_share, label="validation share", hint="between 0 and 1",
    )] = 0.2
    seed: Annotated[int, Field(
        "Seed of the split, the weights, the order and the augmentation.", between(0, 2**32 - 1),
        hint="same seed, same split",
    )] = 42
    recipe: Annotated[Literal["reference", "tuned"], Field(
        "Network, optimiser and augmentation; `facegender recipes` describes each.",
    )] = "reference"
    network: Annotated[str, Field(
        "A network of torchvision instead of the recipe's own; `facegender networks` lists them.", network_problem,
        hint="recipe, or e.g. resnet18",
    )] = RECIPE_NETWORK
    class_weights: Annotated[Literal["none", "auto"], Field(
        "auto: every class has the same weight in the loss, however many photographs it has.",
    )] = "none"
    patience: Annotated[int, Field(
        "Stop after this many epochs without a better validation accuracy; 0 trains all epochs.", between(0, 100_000),
        hint="epochs without a gain; 0 = off",
    )] = 0
    on_nan: Annotated[OnNan, Field(
        "If the loss is not finite: stop ends the run as failed, skip leaves the batch out, continue trains on.",
        label="if loss is NaN",
    )] = "stop"
    precision: Annotated[Literal["auto", "32", "bf16", "16"], Field(
        "auto: bf16 on a GPU that has it, or on a processor where it is faster and nothing else trains; else 32. A "
        "resumed run keeps its precision.",
    )] = "auto"
    accelerator: Annotated[Literal["auto", "cpu", "gpu", "cuda", "mps"], Field("Hardware to train on.")] = "auto"
    devices: Annotated[str, Field(
        "Number of devices, or auto.", matches(r"auto|0*[1-9][0-9]{0,4}", "auto or a number of devices"), metavar="N",
        hint="a number, or auto",
    )] = "auto"
    num_nodes: Annotated[int, Field("Number of machines.", between(1, 4096), label="machines")] = 1
    strategy: Annotated[str, Field(  # not a Literal: runs of earlier versions have other strategies
        "auto: Lightning's choice; ddp: one process per device, each with a copy of the network.",
        matches("auto|ddp", "auto or ddp"), hint="auto or ddp",
    )] = "auto"
    cache: Annotated[Literal["auto", "disk", "memory", "gpu"], Field(
        "Where decoded photographs are kept while a run trains; auto chooses by their size.",
    )] = "auto"
    workers: Annotated[int, Field(
        "Processes that load batches; 0: the trainer loads them itself if the photographs fit into memory.",
        between(0, 256), hint="processes that load batches",
    )] = 0
    visualize_every: Annotated[int, Field(
        "Epochs between two frames of feature maps; 0 saves none.", between(0, 100_000),
        label="pictures every", hint="epochs; 0 saves none",
    )] = 1
    probes: Annotated[int, Field(
        "Validation photographs whose feature maps are saved.", between(1, 64),
        label="probe images", hint="photographs to look inside",
    )] = 4
    # fmt: on

    def frame_is_due(self, epoch: int) -> bool:
        """Whether the feature maps and filters of an epoch are kept: every n-th, and the last one if any are."""
        every = self.visualize_every
        return bool(every) and (epoch % every == 0 or epoch + 1 == self.epochs)


FIELDS = fields_of(TrainConfig)
RECIPES = FIELDS["recipe"].choices


def parse(name: str, text: str) -> Any:
    """Convert the text that a person typed for a field.

    Raises:
        UserError: The text does not fit the field's type or limits; the message is a clause without the field's name.
    """
    return FIELDS[name].parse(text)


def option_of(name: str) -> str:
    """The option of ``facegender train`` for a field, e.g. "--batch-size"."""
    return f"--{name.replace('_', '-')}"


def validate(config: TrainConfig) -> TrainConfig:
    """Return the same configuration if every field is within its limits.

    Raises:
        UserError: Names the first field that is not, as the option of ``facegender train``.
    """
    for name, field in FIELDS.items():
        if problem := field.check(getattr(config, name)):
            raise UserError(f"{option_of(name)} {problem}")
    if problem := size_problem(config.network, config.image_size):
        raise UserError(f"--image-size {problem}")
    if config.demo and config.data:
        raise UserError("--demo and --data exclude each other: give one of them")
    if config.workers and config.cache in ("memory", "gpu"):
        raise UserError(f"--workers loads from the disk, not from --cache {config.cache}: give one of them")
    return config


def check_run_name(name: str) -> str:
    """Return the same name if it can name a folder on every system and is safe to show in a terminal.

    Raises:
        UserError: It cannot, or is not.
    """
    if not RUN_NAME.fullmatch(name):
        raise UserError(
            f"run name {shortened(name)!r}: use 1 to 64 letters, digits, '.', '_' or '-', "
            "beginning with a letter or digit"
        )
    return name


def read_toml(path: Path) -> dict[str, Any]:
    """Read the fields that a TOML file sets, e.g. ``epochs = 5``, converted to their types.

    Raises:
        UserError: The file is missing, is not TOML, or sets something that `TrainConfig` does not have.
    """
    try:
        raw = msgspec.toml.decode(read_regular(path), type=dict[str, Any])
    except OSError as error:
        raise UserError(f"--config {path}: {error.strerror or error}; give a readable TOML file") from None
    except (msgspec.DecodeError, ValueError, RecursionError) as error:  # the last two: too many digits or brackets
        raise UserError(f"--config {path}: not a TOML table ({error})") from None
    raw = {key.replace("-", "_"): value for key, value in raw.items()}
    if unknown := sorted(set(raw) - set(FIELDS)):
        raise UserError(f"--config {path}: {unknown_setting(unknown[0], FIELDS)}")
    values: dict[str, Any] = {}
    for key, value in raw.items():
        try:
            values[key] = FIELDS[key].convert(value)
        except UserError as error:
            raise UserError(f"--config {path}: {key} {error}") from None
    return values
