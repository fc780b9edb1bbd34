"""Sections of labelled lines with a cursor; only visible rows are drawn, so that ten thousand lines stay quick."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import NamedTuple

from rich.cells import cell_len, chop_cells, set_cell_size
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
MIN_COLUMN = 90
"""Where there is room for two columns of this width, the sections are divided among two."""


class _Row(NamedTuple):
    """One row of a section.

    Attributes:
        line: Index of the line that it belongs to; -1 in the title, -2 in the empty row below the section.
        label: Only in the first row of a line.
    """

    line: int
    label: str
    text: str


class _Laid(NamedTuple):
    """A section as it is laid out in a column.

    Attributes:
        width: Of the column.
        label_cells: Width of the labels.
        first: The first row of the title and of each line.
    """

    section: Section
    width: int
    label_cells: int
    rows: list[_Row]
    first: list[int]


class _Position(NamedTuple):
    """Where a section begins."""

    column: int
    row: int


class DetailsView(ScrollView, can_focus=True):
    """Shows sections below each other. Long lines are wrapped.

    Attributes:
        sections: What is shown.
        section_index: The section that the cursor is in.
    """

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
        self.section_index = 0
        self._line = -1
        """The line of the section that the cursor is on; -1 for its title."""
        self._laid: list[_Laid] = []
        self._positions: list[_Position] = []
        self._columns = 1

    @property
    def section(self) -> Section | None:
        """The section that the cursor is in."""
        return self.sections[self.section_index] if self.sections else None

    @property
    def line(self) -> Detail | None:
        """The line under the cursor; None on the title of a section."""
        return self.sections[self.section_index].lines[self._line] if self.sections and self._line >= 0 else None

    # Showing

    def show(self, sections: Sequence[Section]) -> None:
        """Show other sections; the cursor stays on its line of the section with the same title, if there is one."""
        if (new := tuple(sections)) == self.sections:
            return
        title = self.section.title if self.section else ""
        self.sections = new
        index = next((number for number, section in enumerate(new) if section.title == title), -1)
        self._line = min(self._line, len(new[index].lines) - 1) if index >= 0 else -1
        self.section_index = max(0, index)
        self._lay_out()

    def on_resize(self) -> None:
        """Wrap the lines at the new width."""
        self._lay_out()

    @property
    def _column_cells(self) -> int:
        return self.size.width // self._columns

    def _lay_out(self) -> None:
        self._columns = 2 if self.size.width >= 2 * MIN_COLUMN and len(self.sections) > 1 else 1
        width = self._column_cells
        known = {laid.section.title: laid for laid in self._laid if laid.width == width}
        self._laid = [
            laid if (laid := known.get(section.title)) and laid.section is section else _laid_out(section, width)
            for section in self.sections
        ]
        heights = [len(laid.rows) for laid in self._laid]
        in_first = len(heights)
        if self._columns == 2:
            in_first = min(range(1, len(heights)), key=lambda count: max(sum(heights[:count]), sum(heights[count:])))
        self._positions = [
            _Position(0, sum(heights[:number])) if number < in_first else _Position(1, sum(heights[in_first:number]))
            for number in range(len(heights))
        ]
        self.virtual_size = Size(self.size.width, max(sum(heights[:in_first]), sum(heights[in_first:])))
        self._scroll_to_cursor()
        self.refresh()

    def render_line(self, y: int) -> Strip:
        """Draw one row."""
        row = y + self.scroll_offset.y
        pieces = [self._piece(column, row) for column in range(self._columns)]
        return Strip.join(pieces).adjust_cell_length(self.size.width, self.rich_style).simplify()

    def _piece(self, column: int, row: int) -> Strip:
        """Draw a row of a column."""
        base, width = self.rich_style, self._column_cells
        number, within = self._at(column, row)
        if number < 0:
            return Strip.blank(width, base)
        laid = self._laid[number]
        line, label, text = laid.rows[within]
        if (number, line) == (self.section_index, self._line):
            base += self.get_component_rich_style("details--cursor", partial=True)
        if line < 0:
            segments = [Segment(f" {text}", base + self._style("title"))]
        else:
            detail = laid.section.lines[line]
            segments = [Segment(" " * INDENT, base)]
            if detail.label:
                label = set_cell_size(label, laid.label_cells) + " " * GAP
                segments.append(Segment(label, base + self._style("label")))
            segments.append(Segment(text, base + self._style(detail.kind)))
        return Strip(segments).adjust_cell_length(width, base)

    def _at(self, column: int, row: int) -> tuple[int, int]:
        """Return the section at a row of a column, -1 for none, and the row within it."""
        for number, (own, first) in enumerate(self._positions):
            if own == column and first <= row < first + len(self._laid[number].rows):
                return number, row - first
        return -1, 0

    def _style(self, kind: str) -> Style:
        name = f"details--{kind}"
        return self.get_component_rich_style(name, partial=True) if name in self.COMPONENT_CLASSES else Style()

    # Moving

    def on_click(self, event: events.Click) -> None:
        """Move the cursor; the second click chooses."""
        column = min(event.x // max(1, self._column_cells), self._columns - 1)
        number, within = self._at(column, event.y + self.scroll_offset.y)
        if number >= 0 and (line := self._laid[number].rows[within].line) >= -1:
            self._move_to(number, line)
            if event.chain == 2:
                self.action_choose()

    def action_choose(self) -> None:
        """Choose the line."""
        if self.sections:
            self.post_message(self.Chosen())

    def action_move(self, by: int) -> None:
        """Move the cursor by lines, section titles included."""
        number, line = self.section_index, self._line + by
        while line < -1 and number > 0:
            number -= 1
            line += 1 + len(self.sections[number].lines)
        while self.sections and line >= len(self.sections[number].lines) and number + 1 < len(self.sections):
            line -= 1 + len(self.sections[number].lines)
            number += 1
        self._move_to(number, line)

    def action_page(self, by: int) -> None:
        """Move the cursor by as many lines as there are rows."""
        self.action_move(by * max(1, self.size.height - 2))

    def action_first(self) -> None:
        """Move the cursor to the first line."""
        self._move_to(0, -1)

    def action_last(self) -> None:
        """Move the cursor to the last line."""
        if self.sections:
            self._move_to(len(self.sections) - 1, len(self.sections[-1].lines))

    def move_section(self, by: int) -> None:
        """Move to the title of another section: the next one, or the beginning of this one, or the previous one."""
        self.show_section(self.section_index + by + (by < 0 and self._line >= 0))

    def show_section(self, index: int) -> None:
        """Move to the title of a section and show as much of the section as there is room for."""
        if self.sections:
            self._move_to(max(0, min(index, len(self.sections) - 1)), -1)
            if self._columns == 1:
                self.scroll_to(y=self._rows_of_cursor()[0], animate=False, force=True, immediate=True)

    def _move_to(self, number: int, line: int) -> None:
        """Move the cursor to a line of a section, or to the nearest that it has."""
        if not self.sections:
            return
        line = max(-1, min(line, len(self.sections[number].lines) - 1))
        if (number, line) == (self.section_index, self._line):
            return
        self._refresh_cursor()
        self.section_index, self._line = number, line
        self._refresh_cursor()
        self._scroll_to_cursor()
        self.post_message(self.Moved())

    def _rows_of_cursor(self) -> tuple[int, int]:
        """Return the first row of the cursor, and the row after its last."""
        laid, top = self._laid[self.section_index], self._positions[self.section_index].row
        index = self._line + 1
        end = laid.first[index + 1] if index + 1 < len(laid.first) else len(laid.rows) - 1
        return top + laid.first[index], top + end

    def _refresh_cursor(self) -> None:
        first, end = self._rows_of_cursor()
        self.refresh(Region(0, first - self.scroll_offset.y, self.size.width, end - first))

    def _scroll_to_cursor(self) -> None:
        if not (self.sections and self.size.height):  # on_resize scrolls once the height is known
            return
        first, end = self._rows_of_cursor()
        top, visible = self.scroll_offset.y, self.size.height
        wanted = min(max(top, end - visible), first)
        if wanted != top:
            self.scroll_to(y=wanted, animate=False, force=True, immediate=True)


def _laid_out(section: Section, width: int) -> _Laid:
    """Lay a section out in a column, with an empty row below it."""
    labels = {line.label for line in section.lines}
    label_cells = min(max(map(cell_len, labels), default=0), int(MAX_LABEL_SHARE * width))
    without_label = max(8, width - INDENT - 1)
    with_label = max(8, without_label - label_cells - GAP)
    rows, first = [_Row(-1, "", section.title)], [0]
    for number, line in enumerate(section.lines):
        first.append(len(rows))
        room = with_label if line.label else without_label
        if len(line.text) <= room and line.text.isascii():
            rows.append(_Row(number, line.label, line.text))
            continue
        for index, piece in enumerate(_wrapped(line, room)):
            rows.append(_Row(number, "" if index else line.label, piece))
    rows.append(_Row(-2, "", ""))
    return _Laid(section, width, label_cells, rows, first)


def _wrapped(line: Detail, width: int) -> list[str]:
    """Cut a line into rows of at most ``width`` cells."""
    if line.kind == "table" or not line.text.isascii():
        return chop_cells(line.text, width) or [""]
    return textwrap.wrap(line.text, width, break_on_hyphens=False) or [""]
