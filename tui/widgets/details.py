"""Sections of labelled lines with a cursor; only visible rows are drawn, so that ten thousand lines stay quick."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import NamedTuple

from rich.cells import cell_len, chop_cells
from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.binding import Binding
from textual.geometry import Region, Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.strip import Strip

from facegender.runs.details import Detail, Section

INDENT = 2
GAP = 2
MAX_LABEL_SHARE = 0.35
"""Share of the width that labels may take."""


class _Row(NamedTuple):
    """One row of cells.

    Attributes:
        item: Index of the line that the row belongs to, section titles included.
        label: Only in the first row of a line.
        line: None in the title of a section.
    """

    item: int
    label: str
    text: str
    line: Detail | None


class DetailsView(ScrollView, can_focus=True):
    """Shows sections below each other. Long lines are wrapped; those of tables are cut off."""

    COMPONENT_CLASSES = {
        "details--title", "details--cursor", "details--label", "details--heading", "details--command",
        "details--changed", "details--dim", "details--warning", "details--error",
    }  # fmt: skip
    DEFAULT_CSS = """
    DetailsView { background: $background; scrollbar-size-vertical: 1; overflow-x: hidden; }
    DetailsView > .details--title { color: $accent; text-style: bold; }
    DetailsView > .details--cursor { background: $primary-muted; }
    DetailsView > .details--label, DetailsView > .details--dim { text-style: dim; }
    DetailsView > .details--heading { text-style: bold; }
    DetailsView > .details--command { color: $secondary; }
    DetailsView > .details--changed, DetailsView > .details--warning { color: $warning; }
    DetailsView > .details--error { color: $error; }
    """
    BINDINGS = [
        Binding("up,k", "move(-1)", "previous line", show=False),
        Binding("down,j", "move(1)", "next line", show=False),
        Binding("pageup", "page(-1)", "page up", show=False),
        Binding("pagedown", "page(1)", "page down", show=False),
        Binding("home", "first", "first line", show=False),
        Binding("end", "last", "last line", show=False),
        Binding("enter", "choose", "do it", show=False),
    ]
    ALLOW_SELECT = False

    class Moved(Message):
        """The cursor is on another line."""

    class Chosen(Message):
        """Enter was pressed on a line, or the line was clicked twice."""

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.sections: tuple[Section, ...] = ()
        self._items: list[tuple[int, int]] = []
        """The section and the line of each item; the line is -1 for the title of the section."""
        self._rows: list[_Row] = []
        self._first_row: list[int] = []
        """The first row of each item."""
        self._label_cells: list[int] = []
        """The width of the labels of each section."""
        self._cursor = 0

    # What is selected

    @property
    def section(self) -> Section | None:
        """The section that the cursor is in."""
        return self.sections[self.section_index] if self._items else None

    @property
    def section_index(self) -> int:
        """Its index."""
        return self._items[self._cursor][0] if self._items else 0

    @property
    def line(self) -> Detail | None:
        """The line under the cursor; None on the title of a section."""
        section, line = self._items[self._cursor] if self._items else (0, -1)
        return self.sections[section].lines[line] if line >= 0 else None

    # Showing

    def show(self, sections: Sequence[Section]) -> None:
        """Show other sections; the cursor stays on its line of the section with the same title, if there is one."""
        if tuple(sections) == self.sections:
            return
        title, line = "", -1
        if self._items:
            section, line = self._items[self._cursor]
            title = self.sections[section].title
        self.sections = tuple(sections)
        self._items = [
            (number, line) for number, section in enumerate(self.sections) for line in range(-1, len(section.lines))
        ]
        places = [place for place, (number, _) in enumerate(self._items) if self.sections[number].title == title]
        self._cursor = places[min(line + 1, len(places) - 1)] if places else 0
        self._lay_out()

    def on_resize(self) -> None:
        """Wrap the lines at the new width."""
        self._lay_out()

    def _lay_out(self) -> None:
        width = self.size.width
        self._rows, self._first_row, self._label_cells = [], [], []
        item = 0
        for number, section in enumerate(self.sections):
            longest = max((cell_len(line.label) for line in section.lines), default=0)
            cells = min(longest, int(MAX_LABEL_SHARE * width))
            self._label_cells.append(cells)
            if number:
                self._rows.append(_Row(-1, "", "", None))
            self._first_row.append(len(self._rows))
            self._rows.append(_Row(item, "", section.title, None))
            item += 1
            for line in section.lines:
                self._first_row.append(len(self._rows))
                room = width - INDENT - (cells + GAP if line.label else 0) - 1
                for place, piece in enumerate(_wrapped(line, max(8, room))):
                    self._rows.append(_Row(item, "" if place else line.label, piece, line))
                item += 1
        self.virtual_size = Size(width, len(self._rows))
        self._scroll_to_cursor()
        self.refresh()

    def render_line(self, y: int) -> Strip:
        """Draw one row."""
        width, base = self.size.width, self.rich_style
        index = y + self.scroll_offset.y
        if index >= len(self._rows):
            return Strip.blank(width, base)
        row = self._rows[index]
        if row.item == self._cursor and self._items:
            base += self.get_component_rich_style("details--cursor", partial=True)
        if row.line is None:
            segments = [Segment(f" {row.text}", base + self._style("title"))]
        else:
            segments = [Segment(" " * INDENT, base)]
            if row.line.label:
                cells = self._label_cells[self._items[row.item][0]]
                label = row.label if cell_len(row.label) <= cells else chop_cells(row.label, max(1, cells - 1))[0] + "…"
                pad = " " * (cells - cell_len(label) + GAP)
                segments.append(Segment(label + pad, base + self._style("label")))
            segments.append(Segment(row.text, base + self._style(row.line.kind)))
        return Strip(segments).adjust_cell_length(width, base).simplify()

    def _style(self, kind: str) -> Style:
        name = f"details--{kind}"
        return self.get_component_rich_style(name, partial=True) if name in self.COMPONENT_CLASSES else Style()

    # Moving

    def on_click(self, event: events.Click) -> None:
        """Move the cursor; the second click chooses."""
        index = event.y + self.scroll_offset.y
        if index < len(self._rows) and (item := self._rows[index].item) >= 0:
            self._move_to(item)
            if event.chain == 2:
                self.action_choose()

    def action_choose(self) -> None:
        """Choose the line."""
        if self._items:
            self.post_message(self.Chosen())

    def action_move(self, by: int) -> None:
        """Move the cursor by lines."""
        self._move_to(self._cursor + by)

    def action_page(self, by: int) -> None:
        """Move the cursor by about a page."""
        if self._items:
            row = self._first_row[self._cursor] + by * max(1, self.size.height - 2)
            row = max(0, min(row, len(self._rows) - 1))
            while self._rows[row].item < 0:
                row += by
            self._move_to(self._rows[row].item)

    def action_first(self) -> None:
        """Move the cursor to the first line."""
        self._move_to(0)

    def action_last(self) -> None:
        """Move the cursor to the last line."""
        self._move_to(len(self._items) - 1)

    def move_section(self, by: int) -> None:
        """Move to the title of another section: the next one, or the beginning of this one, or the previous one."""
        if not self._items:
            return
        section, line = self._items[self._cursor]
        target = section + by + (by < 0 and line >= 0)
        self.show_section(max(0, min(target, len(self.sections) - 1)))

    def show_section(self, index: int) -> None:
        """Move to the title of a section and show as much of the section as there is room for."""
        if not self._items:
            return
        self._move_to(self._items.index((index, -1)))
        self.scroll_to(y=self._first_row[self._cursor], animate=False, force=True, immediate=True)

    def _move_to(self, item: int) -> None:
        item = max(0, min(item, len(self._items) - 1))
        if item == self._cursor or not self._items:
            return
        for changed in (self._cursor, item):
            end = self._first_row[changed + 1] if changed + 1 < len(self._first_row) else len(self._rows)
            top = self._first_row[changed]
            self.refresh(Region(0, top - self.scroll_offset.y, self.size.width, end - top))
        self._cursor = item
        self._scroll_to_cursor()
        self.post_message(self.Moved())

    def _scroll_to_cursor(self) -> None:
        if not self._items:
            return
        first = self._first_row[self._cursor]
        last = self._first_row[self._cursor + 1] - 1 if self._cursor + 1 < len(self._items) else len(self._rows) - 1
        top, visible = self.scroll_offset.y, max(1, self.size.height)
        wanted = min(max(top, last - visible + 1), first)
        if wanted != top:
            self.scroll_to(y=wanted, animate=False, force=True, immediate=True)


def _wrapped(line: Detail, width: int) -> list[str]:
    """Cut a line into rows of at most ``width`` cells."""
    if line.kind == "table" or (len(line.text) <= width and line.text.isascii()):
        return [line.text]
    if not line.text.isascii():
        return chop_cells(line.text, width) or [""]
    return textwrap.wrap(line.text, width, break_on_hyphens=False) or [""]
