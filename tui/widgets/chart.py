"""A widget that draws curves, or a placeholder text."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.segment import Segment
from rich.style import Style
from textual.geometry import Size
from textual.strip import Strip
from textual.widget import Widget

if TYPE_CHECKING:
    from tui.run.curves import Curve


class Chart(Widget):
    """Curves over a common x axis, with a y axis that adapts to their range.

    A ``×`` on the x axis marks each non-finite value.
    """

    DEFAULT_CSS = """
    Chart { width: 1fr; height: 1fr; }
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
        self._curves: tuple[Curve, ...] = ()
        self._x_range = (0.0, 1.0)
        self._x_name = ""
        self._rows: list[Strip] | None = None
        self._rows_size = Size(0, 0)

    def show(self, curves: tuple[Curve, ...], x_range: tuple[float, float], x_name: str) -> None:
        """Show curves."""
        self._curves, self._x_range, self._x_name = curves, x_range, x_name
        self._rows = None
        self.refresh()

    def render_line(self, y: int) -> Strip:
        """Return a row; all rows are drawn once for each set of curves and size."""
        if self._rows is None or self._rows_size != self.size:
            self._rows, self._rows_size = self._draw(self.size.width, self.size.height), self.size
        return self._rows[y] if y < len(self._rows) else Strip.blank(self.size.width, self.rich_style)

    def _draw(self, width: int, height: int) -> list[Strip]:
        base = self.rich_style
        rows: list[Strip] = []
        if any(len(curve.y) for curve in self._curves):
            from tui.widgets.plotting import Plot

            plot = Plot(self._curves, self._x_range, self._x_name, self.limits, self.logarithmic, base)
            rows = plot.strips(width, height)
        return rows or _message(self.placeholder, width, height, base)


def _message(text: str, width: int, height: int, base: Style) -> list[Strip]:
    rows = [Strip.blank(width, base)] * height
    if height:
        rows[height // 2] = Strip([Segment(text[:width].center(width), base + Style(dim=True))], width)
    return rows
