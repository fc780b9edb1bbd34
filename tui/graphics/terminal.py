"""What the terminal can do: a pure function from its replies and the environment to a `Terminal`."""

from __future__ import annotations

import enum
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal, NamedTuple

Colours = Literal["truecolor", "256", "16"]

DEFAULT_CELL_PX = (10, 20)

ENVIRONMENT_VARIABLE = "FACEGENDER_GRAPHICS"

_DEVICE_ATTRIBUTES = re.compile(rb"\x1b\[\?([\d;]*)c")
_CELL_SIZE = re.compile(rb"\x1b\[6;(\d{1,6});(\d{1,6})t")
_WINDOW_SIZE = re.compile(rb"\x1b\[4;(\d{1,6});(\d{1,6})t")
_VERSION = re.compile(rb"\x1bP>\|([^\x1b]*)\x1b\\")
_BACKGROUND = re.compile(rb"\x1b\]11;rgba?:([\da-fA-F]{1,4})/([\da-fA-F]{1,4})/([\da-fA-F]{1,4})")
_KITTY = re.compile(rb"\x1b_G(?:[^;\x1b]*,)?i=31(?:,[^;\x1b]*)?;([^\x1b]*)\x1b\\")
_SIXEL_LIMIT = re.compile(rb"\x1b\[\?([12]);0;(\d{1,6})(?:;(\d{1,6}))?S")

_PLACEHOLDER_NAMES = ("kitty", "ghostty")
"""Terminals with kitty's Unicode placeholders. Konsole and WezTerm answer the graphics query but have none."""
_PLACEHOLDER_TERMS = ("xterm-kitty", "xterm-ghostty")

_TRUECOLOR_NAMES = (
    "kitty", "ghostty", "wezterm", "foot", "alacritty", "iterm2", "konsole", "contour", "mlterm", "xterm",
    "windows terminal", "vte", "rio", "mintty",
)  # fmt: skip
_TRUECOLOR_TERMS = ("-direct", "kitty", "ghostty", "wezterm", "foot", "alacritty", "contour")

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")


class Protocol(enum.Enum):
    """How pictures are drawn."""

    KITTY = "kitty"
    SIXEL = "sixel"
    HALFBLOCK = "halfblock"


PROTOCOL_NAMES = ("auto", *(protocol.value for protocol in Protocol))
"""What a user may request; "auto" for the best protocol that the terminal supports."""


@dataclass(frozen=True)
class Terminal:
    """What is known of the terminal."""

    protocol: Protocol = Protocol.HALFBLOCK
    cell_width_px: int = DEFAULT_CELL_PX[0]
    cell_height_px: int = DEFAULT_CELL_PX[1]
    colours: Colours = "truecolor"
    name: str = ""
    """Its name and version, free of control characters; empty if unknown."""
    multiplexer: str = ""
    """`tmux 3.5a`, `screen`, or empty."""
    tmux_passthrough: str = ""
    """The value of tmux's option ``allow-passthrough``; empty if unknown."""
    reason: str = "the terminal was not probed"
    """One line: why this protocol."""
    advice: str = ""
    """How to get better pictures, in one line, or empty."""
    round_trip_s: float | None = field(default=None, compare=False)
    """How long its reply took; None if it did not reply."""
    window_cell_px: tuple[int, int] = (0, 0)
    """The cell size from the window's size in the kernel: rounded, but available at any time; 0 if unknown."""
    sixel_registers: int = 256
    """The most colours of a sixel picture."""
    sixel_limit_px: tuple[int, int] = (0, 0)
    """Width and height of the largest sixel picture; 0 if unknown."""
    background: tuple[int, int, int] | None = field(default=None, compare=False)
    """Its background colour, RGB; None if it does not tell."""

    @property
    def in_tmux(self) -> bool:
        """Whether tmux stands between the program and the terminal."""
        return self.multiplexer.startswith("tmux")

    @property
    def cells_and_colours(self) -> str:
        """What is known of them, such as ``10×20 px, truecolor colours, background #ffffff``."""
        known = "" if self.background is None else ", background #{:02x}{:02x}{:02x}".format(*self.background)
        return f"{self.cell_width_px}×{self.cell_height_px} px, {self.colours} colours{known}"


def through_tmux(sequence: str) -> str:
    """Wrap a control sequence so that tmux passes it on to the outer terminal, if its ``allow-passthrough`` is on."""
    return "\x1bPtmux;" + sequence.replace("\x1b", "\x1b\x1b") + "\x1b\\"


class WindowSize(NamedTuple):
    """The terminal's size from the kernel; pixels are 0 if unknown."""

    rows: int = 0
    columns: int = 0
    width_px: int = 0
    height_px: int = 0


UNKNOWN_SIZE = WindowSize()


class Tmux(NamedTuple):
    """What tmux reports about itself and the terminal that it is attached to."""

    version: str = ""
    outer_name: str = ""
    outer_features: str = ""
    allow_passthrough: str = ""
    cell_width: str = ""
    cell_height: str = ""


def resized(terminal: Terminal, size: WindowSize) -> Terminal:
    """Return the terminal with the cell size of a window."""
    cell = window_cell(size)
    if cell in (terminal.window_cell_px, (0, 0)) or terminal.window_cell_px == (0, 0):
        return terminal
    return replace(terminal, cell_width_px=cell[0], cell_height_px=cell[1], window_cell_px=cell)


def window_cell(size: WindowSize) -> tuple[int, int]:
    """Return width and height of a cell in pixels by a window's size; (0, 0) if unknown."""
    if not (size.columns and size.rows):
        return 0, 0
    width_px, height_px = size.width_px // size.columns, size.height_px // size.rows
    return (width_px, height_px) if _is_sane(width_px, height_px) else (0, 0)


class _Choice(NamedTuple):
    protocol: Protocol
    reason: str
    advice: str = ""


def is_complete(replies: bytes) -> bool:
    """Return whether the reply to the last query, the primary device attributes, has arrived."""
    return _DEVICE_ATTRIBUTES.search(replies) is not None


def clean_name(raw: str) -> str:
    """Make a terminal's name safe to print: no control characters, at most 60 characters."""
    return _CONTROL.sub("", raw).strip()[:60]


def interpret(
    replies: bytes,
    environment: Mapping[str, str],
    size: WindowSize = UNKNOWN_SIZE,
    tmux: Tmux | None = None,
    override: str = "auto",
    not_probed: str = "",
) -> Terminal:
    """Interpret the terminal's replies.

    Args:
        replies: Everything the terminal sent after the queries; key presses in between are ignored.
        environment: The environment variables.
        size: The window size from the kernel.
        tmux: What tmux reported, if the program runs inside it.
        override: A protocol's name, or `auto`; it takes precedence over the environment variable.
        not_probed: Why the terminal was not probed, or empty.

    Returns:
        The terminal, with the best protocol that is known to work.
    """
    version = _VERSION.search(replies)
    name = clean_name(version[1].decode("utf-8", "replace")) if version else ""
    attributes = _DEVICE_ATTRIBUTES.search(replies)
    multiplexer = _multiplexer(name, environment, tmux)
    choice = _forced(override, environment)
    if choice is None and not attributes:
        choice = _Choice(Protocol.HALFBLOCK, not_probed or "the terminal did not reply to the probe")
    if choice is None:
        sixel = b"4" in attributes[1].split(b";")[1:] if attributes else False
        kitty = _KITTY.search(replies)
        if multiplexer.startswith("tmux"):
            choice = _inside_tmux(tmux or Tmux(), sixel)
        elif multiplexer:
            advice = "start outside screen, or use tmux, for real pictures"
            choice = _Choice(Protocol.HALFBLOCK, "GNU screen does not pass pictures through", advice)
        else:
            choice = _outside(name, environment, kitty is not None and kitty[1].startswith(b"OK"), sixel)
    cell_width_px, cell_height_px = _cell_size(replies, size, tmux)
    limits = {m[1]: m for m in _SIXEL_LIMIT.finditer(replies)}
    registers = int(limits[b"1"][2]) if b"1" in limits else 256
    geometry = limits.get(b"2")
    background = _BACKGROUND.search(replies)
    return Terminal(
        protocol=choice.protocol,
        cell_width_px=cell_width_px,
        cell_height_px=cell_height_px,
        colours=_colours(name, environment),
        name=clean_name(tmux.outer_name) if tmux and name.lower().startswith("tmux") else name,
        multiplexer=multiplexer,
        tmux_passthrough=tmux.allow_passthrough if tmux else "",
        reason=choice.reason,
        advice=choice.advice,
        window_cell_px=window_cell(size),
        sixel_registers=min(256, registers) if registers >= 2 else 256,
        sixel_limit_px=(int(geometry[2]), int(geometry[3] or 0)) if geometry else (0, 0),
        background=_rgb(background) if background else None,
    )


def _rgb(found: re.Match[bytes]) -> tuple[int, int, int]:
    """Return the colour of an X11 specification, whose channels have one to four hexadecimal digits (XParseColor)."""
    red, green, blue = (round(255 * int(digits, 16) / (16 ** len(digits) - 1)) for digits in found.groups())
    return red, green, blue


def invalid_override(environment: Mapping[str, str]) -> str:
    """Return the value of the environment variable, safe to print, if it is no protocol; empty if it is valid."""
    value = environment.get(ENVIRONMENT_VARIABLE, "")
    return "" if value.strip().lower() in ("", *PROTOCOL_NAMES) else clean_name(value)


def _forced(override: str, environment: Mapping[str, str]) -> _Choice | None:
    variable = environment.get(ENVIRONMENT_VARIABLE, "")
    for value, source in ((override, "the command line or the settings"), (variable, ENVIRONMENT_VARIABLE)):
        value = value.strip().lower()
        if value in PROTOCOL_NAMES[1:]:
            return _Choice(Protocol(value), f"requested by {source}")
    return None


def _outside(name: str, environment: Mapping[str, str], kitty: bool, sixel: bool) -> _Choice:
    label = name or "the terminal"
    placeholders = name.lower().startswith(_PLACEHOLDER_NAMES) or environment.get("TERM") in _PLACEHOLDER_TERMS
    if kitty and placeholders:
        return _Choice(Protocol.KITTY, f"{label} supports the kitty graphics protocol with Unicode placeholders")
    if sixel:
        return _Choice(Protocol.SIXEL, f"{label} supports sixel pictures")
    if kitty and not name:
        # Terminals that answer the graphics query but have no placeholders all support sixel or tell their name.
        reason = "the terminal supports the kitty graphics protocol and tells no name: assumed to be kitty"
        return _Choice(Protocol.KITTY, reason, "--graphics halfblock  if pictures stay empty")
    if kitty:
        reason = f"{label} supports the kitty graphics protocol without Unicode placeholders"
    else:
        reason = f"{label} supports neither kitty graphics nor sixel"
    advice = "kitty, Ghostty, foot, WezTerm or xterm -ti vt340 show real pictures"
    return _Choice(Protocol.HALFBLOCK, reason, advice)


def _inside_tmux(tmux: Tmux, sixel: bool) -> _Choice:
    outer = clean_name(tmux.outer_name)
    capable = outer.lower().startswith(_PLACEHOLDER_NAMES)
    if capable and tmux.allow_passthrough in ("on", "all", "1", "2"):
        return _Choice(Protocol.KITTY, f"tmux passes kitty graphics through to {outer}")
    advice = "tmux set -g allow-passthrough on  lets pictures through" if capable else ""
    if sixel and "sixel" in tmux.outer_features:
        return _Choice(Protocol.SIXEL, "tmux supports sixel pictures", advice)
    if sixel:
        reason = f"tmux supports sixel, but {outer or 'the terminal around it'} is not known to"
    else:
        reason = "tmux passes no pictures through"
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


def _cell_size(replies: bytes, size: WindowSize, tmux: Tmux | None) -> tuple[int, int]:
    cells = []
    if tmux and tmux.cell_width.isdecimal() and tmux.cell_height.isdecimal():
        cells.append((int(tmux.cell_width), int(tmux.cell_height)))  # the size in tmux's own reply is made up
    if found := _CELL_SIZE.search(replies):
        cells.append((int(found[2]), int(found[1])))
    if found := _WINDOW_SIZE.search(replies):
        size = size._replace(width_px=int(found[2]), height_px=int(found[1]))
    cells.append(window_cell(size))
    return next((cell for cell in cells if _is_sane(*cell)), DEFAULT_CELL_PX)


def _is_sane(width_px: int, height_px: int) -> bool:
    return 2 <= width_px <= 200 and 4 <= height_px <= 400


def _colours(name: str, environment: Mapping[str, str]) -> Colours:
    term = environment.get("TERM", "")
    if environment.get("COLORTERM", "").lower() in ("truecolor", "24bit"):
        return "truecolor"
    if any(part in term for part in _TRUECOLOR_TERMS) or name.lower().startswith(_TRUECOLOR_NAMES):
        return "truecolor"
    return "256" if "256color" in term else "16"
