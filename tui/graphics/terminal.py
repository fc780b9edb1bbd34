"""What the terminal can do, read from its answers: a pure function from bytes and environment to a `Terminal`."""

from __future__ import annotations

import enum
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal, NamedTuple

Colours = Literal["truecolor", "256", "16"]

DEFAULT_CELL_PX = (10, 20)

ENVIRONMENT_VARIABLE = "FACEGENDER_GRAPHICS"
AUTO = "auto"
"""What stands for a protocol where the terminal decides."""

_DEVICE_ATTRIBUTES = re.compile(rb"\x1b\[\?([\d;]*)c")
_CELL_SIZE = re.compile(rb"\x1b\[6;(\d{1,6});(\d{1,6})t")
_WINDOW_SIZE = re.compile(rb"\x1b\[4;(\d{1,6});(\d{1,6})t")
_VERSION = re.compile(rb"\x1bP>\|([^\x1b]*)\x1b\\")
_KITTY = re.compile(rb"\x1b_G(?:[^;\x1b]*,)?i=31(?:,[^;\x1b]*)?;([^\x1b]*)\x1b\\")
_SIXEL_LIMIT = re.compile(rb"\x1b\[\?([12]);0;(\d{1,6})(?:;(\d{1,6}))?S")

_PLACEHOLDER_NAMES = ("kitty", "ghostty")
"""Terminals known to draw kitty's Unicode placeholders. Konsole and WezTerm answer the graphics query without them."""

_TRUECOLOR_NAMES = (
    "kitty", "ghostty", "wezterm", "foot", "alacritty", "iterm2", "konsole", "contour", "mlterm", "xterm",
    "windows terminal", "vte", "rio", "mintty", "tmux",
)  # fmt: skip
_TRUECOLOR_TERMS = ("-direct", "kitty", "ghostty", "wezterm", "foot", "alacritty", "contour")

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")


class Protocol(enum.Enum):
    """How pictures reach the screen."""

    KITTY = "kitty"
    SIXEL = "sixel"
    HALFBLOCK = "halfblock"


@dataclass(frozen=True)
class Terminal:
    """What is known of the terminal the program runs in."""

    protocol: Protocol = Protocol.HALFBLOCK
    cell_width_px: int = DEFAULT_CELL_PX[0]
    cell_height_px: int = DEFAULT_CELL_PX[1]
    colours: Colours = "truecolor"
    name: str = ""
    """Its own name and version, free of control characters; empty if it did not say."""
    multiplexer: str = ""
    """`tmux 3.5a`, `screen`, or empty."""
    reason: str = "the terminal has not been asked"
    """One line: why this protocol."""
    advice: str = ""
    """One line that would make pictures better here, or empty."""
    round_trip_s: float | None = field(default=None, compare=False)
    """How long its answer took to arrive, or None if that is not known."""
    window_cell_px: tuple[int, int] = (0, 0)
    """The cell size by the window's, as the kernel reports it: rounded, but free to ask for again; 0 if unknown."""
    sixel_registers: int = 256
    """Colours that one sixel picture may have."""
    sixel_limit_px: tuple[int, int] = (0, 0)
    """Width and height of the largest sixel picture it takes; 0 if it did not say."""


class WindowSize(NamedTuple):
    """The terminal's size as the kernel reports it; pixels are 0 where they are not known."""

    rows: int = 0
    columns: int = 0
    width_px: int = 0
    height_px: int = 0


UNKNOWN_SIZE = WindowSize()


class Tmux(NamedTuple):
    """What tmux says about itself and the terminal that it is attached to."""

    version: str = ""
    outer_name: str = ""
    outer_features: str = ""
    allow_passthrough: str = ""
    cell_width: str = ""
    cell_height: str = ""


def resized(terminal: Terminal, size: WindowSize) -> Terminal:
    """The terminal after its window changed: with other cells if its font did."""
    cell = window_cell(size)
    if cell in (terminal.window_cell_px, (0, 0)) or terminal.window_cell_px == (0, 0):
        return terminal
    return replace(terminal, cell_width_px=cell[0], cell_height_px=cell[1], window_cell_px=cell)


def window_cell(size: WindowSize) -> tuple[int, int]:
    """Width and height of a cell in pixels as far as a window's size tells, (0, 0) where it does not."""
    if not (size.columns and size.rows):
        return 0, 0
    width_px, height_px = size.width_px // size.columns, size.height_px // size.rows
    return (width_px, height_px) if _is_sane(width_px, height_px) else (0, 0)


class _Choice(NamedTuple):
    protocol: Protocol
    reason: str
    advice: str = ""


def answered(answers: bytes) -> bool:
    """Whether the last question's answer, the primary device attributes, is among the bytes."""
    return _DEVICE_ATTRIBUTES.search(answers) is not None


def clean_name(raw: str) -> str:
    """A name that a terminal gave itself, safe to print: no control characters, at most 60 characters."""
    return _CONTROL.sub("", raw).strip()[:60]


def interpret(
    answers: bytes,
    environment: Mapping[str, str],
    size: WindowSize = UNKNOWN_SIZE,
    tmux: Tmux | None = None,
    override: str = "auto",
    unasked: str = "",
) -> Terminal:
    """Read the terminal's answers.

    Args:
        answers: Everything the terminal sent after the questions; key presses among it do no harm.
        environment: The environment variables.
        size: The size that the kernel reports.
        tmux: What tmux said, if the program runs inside one that could be asked.
        override: A protocol's name, or `auto`; it goes before the environment variable.
        unasked: Why the terminal was not asked at all, or empty.

    Returns:
        The terminal, with the best protocol that is known to work.
    """
    version = _VERSION.search(answers)
    name = clean_name(version[1].decode("utf-8", "replace")) if version else ""
    attributes = _DEVICE_ATTRIBUTES.search(answers)
    multiplexer = _multiplexer(name, environment, tmux)
    choice = _forced(override, environment)
    if choice is None and not attributes:
        choice = _Choice(Protocol.HALFBLOCK, unasked or "the terminal did not answer the questions put to it")
    if choice is None:
        sixel = b"4" in attributes[1].split(b";")[1:] if attributes else False
        kitty = _KITTY.search(answers)
        if multiplexer.startswith("tmux"):
            choice = _inside_tmux(tmux or Tmux(), sixel)
        elif multiplexer:
            advice = "start outside screen, or use tmux, for real pictures"
            choice = _Choice(Protocol.HALFBLOCK, "GNU screen passes no pictures on", advice)
        else:
            choice = _outside(name, environment, kitty is not None and kitty[1].startswith(b"OK"), sixel)
    cell_width_px, cell_height_px = _cell_size(answers, size, tmux)
    limits = {m[1]: m for m in _SIXEL_LIMIT.finditer(answers)}
    registers = int(limits[b"1"][2]) if b"1" in limits else 256
    geometry = limits.get(b"2")
    return Terminal(
        protocol=choice.protocol,
        cell_width_px=cell_width_px,
        cell_height_px=cell_height_px,
        colours=_colours(name, environment),
        name=clean_name(tmux.outer_name) if tmux and name.lower().startswith("tmux") else name,
        multiplexer=multiplexer,
        reason=choice.reason,
        advice=choice.advice,
        window_cell_px=window_cell(size),
        sixel_registers=min(256, registers) if registers >= 2 else 256,
        sixel_limit_px=(int(geometry[2]), int(geometry[3] or 0)) if geometry else (0, 0),
    )


def invalid_override(environment: Mapping[str, str]) -> str:
    """What the environment variable holds, safe to print, where that is no protocol; empty where nothing is wrong."""
    wish = environment.get(ENVIRONMENT_VARIABLE, "")
    known = ("", AUTO, *(protocol.value for protocol in Protocol))
    return "" if wish.strip().lower() in known else clean_name(wish)


def _forced(override: str, environment: Mapping[str, str]) -> _Choice | None:
    variable = environment.get(ENVIRONMENT_VARIABLE, "")
    for wish, source in ((override, "the command line"), (variable, ENVIRONMENT_VARIABLE)):
        wish = wish.strip().lower()
        if wish in {protocol.value for protocol in Protocol}:
            return _Choice(Protocol(wish), f"asked for by {source}")
    return None


def _does_placeholders(name: str, term: str) -> bool:
    return name.lower().startswith(_PLACEHOLDER_NAMES) or term in ("xterm-kitty", "xterm-ghostty")


def _outside(name: str, environment: Mapping[str, str], kitty: bool, sixel: bool) -> _Choice:
    label = name or "the terminal"
    if kitty and _does_placeholders(name, environment.get("TERM", "")):
        return _Choice(Protocol.KITTY, f"{label} speaks the kitty graphics protocol with Unicode placeholders")
    if sixel:
        return _Choice(Protocol.SIXEL, f"{label} says it draws sixel pictures")
    if kitty and not name:
        # The terminals that answer the question without having placeholders all draw sixel, or give their name.
        reason = "the terminal speaks the kitty graphics protocol and gives no name: it is taken for kitty"
        return _Choice(Protocol.KITTY, reason, "--graphics halfblock  if pictures stay empty")
    if kitty:
        reason = f"{label} speaks the kitty graphics protocol but not its Unicode placeholders"
    else:
        reason = f"{label} offers neither kitty graphics nor sixel"
    advice = "kitty, Ghostty, foot, WezTerm or xterm -ti vt340 show real pictures"
    return _Choice(Protocol.HALFBLOCK, reason, advice)


def _inside_tmux(tmux: Tmux, sixel: bool) -> _Choice:
    outer = clean_name(tmux.outer_name)
    capable = outer.lower().startswith(_PLACEHOLDER_NAMES)
    if capable and tmux.allow_passthrough in ("on", "all", "1", "2"):
        return _Choice(Protocol.KITTY, f"tmux passes kitty graphics on to {outer}")
    advice = "tmux set -g allow-passthrough on  lets pictures through" if capable else ""
    if sixel and "sixel" in tmux.outer_features:
        return _Choice(Protocol.SIXEL, "tmux draws sixel pictures", advice)
    if sixel:
        reason = f"tmux could draw sixel, but {outer or 'the terminal around it'} is not known to"
    else:
        reason = "tmux lets no pictures through"
    return _Choice(Protocol.HALFBLOCK, reason, advice or "tmux 3.4 with sixel, in a sixel terminal, shows pictures")


def _multiplexer(name: str, environment: Mapping[str, str], tmux: Tmux | None) -> str:
    if name.lower().startswith("tmux"):
        return name
    if environment.get("TMUX") or environment.get("TERM_PROGRAM") == "tmux":
        version = clean_name(tmux.version) if tmux else ""
        return f"tmux {version}".strip()
    term = environment.get("TERM", "")
    if environment.get("STY") or term == "screen" or term.startswith("screen."):
        return "screen"
    return "tmux" if term.startswith("tmux") else ""


def _cell_size(answers: bytes, size: WindowSize, tmux: Tmux | None) -> tuple[int, int]:
    if tmux and tmux.cell_width.isdecimal() and tmux.cell_height.isdecimal():
        # What tmux answers itself is a size that it made up.
        cell = int(tmux.cell_width), int(tmux.cell_height)
        if _is_sane(*cell):
            return cell
    if found := _CELL_SIZE.search(answers):
        return _sane(int(found[2]), int(found[1]))
    width_px, height_px = size.width_px, size.height_px
    if found := _WINDOW_SIZE.search(answers):
        height_px, width_px = int(found[1]), int(found[2])
    if size.columns and size.rows:
        return _sane(width_px // size.columns, height_px // size.rows)
    return DEFAULT_CELL_PX


def _sane(width_px: int, height_px: int) -> tuple[int, int]:
    return (width_px, height_px) if _is_sane(width_px, height_px) else DEFAULT_CELL_PX


def _is_sane(width_px: int, height_px: int) -> bool:
    return 2 <= width_px <= 200 and 4 <= height_px <= 400


def _colours(name: str, environment: Mapping[str, str]) -> Colours:
    term = environment.get("TERM", "")
    if environment.get("COLORTERM", "").lower() in ("truecolor", "24bit"):
        return "truecolor"
    if any(part in term for part in _TRUECOLOR_TERMS):
        return "truecolor"
    if name.lower().startswith(_TRUECOLOR_NAMES) and not name.lower().startswith("tmux"):
        return "truecolor"
    return "256" if "256color" in term else "16"
