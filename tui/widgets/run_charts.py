"""The two charts of a run: the loss, and a metric that can be chosen."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tui import format as fmt
from tui.run.state import ACCURACY, F1, LEARNING_RATE, RunState
from tui.settings import Settings
from tui.widgets.chart import Chart, ChartPane

if TYPE_CHECKING:
    from tui.run.curves import Curves, StepCurves

PLACEHOLDER = "accuracy appears with the first batches"


class RunCharts:
    """Draws a run into two panes, with the same x axis, smoothing and cursor.

    Attributes:
        loss: The pane of the loss.
        second: The pane of the chosen metric.
    """

    def __init__(self) -> None:
        self.loss = ChartPane("Loss", Chart("the loss appears with the first batches", id="loss-chart"), id="loss")
        chart = Chart(PLACEHOLDER, id="accuracy-chart", limits=(0.0, 1.0))
        self.second = ChartPane("Accuracy", chart, id="accuracy")
        self._curves: Curves | None = None
        self._metric = ACCURACY
        self._x_axis = self._smoothing = 0
        self._settings = Settings()

    def use_settings(self, settings: Settings) -> None:
        """Show the curves with the x axis and the smoothing of the settings; the keys go on from there."""
        before, self._settings = self._settings, settings
        if before.x_axis != settings.x_axis:
            self._x_axis = 0
        if before.smoothing != settings.smoothing:
            self._smoothing = 0

    def show(self, state: RunState, steps: StepCurves | None) -> None:
        """Show a run and its steps; None if nothing is known of it yet."""
        if steps is None:
            self._curves = None
            for pane in (self.loss, self.second):
                pane.show((), (0.0, 1.0), "", raw=False)
            return
        from tui.run.curves import SMOOTHING, X_AXES, cycle_from  # they import numpy, as the steps have done

        weights = cycle_from(self._settings.smoothing, SMOOTHING)
        axes = cycle_from(self._settings.x_axis, X_AXES)
        axis, weight = axes[self._x_axis % len(axes)], weights[self._smoothing % len(weights)]
        curves = self._curves = steps.curves(state, axis, weight, self._metric)
        self.loss.show(curves.loss, curves.x_range, axis, raw=not weight, marks=curves.marks)
        metric, chart = self._metric, self.second.chart
        chart.limits = (0.0, 1.0) if metric in (ACCURACY, F1) else None
        waiting = PLACEHOLDER if metric == ACCURACY else f"{metric} appears with the first epoch"
        chart.placeholder = f"no {metric} was recorded" if state.epochs else waiting
        heading = metric.capitalize() if metric in (ACCURACY, LEARNING_RATE) else metric
        raw = not weight and metric == ACCURACY
        self.second.show(curves.metric, curves.x_range, axis, raw=raw, heading=heading, marks=curves.marks)

    def show_epoch(self, epoch: int | None, *, latest: bool) -> None:
        """Mark an epoch, counted from 0; unless it is the ``latest``, the titles show its values."""
        curves = self._curves
        for pane in (self.loss, self.second):
            if epoch is None or curves is None:
                pane.show_cursor(None, None)
            else:
                name = fmt.epoch_name(epoch).partition(",")[0]
                pane.show_cursor(curves.x_of(epoch), None if latest else (name, curves.index_of(epoch)))

    def epoch_near(self, x: float) -> int | None:
        """Return the finished epoch nearest to an x coordinate; None if there is none."""
        return None if self._curves is None else self._curves.epoch_near(x)

    def toggle_log_scale(self) -> None:
        """Switch between a logarithmic and a linear loss axis."""
        self.loss.chart.logarithmic = not self.loss.chart.logarithmic

    def next_x_axis(self) -> None:
        """Switch the x axis between epochs, steps and minutes."""
        self._x_axis += 1

    def next_smoothing(self) -> None:
        """Switch between some, much and no smoothing."""
        self._smoothing += 1

    def next_metric(self, state: RunState) -> None:
        """Choose another metric of a run."""
        metrics = state.metrics
        index = metrics.index(self._metric) if self._metric in metrics else -1
        self._metric = metrics[(index + 1) % len(metrics)]
