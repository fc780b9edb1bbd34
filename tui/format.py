"""Formats numbers, durations and states, in the same way everywhere."""

from __future__ import annotations

import math
from collections.abc import Sequence

from rich.text import Text

from facegender.runs.folder import INITIAL, State
from facegender.support.text import UNKNOWN as UNKNOWN
from facegender.support.text import duration as duration
from facegender.support.text import figure as figure
from facegender.support.text import measured as measured
from facegender.support.text import percent as percent
from facegender.support.text import significant as significant
from facegender.support.text import thousands as _thousands

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
"""On the curves of classes, and before the names where there are more classes than colours."""
VALIDATION_GLYPH = "◆"
"""On validation curves; training curves have none."""


def class_colour(index: int) -> str:
    """Return the named colour of a class."""
    return f"$class-{index % CLASSES}"


def class_name(index: int, names: Sequence[str]) -> str:
    """Return the name of a class, with a glyph before it where colours alone do not tell the classes apart."""
    name = names[index] if index < len(names) else f"class {index + 1}"
    return name if len(names) <= CLASSES else f"{CLASS_GLYPHS[index // CLASSES % len(CLASS_GLYPHS)]} {name}"


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


def thousands(value: float) -> str:
    """Write a number as ``1 243``, with a narrow space that breaks no line."""
    return _thousands(value).replace(" ", "\u202f")


def gib(bytes_: float) -> str:
    """Format bytes in GiB, e.g. ``11`` or ``1.4``."""
    value = bytes_ / 2**30
    return f"{value:.0f}" if value >= 10 else f"{value:.1f}"


def load(value: float) -> str:
    """Format a load in per cent without decimals; a dash if unknown."""
    return UNKNOWN if math.isnan(value) else percent(value / 100, 0)


def rate(bytes_per_second: float) -> str:
    """Format the speed of a link in bits, e.g. ``1.2 Mbit/s``."""
    bits = 8 * bytes_per_second
    return f"{bits / 1e3:.0f} kbit/s" if bits < 950_000 else f"{bits / 1e6:.{0 if bits >= 9.5e6 else 1}f} Mbit/s"
