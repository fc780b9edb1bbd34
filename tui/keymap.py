"""The keys that the settings give to commands, checked against the commands of all screens."""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches

from textual.binding import Binding
from textual.keys import KEY_NAME_REPLACEMENTS, Keys, key_to_character

from tui.commands import EVERYWHERE, TABLES, Command


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
    named = last in KEY_NAME_REPLACEMENTS.values() or last in (one.value for one in Keys)
    known = len(last) == 1 or named or key_to_character(last) is not None
    return known and last.isprintable() and all(modifier in ("ctrl", "shift", "alt", "super") for modifier in modifiers)


def _other_with_key(name: str, keymap: Mapping[str, str]) -> str:
    """Return another command that shares a key with this one, and the screen, e.g. "view on the dashboard"; or "".

    Two commands may share a key that both have by default, as ? opens and closes the help.
    """
    for screen, table in TABLES.items():
        owners: dict[str, Command] = {}
        for command in (*table, *EVERYWHERE):
            for key in _long_keys(keymap.get(command.name, command.keys)):
                other = owners.setdefault(key, command)
                shared = key in _long_keys(other.keys) and key in _long_keys(command.keys)
                if name in (other.name, command.name) and other.name != command.name and not shared:
                    return f"{other.name if name == command.name else command.name} on {screen}"
    return ""


def _long_keys(keys: str) -> list[str]:
    """Return Textual's names of keys that may be written as their characters."""
    return [binding.key for binding in Binding.make_bindings([(keys, "")])] if keys else []
