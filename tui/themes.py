"""The program's own themes, and which theme the setting means."""

from __future__ import annotations

from textual.theme import Theme

DARK = Theme(
    name="dark",
    primary="#61afef",
    secondary="#56b6c2",
    accent="#e5a05a",
    warning="#e5c07b",
    error="#e06c75",
    success="#98c379",
    foreground="#d7dae0",
    background="#16181d",
    surface="#1c1f26",
    panel="#23272f",
    variables={
        "reference": "#5c6370", "past": "#7f848e", "track": "#3e4451", "selected": "#2c313c", "frame": "#ffffff",
        "correct-cell": "#2d5c8e", "wrong-cell": "#a03e42",
    },
)  # fmt: skip

THEMES = (DARK,)
