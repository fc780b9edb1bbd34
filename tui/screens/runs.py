"""All runs below the root: how they stand, which was best, and what can be done with each."""

from __future__ import annotations

import math
import time
from pathlib import Path

import msgspec
from rich.text import Text
from textual import on
from textual.app import ComposeResult
from textual.message import Message
from textual.widgets import DataTable, Static

from facegender.runs.folder import RunFolder, list_runs
from facegender.runs.summary import RunSummary, summarise
from facegender.support.text import ago, end_of, printable, printable_strings
from tui import format as fmt
from tui.messages import DeleteRun, OpenRun, ResumeRun, StopRun
from tui.screens.base import ReadyScreen

REREAD_S = 2.0
_COLUMNS = ("run", "state", "epochs", "best", "at epoch", "size", "begun", "data")


class Runs(ReadyScreen[None]):
    """A table that keeps itself up to date."""

    CSS_PATH = "runs.tcss"
    BINDINGS = [
        ("escape,q,r", "leave", "back"),
        ("S", "stop", "stop"),
        ("R", "resume", "resume"),
        ("D", "delete", "delete"),
        ("t", "app.new_run", "new run"),
        ("question_mark", "app.help", "help"),
    ]

    class Listed(Message):
        """The runs were read."""

        def __init__(self, summaries: list[RunSummary]) -> None:
            super().__init__()
            self.summaries = summaries

    def __init__(self, root: Path) -> None:
        super().__init__()
        self._root = root
        self._summaries: list[RunSummary] = []
        self._known: dict[str, tuple[object, RunSummary]] = {}
        self._reading = False

    def compose(self) -> ComposeResult:
        """The table."""
        yield Static(Text.assemble((" Runs", "bold"), (f"  in {printable(self._root)}", "dim")), id="title")
        yield DataTable(id="table", cursor_type="row", zebra_stripes=False)
        yield Static("reading the runs…", id="none", markup=False)
        yield Static(" Enter open   S stop   R resume   D delete   t new run   Esc back", id="way-out", markup=False)

    def on_mount(self) -> None:
        """Read now, and again from time to time."""
        table = self.query_one(DataTable)
        for column in _COLUMNS:
            table.add_column(column, key=column)
        self._read()
        self.set_interval(REREAD_S, self._read)

    def _read(self) -> None:
        if not self._reading:
            self._reading = True
            self.run_worker(self._list, thread=True, group="list")

    def _list(self) -> None:
        """In a thread. Only journals that grew are read again; how a run stands is looked up every time."""
        summaries = []
        for folder in list_runs(self._root):
            stamp = _stamp(folder)
            known = self._known.get(folder.name)
            if known is None or known[0] != stamp:
                known = stamp, printable_strings(summarise(folder))
                self._known[folder.name] = known
                summaries.append(known[1])
            else:
                summaries.append(msgspec.structs.replace(known[1], state=folder.state()))
        self.post_message(self.Listed(summaries))

    @on(Listed)
    def _listed(self, event: Listed) -> None:
        self._reading = False
        if not event.summaries:
            self.query_one("#none", Static).update("there are no runs yet: t starts one")
        self.set_class(bool(event.summaries), "-some")
        if event.summaries == self._summaries and self._summaries:
            return
        table = self.query_one(DataTable)
        chosen = self._chosen()
        self._summaries = event.summaries
        row = next((n for n, run in enumerate(event.summaries) if chosen and run.run == chosen.name), table.cursor_row)
        table.clear()
        now = time.time()
        for run in event.summaries:
            sign, colour = fmt.SIGNS[run.state]
            known = not math.isnan(run.best_accuracy)
            table.add_row(
                Text(run.run, "bold"),
                Text(f"{sign} {run.state}", colour),
                f"{run.epochs_done}/{run.epochs}" if run.epochs else "–",
                fmt.figure(run.best_accuracy) if known else "–",
                str(run.best_epoch) if known else "",
                f"{run.image_size} px" if run.image_size else "",
                ago(now - run.created) if run.created else "",
                Text(end_of(run.data, 40), "dim"),
                key=run.run,
            )
        table.move_cursor(row=min(row, len(event.summaries) - 1))
        table.focus()

    def _chosen(self) -> RunFolder | None:
        row = self.query_one(DataTable).cursor_row
        return RunFolder(self._root, self._summaries[row].run) if 0 <= row < len(self._summaries) else None

    @on(DataTable.RowSelected)
    def _open(self) -> None:
        if folder := self._chosen():
            self.app.post_message(OpenRun(folder))

    def action_stop(self) -> None:
        """Ask the chosen run to stop."""
        if folder := self._chosen():
            self.app.post_message(StopRun(folder))

    def action_resume(self) -> None:
        """Go on with the chosen run."""
        if folder := self._chosen():
            self.app.post_message(ResumeRun(folder))

    def action_delete(self) -> None:
        """Delete the chosen run."""
        if folder := self._chosen():
            self.app.post_message(DeleteRun(folder))

    def action_leave(self) -> None:
        """Back to where you were."""
        self.dismiss(None)


def _stamp(folder: RunFolder) -> object:
    """Changes when the journal or the manifest does."""
    stamps = []
    for path in (folder.journal_path, folder.manifest_path):
        try:
            status = path.stat()
            stamps.append((status.st_ino, status.st_size, status.st_mtime_ns))
        except OSError:
            stamps.append((0, 0, 0))
    return stamps
