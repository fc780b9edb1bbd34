"""Formats numbers, durations and states, in the same way everywhere."""

from __future__ import annotations

import math
from collections.abc import Sequence

from rich.text import Text

from facegender.runs.folder import INITIAL, State

SIGNS: dict[State, tuple[str, str]] = {
    "starting": ("◌", "$warning"),
    "training": ("●", "$success"),
    "completed": ("✓", "$primary"),
    "stopped": ("■", "$warning"),
    "failed": ("✗", "$error"),
    "crashed": ("✗", "$error"),
}
"""A sign and a named colour for each state; the word always stands beside them."""

WRONG, CORRECT = ("✗", "$error"), ("✓", "$success")
"""A sign and a colour for a wrong and for a correct prediction."""

CLASSES = 10
"""Colours of classes, and of runs that are compared; further ones begin again."""
CLASS_GLYPHS = ("●", "■", "▲", "◆", "▼", "★")
"""Before the names where there are more classes than colours."""


def class_colour(index: int) -> str:
    """Return the named colour of a class."""
    return f"$class-{index % CLASSES}"


def class_name(index: int, names: Sequence[str]) -> str:
    """Return the name of a class, with a glyph before it where colours alone do not tell the classes apart."""
    name = names[index] if index < len(names) else f"class {index + 1}"
    return name if len(names) <= CLASSES else f"{CLASS_GLYPHS[index // CLASSES % 6]} {name}"


def epoch_name(epoch: int, step: int | None = None) -> str:
    """Return what people call an epoch, e.g. "epoch 3"; ``step`` names one within it."""
    if epoch == INITIAL:
        return "epoch 0, initial weights"
    return f"epoch {epoch + 1}" if step is None else f"epoch {epoch + 1}, step {step}"


def epoch_of(number: int, planned: int) -> str:
    """Return how far a run is, e.g. "epoch 3 of 10".

    Args:
        number: The epoch, counted from 1; 0 before the first.
        planned: How many epochs the run has; 0 if unknown.
    """
    return f"epoch {thousands(number)}" + (f" of {thousands(planned)}" if planned > 0 else "")


def cut(text: str, width: int) -> Text:
    """Return a text of exactly ``width`` cells, ending with an ellipsis if it is longer."""
    out = Text(text)
    out.truncate(width, overflow="ellipsis", pad=True)
    return out


def duration(seconds: float | None) -> str:
    """Format a duration as ``00:01:12`` or ``2 d 00:01:12``; ``--:--:--`` if unknown."""
    if seconds is None or not math.isfinite(seconds):
        return "--:--:--"
    minutes, second = divmod(int(max(0.0, seconds)), 60)
    hours, minute = divmod(minutes, 60)
    days, hour = divmod(hours, 24)
    return f"{days} d {hour:02}:{minute:02}:{second:02}" if days else f"{hour:02}:{minute:02}:{second:02}"


def thousands(value: float) -> str:
    """Format a number as ``1 243`` with a narrow space; fractions below 10 keep a decimal."""
    if not math.isfinite(value):
        return "–"
    return f"{value:.1f}" if 0 < value < 10 and value % 1 else f"{value:,.0f}".replace(",", "\u202f")


def gib(bytes_: float) -> str:
    """Format bytes in GiB, e.g. ``11`` or ``1.4``."""
    value = bytes_ / 2**30
    return f"{value:.0f}" if value >= 10 else f"{value:.1f}"


def figure(value: float) -> str:
    """Format a number with three decimals; ``NaN`` and ``∞`` as such."""
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "∞" if value > 0 else "-∞"
    return f"{value:.3f}"


def measured(value: float) -> str:
    """Format a share or another measure with three decimals; ``-`` if it was not measured, which is NaN."""
    return "-" if math.isnan(value) else figure(value)


def significant(value: float) -> str:
    """Format a number with three significant digits, without an exponent where that is short."""
    if value == 0 or not math.isfinite(value):
        return "0" if value == 0 else figure(value)
    return f"{value:.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def load(percent: float) -> str:
    """Format a load in per cent without decimals; a dash if unknown."""
    return "–" if math.isnan(percent) else f"{percent:.0f} %"


def percent(share: float) -> str:
    """Format a share in [0, 1] as ``87.34%``, as the command line does."""
    return f"{100 * share:.2f}%"


def rate(bytes_per_second: float) -> str:
    """Format the speed of a link in bits, e.g. ``1.2 Mbit/s``."""
    bits = 8 * bytes_per_second
    return f"{bits / 1e3:.0f} kbit/s" if bits < 950_000 else f"{bits / 1e6:.{0 if bits >= 9.5e6 else 1}f} Mbit/s"
