"""Bordered places with a title: a plain one, one for a chart whose title is its key, and a title by itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.style import Style
from rich.text import Text
from textual.containers import Vertical
from textual.widget import Widget

from tui import format as fmt
from tui.widgets.chart import Chart

if TYPE_CHECKING:
    from tui.curves import Curve


class Column(Vertical):
    """A column of which nothing is seen but its background: what Textual need not work out costs no time.

    So it can have neither a border nor padding.
    """

    BLANK = True


class Pane(Vertical, can_focus=True):
    """A bordered place with a title."""

    def __init__(self, title: str, *children: Widget, id: str) -> None:
        super().__init__(*children, id=id)
        self.border_title = Text(title)


class ChartPane(Pane):
    """A chart; the title names its curves in their colours, with the newest value of each."""

    def __init__(self, title: str, chart: Chart, *, id: str) -> None:
        super().__init__(title, chart, id=id)
        self._heading = title
        self.chart = chart

    def show(self, curves: tuple[Curve, ...], x_range: tuple[float, float], x_name: str, *, raw: bool) -> None:
        """Show other curves.

        Args:
            raw: Say that they are not smoothed.
        """
        self.chart.show(curves, x_range, x_name)
        title = Text(self._heading)
        if self.chart.logarithmic:
            title.append(" (log)", "dim")
        for curve in curves:
            title.append(f"  ━ {curve.name}", curve.colour)
            if len(curve.y):
                title.append(f" {fmt.figure(float(curve.y[-1]))}", curve.colour)
        if raw:
            title.append("  raw", "dim")
        self.border_title = title

    def clear(self) -> None:
        """Show no curve."""
        self.chart.show((), (0.0, 1.0), "")
        self.border_title = Text(self._heading)


class PaneTitle(Widget):
    """The upper edge of a pane with its title: a widget of its own, so that another title repaints one row only."""

    DEFAULT_CSS = """
    PaneTitle { height: 1; width: 1fr; color: $surface-lighten-2; }
    """

    def __init__(self) -> None:
        super().__init__()
        self._title = Text()

    @property
    def title(self) -> Text:
        """What stands there."""
        return self._title

    @title.setter
    def title(self, title: Text) -> None:
        if title != self._title:
            self._title = title
            self.refresh()

    @property
    def room(self) -> int:
        """The cells there are for the title."""
        return max(0, self.size.width - 6)

    def render(self) -> Text:
        """The edge."""
        room = max(0, self.size.width - 4)
        title = Text.assemble(" ", self._title, " ") if self._title else Text()
        title.truncate(room)
        edge = self.styles.color.rich_color
        left, right = Text("╭─", Style(color=edge)), Text("─" * (room - title.cell_len) + "─╮", Style(color=edge))
        return Text.assemble(left, title, right)
