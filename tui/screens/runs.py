"""The list of runs: the state and best accuracy of each; opens, stops, resumes and deletes them."""

from __future__ import annotations

import asyncio
import contextlib
import math
import time
from pathlib import Path

import msgspec
from rich.cells import cell_len
from rich.text import Text
from textual import on, work
from textual.app import ComposeResult
from textual.widgets import DataTable, Static

from facegender.runs.folder import RunFolder, list_runs
from facegender.runs.summary import RunSummary, summarise
from facegender.support.text import ago, end_of, printable, printable_strings
from tui import format as fmt
from tui.messages import REQUESTS
from tui.screens.base import BaseScreen
from tui.widgets.keys import KeyHints

REREAD_S = 2.0
_COLUMNS = ("run", "state", "epochs", "best", "at epoch", "size", "started", "data")


class Runs(BaseScreen[None]):
    """A table of all runs that follows what happens on disk."""

    CSS_PATH = "runs.tcss"
    BINDINGS = [
        ("escape,q,r", "leave", "back"),
        ("S", "request('stop')", "stop"),
        ("R", "request('resume')", "resume"),
        ("D", "request('delete')", "delete"),
        ("t", "app.new_run", "new run"),
        ("question_mark", "app.help", "help"),
    ]

    def __init__(self, root: Path) -> None:
        super().__init__()
        self._root = root
        self._summaries: list[RunSummary] = []
        self._known: dict[str, tuple[object, RunSummary]] = {}
        self._errors: dict[str, str] = {}
        """What keeps a run from being read, by its name."""

    def compose(self) -> ComposeResult:
        """The table."""
        yield Static(self._title(), id="title")
        yield DataTable(id="table", cursor_type="row", zebra_stripes=False)
        yield Static("reading the runs…", id="none", markup=False)
        yield KeyHints(
            [("Enter", "open"), ("S", "stop"), ("R", "resume"), ("D", "delete"), ("t", "new run")],
            [("?", "help"), ("Esc", "back")],
        )

    def on_mount(self) -> None:
        """Show the runs."""
        self._update()

    @work
    async def _update(self) -> None:
        """Read the runs in a thread and show them, and again after a while, until the screen is left."""
        summaries = await asyncio.to_thread(self._read)
        if self.is_open:
            self._show(summaries)
            self.set_timer(REREAD_S, self._update)

    def _read(self) -> list[RunSummary]:
        """Read the journals that have changed, and the state of every run."""
        summaries = []
        for folder in list_runs(self._root):
            try:
                stamp = _stamp(folder)
                known = self._known.get(folder.name)
                if known is None or known[0] != stamp:
                    known = stamp, printable_strings(summarise(folder))
                self._known[folder.name] = stamp, msgspec.structs.replace(known[1], state=folder.state())
                self._errors.pop(folder.name, None)
            except OSError as error:  # e.g. a network disk that fails
                self._errors[folder.name] = error.strerror or str(error)
            if folder.name in self._known:
                summaries.append(self._known[folder.name][1])
        return summaries

    def _show(self, summaries: list[RunSummary]) -> None:
        self.query_one("#title", Static).update(self._title())
        if not summaries:
            self.query_one("#none", Static).update("there are no runs yet: t starts one")
        self.set_class(bool(summaries), "-some")
        if summaries == self._summaries:
            return
        table = self.query_one(DataTable)
        chosen = self._chosen()
        self._summaries = summaries
        row = next((n for n, run in enumerate(summaries) if chosen and run.run == chosen.name), table.cursor_row)
        now = time.time()
        rows = [_cells(run, now) for run in summaries]
        # With widths of its own choice the table may paint new rows at the old widths, and keep them so.
        table.clear(columns=True)
        for index, column in enumerate(_COLUMNS):
            table.add_column(column, width=max(cell_len(str(cells[index])) for cells in [_COLUMNS, *rows]))
        for run, cells in zip(summaries, rows, strict=True):
            table.add_row(*cells, key=run.run)
        table.move_cursor(row=min(row, len(summaries) - 1))
        table.focus()

    def _title(self) -> Text:
        title = Text.assemble((" Runs", "bold"), (f"  in {printable(self._root)}", "dim"))
        for name, problem in self._errors.items():
            title.append(f"  {name}: {problem}", "#e06c75")
        return title

    def _chosen(self) -> RunFolder | None:
        row = self.query_one(DataTable).cursor_row
        return RunFolder(self._root, self._summaries[row].run) if 0 <= row < len(self._summaries) else None

    @on(DataTable.RowSelected)
    def _open(self) -> None:
        self.action_request("open")

    def action_request(self, what: str) -> None:
        """Open, stop, resume or delete the chosen run."""
        if folder := self._chosen():
            self.app.post_message(REQUESTS[what](folder))


def _stamp(folder: RunFolder) -> object:
    """Return something that changes when the journal or the manifest does."""
    stamps = {}
    for path in (folder.journal_path, folder.manifest_path):
        with contextlib.suppress(OSError):
            status = path.stat()
            stamps[path] = status.st_ino, status.st_size, status.st_mtime_ns
    return stamps


def _cells(run: RunSummary, now: float) -> list[str | Text]:
    """The row of a run, in the order of the columns."""
    sign, colour = fmt.SIGNS[run.state]
    known = not math.isnan(run.best_accuracy)
    return [
        Text(run.run, "bold"),
        Text(f"{sign} {run.state}", colour),
        f"{run.epochs_done}/{run.epochs}" if run.epochs else "–",
        fmt.figure(run.best_accuracy) if known else "–",
        str(run.best_epoch + 1) if known else "",
        f"{run.image_size} px" if run.image_size else "",
        ago(now - run.created) if run.created else "",
        Text(end_of(run.data, 40), "dim"),
    ]
