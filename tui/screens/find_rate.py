"""Finds a learning rate with ``facegender find-lr`` and shows the curve that it is read from."""

from __future__ import annotations

import math
from collections.abc import Sequence

import msgspec
import numpy as np
from textual import on
from textual.app import ComposeResult

from facegender.runs.config import TrainConfig
from facegender.runs.details import Detail, Section
from facegender.support.text import printable_strings
from tui import commands
from tui import format as fmt
from tui.host.processes import CommandOutput
from tui.run.curves import Curve
from tui.screens.command import CommandScreen
from tui.widgets.chart import Chart, ChartPane
from tui.widgets.details import DetailsView
from tui.widgets.keys import KeyHints


class _Found(msgspec.Struct, frozen=True):
    """The object that the command prints; see there."""

    suggestion: float | None
    command: str | None
    learning_rates: list[float]
    losses: list[float]
    smoothed_losses: list[float]


class FindRate(CommandScreen[float | None]):
    """Returns the learning rate that the user takes.

    Args:
        arguments: Of ``facegender find-lr``.
        config: The configuration that the rate is for.
    """

    SCREEN_COMMANDS = commands.FIND_RATE
    FOOTER = commands.FIND_RATE_FOOTER

    def __init__(self, arguments: Sequence[str], config: TrainConfig) -> None:
        super().__init__("Learning rate", [*arguments, "--json"])
        self._config = config
        self._suggestion: float | None = None
        self._chart = ChartPane("Loss", Chart("the curve appears when all learning rates are tried"), id="curve")

    def compose(self) -> ComposeResult:
        """The curve above what it says."""
        yield self._title
        yield self._chart
        yield self.details
        yield self._status
        yield KeyHints(*self.hints())

    def lacks(self) -> frozenset[str]:
        """Return which needs are not met until there is a suggestion."""
        return frozenset({"rate"} if self._suggestion is None else ())

    def show_output(self, output: CommandOutput) -> None:
        """Show the curve and the suggestion."""
        self._suggestion = None
        try:
            found = printable_strings(msgspec.json.decode("".join(output.lines), type=_Found))
        except msgspec.DecodeError:
            self.details.show([])
            return
        self._show_curve(found)
        lines = [Detail(label="this configuration", text=fmt.significant(self._config.learning_rate))]
        if found.suggestion is not None:
            self._suggestion = found.suggestion
            lines.insert(0, Detail(label="suggested", text=fmt.significant(found.suggestion), kind="heading"))
            self.update_keys()
        if found.command:
            lines.append(Detail(label="train with it", text=found.command, kind="command", copied=found.command))
        self.details.show([Section(title="Learning rate", lines=tuple(lines))])

    def _show_curve(self, found: _Found) -> None:
        if not found.smoothed_losses:
            return
        rates, smoothed = map(np.array, (found.learning_rates, found.smoothed_losses))
        decades = np.log10(rates)
        # Losses far above the first ones, as at the highest rates, would flatten the rest.
        low, high = float(smoothed.min()), float(smoothed[: int(smoothed.argmin()) + 1].max())
        shown = smoothed <= high + (high - low)
        curve = Curve("smoothed loss", decades[shown], smoothed[shown], "$validation", by_epoch=smoothed)
        x_range = float(decades[0]), float(decades[-1])
        self._chart.show((curve,), x_range, "power of ten of the learning rate", raw=False)
        if found.suggestion:
            at = int(np.abs(rates - found.suggestion).argmin())
            name = f"at {fmt.significant(found.suggestion)}"
            self._chart.show_cursor(math.log10(found.suggestion), (name, at))
        else:
            self._chart.show_cursor(None, None)

    @on(DetailsView.Chosen)
    def action_take(self) -> None:
        """Return the suggestion."""
        if self._suggestion is not None and self.is_active:
            self.dismiss(self._suggestion)
