"""The table of runs: sorts, filters and marks them; opens, compares, stops, resumes, renames and deletes them."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Collection
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import msgspec
from rich.text import Text
from textual import on, work
from textual.app import ComposeResult
from textual.containers import Horizontal
from textual.timer import Timer
from textual.widgets import Input, Static

from facegender.runs.config import check_run_name
from facegender.runs.folder import LIVE_STATES, MAX_NOTE, RunFolder, run_names
from facegender.runs.lock import modified
from facegender.runs.run_filter import HELP as FILTER_HELP
from facegender.runs.run_filter import RunFilter, parse_filter
from facegender.runs.run_table import COLUMNS, fit_cell, fit_columns, natural_widths, sort_runs
from facegender.runs.summary import RunSummary, summarise
from facegender.support.errors import UserError
from facegender.support.text import counted, one_line, printable, printable_strings
from tui import commands
from tui import format as fmt
from tui.graphics.textual_internals import notify_about
from tui.host.access import access_of
from tui.host.run_control import names_or_count
from tui.messages import REQUESTS, CompareRuns, DeleteRun, KeepRuns, RenameRun, RunRenamed, RunsChanged, WriteNote
from tui.screens.base import BaseScreen, lacks_of_state
from tui.widgets.inputs import TextInput
from tui.widgets.keys import KeyHints
from tui.widgets.lines import Lines
from tui.widgets.run_table import GAP, Heading, Row, RunTable

REREAD_S = 2.0
_HIGHEST_FIRST = ("best", "epochs", "duration")
"""Columns whose highest values come first when they are chosen."""
_SCROLLBAR = 1
_EDIT_FOOTERS = {
    "filter": "Enter:keep_the_filter ↑↓:run | Esc:clear_it",
    "note": "Enter:write_the_note | Esc:cancel",
    "name": "Enter:rename | Esc:cancel",
}
"""What the line of keys shows, by what is typed."""
_ERROR = "$error"
_PLACEHOLDERS = {
    "filter": "recipe:tuned lr<0.01 best>0.9 age<2d state:failed,crashed -word",
    "note": "one line; empty removes the note",
    "name": "a new name for the run",
}


@dataclass(frozen=True)
class _Listed:
    """A run that was read, with what its files looked like then and its cells by column."""

    stamp: dict[Path, tuple[int, int, int]]
    summary: RunSummary
    cells: dict[str, str]


@dataclass
class TableView:
    """What the table shows, kept by the application until the table is opened again."""

    sorted_by: str = "age"
    descending: bool = False
    filter_text: str = ""
    marked: set[str] = field(default_factory=set)


class Runs(BaseScreen[None]):
    """A table of all runs that follows what happens on disk.

    Args:
        view: Is changed with what the user chooses.
        current: Name of the run that the cursor is on at first.
        deleting: Names of the runs that are about to be deleted; the application changes it.
    """

    CSS_PATH = "runs.tcss"
    HELP = f"{FILTER_HELP} The columns are {', '.join(COLUMNS)}."
    SCREEN_COMMANDS = commands.RUNS
    FOOTER = commands.RUNS_FOOTER

    def __init__(self, root: Path, view: TableView, current: str, deleting: Collection[str]) -> None:
        super().__init__()
        self._root = root
        self._view = view
        self._current = current
        self._deleting = deleting
        self._listed: dict[str, _Listed] = {}
        """The runs by name, the newest first."""
        self._errors: dict[str, str] = {}
        """What keeps a run from being read, by its name."""
        self._wanted: dict[str, int] = {}
        self._widths: dict[str, int] = {}
        self._filter = RunFilter()
        self._filter_error = ""
        self._editing = self._edited = ""
        """What is typed, a key of `_PLACEHOLDERS`, and for which run."""
        self._timer: Timer | None = None
        # Held, because at the end of the program a thread may still return runs when some widgets are gone already.
        self._title_line, self._detail = Lines(id="title"), Lines(id="detail")
        self._table, self._none = RunTable(id="table"), Static("reading the runs…", id="none", markup=False)
        self._edit_label = Static(id="edit-label", markup=False)
        self._input = TextInput(id="edit-input", compact=True, select_on_focus=False)

    def compose(self) -> ComposeResult:
        """The table between its title and the line of keys."""
        yield self._title_line
        yield self._table
        yield self._none
        yield self._detail
        with Horizontal(id="edit"):
            yield self._edit_label
            yield self._input
        yield KeyHints(*self.hints())

    # Reading

    def on_mount(self) -> None:
        """Show the runs."""
        self._parse_filter(self._view.filter_text)
        self._show_lines()
        self._update(self._current)

    @work(exclusive=True, group="read")
    async def _update(self, key: str = "") -> None:
        """Read the runs in a thread and show them, and again after a while, until the screen is left.

        Args:
            key: The run that the cursor moves to.
        """
        if self._timer:
            self._timer.stop()
        listed = await asyncio.to_thread(self._read, dict(self._listed))
        if self.is_open:
            first = not self._listed
            if listed != self._listed:
                self._listed = listed
                self._wanted = natural_widths({name: [run.cells[name] for run in listed.values()] for name in COLUMNS})
            self._view.marked &= listed.keys()
            self._show(key)
            if first and self.focused is None:  # not if a filter or the palette was opened meanwhile
                self.set_focus(self._table)  # at once: `Widget.focus` would take it from a text opened after this
            self._timer = self.set_timer(REREAD_S, self._update)

    def _read(self, known: dict[str, _Listed]) -> dict[str, _Listed]:
        """Read the files that have changed, and the states and ages that may have."""
        found, errors, now = [], {}, time.time()
        for name in run_names(self._root):
            folder, run = RunFolder(self._root, name), known.get(name)
            try:
                stamp = _stamp(folder)
                if not stamp:
                    continue
                if run is None or run.stamp != stamp:
                    folder.finish_rename()
                    summary = printable_strings(summarise(folder))
                    cells = {key: column.cell(summary, now) for key, column in COLUMNS.items()}
                elif run.summary.state in LIVE_STATES:
                    summary, cells = msgspec.structs.replace(run.summary, state=folder.state()), run.cells
                else:
                    summary, cells = run.summary, run.cells
                state = " ".join((fmt.SIGNS[summary.state][0], summary.state))
                run = _Listed(stamp, summary, cells | {"state": state, "age": COLUMNS["age"].cell(summary, now)})
            except OSError as error:  # e.g. a network disk that fails
                errors[name] = error.strerror or str(error)
            if run is not None:
                found.append((run.summary.created or max(map(modified, run.stamp), default=0.0), run))
        self._errors = errors
        return {run.summary.run: run for _, run in sorted(found, key=lambda item: item[0], reverse=True)}

    # Showing

    def _show(self, key: str = "") -> None:
        """Show the runs that match the filter; with the cursor on a run, if one is given."""
        self.set_class(bool(self._listed), "-some")
        if not self._listed:
            self._none.update("there are no runs yet: t starts one")
        now = time.time()
        shown = self._filter.select((run.summary for run in self._listed.values()), now)
        if self._view.sorted_by != "age":
            shown = sort_runs(shown, COLUMNS[self._view.sorted_by], now, descending=self._view.descending)
        elif self._view.descending:  # they are listed by their age, also those that have no manifest yet
            shown.reverse()
        header = COLUMNS[self._view.sorted_by].header + (" ▼" if self._view.descending else " ▲")
        wanted = dict(self._wanted)
        if self._view.sorted_by in wanted:
            wanted[self._view.sorted_by] = max(wanted[self._view.sorted_by], len(header))
        self._widths = fit_columns(wanted, self.size.width - GAP - _SCROLLBAR, GAP)
        headings = [
            Heading(name, fit_cell(name, header if name == self._view.sorted_by else COLUMNS[name].header, width))
            for name, width in self._widths.items()
        ]
        self._table.show(headings, [run.run for run in shown], self._row, key)
        self._show_lines()

    def _row(self, name: str) -> Row:
        run = self._listed[name]
        deleting = name in self._deleting
        styles = {"run": "bold", "state": _ERROR if deleting else fmt.SIGNS[run.summary.state][1], "data": "dim"}
        texts = run.cells | {"state": "✗ deleting"} if deleting else run.cells
        cells = []
        for column, width in self._widths.items():
            text = texts[column] or ("" if COLUMNS[column].is_text else fmt.UNKNOWN)
            cells.append((fit_cell(column, text, width), styles.get(column, "")))
        return Row(tuple(cells), marked=name in self._view.marked, dim=deleting)

    def _show_lines(self) -> None:
        """Show the title, and what the table has no room for of the run under the cursor."""
        self._title_line.write(self._title())
        self.update_keys()
        detail = Text(no_wrap=True, overflow="ellipsis")
        if self._filter_error:
            detail.append(self._filter_error, _ERROR)
        elif run := self._listed.get(self._table.key):
            name = run.summary.run if self._widths["run"] < len(run.summary.run) else ""
            detail.append("  ".join(filter(None, (name, run.summary.note, run.cells["data"]))))
        self._detail.write(detail)

    def _title(self) -> Text:
        title = Text.assemble((" Runs", "bold"), (f"  in {printable(self._root)}", "dim"))
        if access_of(self.app).read_only:
            title.append("  read-only", "$warning")
        if self._view.filter_text:
            count = len(self._table.keys)
            title.append(f"  {count} of {len(self._listed)}: {self._view.filter_text}", "$warning")
        elif self._listed:
            title.append(f"  {counted(len(self._listed), 'run')}", "dim")
        if self._view.marked:
            title.append(f"  {len(self._view.marked)} marked", "$accent")
        if self._deleting:
            them = "it" if len(self._deleting) == 1 else "them"
            title.append(f"  deleting {counted(len(self._deleting), 'run')}: u keeps {them}", _ERROR)
        for name, problem in self._errors.items():
            title.append(f"  {name}: {problem}", _ERROR)
        return title

    def on_resize(self) -> None:
        """Show as many columns as there is room for."""
        if self._listed:
            self._show()

    @on(RunsChanged)
    def _read_again(self, event: RunsChanged) -> None:
        key = ""
        if isinstance(event, RunRenamed):
            key = event.after.name
            if event.before.name in self._view.marked:
                self._view.marked.add(key)
        self._update(key)

    @on(RunTable.CursorMoved)
    def _cursor_moved(self) -> None:
        self._show_lines()

    # Keys

    def footer(self) -> str:
        """Return the keys of a text that is edited, or those that mark runs to compare, or all."""
        if self._editing:
            return _EDIT_FOOTERS[self._editing]
        opened = ("open", "", "open=compare")[min(2, len(self._view.marked))]
        mark = "mark=mark_another_to_compare" if len(self._view.marked) == 1 else "mark"
        return f"{opened} {mark} {self.FOOTER}"

    def lacks(self) -> frozenset[str]:
        """Return what the run under the cursor does not have."""
        run = self._listed.get(self._table.key)
        lacks = lacks_of_state(run.summary.state) if run is not None else frozenset({"row"})
        return super().lacks() | lacks | (frozenset() if self._deleting else {"deleting"})

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Leave the keys to the text while one is edited, except those that end it or move among the filtered runs."""
        to_text = self._editing and action != "back" and (self._editing, action) != ("filter", "move")
        return super().check_action(action, parameters) and not to_text

    def action_back(self) -> None:
        """Close the text, or clear the filter, or the marks, or go back: the first of these that there is."""
        if self._editing:
            if self._editing == "filter":
                self._set_filter("")
            self._close_edit()
        elif self._view.filter_text:
            self._set_filter("")
        elif self._view.marked:
            self._view.marked.clear()
            self._show()
        else:
            self.action_leave()

    def action_leave(self) -> None:
        """Go back to the screen below."""
        if self.is_active and self._deleting:
            names = names_or_count(self._deleting)
            them = "it" if len(self._deleting) == 1 else "them"
            # Once the screen is left, or it would be removed with the screen's notifications.
            text = f"deleting {names}: r, then u keeps {them}"
            self.app.call_later(partial(notify_about, self.app, "deleting", text))
        super().action_leave()

    def action_move(self, by: int) -> None:
        """Move the cursor."""
        self._table.action_move(by)

    def action_mark(self) -> None:
        """Mark the run under the cursor, or take its mark away, and move to the next one."""
        if self._table.key:
            self._view.marked ^= {self._table.key}
            self._show()
            self._table.action_move(1)

    @on(RunTable.MarkClicked)
    def _mark_clicked(self, event: RunTable.MarkClicked) -> None:
        self._view.marked ^= {event.key}
        self._show()

    def action_choose_column(self, by: int) -> None:
        """Sort by the visible column to the left or to the right of the one that is sorted by."""
        names = list(self._widths)
        if self._view.sorted_by in names:
            self._sort_by(names[(names.index(self._view.sorted_by) + by) % len(names)])
        elif names:
            self._sort_by(names[0])

    @on(RunTable.HeaderClicked)
    def _header_clicked(self, event: RunTable.HeaderClicked) -> None:
        if event.column == self._view.sorted_by:
            self.action_reverse()
        else:
            self._sort_by(event.column)

    def _sort_by(self, column: str) -> None:
        self._view.sorted_by, self._view.descending = column, column in _HIGHEST_FIRST
        self._show()

    def action_reverse(self) -> None:
        """Reverse the order."""
        self._view.descending = not self._view.descending
        self._show()

    @on(RunTable.Opened)
    def action_open(self) -> None:
        """Compare the marked runs; without marks open the run under the cursor."""
        if len(self._view.marked) == 1:
            self.app.notify("one run is marked: mark another one to compare them; Esc takes the mark away")
        elif self._view.marked:
            folders = [RunFolder(self._root, name) for name in self._listed if name in self._view.marked]
            self.app.post_message(CompareRuns(tuple(folders)))
        else:
            self.action_request("open")

    def action_request(self, what: str) -> None:
        """Open, stop or resume the run under the cursor, or show its page."""
        if self._table.key:
            self.app.post_message(REQUESTS[what](RunFolder(self._root, self._table.key)))

    def action_delete(self) -> None:
        """Delete the marked runs that the filter shows, or the one under the cursor, after some seconds."""
        marked = [name for name in self._table.keys if name in self._view.marked]
        for name in marked or filter(None, (self._table.key,)):
            self.app.post_message(DeleteRun(RunFolder(self._root, name)))
        self._view.marked -= set(marked)
        self._show()

    def action_keep(self) -> None:
        """Keep all runs that are about to be deleted."""
        if self._deleting:
            self.app.post_message(KeepRuns())

    # Editing a text

    def action_edit(self, what: str) -> None:
        """Edit the filter, or the note or the name of the run under the cursor."""
        run = self._listed.get(self._table.key)
        if run is None and what != "filter":
            return
        access = access_of(self.app)
        if what != "filter" and access.read_only:
            self.notify(access.problem(RunFolder(self._root, self._table.key)), severity="error", markup=False)
            return
        self._editing, self._edited = what, self._table.key
        values = {"filter": self._view.filter_text}
        if run is not None:
            values |= {"note": run.summary.note, "name": run.summary.run}
        label = "filter" if what == "filter" else f"{what} of {self._edited}"
        self._edit_label.update(f"{label} ›")
        self._input.max_length = MAX_NOTE if what == "note" else None
        self._input.placeholder = _PLACEHOLDERS[what]
        self._input.value = values[what]
        self._input.cursor_position = len(values[what])
        self.add_class("-editing")
        self._show_lines()
        # At once: keys that were typed ahead belong to the text.
        self.set_focus(self._input)

    def _close_edit(self) -> None:
        self._editing = ""
        self.remove_class("-editing")
        self._show_lines()
        self.set_focus(self._table)

    @on(Input.Changed)
    def _edit_changed(self, event: Input.Changed) -> None:
        if self._editing == "filter":
            self._set_filter(event.value)

    @on(Input.Submitted)
    def _edit_submitted(self, event: Input.Submitted) -> None:
        folder, text, what = RunFolder(self._root, self._edited or "none"), event.value.strip(), self._editing
        if what == "note":
            self.app.post_message(WriteNote(folder, text))
        elif what == "name" and text != folder.name:
            try:
                check_run_name(text)
            except UserError as error:
                self.notify(str(error), severity="error", markup=False)
                return  # the text stays, to be corrected
            self.app.post_message(RenameRun(folder, text))
        self._close_edit()

    def _set_filter(self, text: str) -> None:
        self._parse_filter(text)
        self._view.filter_text = one_line(text)
        self._show()

    def _parse_filter(self, text: str) -> None:
        """Filter by a text; while its last word cannot be understood, the others apply."""
        self._filter_error = ""
        try:
            self._filter = parse_filter(text)
        except UserError as error:
            self._filter_error = str(error)
            with contextlib.suppress(UserError):
                self._filter = parse_filter(text.rpartition(" ")[0])


def _stamp(folder: RunFolder) -> dict[Path, tuple[int, int, int]]:
    """Return what changes with the files that are shown; empty if none of them exists yet."""
    stamps = {}
    for path in (folder.journal_path, folder.manifest_path, folder.note_path, folder.log_path):
        with contextlib.suppress(OSError):
            status = path.stat()
            stamps[path] = status.st_ino, status.st_size, status.st_mtime_ns
    return stamps
