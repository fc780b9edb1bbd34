"""Several runs over each other: their curves, the values at a cursor, and what differs in their configurations."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from rich.text import Text
from textual import on, work
from textual.app import ComposeResult
from textual.geometry import Size
from textual.strip import Strip
from textual.widgets import Static

from facegender.runs.comparison import Difference, differences, setting_text
from facegender.runs.folder import RunFolder
from facegender.support.text import counted, end_of
from tui import commands
from tui import format as fmt
from tui.graphics.textual_internals import Row
from tui.host.processes import ClassifierProcess
from tui.messages import OpenRun, SettingsChanged
from tui.run.curves import SMOOTHING, X_AXES, Axis, cycle_from
from tui.run.follow import FollowFailed
from tui.run.follow_many import ReducedRun, RunsFollower, RunsUpdated
from tui.run.overlay import GLYPHS, Entry, EntryCurves, curves_of, entries, lines, marks
from tui.run.state import ACCURACY, F1
from tui.screens.base import BaseScreen, unmet
from tui.settings import settings_of
from tui.widgets.chart import Chart
from tui.widgets.keys import KeyHints
from tui.widgets.legend_table import Legend, LegendRow, LegendTable
from tui.widgets.pane import Pane

if TYPE_CHECKING:
    from tui.run.curves import Curve
    from tui.widgets.plotting import Plot

CHARTS = ("loss", "metric")
NAMES = (("train", "validation"), ("validation",), ("train",))
"""What `v` goes through."""
REST = 30
"""Pause between two drawings while journals are read, in multiples of the time that drawing takes."""
ZOOM = 0.5
MIN_SHARE = 1 / 4096
"""The smallest share of the x axis that is shown."""
STACKED_BELOW_COLUMNS = 110
STACKED_FROM_ROWS = 32
ALONE_BELOW_COLUMNS = 76
"""In a narrower terminal one chart is shown; Tab changes to the other."""
VALUE_CELLS = 24


@dataclass(frozen=True)
class _Request:
    """What is to be drawn, and the sizes and axes of the charts."""

    entries: tuple[Entry, ...]
    hidden: frozenset[str]
    axis: Axis
    weight: float
    metric: str
    names: tuple[str, ...]
    view: tuple[float, float] | None


@dataclass(frozen=True)
class _Drawn:
    """The curves of all entries, the x range, and the rows of each chart."""

    request: _Request
    curves: tuple[EntryCurves, ...]
    x_range: tuple[float, float]
    charts: dict[str, tuple[tuple[Curve, ...], list[Strip], Size]]


class Compare(BaseScreen[None]):
    """Shows the curves of several runs over each other."""

    CSS_PATH = "compare.tcss"
    HELP = (
        "1 to 9 show and hide runs by the number on their curves. Dotted lines are training curves; the faint ones "
        "behind them are the values before smoothing. Runs that differ only in their seed are one line, their mean, "
        "with a band from the lowest to the highest of them. A dotted vertical line with the number of a run is where "
        "its learning rate or its epochs were changed. The wheel zooms, a click moves the cursor."
    )
    SCREEN_COMMANDS = commands.COMPARE
    FOOTER = commands.COMPARE_FOOTER

    def __init__(self, folders: tuple[RunFolder, ...], classifier: ClassifierProcess) -> None:
        """Create the screen; the classify process makes the patches of channels in pictures side by side."""
        super().__init__()
        self._folders = folders
        self._classifier = classifier
        self._reference = folders[0].name if folders else ""
        self._charts = {
            "loss": Chart("reading the runs", id="loss-chart"),
            "metric": Chart("reading the runs", id="metric-chart", limits=(0.0, 1.0)),
        }
        self._panes = {
            "loss": Pane("Loss", self._charts["loss"], id="loss"),
            "metric": Pane("", self._charts["metric"], id="metric"),
        }
        self._legend = LegendTable(id="legend")
        self._follower: RunsFollower | None = None
        self._runs: tuple[ReducedRun, ...] = ()
        self._entries: tuple[Entry, ...] = ()
        self._differences: list[Difference] = []
        self._complete = False
        self._hidden: frozenset[str] = frozenset()
        self._choice = {"axis": 0, "smoothing": 0, "names": 0}
        self._metric = ACCURACY
        self._grouped = True
        self._differences_first = False
        self._cursor_x: float | None = None
        self._highlighted = 0
        self._view: tuple[float, float] | None = None
        self._drawn: _Drawn | None = None
        self._drawing = False
        self._redraw = False
        self._rest_until = 0.0
        self._alone = "loss"
        self._shows_one = False
        """Whether there is room for one chart only."""

    def compose(self) -> ComposeResult:
        """The two charts above the legend."""
        yield Static(id="title")
        with Row(id="charts"):
            yield self._panes["loss"]
            yield self._panes["metric"]
        yield self._legend
        yield KeyHints(*self.hints())

    def on_mount(self) -> None:
        """Follow the runs."""
        self._follower = RunsFollower(self._folders, self.post_message)
        self._arrange()
        self._show_title()

    @property
    def is_complete(self) -> bool:
        """Whether the charts show the runs as far as their journals went when they were last read to their ends."""
        return self._complete and not self._drawing and self._drawn is not None

    def on_unmount(self) -> None:
        """Stop the thread that follows the runs."""
        if self._follower is not None:
            self._follower.stop()

    # Reading

    @on(RunsUpdated)
    def _runs_updated(self, event: RunsUpdated) -> None:
        if [run.manifest for run in event.runs] != [run.manifest for run in self._runs]:
            self._differences = differences([run.manifest for run in event.runs])
        self._runs, self._complete = event.runs, event.complete
        if event.complete or time.monotonic() >= self._rest_until:
            self._update_entries()
        else:
            self._show_title()

    @on(FollowFailed)
    def _follow_failed(self, event: FollowFailed) -> None:
        self.app.notify(
            f"the runs are no longer followed ({event.why}); compare them again", severity="error", markup=False,
        )  # fmt: skip

    def _update_entries(self) -> None:
        self._entries = entries(self._runs, grouped=self._grouped)
        self._highlighted = min(self._highlighted, max(0, len(self._entries) - 1))
        self.update_keys()
        self._update()

    # Drawing: at most one picture of the charts at a time, in a thread, then the newest

    def _request(self) -> _Request:
        settings = settings_of(self.app)
        axes, weights = cycle_from(settings.x_axis, X_AXES), cycle_from(settings.smoothing, SMOOTHING)
        return _Request(
            entries=self._entries,
            hidden=self._hidden,
            axis=axes[self._choice["axis"] % len(axes)],
            weight=weights[self._choice["smoothing"] % len(weights)],
            metric=self._metric,
            names=NAMES[self._choice["names"] % len(NAMES)],
            view=self._view,
        )

    def restyle(self) -> None:
        """Draw everything in the colours of another theme; a thread draws the charts."""
        super().restyle()
        self._update()

    def _update(self) -> None:
        """Draw the charts anew."""
        if self._drawing:
            self._redraw = True
        elif self._entries:
            self._drawing = True
            self._draw()

    @work(group="draw")
    async def _draw(self) -> None:
        try:
            while True:
                self._redraw = False
                request = self._request()
                plots = {name: (chart.plot((), (0.0, 1.0), ""), chart.size) for name, chart in self._charts.items()}
                began = time.monotonic()
                self._show(await asyncio.to_thread(_drawn, request, plots))
                self._rest_until = time.monotonic() + REST * (time.monotonic() - began)
                if not self._redraw or not self.is_open:
                    return
        finally:
            self._drawing = False

    def _show(self, drawn: _Drawn) -> None:
        if not self.is_open:
            return
        self._drawn = drawn
        for name, (curves, rows, size) in drawn.charts.items():
            self._charts[name].placeholder = "no curve to show" if self._complete else "reading the runs"
            self._charts[name].show(curves, drawn.x_range, drawn.request.axis, (rows, size))
        self._fit_legend()
        self._show_cursor()

    def _show_cursor(self) -> None:
        for chart in self._charts.values():
            chart.show_cursor(self._cursor_x)
        self._show_title()
        self._legend.legend = self._legend_now()

    def _show_title(self) -> None:
        request = self._request()
        title = Text.assemble((" Compare ", "bold"), (counted(len(self._folders), "run"), ""))
        if not self._complete:
            read = sum(run.state.read for run in self._runs)
            title.append(f"  reading: {read} of {len(self._folders)}", "$warning")
        if self._cursor_x is not None:
            title.append(f"  at {_position(self._cursor_x, request.axis)}", "bold $warning")
        names = {2: "train ┄ validation ━", 1: request.names[0]}[len(request.names)]
        notes = [names, f"smoothing {request.weight:g}" if request.weight else "not smoothed"]
        if any(len(entry.runs) > 1 for entry in self._entries):
            notes.append("band: lowest to highest seed")
        if self._view is not None:
            notes.append("zoomed: Z zooms out")
        title.append("  " + " · ".join(notes), "dim")
        self.query_one("#title", Static).update(title, layout=False)
        self._panes["loss"].show_notes(Text(" (log)" if self._charts["loss"].logarithmic else ""), Text())
        metric = self._metric.capitalize() if self._metric == ACCURACY else self._metric
        self._panes["metric"].show_notes(Text(metric), Text())

    def _legend_now(self) -> Legend:
        drawn = self._drawn
        assert drawn is not None
        metric = "acc." if drawn.request.metric == ACCURACY else drawn.request.metric
        figures = [("val. loss", "loss", "validation"), (f"val. {metric}", "metric", "validation")]
        with_best = len(figures)
        figures.append(("train loss", "loss", "train"))
        if any("train" in one.metric for one in drawn.curves):
            figures.append((f"train {metric}", "metric", "train"))
        else:
            figures[1] = metric, "metric", "validation"
        rows = []
        for entry, curves in zip(drawn.request.entries, drawn.curves, strict=True):
            values = [fmt.measured(curves.value(chart, name, self._cursor_x)) for _, chart, name in figures]
            accuracy, epochs = entry.best
            values.insert(with_best, f"{fmt.measured(accuracy)} @ {epochs}" if epochs else fmt.UNKNOWN)
            differing = [self._value(difference, entry) for difference in self._differences]
            cells = [*differing, *values] if self._differences_first else [*values, *differing]
            sign = fmt.SIGNS[entry.runs[0].state.state]
            hidden = entry.name in self._hidden
            rows.append(LegendRow(entry.glyph, entry.colour, entry.name, sign, tuple(cells), hidden))
        names = [name for name, _, _ in figures]
        names.insert(with_best, "best acc. @ epoch")
        labels = [difference.label for difference in self._differences]
        columns = [*labels, *names] if self._differences_first else [*names, *labels]
        return Legend(tuple(columns), frozenset(labels), tuple(rows), self._highlighted)

    def _value(self, difference: Difference, entry: Entry) -> str:
        values = [
            end_of(setting_text(value), VALUE_CELLS)
            for run, value in zip(self._runs, difference.values, strict=True)
            if any(run.folder.name == one.folder.name for one in entry.runs)
        ]
        text = ", ".join(dict.fromkeys(values))
        return text if len(text) <= VALUE_CELLS else text[: VALUE_CELLS - 1] + "…"

    # Arrangement

    def lacks(self) -> frozenset[str]:
        """Return what these runs and the screen do not have."""
        return unmet(
            {
                "one-chart": self._shows_one,
                "seeds": not self._grouped or any(len(entry.runs) > 1 for entry in self._entries),
            }
        )

    def on_resize(self) -> None:
        """Arrange the charts for the new size, and draw them once they have theirs."""
        self._arrange()
        self.call_after_refresh(self._update)

    def _arrange(self) -> None:
        width, height = self.size
        stacked = width < STACKED_BELOW_COLUMNS and height >= STACKED_FROM_ROWS
        alone = width < ALONE_BELOW_COLUMNS and not stacked
        for name, pane in self._panes.items():
            pane.display = not alone or name == self._alone
        self._shows_one = alone
        self.update_keys()
        self.query_one("#charts").styles.layout = "vertical" if stacked else "horizontal"
        self._fit_legend()

    def _fit_legend(self) -> None:
        """Give the legend a row for each entry, and at most a third of the screen."""
        height = 1 + min(len(self._entries), max(2, self.size.height // 3 - 1))
        if self._legend.styles.height is None or self._legend.styles.height.value != height:
            self._legend.styles.height = height
            self.call_after_refresh(self._update)

    def action_next_chart(self) -> None:
        """Show the other chart where there is room for only one."""
        self._alone = CHARTS[1 - CHARTS.index(self._alone)]
        self._arrange()
        self.call_after_refresh(self._update)

    @on(SettingsChanged)
    def _use_settings(self, event: SettingsChanged) -> None:
        """Show the curves as the settings say, unless these have not changed; the keys go on from there."""
        settings, before = settings_of(self.app), event.before
        if settings.x_axis != before.x_axis:
            self._choice["axis"], self._cursor_x, self._view = 0, None, None
        if settings.smoothing != before.smoothing:
            self._choice["smoothing"] = 0
        self._update()

    # Keys

    def action_change(self, what: str) -> None:
        """Switch to the next x axis, smoothing or selection of curves."""
        if what == "axis" and self._drawn is not None:
            self._cursor_x = self._view = None
        self._choice[what] += 1
        self._update()

    def action_log_scale(self) -> None:
        """Switch between a logarithmic and a linear loss axis."""
        self._charts["loss"].logarithmic = not self._charts["loss"].logarithmic
        self._update()

    def action_next_metric(self) -> None:
        """Choose another metric that one of the runs has."""
        metrics = list(dict.fromkeys(metric for run in self._runs for metric in run.state.metrics))
        if metrics:
            index = metrics.index(self._metric) if self._metric in metrics else -1
            self._metric = metrics[(index + 1) % len(metrics)]
            self._charts["metric"].limits = (0.0, 1.0) if self._metric in (ACCURACY, F1) else None
            self._update()

    def action_seeds(self) -> None:
        """Switch between one curve for runs that differ only in their seed and a curve for each run."""
        self._grouped = not self._grouped
        before = len(self._entries)
        self._update_entries()
        if len(self._entries) == before:
            self.notify(commands.REASONS["seeds"], markup=False, timeout=4)

    def action_columns(self) -> None:
        """Show the differences before the values, or after them."""
        self._differences_first = not self._differences_first
        if self._drawn is not None:
            self._legend.legend = self._legend_now()

    def action_highlight(self, by: int) -> None:
        """Move the cursor of the legend."""
        if self._drawn is not None:
            self._highlighted = min(max(0, self._highlighted + by), len(self._entries) - 1)
            self._legend.legend = self._legend_now()

    @on(LegendTable.Clicked)
    def _legend_clicked(self, event: LegendTable.Clicked) -> None:
        if event.index == self._highlighted:
            self.action_toggle_entry()
        else:
            self.action_highlight(event.index - self._highlighted)

    def action_toggle_entry(self) -> None:
        """Show or hide the entry under the cursor."""
        self._toggle(self._highlighted)

    def action_toggle_number(self, number: int) -> None:
        """Show or hide the entry whose glyph is this number."""
        self._toggle(GLYPHS.index(str(number)))

    def _toggle(self, index: int) -> None:
        if index < len(self._entries):
            self._hidden ^= {self._entries[index].name}
            self._update()

    def action_only(self) -> None:
        """Show only the entry under the cursor, or all of them again."""
        if self._entries:
            others = {entry.name for entry in self._entries} - {self._entries[self._highlighted].name}
            self._hidden = frozenset() if self._hidden == others else frozenset(others)
            self._update()

    def action_open(self) -> None:
        """Show the run under the cursor on the dashboard; of several seeds the first."""
        if self._entries:
            self.post_message(OpenRun(self._entries[self._highlighted].runs[0].folder))

    def action_freeze(self) -> None:
        """Make the run under the cursor the one that pictures of others are shown beside."""
        if self._entries:
            self._reference = self._entries[self._highlighted].runs[0].folder.name
            self.notify(f"b shows the pictures of other runs beside those of {self._reference}", markup=False)

    async def action_beside(self) -> None:
        """Show the pictures of the reference and of the run under the cursor, or of the first other one."""
        if not self._entries:
            return
        under_cursor = [run.folder for run in self._entries[self._highlighted].runs]
        others = [one for one in (*under_cursor, *self._folders) if one.name != self._reference]
        reference = next((one for one in self._folders if one.name == self._reference), None)
        if reference is None or not others:
            self.notify("there is no other run to show beside this one", markup=False)
            return
        from tui.inspect.selection import Selection
        from tui.screens.beside import Beside

        await self.app.push_screen(Beside((reference, others[0]), (Selection(), Selection()), self._classifier))

    # The cursor and the zoom

    @property
    def _whole(self) -> tuple[float, float]:
        """The range of the x axis without a zoom."""
        return (0.0, _x_end(self._drawn)) if self._drawn is not None else (0.0, 1.0)

    def _stops(self) -> list[float]:
        """Where epochs of runs that are shown end, ascending."""
        if self._drawn is None:
            return []
        ends = {x for one in _visible(self._drawn) for x in one.ends.tolist()}
        return sorted(ends)

    def action_move(self, by: int) -> None:
        """Move the cursor by ends of epochs; beyond the last one it follows the newest values."""
        stops = self._stops()
        if not stops:
            return
        if self._cursor_x is None:
            index = len(stops) - 1 + (by if by < 0 else 0)
        elif by > 0:
            index = next((n for n, x in enumerate(stops) if x > self._cursor_x), len(stops)) + by - 1
        else:
            index = sum(x < self._cursor_x for x in stops) + by
        self._set_cursor(None if index >= len(stops) else stops[max(0, index)])

    def action_step(self, by: int) -> None:
        """Move the cursor by a column of the chart."""
        low, high = self._view or self._whole
        columns = max(20, self._charts[self._alone].size.width)
        start = self._whole[1] if self._cursor_x is None else self._cursor_x
        self._set_cursor(min(max(0.0, start + by * (high - low) / columns), self._whole[1]))

    def action_first(self) -> None:
        """Move the cursor to the end of the first epoch."""
        if stops := self._stops():
            self._set_cursor(stops[0])

    def action_last(self) -> None:
        """Show the newest values."""
        self._set_cursor(None)

    def _set_cursor(self, x: float | None) -> None:
        self._cursor_x = x
        if x is not None and self._view is not None and not self._view[0] <= x <= self._view[1]:
            span = self._view[1] - self._view[0]
            self._set_view(x - span / 2, x + span / 2)
        if self._drawn is not None:
            self._show_cursor()

    def action_zoom(self, by: int) -> None:
        """Zoom in or out around the cursor."""
        low, high = self._view or self._whole
        self._zoom(by, (low + high) / 2 if self._cursor_x is None else self._cursor_x)

    def _zoom(self, by: int, at: float) -> None:
        """Zoom in or out; what is at an x coordinate stays there."""
        low, high = self._view or self._whole
        at = min(max(low, at), high)
        factor = max(ZOOM**by, MIN_SHARE * self._whole[1] / (high - low))
        self._set_view(at - (at - low) * factor, at + (high - at) * factor)

    def action_pan(self, by: int) -> None:
        """Move the zoomed range by half of it."""
        if self._view is not None:
            half = (self._view[1] - self._view[0]) / 2
            self._set_view(self._view[0] + by * half, self._view[1] + by * half)

    def _set_view(self, low: float, high: float) -> None:
        end, span = self._whole[1], high - low
        low = min(max(0.0, low), max(0.0, end - span))
        self._view = None if span >= end * 0.999 else (low, low + span)
        self._update()

    @on(Chart.Scrolled)
    def _chart_scrolled(self, event: Chart.Scrolled) -> None:
        self._zoom(-event.by, event.x)

    @on(Chart.Clicked)
    def _chart_clicked(self, event: Chart.Clicked) -> None:
        self._set_cursor(min(max(0.0, event.x), self._whole[1]))


def _drawn(request: _Request, plots: dict[str, tuple[Plot, Size]]) -> _Drawn:
    """Compute the curves and draw the charts, in a thread.

    Args:
        plots: For each chart the axes without curves, and its size.
    """
    curves = tuple(curves_of(entry, request.axis, request.weight, request.metric) for entry in request.entries)
    drawn = _Drawn(request, curves, (0.0, 1.0), {})
    x_range = request.view or (0.0, _x_end(drawn))
    rows = {}
    for name, (plot, size) in plots.items():
        shown = lines(_visible(drawn), name, request.names)
        plot = replace(plot, curves=shown, x_range=x_range, x_name=request.axis, marks=marks(_visible(drawn)))
        rows[name] = shown, plot.strips(*size), size
    return _Drawn(request, curves, x_range, rows)


def _visible(drawn: _Drawn) -> list[EntryCurves]:
    entries_and_curves = zip(drawn.request.entries, drawn.curves, strict=True)
    return [curves for entry, curves in entries_and_curves if entry.name not in drawn.request.hidden]


def _x_end(drawn: _Drawn) -> float:
    return max((one.x_end for one in _visible(drawn)), default=1.0)


def _position(x: float, axis: Axis) -> str:
    """Say in words where the cursor is."""
    if axis == "minutes":
        return f"minute {x:.2f}"
    return f"{axis[:-1]} {fmt.significant(x) if axis == 'epochs' and x % 1 else f'{x:.0f}'}"
