"""Numbers, durations and states as people read them, in the same way everywhere."""

from __future__ import annotations

import math

from facegender.runs.folder import State

SIGNS: dict[State, tuple[str, str]] = {
    "starting": ("◌", "#e5c07b"),
    "training": ("●", "#98c379"),
    "completed": ("✓", "#61afef"),
    "stopped": ("■", "#e5c07b"),
    "failed": ("✗", "#e06c75"),
    "crashed": ("✗", "#e06c75"),
}
"""A sign and a colour for each state; the word always stands beside them."""

CLASS_COLOURS = ("#c678dd", "#56b6c2")
TRAIN_COLOUR = "#61afef"
VALIDATION_COLOUR = "#e5a05a"


def duration(seconds: float | None) -> str:
    """``00:01:12``, with days in front where there are some; ``--:--:--`` while unknown."""
    if seconds is None or not math.isfinite(seconds):
        return "--:--:--"
    minutes, second = divmod(int(max(0.0, seconds)), 60)
    hours, minute = divmod(minutes, 60)
    days, hour = divmod(hours, 24)
    return f"{days} d {hour:02}:{minute:02}:{second:02}" if days else f"{hour:02}:{minute:02}:{second:02}"


def thousands(value: float) -> str:
    """``1 243``, with a narrow space; small values that are not whole keep a decimal."""
    if not math.isfinite(value):
        return "–"
    return f"{value:.1f}" if 0 < value < 10 and value % 1 else f"{value:,.0f}".replace(",", "\u202f")


def gib(bytes_: float) -> str:
    """Bytes in GiB, e.g. ``11`` or ``1.4``."""
    value = bytes_ / 2**30
    return f"{value:.0f}" if value >= 10 else f"{value:.1f}"


def figure(value: float, digits: int = 3) -> str:
    """A number with so many decimals; ``NaN`` and ``∞`` as such."""
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "∞" if value > 0 else "-∞"
    return f"{value:.{digits}f}"


def significant(value: float) -> str:
    """A number with three significant digits, without an exponent where that is short."""
    if value == 0 or not math.isfinite(value):
        return "0" if value == 0 else figure(value)
    return f"{value:.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def load(percent: float) -> str:
    """A load in per cent without decimals; a dash where it is not known."""
    return "–" if math.isnan(percent) else f"{percent:.0f} %"


def percent(share: float) -> str:
    """A share in [0, 1] as ``87.34%``, the way the command line writes it."""
    return f"{100 * share:.2f}%"


def rate(bytes_per_second: float) -> str:
    """What a link carries, in the unit that links are sold in, e.g. ``1.2 Mbit/s``."""
    bits = 8 * bytes_per_second
    return f"{bits / 1e3:.0f} kbit/s" if bits < 950_000 else f"{bits / 1e6:.{0 if bits >= 9.5e6 else 1}f} Mbit/s"
