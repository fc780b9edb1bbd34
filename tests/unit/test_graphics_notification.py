"""Notifications of the desktop: one for each terminal, and nothing but text in them."""

from __future__ import annotations

import pytest

from tui.graphics.notification import MAX_CHARACTERS, notification, reaches_terminal
from tui.graphics.terminal import Terminal


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("kitty(0.41.1)", "\x1b]9;title: body\x1b\\"),
        ("iTerm2 3.5.0", "\x1b]9;title: body\x1b\\"),
        ("foot(1.16.2)", "\x1b]777;notify;title;body\x1b\\"),
        ("WezTerm 20240203", "\x1b]777;notify;title;body\x1b\\"),
        ("XTerm(390)", "\x1b]9;title: body\x1b\\\x1b]777;notify;title;body\x1b\\"),
        ("", "\x1b]9;title: body\x1b\\\x1b]777;notify;title;body\x1b\\"),
    ],
)
def test_a_terminal_is_asked_in_the_way_that_it_knows(name: str, expected: str) -> None:
    assert notification("title", "body", Terminal(name=name)) == expected


def test_tmux_passes_it_on_to_the_terminal_outside() -> None:
    terminal = Terminal(name="kitty", multiplexer="tmux 3.5a")
    assert notification("t", "b", terminal) == "\x1bPtmux;\x1b\x1b]9;t: b\x1b\x1b\\\x1b\\"


def test_no_text_ends_the_sequence_or_adds_a_field_to_it() -> None:
    text = notification("a;b\x07", "c\x1b\\\x1b]0;evil\x9c\n;d" + "x" * 1000, Terminal(name="foot"))
    assert text.startswith("\x1b]777;notify;a,b ;c \\ ]0,evil  ,dxxx")
    assert text.count("\x1b") == 2
    assert len(text) < MAX_CHARACTERS + 40


@pytest.mark.parametrize(
    ("multiplexer", "passthrough", "reaches"),
    [
        ("", "", True),
        ("tmux 3.5a", "off", False),
        ("tmux 3.5a", "on", False),
        ("tmux 3.5a", "all", True),
        ("tmux", "", False),
    ],
)
def test_tmux_passes_a_notification_on_from_all_its_windows_only_if_it_may(
    multiplexer: str, passthrough: str, reaches: bool
) -> None:
    assert reaches_terminal(Terminal(multiplexer=multiplexer, tmux_passthrough=passthrough)) == reaches
