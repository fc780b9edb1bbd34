"""A widget that draws curves, or a placeholder text, and its pane, whose title is the legend."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rich.segment import Segment
from rich.text import Text
from textual import events
from textual.containers import Vertical
from textual.geometry import Region, Size
from textual.message import Message
from textual.strip import Strip
from textual.widget import Widget

from tui import format as fmt
from tui.graphics.textual_internals import Column
from tui.widgets.pane import PaneTitle

if TYPE_CHECKING:
    from tui.run.curves import Curve
    from tui.widgets.plotting import Plot

Marks = tuple[tuple[float, str], ...]
"""Events in the life of a run: where on the x axis, and a word for each."""
_BRIEF = {"validation": "val"}


def _figure(value: float) -> str:
    """Format a value with three decimals, or three digits where those would be zeros."""
    return fmt.significant(value) if 0 < abs(value) < 0.01 else fmt.figure(value)


class Chart(Widget):
    """Curves over a common x axis, with a y axis that adapts to their range.

    A ``×`` on the x axis marks each non-finite value. The cursor is a mark at the top and one on the axis: a line
    between them would write each row of the chart again with every key that turns epochs.
    """

    ALLOW_SELECT = False

    @dataclass
    class Clicked(Message):
        """The chart was clicked at this x coordinate."""

        x: float

    @dataclass
    class Scrolled(Message):
        """The wheel was turned over this x coordinate of the chart: up is -1, down is 1."""

        by: int
        x: float

    DEFAULT_CSS = """
    Chart { width: 1fr; height: 1fr; content-align: center middle; text-align: center; }
    """

    def __init__(self, placeholder: str, *, id: str | None = None, limits: tuple[float, float] | None = None) -> None:
        """Make an empty chart.

        Args:
            placeholder: Shown before there is a point to draw.
            limits: Bounds of the y axis, e.g. (0, 1) for a share.
        """
        super().__init__(id=id)
        self.placeholder = placeholder
        self.limits = limits
        self.logarithmic = False
        self.curves: tuple[Curve, ...] = ()
        self._x_range = (0.0, 1.0)
        self._x_name = ""
        self._marks: Marks = ()
        self._cursor_x: float | None = None
        self._rows: list[Strip] | None = None
        self._rows_size = Size(0, 0)
        self._draws_itself = True

    def show(
        self,
        curves: tuple[Curve, ...],
        x_range: tuple[float, float],
        x_name: str,
        drawn: tuple[list[Strip], Size] | None = None,
        marks: Marks = (),
    ) -> None:
        """Show curves, and marks: x coordinates with a word for each.

        ``drawn`` are the rows of their `plot` for a size, if a thread draws it. They stay until it has drawn others,
        even when the size of the chart has changed.
        """
        self.curves, self._x_range, self._x_name, self._marks = curves, x_range, x_name, marks
        self._rows, self._rows_size = drawn or (None, Size(0, 0))
        self._draws_itself = drawn is None
        self.refresh()

    def plot(self, curves: tuple[Curve, ...], x_range: tuple[float, float], x_name: str) -> Plot:
        """Return curves with the axes of this chart."""
        from tui.widgets.plotting import Plot

        style_of = self.app.console.get_style
        return Plot(
            curves, x_range, x_name, self.limits, self.logarithmic, self.rich_style, style_of, self._marks,
        )  # fmt: skip

    def restyle(self) -> None:
        """Draw the curves again, in the colours of another theme."""
        if self._draws_itself:
            self._rows = None
        self.refresh()

    def show_cursor(self, x: float | None) -> None:
        """Show the cursor at an x coordinate, or none."""
        if x == self._cursor_x:
            return
        before = self._cursor_column()
        self._cursor_x = x
        columns = [column for column in (before, self._cursor_column()) if column is not None]
        if columns:
            left, width = min(columns), max(columns) - min(columns) + 1
            self.refresh(*(Region(left, row, width, 1) for row in (0, self.size.height - 1)))

    def render(self) -> Text:
        """Return the placeholder."""
        return Text(self.placeholder, "dim")

    def render_line(self, y: int) -> Strip:
        """Return a row; all rows are drawn once for each set of curves and size."""
        rows = self._drawn()
        if y >= len(rows):
            return Strip.blank(self.size.width, self.rich_style) if rows else super().render_line(y)
        mark = "▾" if y == 0 else "▴" if y == len(rows) - 1 else ""
        column = self._cursor_column() if mark else None
        if column is None:
            return rows[y]
        covered = rows[y].text[column]
        if not covered.isspace() and (y > 0 or covered.isascii()):
            mark = covered  # a label or the note about the peak stays readable, in the colour of the cursor
        strip = Strip([Segment(mark, self.rich_style + self.app.console.get_style("$warning"))], 1)
        return Strip.join([rows[y].crop(0, column), strip, rows[y].crop(column + 1)])

    def _drawn(self) -> list[Strip]:
        if self._rows is None or (self._draws_itself and self._rows_size != self.size):
            self._rows, self._rows_size = self._draw(*self.size), self.size
        return self._rows

    def _plot_columns(self) -> tuple[int, int]:
        """Return the first column of the plot, and how many there are; none if nothing is drawn."""
        from tui.widgets.plotting import CORNER

        rows = self._drawn()
        margin = rows[-1].text.index(CORNER) + 1 if rows else 0
        return margin, rows[-1].cell_length - margin if rows else 0

    def _cursor_column(self) -> int | None:
        margin, columns = self._plot_columns()
        if self._cursor_x is None or columns < 2:
            return None
        low, high = self._x_range
        share = (self._cursor_x - low) / ((high - low) or 1.0)
        return margin + min(columns - 1, max(0, round(share * (columns - 1))))

    def _x_under(self, event: events.MouseEvent) -> float | None:
        """Return the x coordinate under the mouse; None without a plot."""
        margin, columns = self._plot_columns()
        low, high = self._x_range
        return low + (event.x - margin) / (columns - 1) * (high - low) if columns >= 2 else None

    def on_click(self, event: events.Click) -> None:
        """Tell where the chart was clicked."""
        if (x := self._x_under(event)) is not None:
            self.post_message(self.Clicked(x))

    def on_mouse_scroll_up(self, event: events.MouseScrollUp) -> None:
        """Tell that the wheel was turned."""
        self._scrolled(event, -1)

    def on_mouse_scroll_down(self, event: events.MouseScrollDown) -> None:
        """Tell that the wheel was turned."""
        self._scrolled(event, 1)

    def _scrolled(self, event: events.MouseEvent, by: int) -> None:
        event.stop()
        x = self._x_under(event)
        self.post_message(self.Scrolled(by, self._x_range[0] if x is None else x))

    def _draw(self, width: int, height: int) -> list[Strip]:
        if not any(len(curve.y) for curve in self.curves):
            return []
        return self.plot(self.curves, self._x_range, self._x_name).strips(width, height)


class ChartPane(Column, can_focus=True):
    """A chart; the title is its legend: the curves in their colours, each with its glyph and its value.

    The values are the newest ones, or those of the epoch under the cursor. Title and cursor change with every key that
    turns epochs, so they are repainted alone: a whole chart is some kilobytes.
    """

    DEFAULT_CSS = """
    ChartPane > Vertical { border: round $edge; border-top: none; padding: 0 1; height: 1fr; }
    ChartPane:focus PaneTitle > .pane-title--edge { color: $accent; }
    """

    def __init__(self, title: str, chart: Chart, *, id: str) -> None:
        self._title_edge = PaneTitle(title)
        super().__init__(self._title_edge, Vertical(chart), id=id)
        self._heading = title
        self._raw = False
        self._epoch: tuple[str, int] | None = None
        self.chart = chart

    def show(
        self,
        curves: tuple[Curve, ...],
        x_range: tuple[float, float],
        x_name: str,
        *,
        raw: bool,
        heading: str = "",
        marks: Marks = (),
    ) -> None:
        """Show curves and marks.

        Args:
            raw: Note in the title that the curves are not smoothed.
            heading: Replaces the first words of the title.
        """
        self.chart.show(curves, x_range, x_name, marks=marks)
        self._raw = raw
        self._heading = heading or self._heading
        self._show_title()

    def show_cursor(self, x: float | None, epoch: tuple[str, int] | None) -> None:
        """Mark an x coordinate.

        Args:
            x: The coordinate; None for no mark.
            epoch: The name of the epoch whose values the title shows, and its index among the finished ones, -1 if it
                is not finished; None for the newest values.
        """
        self.chart.show_cursor(x)
        if epoch != self._epoch:
            self._epoch = epoch
            self._show_title()

    def on_resize(self) -> None:
        """Fit the title into the new width."""
        self._show_title()

    def _show_title(self) -> None:
        """Use the first that fits: with everything, without dashes, with short names, without notes, without glyphs."""
        room = self._title_edge.room
        for dash, glyphs, brief, notes in (
            ("━ ", True, False, True), ("", True, False, True), ("", True, True, True), ("", True, True, False),
            ("", False, True, False),
        ):  # fmt: skip
            title = self._title(dash, glyphs=glyphs, brief=brief, notes=notes)
            if title.cell_len <= room:
                break
        self._title_edge.title = title

    def _title(self, dash: str, *, glyphs: bool, brief: bool, notes: bool) -> Text:
        title = Text(self._heading)
        if notes and self.chart.curves and self.chart.logarithmic:
            title.append(" (log)", "dim")
        name, index = self._epoch or ("", None)
        if name:
            title.append(f"  {name}", "bold")
        for curve in self.chart.curves:
            if curve.name:
                mark = f"{curve.glyph} " if curve.glyph and glyphs else dash
                title.append(f"  {mark}{_BRIEF.get(curve.name, curve.name) if brief else curve.name}", curve.colour)
            if len(curve.y):
                value = curve.value_at(index)
                title.append(f" {fmt.UNKNOWN if name and math.isnan(value) else _figure(value)}", curve.colour)
        if notes and self._raw:
            title.append("  raw", "dim")
        return title
