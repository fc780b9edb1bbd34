"""The help: the keys of a screen, all commands, what the terminal can do, and what the labels mean."""

from __future__ import annotations

from typing import get_args

from rich.table import Table
from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import VerticalScroll
from textual.screen import Screen
from textual.widgets import Static

from tui import format as fmt
from tui.commands import COMMANDS, Group
from tui.graphics.context import context_of
from tui.graphics.terminal import Terminal
from tui.screens.base import BaseScreen
from tui.widgets.keys import KeyHints

LABELS = (
    "The labels are binary because the data is annotated that way: female and male are the names of folders that "
    "somebody sorted photographs into by looking at them. A prediction says which folder a photograph resembles. It "
    "does not know anybody's gender and must not decide about anyone."
)


class Help(BaseScreen[None]):
    """A page to read; any of the usual keys closes it."""

    CSS_PATH = "help.tcss"
    BINDINGS = [
        ("escape,q,question_mark,f1", "leave", "back"),
        ("down,j", "scroll('down')", "down"),
        ("up,k", "scroll('up')", "up"),
        ("pagedown,space", "scroll('page_down')", "page down"),
        ("pageup", "scroll('page_up')", "page up"),
        ("home,g", "scroll('home')", "beginning"),
        ("end,G", "scroll('end')", "end"),
    ]

    def __init__(self, terminal: Terminal, screen: Screen[object] | None = None) -> None:
        """Create the help of a screen, whose own keys come first; without one that of the dashboard."""
        super().__init__()
        self._terminal = terminal
        self._screen = screen

    def compose(self) -> ComposeResult:
        """The commands, the terminal, the labels."""
        with VerticalScroll(can_focus=False):
            if self._screen is not None:
                yield Static(Text("Keys of this screen", "bold"), classes="heading")
                yield Static(self._keys_of(self._screen))
                if self._screen.HELP:
                    yield Static(Text(self._screen.HELP, "dim"))
            yield Static(Text("Keys of the dashboard" if self._screen else "Keys", "bold"), classes="heading")
            yield Static(self._commands(), id="commands")
            yield Static(Text("The command palette (: or Ctrl+P) finds each command by the name on the right.", "dim"))
            yield Static(Text("Terminal", "bold"), classes="heading")
            yield Static(self._terminal_facts())
            yield Static(Text("About the labels", "bold"), classes="heading")
            yield Static(Text(LABELS))
        yield KeyHints([("↑↓", "scroll"), ("Home End", "beginning, end")], [("Esc", "back")])

    def _keys_of(self, screen: Screen[object]) -> Table:
        keys: dict[str, list[str]] = {}
        for binding in Binding.make_bindings(screen.BINDINGS):
            keys.setdefault(binding.description, []).append(self.app.get_key_display(binding))
        table = Table.grid(padding=(0, 2))
        for description, shown in keys.items():
            table.add_row(Text(" ".join(shown), "bold", justify="right"), Text(description))
        return table

    def _commands(self) -> Table:
        table = Table.grid(padding=(0, 2))
        for group in get_args(Group):
            table.add_row(Text(group, "bold $primary"), "", "")
            for command in COMMANDS:
                if command.group == group:
                    key = Text(command.key_display, "bold", justify="right")
                    table.add_row(key, Text(command.description), Text(command.name, "dim"))
        table.add_row(Text("Tab 1–6", "bold", justify="right"), Text("focus a pane"), "")
        return table

    def _terminal_facts(self) -> Text:
        terminal = self._terminal
        out = Text()
        out.append(f"pictures by {terminal.protocol.value}").append(f": {terminal.reason}\n", "dim")
        out.append(f"cells of {terminal.cell_width_px}×{terminal.cell_height_px} px, {terminal.colours} colours")
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
