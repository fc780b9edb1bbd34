"""The tables of commands: complete, without collisions, and everything in them can be done."""

from __future__ import annotations

import re
from collections import Counter
from importlib import import_module

import pytest
from textual.actions import parse
from textual.binding import Binding

from tui.app import FaceGenderApp
from tui.commands import ARGUMENTS, EVERYWHERE, PANES, REASONS, TABLES, Command, shown_keys
from tui.inspect.browser import LayerBrowser
from tui.keymap import checked_keymap
from tui.screens.base import BaseScreen
from tui.screens.help import GROUPS
from tui.widgets.run_charts import RunCharts

MODULES = {
    "the dashboard": "dashboard.Dashboard",
    "pictures side by side": "beside.Beside",
    "classifying": "classify.Classify",
    "comparing": "compare.Compare",
    "the runs": "runs.Runs",
    "the run page": "run_page.RunPage",
    "the output of a command": "command.CommandScreen",
    "the learning rates": "find_rate.FindRate",
    "the settings": "settings.SettingsScreen",
    "the mistakes": "mistakes.Mistakes",
    "a photograph": "photograph.Photograph",
    "the form for a new run": "new_run.NewRun",
    "the first screen": "welcome.Welcome",
    "the help": "help.Help",
}
COMMANDS = [
    pytest.param(screen, command, id=f"{screen}: {command.name}")
    for screen, table in (*TABLES.items(), ("everywhere", EVERYWHERE))
    for command in table
]


def screen_class(screen: str) -> type[BaseScreen[object]]:
    module, name = MODULES[screen].split(".")
    found = getattr(import_module(f"tui.screens.{module}"), name)
    assert issubclass(found, BaseScreen)
    return found


@pytest.mark.parametrize("screen", TABLES)
def test_no_name_and_no_key_is_given_twice_on_a_screen(screen: str) -> None:
    table = TABLES[screen]
    keys = [key for command in table for key in command.keys.split(",") if key]
    assert [key for key, count in Counter(keys).items() if count > 1] == []
    assert [name for name, count in Counter(command.name for command in table).items() if count > 1] == []
    assert table == screen_class(screen).SCREEN_COMMANDS


@pytest.mark.parametrize(("screen", "command"), COMMANDS)
def test_the_action_of_a_command_exists(screen: str, command: Command) -> None:
    namespace, action, arguments = parse(command.action)
    owner = FaceGenderApp if namespace or screen == "everywhere" else screen_class(screen)
    assert callable(getattr(owner, f"action_{action}", None)), f"{owner.__name__} has no action {action}"
    assert action != "picture" or callable(getattr(LayerBrowser, arguments[0], None)), arguments
    assert action != "curves" or callable(getattr(RunCharts, arguments[0], None)), arguments


@pytest.mark.parametrize(("screen", "command"), COMMANDS)
def test_a_command_is_described_in_one_clause(screen: str, command: Command) -> None:
    assert command.description
    assert not command.description.endswith(".")
    assert re.fullmatch(r"[a-z0-9-]+", command.name)
    assert command.group in GROUPS
    assert set(command.needs.split()) <= REASONS.keys()
    assert not command.argument or command.argument in ARGUMENTS


@pytest.mark.parametrize("screen", TABLES)
def test_every_word_of_a_line_of_keys_is_the_hint_of_a_command(screen: str) -> None:
    words = [word for word in screen_class(screen).FOOTER.replace("|", "").split() if ":" not in word]
    hints = {command.hint for command in (*TABLES[screen], *EVERYWHERE) if command.keys}
    assert words
    assert {word.partition("=")[0].replace("_", " ") for word in words} <= hints


@pytest.mark.parametrize("screen", TABLES)
def test_q_closes_and_escape_goes_back_on_every_screen(screen: str) -> None:
    keys = {key: command.name for command in TABLES[screen] for key in command.keys.split(",")}
    assert keys["escape"] == "back"
    assert keys.get("q", "close") == "close"  # in a form it is a letter


def test_the_same_name_has_the_same_keys_on_all_screens_that_share_it() -> None:
    keys: dict[str, set[str]] = {}
    for table in TABLES.values():
        for command in table:
            keys.setdefault(command.name, set()).add(command.keys.split(",")[0])
    several = {name: sorted(found) for name, found in keys.items() if len(found) > 1}
    assert several == {}


def test_every_pane_has_a_number() -> None:
    numbered = {command.keys: command.action for command in TABLES["the dashboard"] if command.keys.isdecimal()}
    assert numbered == {str(number): f"focus_pane('{pane}')" for number, pane in enumerate(PANES, 1)}
    assert PANES == ("loss", "accuracy", "run", "machine", "layers", "log")


@pytest.mark.parametrize(
    ("keys", "shown"),
    [
        ("left", ["←"]),
        ("question_mark,f1", ["?", "F1"]),
        ("ctrl+p", ["Ctrl+P"]),
        ("shift+left", ["Shift+←"]),
        ("tab", ["Tab"]),
        ("shift+tab", ["Shift+Tab"]),
        ("plus,underscore,minus", ["+", "_", "-"]),
        ("", []),
    ],
)
def test_keys_are_shown_as_people_write_them(keys: str, shown: list[str]) -> None:
    assert shown_keys(keys) == shown


def test_a_key_of_the_settings_replaces_that_of_the_command() -> None:
    assert checked_keymap({"view": "V", "runs": "ctrl+r,f5"}) == ({"view": "V", "runs": "ctrl+r,f5"}, {})
    swapped = {"view": "V", "variant": "m"}
    assert checked_keymap(swapped) == (swapped, {})


def test_the_keys_that_the_settings_list_for_a_command_can_be_given_to_it() -> None:
    listed: dict[str, str] = {}
    for command in (*EVERYWHERE, *(command for table in TABLES.values() for command in table)):
        if command.keys:
            listed.setdefault(command.name, command.keys)
    for name, keys in listed.items():
        assert checked_keymap({name: keys}) == ({name: keys}, {})


@pytest.mark.parametrize(
    ("keys", "problem"),
    [
        ({"vew": "V"}, "no command has this name; view has"),
        ({"view": "hyper+q"}, "'hyper+q' is no key; write it as in x, ctrl+x, f5 or question_mark"),
        ({"view": ""}, "'' is no key; write it as in x, ctrl+x, f5 or question_mark"),
        ({"view": "\x1b"}, "'\\x1b' is no key; write it as in x, ctrl+x, f5 or question_mark"),
        ({"view": "t"}, "t already belongs to train on the dashboard; give one of them another key"),
        ({"view": "?"}, "? already belongs to help on the dashboard; give one of them another key"),
        ({"palette": "c"}, "c already belongs to classify on the dashboard; give one of them "
                           "another key"),
    ],
)  # fmt: skip
def test_a_key_that_cannot_be_used_is_reported_with_both_commands(keys: dict[str, str], problem: str) -> None:
    assert checked_keymap(keys) == ({}, {next(iter(keys)): problem})


def test_the_names_of_commands_are_those_that_the_keymap_of_textual_knows() -> None:
    ids = {binding.id for binding in Binding.make_bindings(screen_class("the runs").BINDINGS)}
    assert ids == {command.name for command in TABLES["the runs"]}
