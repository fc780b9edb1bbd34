"""Desktop notifications that a terminal shows when a program asks it to."""

from __future__ import annotations

from tui.graphics.terminal import Terminal, through_tmux

MAX_CHARACTERS = 240
_BODY_ONLY = ("iterm", "kitty", "rio")
"""Terminals that take OSC 9, by the beginnings of their names in lower case."""
_TITLE_AND_BODY = ("contour", "foot", "ghostty", "rxvt", "urxvt", "vte", "wezterm")
"""Terminals that take OSC 777; some of them take OSC 9 as well, and would show the notification twice."""


def reaches_terminal(terminal: Terminal) -> bool:
    """Return whether the terminal receives a notification even while the program's tmux window is hidden.

    tmux passes it on from any pane if ``allow-passthrough`` is "all", from visible panes if it is "on", else never.
    """
    return not terminal.in_tmux or terminal.tmux_passthrough in ("all", "2")


def notification(title: str, body: str, terminal: Terminal) -> str:
    """Return the control sequence that shows a notification; a terminal that knows none ignores it.

    OSC 9 is iTerm2's and has one text, OSC 777 is rxvt-unicode's and has a title. A terminal of another name gets both.
    """
    title, body = (
        "".join(character if character.isprintable() else " " for character in text)[:MAX_CHARACTERS].replace(";", ",")
        for text in (title, body)
    )
    name = terminal.name.lower()
    sequences = []
    if not name.startswith(_TITLE_AND_BODY):
        sequences.append(f"\x1b]9;{title}: {body}\x1b\\")
    if not name.startswith(_BODY_ONLY):
        sequences.append(f"\x1b]777;notify;{title};{body}\x1b\\")
    return "".join(through_tmux(sequence) if terminal.in_tmux else sequence for sequence in sequences)
