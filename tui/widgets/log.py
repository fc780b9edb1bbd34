"""The log pane: the trainer's messages, and the end of ``train.log`` of a run that crashed or failed."""

from __future__ import annotations

import time

from rich.text import Text
from textual.app import ComposeResult
from textual.containers import VerticalScroll
from textual.widgets import Static

from facegender.runs.events import Notice
from tui.run.state import RunState

_STYLES = {"info": "", "warning": "$warning", "error": "$error"}
_SIGNS = {"info": "", "warning": "! ", "error": "✗ "}
_CRASHED = "✗ the trainer ended unexpectedly; if these lines do not say why, it was killed, e.g. for lack of memory"


class RunLog(VerticalScroll, can_focus=False):
    """All lines as one text, which stays scrolled to its end until the user scrolls up."""

    DEFAULT_CSS = """
    RunLog {
        width: 1fr; height: 1fr; scrollbar-size-vertical: 1;
        scrollbar-background: $background; scrollbar-color: $edge;
    }
    """

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._shown: tuple[tuple[Notice, ...], tuple[str, ...], str, str] | None = None
        self.filter_text = ""
        """Only lines with this text are shown, in upper or lower case."""
        self.counts = (0, 0)
        """How many lines are shown, and how many there are."""

    def compose(self) -> ComposeResult:
        """The text."""
        yield Static(id="log-text", markup=False)

    def on_mount(self) -> None:
        """Stay at the end until the user scrolls, whatever is appended and whatever the size."""
        self.anchor()

    def show(self, state: RunState) -> None:
        """Show a run's log."""
        shown = state.log, state.log_tail, state.state, self.filter_text
        if self._shown == shown:
            return
        self._shown = shown
        lines = [
            Text.assemble(
                (time.strftime("%H:%M:%S ", time.localtime(line.time)), "dim"),
                (_SIGNS[line.level] + line.text, _STYLES[line.level]),
            )
            for line in state.log
        ]
        if state.log_tail:
            lines.append(Text(f"last lines of train.log of {state.name}:", "$error"))
            lines += [Text("  " + text, "dim") for text in state.log_tail]
        if state.state == "crashed":
            lines.append(Text(_CRASHED, "$error"))
        wanted = self.filter_text.casefold()
        matching = [line for line in lines if wanted in line.plain.casefold()]
        self.counts = len(matching), len(lines)
        if lines and not matching:
            matching.append(Text("no line has this text: Esc shows all", "dim"))
        if not lines:
            matching.append(Text("the trainer's messages appear here", "dim"))
        self.query_one("#log-text", Static).update(Text("\n").join(matching))
