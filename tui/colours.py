"""The colours of the interface: each has a name for what it means, and its value follows from the theme.

Texts and stylesheets write a colour as ``$name``: Textual resolves it as a CSS variable, Rich as the style of the same
name that `rich_styles` makes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol, runtime_checkable

from rich.style import Style
from rich.theme import Theme as RichTheme
from textual.app import App
from textual.color import Color
from textual.theme import Theme

from tui.format import CLASSES
from tui.graphics.context import terminal_of

MIN_TEXT_CONTRAST = 4.5
"""WCAG 2.1, success criterion 1.4.3, level AA."""
MIN_LINE_CONTRAST = 3.0
"""WCAG 2.1, success criterion 1.4.11: graphical objects."""
PETROFF = (
    "#92dadd", "#e76300", "#b9ac70", "#94a4a2", "#3f90da", "#ffa90e", "#a96b59", "#717581", "#bd1f01", "#832db6",
)  # fmt: skip
"""The ten colours of M. A. Petroff, "Accessible Color Sequences for Data Visualization" (arXiv 2107.02270), which
people with any colour vision tell apart; those that are seen well on a dark background come first."""
FADED = {"train": 0.75, "raw": 0.3, "band": 0.4}
"""Shares of a run's colour in its training curve, in the raw values behind that, and in its band."""

BLACK, WHITE = Color(0, 0, 0), Color(255, 255, 255)
ROUNDING = 2
"""By how much Textual's values of red, green and blue differ at most from those that a theme names."""

STATES = ("success", "warning", "error", "primary", "accent")
NAMES = (
    "train", "validation", *(f"class-{number}" for number in range(CLASSES)),
    "edge", "field", "reference", "past", "track", "selected", "frame", "gap", "correct-cell", "wrong-cell",
)  # fmt: skip
"""Colours that a theme may set beside those that every theme of Textual has."""

Colours = dict[str, Color]


def contrast(one: Color, other: Color) -> float:
    """Return the contrast of two colours, from 1 to 21, as WCAG 2.1 defines it (w3.org/TR/WCAG21/#dfn-contrast-ratio).

    ``contrast-ratio`` is (L1 + 0.05) / (L2 + 0.05), where L is the relative luminance of linear sRGB.
    """
    luminances = []
    for colour in (one, other):
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in colour.normalized]
        luminances.append(sum(weight * c for weight, c in zip((0.2126, 0.7152, 0.0722), linear, strict=True)))
    return (max(luminances) + 0.05) / (min(luminances) + 0.05)


def legible(colour: Color, background: Color, least: float = MIN_TEXT_CONTRAST) -> Color:
    """Mix a colour with black or white until it has at least this contrast; the terminal's own colours stay."""
    if colour.ansi is not None or background.ansi is not None:
        return colour
    away = max((BLACK, WHITE), key=lambda end: contrast(end, background))
    mixed = (colour.blend(away, step / 20) for step in range(21))
    return next((one for one in mixed if contrast(one, background) >= least), away)


def mix(background: Color, colour: Color, share: float) -> Color:
    """Return a colour of which ``share`` is ``colour`` and the rest the background."""
    red, green, blue = (round(share * a + (1 - share) * b) for a, b in zip(colour.rgb, background.rgb, strict=True))
    return Color(red, green, blue)


def named_colours(theme: Theme, system: Mapping[str, str], *, coloured: bool = True) -> Colours:
    """Return the named colours of a theme; ``system`` are the variables that Textual generates from it.

    Unless ``coloured``, texts and lines have the colour of the foreground: where NO_COLOR is set, Textual makes shades
    of grey of all colours, and those may be faint.

    A theme sets any of them by its ``variables``; the others follow from its own colours. Names:

    - ``train``, ``validation``: the two curves of a run; ``class-0`` to ``class-9``: classes, and runs of a comparison;
      ``class-0-train``, ``-raw`` and ``-band``: the same, faded; ``reference``: a line that curves are compared with.
    - ``success``, ``warning``, ``error``: a state or a message; ``primary``: what is completed; ``accent``: the cursor.
    - ``edge``: the border of a pane; ``field``: behind the field that has the focus; ``selected``: behind the selected
      line; ``track``: the rest of a bar; ``past``: the load of a run that has ended.
    - ``correct-cell``, ``wrong-cell``: behind the cells of a confusion matrix.
    - ``gap``, ``frame``: between the tiles of a mosaic, and around the one under the cursor.
    """

    def of_theme(name: str, default: str = "") -> Color:
        # The system's value of a colour that a theme has itself is rounded.
        return Color.parse(theme.variables.get(name) or getattr(theme, name, None) or default or system[name])

    background, foreground = of_theme("background"), of_theme("foreground")
    if background.ansi is not None:  # the terminal's own, which is only known to be dark or light
        background, foreground = (BLACK, WHITE) if theme.dark else (WHITE, BLACK)
    drawn = {name: of_theme(name) for name in STATES}
    drawn["train"] = of_theme("train", drawn["primary"].hex)
    drawn["validation"] = of_theme("validation", drawn["accent"].hex)
    for number, colour in enumerate(PETROFF):
        drawn[f"class-{number}"] = of_theme(f"class-{number}", colour)
    colours = {name: legible(colour, background) if coloured else foreground for name, colour in drawn.items()}
    if not coloured:
        colours["train"] = legible(mix(background, foreground, 0.6), background)
    for name in STATES:  # they stand on the title lines as well
        colours[name] = legible(colours[name], of_theme("panel", system["panel"]))

    for number in range(CLASSES):
        for kind, share in FADED.items():
            faded = mix(background, colours[f"class-{number}"], share)
            least = MIN_LINE_CONTRAST if kind == "train" else 1.0  # what is behind the curves may be faint
            colours[f"class-{number}-{kind}"] = legible(faded, background, least)
    for name, one, share in (
        ("edge", foreground, 0.25), ("field", foreground, 0.2), ("selected", foreground, 0.12),
        ("track", foreground, 0.21), ("past", foreground, 0.55), ("reference", foreground, 0.37),
        ("frame", foreground, 1.0), ("gap", background, 1.0),
        ("correct-cell", colours["primary"], 0.5), ("wrong-cell", colours["error"], 0.5),
    ):  # fmt: skip
        colours[name] = of_theme(name, mix(background, one, share).hex)
    return colours


def rich_styles(colours: Colours) -> dict[str, Style]:
    """Return Rich styles for ``$name`` and ``bold $name`` of each colour, and ``on $selected``."""
    styles = {f"${name}": Style(color=colour.rich_color) for name, colour in colours.items()}
    bold = {f"bold {name}": Style(bold=True) + style for name, style in styles.items()}
    return styles | bold | {"on $selected": Style(bgcolor=colours["selected"].rich_color)}


@runtime_checkable
class Restyled(Protocol):
    """A widget that keeps something in the colours of the theme; others are only refreshed when the theme changes."""

    def restyle(self) -> None:
        """Make it again in the colours of another theme."""


class PictureColours(NamedTuple):
    """RGB colours of a theme that are drawn into pictures: between tiles, and around the one under the cursor."""

    gap: tuple[int, int, int]
    frame: tuple[int, int, int]


DEFAULT_PICTURE_COLOURS = PictureColours((22, 24, 29), (255, 255, 255))
"""Those of the dark theme."""


def picture_colours(app: App[Any]) -> PictureColours:
    """Return the colours that pictures of the application have."""
    gap, frame, background = (Color.parse(app.theme_variables[name]) for name in ("gap", "frame", "background"))
    own = terminal_of(app).background if background.ansi is not None else None
    return PictureColours(own or gap.rgb, frame.rgb)


class ColouredApp(App[None]):
    """An app whose stylesheets and Rich texts know the named colours of its theme."""

    _has_styles = False

    def get_css_variables(self) -> dict[str, str]:
        """Return the variables of the stylesheets, and give Rich the same named colours."""
        variables = super().get_css_variables()
        colours = named_colours(self.current_theme, variables, coloured=not self.no_color)
        if self._has_styles:
            self.console.pop_theme()
        self.console.push_theme(RichTheme(rich_styles(colours)))
        self._has_styles = True
        # Textual rounds the colours of a theme; those stay where they are legible.
        named = {name: colour.hex for name, colour in colours.items()}
        kept = {name: value for name, value in variables.items() if name not in named or _is_close(value, named[name])}
        self.theme_variables = named | kept
        return self.theme_variables


def _is_close(one: str, other: str) -> bool:
    return all(abs(a - b) <= ROUNDING for a, b in zip(Color.parse(one).rgb, Color.parse(other).rgb, strict=True))
