"""The user's settings: a TOML file of the config folder, from which everything that should last is read.

Each setting is declared once, in `Settings`. The file, its errors, the settings screen and the documentation derive
from that.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec

from facegender.rendering.view_options import ColourMap
from facegender.support.errors import UserError
from facegender.support.fields import Field, between, fields_of, unknown_setting
from facegender.support.files import read_regular
from facegender.support.text import counted, one_line

MAX_BYTES = 64 * 2**10
"""Maximum size of a file; finding the lines of a longer one would take too long."""
MAX_STATEMENT_LINES = 100
"""Maximum number of lines of one value, for the same reason."""
MAX_LINE = 4096
"""Characters; Python's parser needs half a minute for a key of 30 000 names with dots between them."""
MAX_PROBLEMS = 10
"""Mistakes of one file that are listed; a file with thousands of them is no settings file."""


def _check_smoothing(value: float) -> str:
    return "" if value == 0 or 0.1 <= value <= 0.999 else f"must be 0 or between 0.1 and 0.999, not {value:g}"


# fmt: off
class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """What a user sets once. Options of the command line take precedence."""

    theme: Annotated[str, Field(
        "Colours of the interface; auto: dark or light, by the background of the terminal.", hint="auto, or a theme",
    )] = "auto"
    colour_map: Annotated[ColourMap, Field("Colours of feature maps on the screen; files have viridis.")] = "viridis"
    graphics: Annotated[Literal["auto", "kitty", "sixel", "halfblock"], Field(
        "How pictures reach the terminal; auto: the best way that the terminal supports.",
    )] = "auto"
    levels: Annotated[int, Field(
        "Colours of a mosaic of maps; more of them cost more bytes on a slow link.", between(2, 128),
        hint="2 to 128",
    )] = 32
    smoothing: Annotated[float, Field(
        "Weight of the past in the training curves: 0 does not smooth, 0.97 smooths much.", _check_smoothing,
        hint="0, or 0.1 to 0.999",
    )] = 0.8
    x_axis: Annotated[Literal["epochs", "steps", "minutes"], Field("Unit of the x axis of the curves.")] = "epochs"
    root: Annotated[str, Field(
        "Folder with checkpoints/ and visuals/; empty: the current folder. Used at the next start.",
        hint="a folder",
    )] = ""
    bell: Annotated[bool, Field("Ring the terminal's bell when a run ends.")] = True
    desktop_notification: Annotated[bool, Field(
        "Have the terminal show a notification of the desktop when a run ends (OSC 9 and OSC 777).",
    )] = False
    on_end: Annotated[str, Field(
        "Shell command at the end of each run that is started or resumed here, as `train --on-end`.", hint="a command",
    )] = ""
    keys: Annotated[dict[str, str], Field("Keys of commands, by their names, several with commas between them.")] = {}
    # fmt: on


FIELDS = fields_of(Settings)
SINGLE = {name: field for name, field in FIELDS.items() if not isinstance(field.default, dict)}
"""The settings that have one value."""


Problems = dict[tuple[str, ...], str]
"""What is wrong with settings, by their keys, e.g. ("keys", "view") for the key of a command."""


class SettingsError(UserError):
    """A settings file has mistakes; the message names the file, and each of them with its line.

    Attributes:
        path: The file.
        problems: One clause each, e.g. "line 7: levels must be between 2 and 128, not 500".
        settings: The settings with defaults for what is wrong.
    """

    def __init__(self, path: Path, problems: list[str], settings: Settings) -> None:
        self.path = path
        self.problems = tuple(map(one_line, problems))
        self.settings = settings
        super().__init__(f"{path}, {'; '.join(self.problems)}")


def settings_of(app: object) -> Settings:
    """Return the settings of an application; the defaults for one that has none."""
    settings = getattr(app, "settings", None)
    return settings if isinstance(settings, Settings) else Settings()


def settings_path() -> Path:
    """Return the settings file in the user's config folder; it need not exist."""
    chosen = Path(os.environ.get("XDG_CONFIG_HOME", ""))
    folder = chosen if chosen.is_absolute() else Path(os.path.expanduser("~"), ".config")  # noqa: PTH111 - never raises
    return folder / "facegender-tui" / "settings.toml"


def load_settings(path: Path, further: Callable[[Settings], Problems] = lambda settings: {}) -> Settings:
    """Read a settings file; a missing file has the defaults.

    Args:
        further: Checks what is not known here, e.g. the names of themes and of commands.

    Raises:
        SettingsError: Some of the file is wrong.
    """
    text, given = read_file(path)
    problems: list[tuple[int, str]] = []
    values: dict[str, Any] = {}
    try:
        lines = _lines_of_keys(text)
    except UserError as error:
        raise SettingsError(path, [str(error)], Settings()) from None
    for key, value in given.items():
        try:
            if key not in FIELDS:
                raise UserError(unknown_setting(key, FIELDS))
            converted = FIELDS[key].convert(value)
            if problem := FIELDS[key].check(converted):
                raise UserError(problem)
            values[key] = converted
        except UserError as error:
            name = f"{key} " if key in FIELDS else ""
            problems.append((lines.get((key,), 0), f"{name}{error}"))
    settings = Settings(**values)
    for names, problem in further(settings).items():
        problems.append((lines.get(names, lines.get(names[:1], 0)), problem))
        if len(names) == 1:
            settings = msgspec.structs.replace(settings, **{names[0]: FIELDS[names[0]].default})
        else:
            kept = {name: key for name, key in settings.keys.items() if name != names[1]}
            settings = msgspec.structs.replace(settings, keys=kept)
    if problems:
        listed = [f"line {line + 1}: {problem}" for line, problem in sorted(problems)[:MAX_PROBLEMS]]
        more = len(problems) - len(listed)
        raise SettingsError(path, listed + [f"and {counted(more, 'more mistake')}"] * bool(more), settings)
    return settings


def read_file(path: Path) -> tuple[str, dict[str, Any]]:
    """Return the text of a settings file, or of a theme, and what it sets; nothing for a missing one.

    Raises:
        SettingsError: It cannot be read, is too long, or is not TOML.
    """
    try:
        data = read_regular(path)
    except (FileNotFoundError, NotADirectoryError):
        return "", {}
    except OSError as error:
        raise SettingsError(path, [f"which cannot be read: {error.strerror or error}"], Settings()) from None
    if len(data) > MAX_BYTES:
        raise SettingsError(path, [f"which is longer than {MAX_BYTES >> 10} KiB: make it shorter"], Settings())
    import tomllib

    try:
        text = data.decode("utf-8-sig")
        lengths = map(len, text.split("\n"))
        if (line := next((n for n, length in enumerate(lengths, 1) if length > MAX_LINE), 0)) != 0:
            raise SettingsError(path, [f"line {line}: longer than {MAX_LINE} characters: make it shorter"], Settings())
        given = tomllib.loads(text)
    except UnicodeDecodeError:
        raise SettingsError(path, ["which is not UTF-8: save it as UTF-8"], Settings()) from None
    except (ValueError, RecursionError) as error:  # the last one: too many brackets
        raise SettingsError(path, [_syntax_problem(str(error), text)], Settings()) from None
    return text, given


def described(field: Field) -> str:
    """Return the help of a setting and the values that it takes."""
    return f"{field.help} Values: {field.hint}." if field.hint else field.help


def _syntax_problem(message: str, text: str) -> str:
    """Put the line first, which tomllib names at the end."""
    if found := re.fullmatch(r"(.*) \(at line (\d+), column (\d+)\)", message, re.DOTALL):
        return f"line {found[2]}: not TOML at column {found[3]}: {found[1]}"
    if message.endswith(" (at end of document)"):
        return f"line {text.count(chr(10)) + 1}: not TOML at the end: {message.removesuffix(' (at end of document)')}"
    return f"which is not TOML: {message}"


def statements(text: str) -> Iterator[tuple[int, int, tuple[str, ...]]]:
    """Yield the first line, the last line (counted from 0) and the key of each statement of a valid TOML text.

    The keys of a table begin with its name; comments and empty lines are no statements. A statement ends at the first
    line with which it is valid.

    Raises:
        UserError: A statement has more than `MAX_STATEMENT_LINES` lines.
    """
    import tomllib

    table: tuple[str, ...] = ()
    lines = text.split("\n")
    first = 0
    for last in range(len(lines)):
        if last - first >= MAX_STATEMENT_LINES:
            raise UserError(f"line {first + 1}: a value of more than {MAX_STATEMENT_LINES} lines: make it shorter")
        statement = "\n".join([*lines[first : last + 1], ""])
        try:
            value: Any = tomllib.loads(statement)
        except tomllib.TOMLDecodeError:
            continue
        key: tuple[str, ...] = ()
        while isinstance(value, dict) and len(value) == 1:
            ((name, value),) = value.items()
            key += (name,)
        if statement.lstrip().startswith("["):
            table = key
            yield first, last, table
        elif key:
            yield first, last, table + key
        first = last + 1


def _lines_of_keys(text: str) -> dict[tuple[str, ...], int]:
    """Return the line (counted from 0) where each setting, and each entry of a table, first stands."""
    found: dict[tuple[str, ...], int] = {}
    for line, _, key in statements(text):
        found.setdefault(key[:1], line)
        found.setdefault(key[:2], line)
    return found
