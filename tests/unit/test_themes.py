"""Themes are legible, the automatic one follows the terminal, and wrong files of themes are one clear line."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from textual.color import Color
from textual.constants import DIM_FACTOR
from textual.theme import BUILTIN_THEMES, Theme

from facegender.support.errors import UserError
from tui.colours import CLASSES, FADED, NAMES, STATES, contrast, mix, named_colours
from tui.themes import OWN, THEMES, automatic_theme, find_theme, theme_names

OURS = pytest.mark.parametrize("theme", THEMES, ids=lambda theme: theme.name)


def colours_of(theme: Theme) -> dict[str, Color]:
    """The colours of a theme by their names: its own, named and generated ones that texts stand on."""
    system = theme.to_color_system().generate()
    own = {name: Color.parse(getattr(theme, name)) for name in ("foreground", "background", "surface", "panel")}
    return own | named_colours(theme, system) | {"primary-muted": Color.parse(system["primary-muted"])}


def test_contrast_is_that_of_wcag() -> None:
    white = Color.parse("#ffffff")
    assert contrast(white, Color.parse("#000000")) == pytest.approx(21)
    assert contrast(Color.parse("#777777"), white) == pytest.approx(4.478, abs=0.001)
    assert contrast(Color.parse("#0000ff"), white) == pytest.approx(8.592, abs=0.001)


@OURS
def test_text_is_legible_on_everything_that_it_stands_on(theme: Theme) -> None:
    colours = colours_of(theme)
    for name in ("background", "surface", "panel", "field", "selected", "primary-muted", "correct-cell", "wrong-cell"):
        assert contrast(colours["foreground"], colours[name]) >= 4.5, name
    for name in ("background", "surface", "panel", "field", "selected"):
        dim = mix(colours[name], colours["foreground"], DIM_FACTOR)
        assert contrast(dim, colours[name]) >= 3, name


@OURS
def test_colours_of_texts_and_curves_are_legible(theme: Theme) -> None:
    colours = colours_of(theme)
    least = 7 if theme.name == "high-contrast" else 4.5
    for name in ("train", "validation", *STATES, *(f"class-{number}" for number in range(CLASSES))):
        assert contrast(colours[name], colours["background"]) >= least, name
    for name in STATES:
        assert contrast(colours[name], colours["panel"]) >= 4.5, name
    for number in range(CLASSES):
        assert contrast(colours[f"class-{number}-train"], colours["background"]) >= 3


@OURS
def test_without_colours_texts_and_lines_are_as_legible_as_any_text(theme: Theme) -> None:
    colours = named_colours(theme, theme.to_color_system().generate(), coloured=False)
    background, foreground = Color.parse(theme.background or ""), Color.parse(theme.foreground or "")
    assert {colours[name] for name in ("validation", "class-0", *STATES)} == {foreground}
    assert contrast(colours["train"], background) >= 4.5


@pytest.mark.parametrize("theme", BUILTIN_THEMES.values(), ids=lambda theme: theme.name)
def test_every_theme_of_textual_has_all_named_colours_legible(theme: Theme) -> None:
    system = theme.to_color_system().generate()
    colours, background = named_colours(theme, system), Color.parse(system["background"])
    assert {"train", "validation", "edge", "gap", "frame"} <= colours.keys()
    assert {f"class-{CLASSES - 1}-{kind}" for kind in FADED} <= colours.keys()
    for name in ("train", "validation", *STATES):
        if background.ansi is None and colours[name].ansi is None:
            assert contrast(colours[name], background) >= 4.5, name


@pytest.mark.parametrize(
    ("background", "environment", "theme"),
    [
        ((255, 255, 255), {}, "light"),
        ((0xFD, 0xF6, 0xE3), {}, "light"),
        ((0x16, 0x18, 0x1D), {"COLORFGBG": "0;15"}, "dark"),
        (None, {"COLORFGBG": "0;15"}, "light"),
        (None, {"COLORFGBG": "0;default;7"}, "light"),
        (None, {"COLORFGBG": "15;0"}, "dark"),
        (None, {"COLORFGBG": "nonsense"}, "dark"),
        (None, {}, "dark"),
    ],
)
def test_the_automatic_theme_follows_the_background(
    background: tuple[int, int, int] | None, environment: dict[str, str], theme: str
) -> None:
    assert automatic_theme(background, environment) == theme


def test_a_theme_of_a_file_has_its_colours_and_the_rest_from_its_base(tmp_path: Path) -> None:
    (tmp_path / "paper.toml").write_text('base = "light"\nbackground = "#fdf6e3"\ntrain = "#268bd2"\n')
    theme = find_theme("paper", tmp_path)
    light = find_theme("light", tmp_path)
    assert (theme.name, theme.dark, theme.background) == ("paper", False, "#fdf6e3")
    assert theme.foreground == light.foreground
    assert theme.variables == {**light.variables, "train": "#268bd2"}
    assert "paper" in theme_names(tmp_path)


def test_a_dark_background_makes_a_theme_dark(tmp_path: Path) -> None:
    (tmp_path / "night.toml").write_text('base = "light"\nbackground = "#101010"\nforeground = "white"\n')
    assert find_theme("night", tmp_path).dark


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ('\nwarning = "yelow"\n', "line 2: warning must be a colour"),
        ("warning = 3\n", "line 1: warning must be a colour"),
        ('warning = "#ff000080"\n', "line 1: warning must be a colour"),
        ('base = "dark"\nwarnign = "#ffffff"\n', "line 2: warnign is no colour of a theme: choose among primary"),
        ('base = "paper"\n', "line 1: base is no theme: choose one of"),
        ('train = "blue"\nbackground = "#ffffff"\n', "line 2: background makes text hard to read: the contrast"),
        ('base = "light"\nforeground = "#ffffff"\n', "line 2: foreground makes text hard to read: the contrast"),
        ("\nwarning = \n", "line 2: not TOML at column 11"),
        ('"a\\u001b[31m" = "red"\n', "line 1: a"),
    ],
)
def test_a_wrong_file_is_one_line_with_its_place(tmp_path: Path, text: str, why: str) -> None:
    (tmp_path / "mine.toml").write_text(text)
    with pytest.raises(UserError) as raised:
        find_theme("mine", tmp_path)
    message = str(raised.value)
    assert str(tmp_path / "mine.toml") in message
    assert why in message
    assert message.isprintable()


@pytest.mark.parametrize("start", ["#", "##"])
def test_a_theme_file_that_is_too_long_is_refused_wherever_its_characters_end(tmp_path: Path, start: str) -> None:
    (tmp_path / "long.toml").write_text(start + "é" * 2**16, encoding="utf-8")
    with pytest.raises(UserError, match=r"is longer than \d+ KiB: make it shorter"):
        find_theme("long", tmp_path)


@pytest.mark.parametrize("name", ["solarised", "../etc/passwd", "a\0b", "", "long" * 100])
def test_an_unknown_theme_names_those_that_there_are(tmp_path: Path, name: str) -> None:
    with pytest.raises(UserError, match="does not exist: choose one of auto, dark, light, high-contrast, colour-blind"):
        find_theme(name, tmp_path)


def test_the_documented_theme_is_valid_and_every_colour_is_documented(tmp_path: Path) -> None:
    page = (Path(__file__).parents[2] / "docs" / "settings.md").read_text()
    section = page[page.index("## A theme of your own") :]
    (tmp_path / "paper.toml").write_text(section.partition("```toml\n")[2].partition("```")[0])
    assert find_theme("paper", tmp_path).variables["class-0"] == "#832db6"
    assert all(f"`{name}`" in section for name in (*OWN, *NAMES) if not re.fullmatch(r"class-[1-8]", name))
