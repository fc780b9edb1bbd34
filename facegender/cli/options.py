"""Options and arguments that several commands share."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from facegender.runs.config import FIELDS, RECIPES, option_of, parse, read_toml
from facegender.runs.presets import default_of
from facegender.support.errors import UserError
from facegender.support.fields import to_text
from facegender.support.files import expanded, is_folder, require_utf8
from facegender.support.text import printable


def not_empty(text: str) -> str:
    """Refuse an empty value, e.g. that of a script's variable that is not set."""
    if not text.strip():
        raise typer.BadParameter("must not be empty: leave it out, or give a value")
    return text


def to_path(text: str | Path) -> Path:
    """Convert an argument to a path with ``~`` expanded; refuse an empty one, which would mean the current folder."""
    return expanded(not_empty(str(text)))


def to_root(text: str | Path) -> Path:
    """Convert the value of ``--root``.

    Raises:
        UserError: It is not a folder, or its path is not valid UTF-8.
    """
    root = to_path(text)
    if not is_folder(root):
        raise UserError(f"--root {printable(root)} is not a folder: create it, or name another one")
    return require_utf8(root, "--root")


_ROOT: dict[str, Any] = {"metavar": "DIR", "help": "Folder with checkpoints/ and visuals/."}
Root = Annotated[Path, typer.Option("--root", parser=to_root, **_ROOT)]
AnyRoot = Annotated[Path, typer.Option("--root", parser=to_path, **_ROOT)]
"""Also one that is not there."""
Config = Annotated[
    Path | None,
    typer.Option("--config", metavar="FILE", parser=to_path, help="TOML file of settings; options override it."),
]
Json = Annotated[
    bool,
    typer.Option("--json", metavar="", help="Print one JSON object per line; epochs are counted from 0 there."),
]

Split = Literal["validation", "train", "all"]
"""A part of a run's photographs."""


def settings_options(names: Collection[str]) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command an option for each of these fields of `TrainConfig`.

    The command's first argument becomes a dictionary of those that were typed: field name to text, or True for a flag.
    """

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(command)
        def wrapper(**arguments: Any) -> None:
            given = {name: value for name in names if (value := arguments.pop(name)) not in (None, False)}
            command(given, **arguments)

        signature = inspect.signature(command, eval_str=True)
        own = list(signature.parameters.values())[1:]
        wrapper.__signature__ = signature.replace(parameters=[*map(_parameter, names), *own])  # type: ignore[attr-defined] # Typer reads it
        return wrapper

    return decorate


def _parameter(name: str) -> inspect.Parameter:
    """The parameter from which Typer makes the option of a field; its value stays text, for `parse`."""
    field = FIELDS[name]
    is_flag = field.type is bool
    notes = [", ".join(field.choices)] if field.choices else []
    if not is_flag and field.default is not None:
        notes.append(f"default: {to_text(field.default)}")
    defaults = {recipe: default_of(name, recipe) for recipe in RECIPES}
    notes += [f"{recipe}: {to_text(value)}" for recipe, value in defaults.items() if value != field.default]
    help = f"{field.help} ({'; '.join(notes)})" if notes else field.help
    option = typer.Option(option_of(name), metavar="" if is_flag else field.metavar, help=help, show_default=False)
    kind, default = (bool, False) if is_flag else (str | None, None)
    return inspect.Parameter(
        name, inspect.Parameter.POSITIONAL_OR_KEYWORD, default=default, annotation=Annotated[kind, option]
    )


def read_settings(given: Mapping[str, Any], config: Path | None) -> dict[str, Any]:
    """Convert the typed settings, and merge them over those of a TOML file.

    Raises:
        UserError: A value or the file cannot be used.
    """
    typed: dict[str, Any] = {}
    for name, value in given.items():
        try:
            typed[name] = parse(name, value) if isinstance(value, str) else value
        except UserError as error:
            raise UserError(f"{option_of(name)} {error}") from None
    settings = read_toml(config) if config else {}
    if "demo" in given or "data" in given:
        # The command line decides between photographs and demo faces, also against a file that has the other.
        settings = {name: value for name, value in settings.items() if name not in ("demo", "data")}
    return settings | typed
