"""The keys that the settings give to commands, checked against the commands of all screens."""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches

from textual.binding import Binding
from textual.keys import Keys, key_to_character

from tui.commands import EVERYWHERE, TABLES


def checked_keymap(keys: Mapping[str, str]) -> tuple[dict[str, str], dict[str, str]]:
    """Check the keys that the user gave to commands.

    Args:
        keys: Keys by the name of a command, several separated by commas.

    Returns:
        Those that can be used, and what is wrong with the others, by the name of the command.
    """
    names = {command.name for command in EVERYWHERE} | {command.name for table in TABLES.values() for command in table}
    keymap: dict[str, str] = {}
    problems = {}
    for name, text in keys.items():
        unknown = [key for key in text.split(",") if not _is_key(key.strip())]
        if name not in names:
            close = get_close_matches(name, names, 1)
            problems[name] = "no command has this name" + (f"; {close[0]} has" if close else "")
        elif unknown:
            problems[name] = f"{unknown[0]!r} is no key; write it as in x, ctrl+x, f5 or question_mark"
        elif other := _other_with_key(name, keymap | {name: text}):
            problems[name] = f"{text} already belongs to {other}; give one of them another key"
        else:
            keymap[name] = text
    return keymap, problems


def _is_key(key: str) -> bool:
    *modifiers, last = key.split("+")
    known = len(last) == 1 or key_to_character(last) is not None or last in (one.value for one in Keys)
    return known and last.isprintable() and all(modifier in ("ctrl", "shift", "alt", "super") for modifier in modifiers)


def _other_with_key(name: str, keymap: Mapping[str, str]) -> str:
    """Return another command that shares a key with this one, and the screen, e.g. "view on the dashboard"; or ""."""
    for screen, table in TABLES.items():
        owners: dict[str, str] = {}
        for command in (*table, *EVERYWHERE):
            for key in keymap.get(command.name, command.keys).split(","):
                other = owners.setdefault(_long_key(key.strip()), command.name)
                if key and other != command.name and name in (other, command.name):
                    return f"{other if name == command.name else command.name} on {screen}"
    return ""


def _long_key(key: str) -> str:
    """Return Textual's name of a key that may be written as its character."""
    return next(iter(Binding.make_bindings([(key, "")]))).key if key else ""
