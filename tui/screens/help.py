"""The help: the keys of a screen, all commands, what the terminal can do, and what the labels mean."""

from __future__ import annotations

from itertools import groupby
from typing import Any

from rich.cells import cell_len
from rich.text import Text
from textual.app import ComposeResult
from textual.containers import VerticalScroll
from textual.widgets import Static

from tui import commands
from tui import format as fmt
from tui.graphics.context import context_of
from tui.graphics.terminal import Terminal
from tui.screens.base import BaseScreen
from tui.widgets.keys import KeyHints

GROUPS = ("", "Runs", "Pictures", "Curves", "Everywhere")
"""The sections in their order."""
_BESIDE_CELLS = 6
"""Padding, the scroll bar and a space before it."""
_NOTE = (
    "The palette (: or Ctrl+P) runs any command by the name on the right; the settings give it another key by that "
    "name. Esc goes one step back. q closes the screen, or the program on the dashboard; Ctrl+Q always leaves it."
)
LABELS = (
    "The labels are binary because the data is annotated that way: female and male are the names of folders that "
    "somebody sorted photographs into by looking at them. A prediction says which folder a photograph resembles. It "
    "does not know anybody's gender and must not decide about anyone."
)


class Help(BaseScreen[None]):
    """A page to read; any of the usual keys closes it."""

    CSS_PATH = "help.tcss"
    SCREEN_COMMANDS = commands.HELP
    FOOTER = commands.HELP_FOOTER

    def __init__(self, terminal: Terminal, screen: BaseScreen[Any]) -> None:
        """Create the help of a screen."""
        super().__init__()
        self._terminal = terminal
        self._screen = screen
        self._width = 0

    def compose(self) -> ComposeResult:
        """The commands, the terminal, the labels."""
        with VerticalScroll(can_focus=False):
            yield Static(Text("Keys", "bold"), classes="heading")
            yield Static(Text(_NOTE, "dim"))
            yield Static(self._commands(), id="commands")
            if self._screen.HELP:
                yield Static(Text(self._screen.HELP, "dim"))
            yield Static(Text("Terminal", "bold"), classes="heading")
            yield Static(self._terminal_facts())
            yield Static(Text("About the labels", "bold"), classes="heading")
            yield Static(Text(LABELS))
        yield KeyHints(*self.hints())

    def on_resize(self) -> None:
        """Fit the table of commands into a new width."""
        if self.app.size.width != self._width:
            self.query_one("#commands", Static).update(self._commands())

    def _commands(self) -> Text:
        """Return the commands of the screen with what they do, or why they do nothing at the moment.

        A text, because a table of Rich would be drawn three times before it appears, and block the keys meanwhile.
        """
        self._width = self.app.size.width
        width = self._width - _BESIDE_CELLS
        lacks = self._screen.lacks()
        keymap = self.keymap
        listed = sorted(commands.for_palette(self._screen.SCREEN_COMMANDS), key=lambda one: GROUPS.index(one.group))
        keys = {one.name: " ".join(commands.shown_keys(keymap.get(one.name, one.keys))) for one in listed}
        key_cells = max(map(cell_len, keys.values()))
        name_cells = min(max(len(command.name) for command in listed), width // 4)
        room = max(1, width - key_cells - name_cells - 4)
        lines = []
        for group, members in groupby(listed, key=lambda command: command.group):
            lines.append(Text())
            if group:
                lines.append(Text(group, "bold $primary"))
            for command in members:
                reason = self._screen.reason(command, lacks)
                about = Text(command.description, "dim" if reason else "")
                if command.argument:
                    about.append(f": type :{command.name} and {commands.ARGUMENTS[command.argument]}")
                if reason:
                    about.append(f" (not now: {reason})", "$warning")
                key = Text(keys[command.name], "dim" if reason else "bold")
                key.pad_left(key_cells - key.cell_len)
                name = fmt.cut(command.name, name_cells)
                name.stylize("dim")
                for line in about.wrap(self.app.console, room):
                    line.truncate(room, pad=True)
                    lines.append(Text("  ").join((key, line, name)))
                    key, name = Text(" " * key_cells), Text()
        return Text("\n").join(lines)

    def _terminal_facts(self) -> Text:
        terminal = self._terminal
        out = Text()
        out.append(f"pictures by {terminal.protocol.value}").append(f": {terminal.reason}\n", "dim")
        out.append(f"cells of {terminal.cells_and_colours}")
        name = " in ".join(filter(None, (terminal.multiplexer, terminal.name)))
        out.append(f", {name}" if name else "")
        sent = context_of(self.app)
        out.append(f"\n{fmt.thousands(sent.bytes_sent / 1024)} KiB sent for {sent.pictures} pictures", "dim")
        if sent.link.bytes_per_second is not None:
            out.append(f", link speed {fmt.rate(sent.link.bytes_per_second)}", "dim")
        if sent.link.round_trip_s is not None:
            out.append(f", round trip {1000 * sent.link.round_trip_s:.0f} ms", "dim")
        if terminal.advice:
            out.append(f"\nbetter: {terminal.advice}", "$warning")
        return out

    def action_scroll(self, where: str) -> None:
        """Scroll in one of Textual's ways, without an animation: the terminal may be far away."""
        getattr(self.query_one(VerticalScroll), f"scroll_{where}")(animate=False)
