"""The run page: everything that the files of a run say about it, with commands to copy or to carry out."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Sequence

import msgspec
from rich.style import Style
from rich.text import Text
from textual import events, on, work
from textual.app import ComposeResult
from textual.containers import Horizontal
from textual.timer import Timer
from textual.widgets import Input, Static

from facegender.runs.details import Action, RunDetails, Section, read_details
from facegender.runs.folder import LIVE_STATES, RunFolder
from facegender.support.files import exists
from facegender.support.text import counted, one_line, printable
from tui import commands
from tui import format as fmt
from tui.graphics.textual_internals import Row
from tui.messages import REQUESTS, CarryOut, export_action
from tui.screens.base import lacks_of_state, unmet
from tui.screens.document import DocumentScreen
from tui.widgets.details import DetailsView
from tui.widgets.inputs import TextInput
from tui.widgets.keys import KeyHints
from tui.widgets.lines import Lines

POLL_S = 0.5
POLL_ENDED_S = 3.0
"""The same for a run that has ended: an idle page must not keep a cluster's disk busy."""
REST = 20
"""Reading takes at most about this fraction of the time: a long journal is read less often."""
_SECTION = "section"
"""The name in a style's meta data of the index of a section, in the list of contents."""


class RunPage(DocumentScreen[None]):
    """Shows a run as a document that follows what happens on the disk."""

    CSS_PATH = "run_page.tcss"
    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (100, "-wide")]
    HELP = (
        "Y copies what is under the cursor by the escape sequence OSC 52, which also reaches your own machine through "
        "ssh if the terminal allows it; on the title of a section it copies the section."
    )
    SCREEN_COMMANDS = commands.RUN_PAGE
    FOOTER = commands.RUN_PAGE_FOOTER

    def __init__(self, folder: RunFolder) -> None:
        super().__init__()
        self._folder = folder
        self._read: RunDetails | None = None
        self._filter = ""
        self._stamp: list[object] | None = None
        self._timer: Timer | None = None
        self._title, self._contents = Lines(id="title"), Static(id="contents", markup=False)
        self._input = TextInput(id="edit-input", compact=True, placeholder="lines that contain this text")

    def footer(self) -> str:
        """Return the keys of the filter while it is typed."""
        return "Enter:keep_the_filter ↑↓:line | Esc:clear_it" if self.has_class("-editing") else self.FOOTER

    def lacks(self) -> frozenset[str]:
        """Return what the run does not have."""
        if self._read is None:
            return super().lacks() | {"live", "ended"}
        is_ours = self._read.command("train") is not None
        return super().lacks() | lacks_of_state(self._read.state) | unmet({"recipe": is_ours})

    def compose(self) -> ComposeResult:
        """The contents beside the document."""
        yield self._title
        with Row(id="body"):
            yield self._contents
            yield self.details
        with Horizontal(id="edit"):
            yield Static("filter ›", id="edit-label", markup=False)
            yield self._input
        yield KeyHints(*self.hints())

    # Reading

    def on_mount(self) -> None:
        """Read the run."""
        self._show_title()
        self._update()

    @work(exclusive=True, group="read")
    async def _update(self) -> None:
        """Read the run in a thread if its files have changed, and look again after a while."""
        if self._timer:
            self._timer.stop()
        began = time.monotonic()
        stamp = await asyncio.to_thread(_stamp, self._folder)
        if stamp != self._stamp:
            try:
                read = await asyncio.to_thread(read_details, self._folder)
            except OSError as error:  # a disk that fails must not end the interface
                self.notify(one_line(f"{self._folder.name}: {error.strerror or error}"), severity="error", markup=False)
            else:
                self._stamp, self._read = stamp, read
                if self.is_open:
                    self._show()
        if self.is_open:
            live = self._read is None or self._read.state in LIVE_STATES
            pause_s = max(POLL_S if live else POLL_ENDED_S, REST * (time.monotonic() - began))
            self._timer = self.set_timer(pause_s, self._update)

    # Showing

    def _show(self, sections: Sequence[Section] = ()) -> None:
        """Show the lines that match the filter, of these sections or of all."""
        if self._read is not None:
            sections = sections or self._read.sections
            self.details.show(list(filter(None, (_matching(one, self._filter) for one in sections))))
        self._show_title()
        self._show_contents()
        self.update_keys()

    def _show_title(self) -> None:
        title = Text(" Run ", "bold").append(self._folder.name)
        if self._read is None:
            title.append("  reading…", "dim")
        elif not self._stamp:
            title.append("  its folder is gone", "$error")
        else:
            title.append(f"  {' '.join((fmt.SIGNS[self._read.state][0], self._read.state))}")
            title.stylize(fmt.SIGNS[self._read.state][1], len(title) - len(self._read.state) - 2)
        if self._filter:
            count = sum(len(section.lines) for section in self.details.sections)
            title.append(f"  {counted(count, 'line')} with “{one_line(self._filter)}”", "$warning")
        elif self.has_class("-narrow") and (section := self.details.section):
            place = f"{self.details.section_index + 1} of {len(self.details.sections)}"
            title.append(f"  {section.title}, {place}", "dim")
        title.append(f"  {printable(self._folder.path.absolute())}", "dim")
        self._title.write(title)

    @on(DetailsView.Moved)
    def _show_contents(self) -> None:
        out = Text()
        for index, section in enumerate(self.details.sections):
            selected = index == self.details.section_index
            count = f" {len(section.lines)}" if section.title in ("Log", "Skipped files") else ""
            out.append(f" {section.title}{count} \n", Style(reverse=selected, meta={_SECTION: index}))
        if out != self._contents.content:
            self._contents.update(out, layout=False)
            self._show_title()

    def on_resize(self) -> None:
        """Name the section in the title where there are no contents."""
        self._show_title()

    async def on_click(self, event: events.Click) -> None:
        """Show the section that was clicked."""
        if (index := event.style.meta.get(_SECTION)) is not None:
            self.details.show_section(index)

    # Keys

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Leave the keys to the filter while it is typed, except those that end it or move."""
        if self.has_class("-editing") and action != "back" and parameters not in (("move", -1), ("move", 1)):
            return False
        return super().check_action(action, parameters)

    def action_section(self, by: int) -> None:
        """Move to another section."""
        self.details.move_section(by)

    def action_request(self, what: str) -> None:
        """Stop or resume the run."""
        self.app.post_message(REQUESTS[what](self._folder))

    def action_carry_out(self, action: Action) -> None:
        """Carry out a command of the run."""
        self.app.post_message(CarryOut(self._folder, action))

    def action_export_network(self, format: str) -> None:
        """Write the network in a format.

        Raises:
            UserError: There is no such format.
        """
        self.action_carry_out(export_action(format))

    @on(DetailsView.Chosen)
    def _chosen(self) -> None:
        if (line := self.details.line) is not None and line.action:
            self.action_carry_out(line.action)

    # The filter

    def action_filter(self) -> None:
        """Type a text to filter by."""
        self.add_class("-editing")
        self.update_keys()
        # At once: keys that were typed ahead belong to the text.
        self.set_focus(self._input)

    def action_back(self) -> None:
        """Clear the filter, or go back."""
        if self.has_class("-editing") or self._filter:
            self._input.value = ""
            self._close_filter()
        else:
            self.action_leave()

    @on(Input.Changed)
    def _filter_changed(self, event: Input.Changed) -> None:
        before, self._filter = self._filter, event.value.strip()
        # A longer text matches only lines that matched before, which is quicker where there are ten thousand lines.
        self._show(self.details.sections if before and self._filter.startswith(before) else ())

    @on(Input.Submitted)
    def _close_filter(self) -> None:
        self.remove_class("-editing")
        self.update_keys()
        self.set_focus(self.details)


def _matching(section: Section, text: str) -> Section | None:
    """Return the section with the lines that contain a text, ignoring case; None if no line does."""
    if not text or text.casefold() in section.title.casefold():
        return section
    folded = text.casefold()
    lines = tuple(line for line in section.lines if folded in f"{line.label} {line.text}".casefold())
    if len(lines) == len(section.lines):
        return section
    return msgspec.structs.replace(section, lines=lines) if lines else None


def _stamp(folder: RunFolder) -> list[object]:
    """Return a value that differs if files that the page shows have changed; empty if the run folder is gone."""
    if not exists(folder.path):
        return []
    stamps: list[object] = [folder.state()]
    for path in (folder.journal_path, folder.manifest_path, folder.note_path, folder.path, folder.visuals):
        with contextlib.suppress(OSError):
            status = path.stat()
            stamps.append((status.st_ino, status.st_size, status.st_mtime_ns))
    return stamps
