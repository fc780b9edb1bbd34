"""The help: every command from the registry, what the terminal can do, and what the labels are."""

from __future__ import annotations

from rich.table import Table
from rich.text import Text
from textual.app import ComposeResult
from textual.containers import VerticalScroll
from textual.widgets import Static

from tui import format as fmt
from tui.commands import COMMANDS, PLACES
from tui.graphics import Terminal, statistics
from tui.screens.base import BaseScreen

LABELS = (
    "The labels are binary because the data is annotated so: female and male are folder names that somebody chose by "
    "looking at a photograph. A prediction says which folder a photograph resembles. It does not know anybody's gender "
    "and should decide about nobody."
)


class Help(BaseScreen[None]):
    """A page to read; any of the usual keys leaves it."""

    CSS_PATH = "help.tcss"
    BINDINGS = [
        ("escape,q,question_mark,f1", "leave", "back"),
        ("down,j", "scroll(1)", "down"),
        ("up,k", "scroll(-1)", "up"),
        ("pagedown,space", "scroll(20)", "page down"),
        ("pageup", "scroll(-20)", "page up"),
        ("home,g", "to_top", "beginning"),
        ("end,G", "to_bottom", "end"),
    ]

    def __init__(self, terminal: Terminal) -> None:
        super().__init__()
        self._terminal = terminal

    def compose(self) -> ComposeResult:
        """Commands in two columns where there is room, then the terminal."""
        with VerticalScroll(can_focus=False):
            yield Static(Text("Keys", "bold"), classes="heading")
            yield Static(self._commands(), id="commands")
            yield Static(Text("Every command can be typed by its name after  :  as well.", "dim"))
            yield Static(Text("Terminal", "bold"), classes="heading")
            yield Static(self._terminal_facts())
            yield Static(Text("About the labels", "bold"), classes="heading")
            yield Static(Text(LABELS))
        yield Static(Text(" Esc back   ↑↓ scroll   Home End", "dim"), id="way-out")

    def _commands(self) -> Table:
        table = Table.grid(padding=(0, 2))
        for place, title in PLACES.items():
            table.add_row(Text(title, "bold #61afef"), "", "")
            for command in COMMANDS:
                if command.place == place:
                    key = command.shown_key if command.keys else ""
                    table.add_row(
                        Text(key, "bold", justify="right"), Text(command.text), Text(f":{command.name}", "dim")
                    )
        table.add_row(Text("Tab 1–6", "bold", justify="right"), Text("focus a pane"), "")
        return table

    def _terminal_facts(self) -> Text:
        terminal = self._terminal
        out = Text()
        out.append(f"pictures by {terminal.protocol.value}").append(f": {terminal.reason}\n", "dim")
        out.append(f"cells of {terminal.cell_width_px}×{terminal.cell_height_px} px, {terminal.colours} colours")
        name = " in ".join(filter(None, (terminal.multiplexer, terminal.name)))
        out.append(f", {name}" if name else "")
        sent = statistics(self.app)
        out.append(f"\n{fmt.thousands(sent.bytes_sent / 1024)} KiB sent for {sent.pictures} pictures", "dim")
        if sent.bytes_per_second is not None:
            out.append(f", the link carries {fmt.rate(sent.bytes_per_second)}", "dim")
        if sent.round_trip_s is not None:
            out.append(f", round trip {1000 * sent.round_trip_s:.0f} ms", "dim")
        if terminal.advice:
            out.append(f"\nbetter: {terminal.advice}", "#e5c07b")
        return out

    def action_scroll(self, lines: int) -> None:
        """Scroll by so many lines."""
        self.query_one(VerticalScroll).scroll_relative(y=lines, animate=False)

    def action_to_top(self) -> None:
        """Scroll to the beginning."""
        self.query_one(VerticalScroll).scroll_home(animate=False)

    def action_to_bottom(self) -> None:
        """Scroll to the end."""
        self.query_one(VerticalScroll).scroll_end(animate=False)
