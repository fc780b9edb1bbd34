"""The program's own themes, themes from the user's files, and which of them the setting "auto" means."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from textual.color import Color, ColorParseError
from textual.theme import BUILTIN_THEMES, Theme

from facegender.support.errors import UserError
from facegender.support.files import exists
from facegender.support.text import end_of, one_line
from tui.colours import MIN_LINE_CONTRAST, MIN_TEXT_CONTRAST, NAMES, PETROFF, contrast, legible, mix
from tui.settings import read_file, statements

AUTO = "auto"


def _classes(colours: Iterable[str]) -> dict[str, str]:
    return {f"class-{number}": colour for number, colour in enumerate(colours)}


_DARK = {
    "edge": "#3c3f47", "field": "#3c3f47", "selected": "#2c313c", "track": "#3e4451", "past": "#7f848e",
    "reference": "#5c6370", "frame": "#ffffff", "correct-cell": "#2d5c8e", "wrong-cell": "#a03e42",
}  # fmt: skip

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
    variables=_DARK,
)
LIGHT = Theme(
    name="light",
    primary="#1f5fbf",
    secondary="#0b6e80",
    accent="#a04400",
    warning="#7a5600",
    error="#b3242c",
    success="#23702a",
    foreground="#24272e",
    background="#fafafa",
    surface="#efeff1",
    panel="#e4e5e9",
    variables={
        "reference": "#8b909a", "field": "#d9e4f5", "track": "#c3c6cd", "selected": "#d9e4f5", "frame": "#000000",
        "correct-cell": "#9dc1ee", "wrong-cell": "#f0a3a5", "primary-muted": "#c8dbf5", "text-muted": "#5a5e68",
        # Petroff's colours too, those first that are seen well on a light background.
        **_classes(PETROFF[index] for index in (4, 8, 9, 5, 7, 0, 6, 2, 3, 1)),
    },
    dark=False,
)  # fmt: skip
HIGH_CONTRAST = Theme(
    name="high-contrast",
    primary="#7cc4ff",
    secondary="#7fe0e0",
    accent="#ffb84d",
    warning="#ffe14d",
    error="#ff9090",
    success="#7dff8a",
    foreground="#ffffff",
    background="#000000",
    surface="#000000",
    panel="#1c1c1c",
    variables={
        "edge": "#a8a8a8", "field": "#00408a", "selected": "#00408a", "track": "#6a6a6a", "past": "#c8c8c8",
        "reference": "#b0b0b0", "frame": "#ffffff", "correct-cell": "#004a99", "wrong-cell": "#8a1a1a",
        "primary-muted": "#00408a", "text-muted": "#d0d0d0",
        **_classes(legible(Color.parse(colour), Color(0, 0, 0), 7.0).hex for colour in PETROFF),
    },
)  # fmt: skip
# Okabe and Ito, "Color Universal Design" (2008, jfly.uni-koeln.de/color): eight colours that people with any colour
# vision tell apart. Black is white here, and their blue is made lighter for a dark background.
COLOUR_BLIND = replace(
    DARK,
    name="colour-blind",
    primary="#56b4e9",
    secondary="#cc79a7",
    accent="#e69f00",
    warning="#f0e442",
    error="#d55e00",
    success="#009e73",
    variables={
        **_DARK, "correct-cell": "#005a8c", "wrong-cell": "#8f3f00",
        **_classes(("#56b4e9", "#e69f00", "#009e73", "#f0e442", "#cc79a7", "#d55e00", "#0072b2", "#ffffff")),
    },
)  # fmt: skip
THEMES = (DARK, LIGHT, HIGH_CONTRAST, COLOUR_BLIND)
THEMES_FOLDER = "themes"
"""The folder of the user's themes, beside the settings file."""

OWN = (
    "primary", "secondary", "accent", "warning", "error", "success", "foreground", "background", "surface", "panel",
)  # fmt: skip
"""Colours that are fields of Textual's `Theme`."""
_LIGHT_COLORFGBG = ("7", "15")
"""The backgrounds in COLORFGBG (of rxvt, Konsole and others) that are light: white and bright white of 16 colours."""


def automatic_theme(background: tuple[int, int, int] | None, environment: Mapping[str, str]) -> str:
    """Return the name of the light or the dark theme.

    Args:
        background: RGB colour of the terminal's background; None if the terminal did not reply.
        environment: Its COLORFGBG is used if the terminal did not reply; without it the background counts as dark.
    """
    if background is None:
        light = environment.get("COLORFGBG", "").rpartition(";")[2] in _LIGHT_COLORFGBG
    else:
        light = Color(*background).brightness > 0.5
    return (LIGHT if light else DARK).name


def theme_names(folder: Path) -> tuple[str, ...]:
    """Return the values of the setting `theme`: "auto", our themes, those of the files in a folder, and Textual's."""
    try:
        files = sorted(path.stem for path in folder.glob("*.toml"))
    except OSError:
        files = []
    names = (AUTO, *(theme.name for theme in THEMES), *files, *BUILTIN_THEMES)
    return tuple(one_line(name) for name in dict.fromkeys(names))


def find_theme(name: str, folder: Path) -> Theme:
    """Return a theme by its name: one of ours, of Textual's, or that of the file ``name.toml`` in a folder.

    Raises:
        UserError: There is no such theme, or its file is wrong; one line says what and where.
    """
    if (known := _known_themes().get(name)) is not None:
        return known
    file = folder / f"{name}.toml"
    if "/" in name or not exists(file):
        names = ", ".join(theme_names(folder))
        raise UserError(f"theme {end_of(one_line(name), 60)!r} does not exist: choose one of {names}, or write {file}")
    return _read_theme(file)


def _known_themes() -> dict[str, Theme]:
    return BUILTIN_THEMES | {theme.name: theme for theme in THEMES}


def _read_theme(file: Path) -> Theme:
    text, given = read_file(file)

    def wrong(key: str, why: str) -> UserError:
        line = next((first for first, _, names in statements(text) if names[0] == key), 0)
        return UserError(f"{file}, line {line + 1}: {one_line(key)} {why}")

    base = _known_themes().get(str(given.pop("base", DARK.name)))
    if base is None:
        raise wrong("base", f"is no theme: choose one of {', '.join(_known_themes())}")
    own: dict[str, Any] = {}
    named: dict[str, str] = {}
    for key, value in given.items():
        if key not in (*OWN, *NAMES):
            raise wrong(key, f"is no colour of a theme: choose among {', '.join((*OWN, *NAMES))}")
        try:
            if not isinstance(value, str) or Color.parse(value).a < 1:
                raise ColorParseError(str(value))
        except ColorParseError:
            raise wrong(key, f'must be a colour such as "#61afef", not {one_line(str(value))!r}') from None
        (own if key in OWN else named)[key] = value
    dark = Color.parse(own["background"]).brightness < 0.5 if "background" in own else base.dark
    if "background" in own:  # what is not named follows from what is
        background, foreground = (_colour(replace(base, **own), name) for name in ("background", "foreground"))
        own = {"surface": mix(background, foreground, 0.04).hex, "panel": mix(background, foreground, 0.1).hex} | own
    variables = (base.variables if dark == base.dark else {}) | named
    theme = replace(base, name=file.stem, dark=dark, variables=variables, **own)
    text_colour, *behind = (_colour(theme, name) for name in ("foreground", "background", "surface", "panel"))
    least = min((contrast(text_colour, colour) for colour in behind if colour.ansi is None), default=MIN_TEXT_CONTRAST)
    if least < MIN_LINE_CONTRAST and (key := next((key for key in given if key in OWN), "")):
        why = f"makes text hard to read: the contrast of foreground on background, surface or panel is {least:.1f}"
        raise wrong(key, f"{why}; set them together, or another base")
    return theme


def _colour(theme: Theme, name: str) -> Color:
    return Color.parse(getattr(theme, name) or theme.to_color_system().generate()[name])
