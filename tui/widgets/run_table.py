"""A table of many rows with one header line: a cursor, marks, a sorted column, and rows drawn only while visible."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.binding import Binding
from textual.geometry import Region, Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.strip import Strip

GAP = 2
"""Cells between two columns, and before the first one, where the mark is."""
_MARK = "◆ "


@dataclass(frozen=True)
class Heading:
    """The header of a column.

    Attributes:
        name: Comes back in `RunTable.HeaderClicked`.
        text: Exactly as wide as the cells of the column.
    """

    name: str
    text: str


@dataclass(frozen=True)
class Row:
    """One row.

    Attributes:
        cells: Texts as wide as their headings, with the colour or style of each.
        marked: Draw the mark.
        dim: Draw the row as one that is about to go.
    """

    cells: tuple[tuple[str, str], ...]
    marked: bool = False
    dim: bool = False


class RunTable(ScrollView, can_focus=True):
    """Rows of cells under a header that stays.

    Textual's `DataTable` measures every cell of every row anew when rows are filtered or sorted, which blocks the keys
    for a tenth of a second and more with a thousand runs.
    """

    COMPONENT_CLASSES = {"run-table--header", "run-table--cursor", "run-table--mark"}
    DEFAULT_CSS = """
    RunTable { background: $background; scrollbar-size-vertical: 1; overflow-x: hidden; }
    RunTable > .run-table--header { color: $text-muted; text-style: bold; background: $panel; }
    RunTable > .run-table--cursor { background: $primary-muted; }
    RunTable > .run-table--mark { color: $accent; text-style: bold; }
    """
    BINDINGS = [
        Binding("up", "move(-1)", "previous", show=False),
        Binding("down", "move(1)", "next", show=False),
        Binding("pageup", "page(-1)", "page up", show=False),
        Binding("pagedown", "page(1)", "page down", show=False),
        Binding("home", "first", "first", show=False),
        Binding("end", "last", "last", show=False),
        Binding("enter", "open", "open", show=False),
    ]

    @dataclass
    class Opened(Message):
        """Enter was pressed, or a row was clicked twice."""

        key: str

    @dataclass
    class MarkClicked(Message):
        """The place of the mark was clicked."""

        key: str

    @dataclass
    class CursorMoved(Message):
        """The cursor is on another row, or on none: then the key is empty."""

        key: str

    @dataclass
    class HeaderClicked(Message):
        """The header of a column was clicked."""

        column: str

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.headings: tuple[Heading, ...] = ()
        self.keys: tuple[str, ...] = ()
        self._row_of: Callable[[str], Row] = lambda key: Row(())
        self._drawn: dict[int, tuple[Row | None, bool]] = {}
        """What each line of the widget shows, and whether the cursor is there."""
        self._cursor = 0

    @property
    def key(self) -> str:
        """The key of the row under the cursor; empty if there is no row."""
        return self.keys[self._cursor] if self.keys else ""

    def show(
        self, headings: Sequence[Heading], keys: Sequence[str], row_of: Callable[[str], Row], key: str = ""
    ) -> None:
        """Show other rows; only the lines that differ are repainted.

        Args:
            keys: Name the rows, in their order.
            row_of: Makes the row of a key, when it is drawn.
            key: Move the cursor to this row; else it stays on its row, or at its index if that row is gone.
        """
        old_key, old_headings = self.key, self.headings
        self.headings, self.keys, self._row_of = tuple(headings), tuple(keys), row_of
        wanted = key or old_key
        row = self.keys.index(wanted) if wanted in self.keys else min(self._cursor, max(0, len(self.keys) - 1))
        moved, self._cursor = row != self._cursor, row
        self.virtual_size = Size(self.size.width, len(self.keys) + 1)
        if moved:
            self._scroll_to_cursor()
        if self.headings != old_headings:
            self.refresh()
        else:
            for y in range(1, self.size.height):
                if self._line(y) != self._drawn.get(y):
                    self.refresh(Region(0, y, self.size.width, 1))
        if self.key != old_key:
            self.post_message(self.CursorMoved(self.key))

    def _line(self, y: int) -> tuple[Row | None, bool]:
        index = self._index_at(y)
        return (self._row_of(self.keys[index]), index == self._cursor) if index < len(self.keys) else (None, False)

    def render_line(self, y: int) -> Strip:
        """Draw one line."""
        width, base = self.size.width, self.rich_style
        if y == 0:
            header = self.get_component_rich_style("run-table--header")
            text = " " * GAP + (" " * GAP).join(heading.text for heading in self.headings)
            return Strip([Segment(text, header)]).adjust_cell_length(width, header)
        self._drawn[y] = row, is_cursor = self._line(y)
        if row is None:
            return Strip.blank(width, base)
        if is_cursor:
            base += self.get_component_rich_style("run-table--cursor", partial=True)
        mark = self.get_component_rich_style("run-table--mark", partial=True)
        segments = [Segment(_MARK if row.marked else " " * GAP, base + mark)]
        dim = Style(dim=True) if row.dim else Style()
        for text, style in row.cells:
            segments.append(Segment(text + " " * GAP, base + self.app.console.get_style(style) + dim))
        # Simplified, a line has few changes of style: a quarter of the bytes.
        return Strip(segments).adjust_cell_length(width, base).simplify()

    def on_resize(self) -> None:
        """Keep the cursor visible."""
        self.virtual_size = Size(self.size.width, len(self.keys) + 1)
        self._scroll_to_cursor()

    def on_click(self, event: events.Click) -> None:
        """Sort, mark, move the cursor, or open with the second click."""
        event.stop()
        index = self._index_at(event.y)
        if event.y == 0:
            end = GAP
            for heading in self.headings:
                end += len(heading.text) + GAP
                if event.x < end:
                    self.post_message(self.HeaderClicked(heading.name))
                    return
        elif index < len(self.keys):
            self._move_to(index)
            if event.x < GAP:
                self.post_message(self.MarkClicked(self.key))
            elif event.chain == 2:
                self.action_open()

    def action_move(self, by: int) -> None:
        """Move the cursor by rows."""
        self._move_to(self._cursor + by)

    def action_page(self, by: int) -> None:
        """Move the cursor by pages."""
        self._move_to(self._cursor + by * max(1, self.size.height - 2))

    def action_first(self) -> None:
        """Move the cursor to the first row."""
        self._move_to(0)

    def action_last(self) -> None:
        """Move the cursor to the last row."""
        self._move_to(len(self.keys) - 1)

    def action_open(self) -> None:
        """Open the row under the cursor."""
        if self.keys:
            self.post_message(self.Opened(self.key))

    def _move_to(self, index: int) -> None:
        index = max(0, min(index, len(self.keys) - 1))
        if index != self._cursor:
            for changed in (self._cursor, index):
                self.refresh(Region(0, changed + 1 - self.scroll_offset.y, self.size.width, 1))
            self._cursor = index
            self._scroll_to_cursor()
            self.post_message(self.CursorMoved(self.key))

    def _scroll_to_cursor(self) -> None:
        top, visible = self.scroll_offset.y, max(1, self.size.height - 1)
        wanted = min(max(top, self._cursor - visible + 1), self._cursor)
        if wanted != top:
            self.scroll_to(y=wanted, animate=False, force=True, immediate=True)

    def _index_at(self, y: int) -> int:
        """The row that a line of the widget shows."""
        return y - 1 + self.scroll_offset.y
