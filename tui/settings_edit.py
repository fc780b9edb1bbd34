"""Changes single lines of the settings file and leaves the rest as it is."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from facegender.support.errors import UserError
from facegender.support.files import exists, is_folder, make_private_folder, replacing
from tui.settings import FIELDS, Settings, described, read_file, statements


def with_setting(settings: Settings, name: str, value: Any) -> Settings:
    """Return settings with another value, see `save_setting`."""
    table, _, key = name.rpartition(".")
    if table:
        name, value = table, _with_entry(getattr(settings, table), key, value)
    return msgspec.structs.replace(settings, **{name: value})


def _with_entry(table: dict[str, Any], key: str, value: Any) -> dict[str, Any]:
    others = {one: kept for one, kept in table.items() if one != key}
    return others if value is None else {**others, key: value}


def save_setting(path: Path, name: str, value: Any) -> None:
    """Change one value in a settings file: the line of that value, and nothing else of the file.

    A missing file is made from the `template`, where the setting replaces the comment with its default.

    Args:
        name: Of a setting, or e.g. "keys.view" for an entry of the table `keys`.
        value: A text, a number or a boolean that the setting takes; None removes an entry of a table.

    Raises:
        UserError: The file is not TOML, or cannot be read or written.
    """
    with _locked(path.parent):
        _save_setting(path, name, value)


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Exclude other programs that save a setting, where the folder exists and its file system has locks."""
    with contextlib.ExitStack() as stack:
        with contextlib.suppress(OSError):
            descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            stack.callback(os.close, descriptor)
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield


def _save_setting(path: Path, name: str, value: Any) -> None:
    text, given = read_file(path)
    table, _, key = name.rpartition(".")
    text = text or template()
    if table:
        entries = given.get(table, {}) if isinstance(given.get(table, {}), dict) else {}
        if value == entries.get(key):
            return
        changed, expected = _with_key(text, table, key, value), {**given, table: _with_entry(entries, key, value)}
    else:
        changed, expected = _with_value(text, name, value), {**given, name: value}
    import tomllib

    try:
        unexpected = tomllib.loads(changed) != expected
    except tomllib.TOMLDecodeError:
        unexpected = True
    if unexpected:
        raise UserError(f"{path}: the line of {name} cannot be changed here; change it with an editor")
    _write(path, changed)


def make_settings(path: Path) -> None:
    """Write the `template` if there is no settings file.

    Raises:
        UserError: It cannot be written.
    """
    if not exists(path):
        _write(path, template())


def _write(path: Path, text: str) -> None:
    target = path.resolve()  # people link it to a folder that they keep under version control
    try:
        if not is_folder(target.parent):
            make_private_folder(target.parent)
        with replacing(target, durable=True) as temporary:
            temporary.write_bytes(text.encode())
    except OSError as error:
        raise UserError(f"{path} cannot be written: {error.strerror or error}") from None


def template() -> str:
    """Return a file that sets nothing, with each setting, its default and its help in comments."""
    parts = ["# Settings of facegender-tui: remove the # before those that you change."]
    for name, field in FIELDS.items():
        line = f"[{name}]" if isinstance(field.default, dict) else f"{name} = {_toml(field.default)}"
        parts.append(f"# {described(field)}\n# {line}")
    return "\n\n".join(parts) + "\n"


def _toml(value: Any) -> str:
    # JSON's numbers, truth values and texts are TOML's, but for one control character.
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def _with_value(text: str, name: str, value: Any) -> str:
    lines = text.split("\n")
    found = list(statements(text))
    end = "\r" if lines[0].endswith("\r") else ""
    line = f"{name} = {_toml(value)}"
    for first, last, key in found:
        if key == (name,):
            lines[first : last + 1] = [line + _comment_of("\n".join(lines[first : last + 1])) + end]
            return "\n".join(lines)
    tables = [first for first, _, _ in found if lines[first].lstrip().startswith("[")]
    top = tables[0] if tables else len(lines)
    for index in range(top):
        if lines[index].rstrip("\r") == f"# {name} = {_toml(FIELDS[name].default)}":
            lines[index] = line + end
            return "\n".join(lines)
    before = [last for _, last, _ in found if last < top]
    if before:
        index = before[-1] + 1
    else:
        index = top if tables else len(text.rstrip().split("\n"))
        while tables and index and lines[index - 1].startswith("#"):  # what is said about the table
            index -= 1
    lines[index:index] = [line + end, end] if tables and not before else [line + end]
    return "\n".join(lines)


def _with_key(text: str, table: str, name: str, value: Any) -> str:
    """Change a line of a table, add it, or remove it if ``value`` is None."""
    lines = text.split("\n")
    end = "\r" if lines[0].endswith("\r") else ""
    line = f"{name} = {_toml(value)}"
    after = None
    for first, last, key in statements(text):
        if key == (table, name):
            comment = _comment_of("\n".join(lines[first : last + 1]))
            lines[first : last + 1] = [] if value is None else [line + comment + end]
            return "\n".join(lines)
        after = last if key[0] == table else after
    if after is not None:
        lines.insert(after + 1, line + end)
    elif f"# [{table}]{end}" in lines:
        index = lines.index(f"# [{table}]{end}")
        lines[index : index + 1] = [f"[{table}]{end}", line + end]
    else:
        lines = [*text.rstrip().split("\n"), end, f"[{table}]{end}", line + end, ""]
    return "\n".join(lines)


def _comment_of(statement: str) -> str:
    """Return the comment at the end of a statement, with the spaces before it."""
    import tomllib

    statement = statement.rstrip("\r")
    value = tomllib.loads(statement)
    for found in re.finditer(r"\s*#", statement):
        try:
            if tomllib.loads(statement[: found.start()]) == value:
                return statement[found.start() :]
        except tomllib.TOMLDecodeError:
            continue
    return ""
