"""A widget that draws curves, or a placeholder text, and its pane, whose title is the legend."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.text import Text
from textual.geometry import Size
from textual.strip import Strip
from textual.widget import Widget

from tui import format as fmt
from tui.widgets.pane import Pane

if TYPE_CHECKING:
    from tui.run.curves import Curve

_BRIEF = {"validation": "val"}


class Chart(Widget):
    """Curves over a common x axis, with a y axis that adapts to their range.

    A ``×`` on the x axis marks each non-finite value.
    """

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
        self._rows: list[Strip] | None = None
        self._rows_size = Size(0, 0)

    def show(self, curves: tuple[Curve, ...], x_range: tuple[float, float], x_name: str) -> None:
        """Show curves."""
        self.curves, self._x_range, self._x_name = curves, x_range, x_name
        self._rows = None
        self.refresh()

    def render(self) -> Text:
        """Return the placeholder."""
        return Text(self.placeholder, "dim")

    def render_line(self, y: int) -> Strip:
        """Return a row; all rows are drawn once for each set of curves and size."""
        if self._rows is None or self._rows_size != self.size:
            self._rows, self._rows_size = self._draw(*self.size), self.size
        return self._rows[y] if y < len(self._rows) else super().render_line(y)

    def _draw(self, width: int, height: int) -> list[Strip]:
        if not any(len(curve.y) for curve in self.curves):
            return []
        from tui.widgets.plotting import Plot

        plot = Plot(self.curves, self._x_range, self._x_name, self.limits, self.logarithmic, self.rich_style)
        return plot.strips(width, height)


class ChartPane(Pane):
    """A chart; the title is its legend: the curves in their colours, each with its newest value."""

    def __init__(self, title: str, chart: Chart, *, id: str) -> None:
        super().__init__(title, chart, id=id)
        self._heading = title
        self._raw = False
        self.chart = chart

    def show(self, curves: tuple[Curve, ...], x_range: tuple[float, float], x_name: str, *, raw: bool) -> None:
        """Show curves; ``raw`` notes in the title that they are not smoothed."""
        self.chart.show(curves, x_range, x_name)
        self._raw = raw
        self._show_title()

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
        if notes and self.chart.curves and self.chart.logarithmic:
            title.append(" (log)", "dim")
        for curve in self.chart.curves:
            title.append(f"  {dash}{_BRIEF.get(curve.name, curve.name) if brief else curve.name}", curve.colour)
            if len(curve.y):
                title.append(f" {fmt.figure(float(curve.y[-1]))}", curve.colour)
        if notes and self._raw:
            title.append("  raw", "dim")
        return title
