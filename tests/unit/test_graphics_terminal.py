"""Which protocol is chosen for which answers."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tui.graphics.terminal import Protocol, Tmux, WindowSize, clean_name, interpret, resized

KITTY_OK = b"\x1b_Gi=31;OK\x1b\\"
SIXEL_DA = b"\x1b[?62;4;22c"
PLAIN_DA = b"\x1b[?62;22c"
TMUX_ENV = {"TERM": "tmux-256color", "TMUX": "/tmp/tmux-0/default,1,0"}
XTERM_ENV = {"TERM": "xterm-256color"}


def version(name: str) -> bytes:
    return b"\x1bP>|" + name.encode() + b"\x1b\\"


@pytest.mark.parametrize(
    ("answers", "environment", "tmux", "protocol"),
    [
        (KITTY_OK + version("kitty(0.41.1)") + PLAIN_DA, XTERM_ENV, None, Protocol.KITTY),
        (KITTY_OK + version("ghostty 1.1.3") + PLAIN_DA, XTERM_ENV, None, Protocol.KITTY),
        (KITTY_OK + PLAIN_DA, {"TERM": "xterm-kitty"}, None, Protocol.KITTY),
        (version("kitty(0.41.1)") + PLAIN_DA, XTERM_ENV, None, Protocol.HALFBLOCK),
        (
            b"\x1b_Gi=31;ENOTSUPPORTED:no\x1b\\" + version("kitty(0.41.1)") + PLAIN_DA,
            XTERM_ENV,
            None,
            Protocol.HALFBLOCK,
        ),
        (KITTY_OK + version("Konsole 24.02.1") + SIXEL_DA, XTERM_ENV, None, Protocol.SIXEL),
        (KITTY_OK + version("WezTerm 20240203") + SIXEL_DA, XTERM_ENV, None, Protocol.SIXEL),
        (KITTY_OK + version("Konsole 21.12") + PLAIN_DA, XTERM_ENV, None, Protocol.HALFBLOCK),
        (
            KITTY_OK + PLAIN_DA,
            XTERM_ENV,
            None,
            Protocol.KITTY,
        ),  # the others draw sixel or have a name
        (KITTY_OK + SIXEL_DA, XTERM_ENV, None, Protocol.SIXEL),
        (version("XTerm(379)") + SIXEL_DA, XTERM_ENV, None, Protocol.SIXEL),
        (version("XTerm(379)") + b"\x1b[?64;1;2;6;9;15;18;21;22c", XTERM_ENV, None, Protocol.HALFBLOCK),
        (b"\x1b[?4c", XTERM_ENV, None, Protocol.HALFBLOCK),  # 4 as the class of the terminal says nothing of sixel
        (b"\x1b[?62;14;44c", XTERM_ENV, None, Protocol.HALFBLOCK),
        (b"", XTERM_ENV, None, Protocol.HALFBLOCK),
        (KITTY_OK + version("kitty(0.41.1)"), XTERM_ENV, None, Protocol.HALFBLOCK),  # no end: not to be relied on
        (SIXEL_DA, TMUX_ENV, Tmux("3.5a", "kitty(0.41.1)", "", "on"), Protocol.KITTY),
        (SIXEL_DA, TMUX_ENV, Tmux("3.5a", "ghostty 1.1.3", "", "all"), Protocol.KITTY),
        (PLAIN_DA, TMUX_ENV, Tmux("3.5a", "kitty(0.41.1)", "", "off"), Protocol.HALFBLOCK),
        (SIXEL_DA, TMUX_ENV, Tmux("3.5a", "foot(1.16)", "RGB,sixel,title", "off"), Protocol.SIXEL),
        (SIXEL_DA, TMUX_ENV, Tmux("3.5a", "XTerm(379)", "RGB,title", "on"), Protocol.HALFBLOCK),
        (PLAIN_DA, TMUX_ENV, Tmux("3.3a", "foot(1.16)", "RGB", "on"), Protocol.HALFBLOCK),
        (SIXEL_DA, TMUX_ENV, None, Protocol.HALFBLOCK),
        (SIXEL_DA, {"TERM": "screen.xterm-256color", "STY": "1.x"}, None, Protocol.HALFBLOCK),
    ],
)
def test_the_best_protocol_that_is_known_to_work_is_chosen(
    answers: bytes, environment: dict[str, str], tmux: Tmux | None, protocol: Protocol
) -> None:
    terminal = interpret(answers, environment, tmux=tmux)
    assert terminal.protocol is protocol
    assert terminal.reason
    assert "\n" not in terminal.reason


def test_replies_may_come_in_any_order_and_among_key_presses() -> None:
    answers = (
        b"q\x1b[A" + version("kitty(0.41.1)") + b"jj\x1b[6;18;9t\x1b[B" + KITTY_OK + b"\x1b[?2026;2$y" + PLAIN_DA + b"x"
    )
    terminal = interpret(answers, XTERM_ENV)
    assert terminal.protocol is Protocol.KITTY
    assert (terminal.cell_width_px, terminal.cell_height_px) == (9, 18)


def test_the_command_line_overrides_the_variable_and_both_override_the_replies() -> None:
    answers = KITTY_OK + version("kitty(0.41.1)") + b"\x1b[6;18;9t" + PLAIN_DA
    environment = {**XTERM_ENV, "FACEGENDER_GRAPHICS": "sixel"}
    assert interpret(answers, environment).protocol is Protocol.SIXEL
    forced = interpret(answers, environment, override="halfblock")
    assert forced.protocol is Protocol.HALFBLOCK
    assert (forced.cell_width_px, forced.cell_height_px) == (9, 18)
    assert interpret(answers, {**XTERM_ENV, "FACEGENDER_GRAPHICS": "nonsense"}).protocol is Protocol.KITTY


@pytest.mark.parametrize(
    ("answers", "size", "cell"),
    [
        (b"\x1b[6;17;8t", WindowSize(50, 150, 1500, 1000), (8, 17)),
        (b"\x1b[4;900;1200t", WindowSize(45, 120, 0, 0), (10, 20)),
        (b"\x1b[4;900;1080t", WindowSize(45, 120, 999, 999), (9, 20)),
        (b"", WindowSize(50, 150, 1350, 950), (9, 19)),
        (b"", WindowSize(50, 150, 0, 0), (10, 20)),
        (b"", WindowSize(), (10, 20)),
        (b"\x1b[6;0;0t", WindowSize(), (10, 20)),
    ],
)
def test_cell_size(answers: bytes, size: WindowSize, cell: tuple[int, int]) -> None:
    terminal = interpret(answers + PLAIN_DA, XTERM_ENV, size)
    assert (terminal.cell_width_px, terminal.cell_height_px) == cell


def test_a_larger_font_is_detected_by_the_window_size() -> None:
    asked = interpret(b"\x1b[6;21;10t" + PLAIN_DA, XTERM_ENV, WindowSize(50, 150, 1512, 1009))
    assert (asked.cell_width_px, asked.cell_height_px) == (10, 21)
    assert resized(asked, WindowSize(40, 120, 1210, 808)) is asked, "the same font in a smaller window"
    larger = resized(asked, WindowSize(25, 75, 1512, 1009))
    assert (larger.cell_width_px, larger.cell_height_px) == (20, 40)
    assert resized(asked, WindowSize(25, 75, 0, 0)) is asked, "a kernel that knows no pixels"


@pytest.mark.parametrize(
    ("name", "environment", "colours"),
    [
        ("", {"TERM": "xterm-256color", "COLORTERM": "truecolor"}, "truecolor"),
        ("", {"TERM": "xterm", "COLORTERM": "24bit"}, "truecolor"),
        ("kitty(0.41.1)", {"TERM": "xterm-256color"}, "truecolor"),
        ("", {"TERM": "foot"}, "truecolor"),
        ("", {"TERM": "xterm-256color"}, "256"),
        ("tmux 3.5a", {"TERM": "tmux-256color"}, "256"),
        ("", {"TERM": "vt220"}, "16"),
    ],
)
def test_colours(name: str, environment: dict[str, str], colours: str) -> None:
    assert interpret((version(name) if name else b"") + PLAIN_DA, environment).colours == colours


def test_kitty_inside_tmux_without_passthrough_gets_the_remedy() -> None:
    terminal = interpret(PLAIN_DA, TMUX_ENV, tmux=Tmux("3.5a", "kitty(0.41.1)", "", "off"))
    assert "allow-passthrough on" in terminal.advice
    assert terminal.multiplexer == "tmux 3.5a"


def test_inside_tmux_cells_are_those_of_the_terminal_around_it() -> None:
    tmux = Tmux("3.5a", "kitty(0.41.1)", "", "on", "7", "15")
    terminal = interpret(version("tmux 3.5a") + b"\x1b[6;32;16t" + PLAIN_DA, TMUX_ENV, tmux=tmux)
    assert (terminal.cell_width_px, terminal.cell_height_px) == (7, 15)
    assert (terminal.multiplexer, terminal.name) == ("tmux 3.5a", "kitty(0.41.1)")
    unknown = interpret(b"\x1b[6;32;16t" + PLAIN_DA, TMUX_ENV, tmux=Tmux("3.0", "kitty(0.41.1)", "", "on"))
    assert (unknown.cell_width_px, unknown.cell_height_px) == (16, 32)


def test_sixel_limits_are_taken_from_the_terminal() -> None:
    terminal = interpret(b"\x1b[?1;0;16S\x1b[?2;0;800;600S" + SIXEL_DA, XTERM_ENV)
    assert terminal.sixel_registers == 16
    assert terminal.sixel_limit_px == (800, 600)


def test_a_name_cannot_carry_control_characters() -> None:
    terminal = interpret(b"\x1bP>|evil\x07\r\n\x9b31mname" + "\u202e".encode() + b"\x1b\\" + PLAIN_DA, XTERM_ENV)
    assert terminal.name.isprintable()
    assert clean_name("a\x1b]0;title\x07b") == "a]0;titleb"
    assert len(clean_name("x" * 1000)) == 60


def test_probing_the_terminal_imports_nothing_heavy() -> None:
    code = "import sys, tui.graphics.probe;print(sorted({'numpy', 'PIL', 'textual', 'rich'} & set(sys.modules)))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("reply", "background"),
    [
        (b"\x1b]11;rgb:1616/1818/1d1d\x1b\\", (0x16, 0x18, 0x1D)),
        (b"\x1b]11;rgb:ff/ff/e0\x07", (255, 255, 0xE0)),
        (b"\x1b]11;rgba:f/f/0/8\x1b\\", (255, 255, 0)),
        (b"\x1b]11;nonsense\x1b\\", None),
        (b"", None),
    ],
)
def test_the_background_is_what_the_terminal_says(reply: bytes, background: tuple[int, int, int] | None) -> None:
    terminal = interpret(reply + PLAIN_DA, XTERM_ENV)
    assert terminal.background == background
    assert ("background #" in terminal.cells_and_colours) == (background is not None)
