"""Options that several commands have, and how what was typed becomes the settings of a run."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from facegender.runs.config import FIELDS, RECIPES, option_of, parse, read_toml
from facegender.runs.presets import default_of, shown
from facegender.support.errors import UserError
from facegender.support.files import expanded

Text = str | None


def filled(text: str) -> str:
    """A value that was given, which an empty one was not, e.g. that of a variable of a script that is not set."""
    if not text.strip():
        raise typer.BadParameter("must not be empty: leave it out, or give a value")
    return text


def filled_path(text: str | Path) -> Path:
    """A path that was given."""
    return Path(filled(str(text)))


def setting(field: str, text: str, metavar: str = "N") -> Any:
    """An option that stands for one field of `TrainConfig`, whose default it names in its help."""
    default = FIELDS[field].default
    others = {recipe: default_of(field, recipe) for recipe in RECIPES}
    differing = "".join(f"; {recipe}: {shown(value)}" for recipe, value in others.items() if value != default)
    note = "" if default is None else f" (default: {shown(default)}{differing})"
    return typer.Option(option_of(field), metavar=metavar, help=text + note, show_default=False)


Root = Annotated[
    Path, typer.Option("--root", metavar="DIR", parser=filled_path, help="Where checkpoints/ and visuals/ live.")
]
Config = Annotated[Path | None, typer.Option("--config", metavar="FILE", parser=filled_path, help="Settings as TOML.")]

Data = Annotated[Text, setting("data", "Folder with female/ and male/; without it datasets/ is searched.", "DIR")]
Demo = Annotated[bool, typer.Option("--demo", help="Train on faces that the program draws.")]
DemoFaces = Annotated[Text, setting("demo_faces", "Demo faces per class.")]
BatchSize = Annotated[Text, setting("batch_size", "Photographs a step on each device.")]
ImageSize = Annotated[Text, setting("image_size", "Side in pixels that photographs are resized to.")]
Widths = Annotated[Text, setting("widths", "Channels of the three convolutions or stages.", "A,B,C")]
ValSplit = Annotated[Text, setting("val_split", "Share kept for validation.", "X")]
Seed = Annotated[Text, setting("seed", "Of everything random.")]
Recipe = Annotated[
    Text, setting("recipe", "How to train; `facegender recipes` prints what each one does and sets.", "NAME")
]
ClassWeights = Annotated[
    Text, setting("class_weights", "auto: all classes count the same, however many photographs.", "KIND")
]
Precision = Annotated[
    Text, setting("precision", "auto takes bf16 where it is faster than 32; or 32, bf16, 16.", "KIND")
]
Accelerator = Annotated[Text, setting("accelerator", "auto, cpu, gpu, cuda or mps.", "KIND")]
Workers = Annotated[Text, setting("workers", "Processes that load batches.")]


def typed(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Of a command's arguments those that were given and stand for a field of `TrainConfig`."""
    return {name: value for name, value in arguments.items() if name in FIELDS and value not in (None, False)}


def arguments_of(given: Mapping[str, Any]) -> list[str]:
    """What `typed` gave as the arguments of another command."""
    return [option_of(name) if value is True else f"{option_of(name)}={value}" for name, value in given.items()]


def settings_of(given: Mapping[str, Any], config: Path | None) -> dict[str, Any]:
    """Settings of a run: those of a file, and before them those of the command line.

    Args:
        given: What `typed` gave.
        config: The file, if there is one.

    Raises:
        UserError: A value or the file cannot be used.
    """
    options: dict[str, Any] = {}
    for name, value in given.items():
        try:
            options[name] = parse(name, value) if isinstance(value, str) else value
        except UserError as error:
            raise UserError(f"{option_of(name)} {error}") from None
    if "demo" in given and "data" in given:
        raise UserError("--demo and --data exclude each other: give one of them")
    settings = read_toml(expanded(config)) if config else {}
    if "demo" in given or "data" in given:
        # The command line decides between photographs and demo faces, also against a file that has the other.
        settings = {name: value for name, value in settings.items() if name not in ("demo", "data")}
    return settings | options
