"""The log pane: what the trainer said, and the end of its log file where it died."""

from __future__ import annotations

import time

from rich.text import Text
from textual.widgets import RichLog

from tui.state import LogLine, RunState

_STYLES = {"info": "", "warning": "#e5c07b", "error": "#e06c75"}


class RunLog(RichLog, can_focus=False):
    """Grows at the end as the state does; rewritten only when it shows another run."""

    DEFAULT_CSS = """
    RunLog { width: 1fr; height: 1fr; background: transparent; scrollbar-size-vertical: 1;
        scrollbar-background: $background; scrollbar-color: $surface-lighten-2; }
    """

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id, wrap=True, markup=False, highlight=False, max_lines=1000, min_width=20)
        self._shown: tuple[LogLine, ...] = ()
        self._tail: tuple[str, ...] = ()

    def show(self, state: RunState) -> None:
        """Show a run's log."""
        lines, tail = state.log, state.log_tail
        if lines is self._shown and tail == self._tail:
            return
        grown = self._continued(lines) if tail == self._tail and not tail else None
        if grown is None:
            self.clear()
            grown = lines
        for line in grown:
            clock = time.strftime("%H:%M:%S ", time.localtime(line.time))
            self.write(Text.assemble((clock, "dim"), (line.text, _STYLES[line.level])))
        if tail:
            self.write(Text(f"the last lines of train.log of {state.name}:", "#e06c75"))
            for text in tail:
                self.write(Text("  " + text, "dim"))
        if not lines and not tail:
            self.write(Text("what the trainer reports will stand here", "dim"))
        self._shown, self._tail = lines, tail

    def _continued(self, lines: tuple[LogLine, ...]) -> tuple[LogLine, ...] | None:
        """The lines that are new, if the old ones are still there before them."""
        if not self._shown:
            return None
        try:
            at = lines.index(self._shown[-1])
        except ValueError:
            return None
        return lines[at + 1 :]
