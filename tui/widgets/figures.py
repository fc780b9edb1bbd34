"""The figures of an epoch: the confusion matrix, and below it how reliable the probabilities are, and a ROC curve."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from rich.text import Text
from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical

from tui import format as fmt
from tui.run.curves import Curve
from tui.widgets.chart import Chart
from tui.widgets.confusion import ConfusionMatrix
from tui.widgets.pane import Pane

if TYPE_CHECKING:
    from tui.run.mistakes import Figures


class FiguresView(Vertical):
    """Shows `Figures`.

    Attributes:
        matrix: The confusion matrix.
        shown: What is shown; None before anything is.
        positive: Index of the class of the ROC curve.
    """

    DEFAULT_CSS = """
    FiguresView { height: 1fr; }
    FiguresView ConfusionMatrix { max-height: 60%; margin-bottom: 1; }
    FiguresView #charts { height: 1fr; }
    FiguresView Pane { border: round $edge; padding: 0 1; width: 1fr; height: 1fr; }
    FiguresView Pane { border-title-color: $foreground; }
    """

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.matrix = ConfusionMatrix(id="matrix")
        self._reliability, self._roc = Chart("", limits=(0.0, 1.0)), Chart("", limits=(0.0, 1.0))
        self._reliability_pane = Pane("Reliability", self._reliability, id="reliability")
        self._roc_pane = Pane("ROC", self._roc, id="roc")
        self._reliability_pane.can_focus = self._roc_pane.can_focus = False
        self.shown: Figures | None = None
        self.positive = 0

    def compose(self) -> ComposeResult:
        """The matrix above two charts."""
        yield self.matrix
        with Horizontal(id="charts"):
            yield self._reliability_pane
            yield self._roc_pane

    def show(self, figures: Figures, positive: int) -> None:
        """Show the figures of an epoch; ``positive`` is the index of the class of the ROC curve."""
        self.shown, self.positive = figures, positive
        self.matrix.show(figures.confusion, figures.classes)
        filled = figures.reliability.count > 0
        least = 1 / max(2, len(figures.classes))  # the most probable of K classes has at least this probability
        ends = np.array([least, 1.0])
        self._reliability.show(
            (
                Curve("", ends, ends, "$reference", behind=True),
                Curve(
                    "", figures.reliability.confidence[filled], figures.reliability.accuracy[filled],
                    "$validation", points=True,
                ),
            ),
            (least, 1.0),
            "confidence",
        )  # fmt: skip
        note = f"  error {fmt.measured(figures.calibration_error)}, accuracy by confidence"
        self._reliability_pane.show_notes(Text(note), Text())
        ends = np.array([0.0, 1.0])
        x, y = figures.roc
        curve = Curve("", x, y, fmt.class_colour(positive)) if np.isfinite(x).all() and np.isfinite(y).all() else None
        self._roc.show(
            (Curve("", ends, ends, "$reference", behind=True), *([curve] if curve else [])),
            (0.0, 1.0),
            "false positive rate",
        )
        name = figures.classes[positive]
        self._roc_pane.show_notes(Text(f"  area {fmt.measured(figures.roc_auc)}, {name} against the rest"), Text())
