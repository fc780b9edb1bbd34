"""The legend of compared runs: a line for each, with its values, what it was trained with, and a cursor."""

from __future__ import annotations

from dataclasses import dataclass

from rich.cells import cell_len
from rich.text import Text
from textual import events
from textual.message import Message
from textual.reactive import reactive
from textual.widget import Widget

GAP = "  "
NAME_CELLS = 28
_CUT = "…"


@dataclass(frozen=True)
class LegendRow:
    """A line of the legend.

    Attributes:
        glyph: Names the curves on the charts.
        colour: Their colour.
        sign: How the run stands, with its colour.
        cells: One for each column.
        hidden: Its curves are not drawn.
    """

    glyph: str
    colour: str
    name: str
    sign: tuple[str, str]
    cells: tuple[str, ...]
    hidden: bool = False


@dataclass(frozen=True)
class Legend:
    """What the table shows; the names of columns that differ between runs are emphasised."""

    columns: tuple[str, ...] = ()
    emphasised: frozenset[str] = frozenset()
    rows: tuple[LegendRow, ...] = ()
    cursor: int = 0


class LegendTable(Widget):
    """Shows as many columns and rows as it has room for; the row under the cursor is always among them."""

    DEFAULT_CSS = """
    LegendTable { width: 1fr; height: auto; text-wrap: nowrap; text-overflow: clip; }
    """

    @dataclass
    class Clicked(Message):
        """The row with this index was clicked."""

        index: int

    legend: reactive[Legend] = reactive(Legend)

    def render(self) -> Text:
        """Draw the header and the rows."""
        legend, width = self.legend, self.size.width
        if not legend.rows:
            return Text()
        name_cells = min(NAME_CELLS, max(3, *(cell_len(row.name) for row in legend.rows)))
        left = 8 + name_cells
        widths = [
            max(cell_len(name), *(cell_len(row.cells[column]) for row in legend.rows))
            for column, name in enumerate(legend.columns)
        ]
        fitting, used = 0, left
        while fitting < len(widths) and used + len(GAP) + widths[fitting] <= width:
            used += len(GAP) + widths[fitting]
            fitting += 1
        header = Text(" " * 6 + "run".ljust(name_cells + 2), "dim")
        for name, cells in zip(legend.columns[:fitting], widths, strict=False):
            header.append(GAP + name.rjust(cells), "bold" if name in legend.emphasised else "dim")
        if fitting < len(widths) and width - used >= 2:
            header.append(" " + _CUT, "dim")
        first = self._first_row
        lines = [header]
        for index, row in enumerate(legend.rows[first : first + self._rows_shown], first):
            lines.append(self._line(row, name_cells, widths[:fitting], index == legend.cursor))
        return Text("\n", no_wrap=True, overflow="crop").join(lines)

    def _line(self, row: LegendRow, name_cells: int, widths: list[int], under_cursor: bool) -> Text:
        name = Text(row.name, "bold" if under_cursor else "")
        name.truncate(name_cells, overflow="ellipsis", pad=True)
        line = Text("›" if under_cursor else " ")
        line.append(f"{row.glyph} ", row.colour if not row.hidden else "dim")
        line.append("┅┅ " if row.hidden else "━━ ", row.colour if not row.hidden else "dim")
        line.append_text(name).append(" ").append(*row.sign)
        for cell, cells in zip(row.cells, widths, strict=False):
            line.append(GAP + cell.rjust(cells))
        if row.hidden:
            line.stylize("dim")
        if under_cursor:
            selected = self.app.console.get_style("on $selected")
            line.stylize(selected)
            line.append(" " * max(0, self.size.width - line.cell_len), selected)
        return line

    @property
    def _rows_shown(self) -> int:
        return max(1, self.size.height - 1)

    @property
    def _first_row(self) -> int:
        """The first row that is shown, so that the cursor is."""
        last = max(0, len(self.legend.rows) - self._rows_shown)
        return min(last, max(0, self.legend.cursor - self._rows_shown // 2))

    def on_click(self, event: events.Click) -> None:
        """Tell which row was clicked."""
        index = self._first_row + event.y - 1
        if event.y > 0 and index < len(self.legend.rows):
            self.post_message(self.Clicked(index))
