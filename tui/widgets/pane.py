"""Bordered panes with a title; the title of a chart pane is the legend of its curves."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.style import Style
from rich.text import Text
from textual.containers import Vertical
from textual.reactive import reactive
from textual.widget import Widget

from tui import format as fmt
from tui.widgets.chart import Chart

if TYPE_CHECKING:
    from tui.run.curves import Curve


_BRIEF = {"validation": "val"}


class Pane(Vertical, can_focus=True):
    """A bordered container with a title."""

    def __init__(self, title: str, *children: Widget, id: str) -> None:
        super().__init__(*children, id=id)
        self.border_title = Text(title)


class ChartPane(Pane):
    """A chart; the title is its legend: the curves in their colours, each with its newest value."""

    def __init__(self, title: str, chart: Chart, *, id: str) -> None:
        super().__init__(title, chart, id=id)
        self._heading = title
        self._curves: tuple[Curve, ...] = ()
        self._raw = False
        self.chart = chart

    def show(self, curves: tuple[Curve, ...], x_range: tuple[float, float], x_name: str, *, raw: bool) -> None:
        """Show curves; ``raw`` notes in the title that they are not smoothed."""
        self.chart.show(curves, x_range, x_name)
        self._curves, self._raw = curves, raw
        self._show_title()

    def clear(self) -> None:
        """Show no curves."""
        self.show((), (0.0, 1.0), "", raw=False)

    def on_resize(self) -> None:
        """Fit the title into the new width."""
        self._show_title()

    def _show_title(self) -> None:
        """Use the first that fits: with everything, without dashes, with short names, without notes."""
        room = self.outer_size.width - 6
        for dash, brief, notes in (("━ ", False, True), ("", False, True), ("", True, True), ("", True, False)):
            title = self._title(dash, brief=brief, notes=notes)
            if title.cell_len <= room:
                break
        self.border_title = title

    def _title(self, dash: str, *, brief: bool, notes: bool) -> Text:
        title = Text(self._heading)
        if notes and self._curves and self.chart.logarithmic:
            title.append(" (log)", "dim")
        for curve in self._curves:
            title.append(f"  {dash}{_BRIEF.get(curve.name, curve.name) if brief else curve.name}", curve.colour)
            if len(curve.y):
                title.append(f" {fmt.figure(float(curve.y[-1]))}", curve.colour)
        if notes and self._raw:
            title.append("  raw", "dim")
        return title


class PaneTitle(Widget):
    """The upper edge of a pane with its title: a widget of its own, so that a new title repaints one row only.

    Attributes:
        title: The title; a new one is shown at once.
    """

    DEFAULT_CSS = """
    PaneTitle { height: 1; width: 1fr; }
    PaneTitle > .pane-title--edge { color: $surface-lighten-2; }
    """
    COMPONENT_CLASSES = {"pane-title--edge"}

    title: reactive[Text] = reactive(Text)

    @property
    def room(self) -> int:
        """The width for the title in cells."""
        return max(0, self.size.width - 6)

    def render(self) -> Text:
        """Return the edge with the title in it."""
        room = max(0, self.size.width - 4)
        title = Text.assemble(" ", self.title, " ") if self.title else Text()
        title.truncate(room)
        edge = Style(color=self.get_component_styles("pane-title--edge").color.rich_color)
        left, right = Text("╭─", edge), Text("─" * (room - title.cell_len) + "─╮", edge)
        return Text.assemble(left, title, right)
