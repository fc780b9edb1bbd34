"""What is done about a protocol that nobody knows, on the command line and in the environment."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest


def said(*arguments: str, wish: str) -> subprocess.CompletedProcess[str]:
    """What a module of the interface does where the variable has a value."""
    environment = {**os.environ, "FACEGENDER_GRAPHICS": wish}
    return subprocess.run(
        [sys.executable, "-m", *arguments], env=environment, capture_output=True, text=True, stdin=subprocess.DEVNULL
    )


def test_an_unknown_protocol_in_the_environment_is_refused_as_on_the_command_line() -> None:
    for refused in (said("tui", "--graphics", "foo", wish=""), said("tui", wish="foo\x1b[2J")):
        line = refused.stderr.splitlines()[-1]
        assert refused.returncode == 2
        assert line.startswith("facegender-tui: error: ")
        assert "\x1b" not in line
        assert all(known in line for known in ("auto", "kitty", "sixel", "halfblock", "foo"))
    assert "FACEGENDER_GRAPHICS" in line


@pytest.mark.parametrize(
    ("wish", "options"), [("", []), (" Auto ", []), ("SIXEL", []), ("foo", ["--graphics", "kitty"])]
)
def test_a_known_or_overridden_protocol_is_not_refused(wish: str, options: list[str]) -> None:
    assert "needs a terminal" in said("tui", *options, wish=wish).stderr


def test_doctor_refuses_an_unknown_protocol() -> None:
    refused = said("tui", "--doctor", wish="foo")
    assert refused.returncode == 2
    line = "variable FACEGENDER_GRAPHICS: unknown value 'foo' (choose from auto, kitty, sixel, halfblock)"
    assert refused.stderr.splitlines()[-1].endswith(line)
    assert "FACEGENDER_GRAPHICS" not in said("tui", "--doctor", wish="").stdout


def test_doctor_uses_the_protocol_of_the_command_line() -> None:
    assert said("tui", "--doctor", "--graphics", "kitty", wish="foo").stdout.startswith("pictures  by kitty: requested")


def test_doctor_tells_which_pictures_the_terminal_can_show() -> None:
    done = said("tui", "--doctor", wish="")
    assert done.returncode == 0
    assert done.stdout.startswith("pictures  by halfblock: ")
