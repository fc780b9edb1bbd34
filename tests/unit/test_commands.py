"""The registry of commands: complete, without collisions, and everything in it can be done."""

from __future__ import annotations

import re
from collections import Counter
from typing import get_args

import pytest
from textual.actions import parse

from tui.app import FaceGenderApp
from tui.commands import BINDINGS, COMMANDS, PANES, Command, Group
from tui.inspect.browser import LayerBrowser
from tui.screens.dashboard import Dashboard
from tui.widgets.run_charts import RunCharts


def test_no_name_and_no_key_is_given_twice() -> None:
    keys = [key for binding in BINDINGS for key in binding.key.split(",")]
    assert [key for key, count in Counter(keys).items() if count > 1] == []
    assert [name for name, count in Counter(command.name for command in COMMANDS).items() if count > 1] == []


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.name)
def test_the_action_of_a_command_exists(command: Command) -> None:
    namespace, action, arguments = parse(command.action)
    owner = FaceGenderApp if namespace else Dashboard
    assert callable(getattr(owner, f"action_{action}", None)), f"{owner.__name__} has no action {action}"
    assert action != "picture" or callable(getattr(LayerBrowser, arguments[0], None)), arguments
    assert action != "curves" or callable(getattr(RunCharts, arguments[0], None)), arguments


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.name)
def test_a_command_is_described_in_one_clause(command: Command) -> None:
    assert command.description
    assert not command.description.endswith(".")
    assert command.group in get_args(Group)
    assert command.key_display
    assert re.fullmatch(r"[a-z-]+", command.name)


def test_every_command_is_bound_to_a_key() -> None:
    actions = {binding.action for binding in BINDINGS}
    assert all(command.keys and command.action in actions for command in COMMANDS)


def test_every_pane_has_a_number() -> None:
    numbered = {binding.key: binding.action for binding in BINDINGS if binding.key.isdecimal()}
    assert numbered == {str(number): f"focus_pane('{pane}')" for number, pane in enumerate(PANES, 1)}
    assert PANES == ("loss", "accuracy", "run", "machine", "layers", "log")
