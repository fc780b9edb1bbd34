"""Sixel data, read back by a small decoder."""

from __future__ import annotations

import re

import numpy as np
import pytest

from tui.graphics.encode import Job
from tui.graphics.encode import encode as encode_job
from tui.graphics.geometry import Area
from tui.graphics.palette import within_budget
from tui.graphics.picture import Picture, Pixels
from tui.graphics.sixel import encode, size
from tui.graphics.terminal import Protocol, Terminal

TOKEN = re.compile(rb"#(\d+);2;(\d+);(\d+);(\d+)|#(\d+)|!(\d+)([?-~])|([?-~])|(\$)|(-)")


def decode(data: bytes) -> tuple[Pixels, int]:
    """The picture in percent RGB, 255 where nothing was drawn, and the number of registers."""
    start = re.match(rb'\x1bP0;1;0q"1;1;(\d+);(\d+)', data)
    assert start
    assert data.endswith(b"\x1b\\")
    width, height = int(start[1]), int(start[2])
    out = np.full((-(-height // 6) * 6, width, 3), 255, np.uint8)
    colours: dict[int, list[int]] = {}
    x = y = register = 0
    position = start.end()
    while position < len(data) - 2:
        token = TOKEN.match(data, position)
        assert token, data[position : position + 20]
        position = token.end()
        if token[1]:
            colours[int(token[1])] = [int(token[part]) for part in (2, 3, 4)]
        elif token[5]:
            register = int(token[5])
        elif token[9]:
            x = 0
        elif token[10]:
            x, y = 0, y + 6
        else:
            count = int(token[6] or 1)
            bits = (token[7] or token[8])[0] - 63
            for row in range(6):
                if bits >> row & 1:
                    assert x + count <= width
                    out[y + row, x : x + count] = colours[register]
            x += count
    assert (out[height:] == 255).all(), "pixels below the picture"
    return out[:height], len(colours)


def percent(picture: Picture) -> Pixels:
    return ((picture.palette.astype(int) * 100 + 127) // 255).astype(np.uint8)[picture.pixels]


def random_picture(height: int, width: int, colours: int, seed: int = 0) -> Picture:
    random = np.random.default_rng(seed)
    return Picture(
        random.integers(0, colours, (height, width), dtype=np.uint8),
        random.integers(0, 256, (colours, 3), dtype=np.uint8),
    )


@pytest.mark.parametrize(
    "size", [(1, 1), (6, 6), (5, 7), (7, 5), (12, 1), (1, 12), (13, 300), (40, 41), (61, 1003), (3, 12000)]
)
@pytest.mark.parametrize("colours", [1, 2, 11, 256])
def test_noise_comes_back_pixel_by_pixel(size: tuple[int, int], colours: int) -> None:
    picture = random_picture(*size, colours)
    decoded, registers = decode(encode(picture))
    np.testing.assert_array_equal(decoded, percent(picture))
    assert registers == len(np.unique(picture.pixels)) <= 256


@pytest.mark.parametrize("factor", [2, 3, 8])
def test_enlarged_pictures_come_back_and_cost_little(factor: int) -> None:
    picture = random_picture(20, 30, 64).enlarged(factor)
    data = encode(picture)
    np.testing.assert_array_equal(decode(data)[0], percent(picture))


def test_one_colour_costs_a_few_bytes_a_band() -> None:
    picture = Picture(np.full((600, 1000), 7, np.uint8), np.zeros((8, 3), np.uint8))
    data = encode(picture)
    assert len(data) < 1500
    assert (decode(data)[0] == 0).all()


def test_the_cursor_is_not_sent_below_the_last_band() -> None:
    assert not encode(random_picture(12, 12, 4)).removesuffix(b"\x1b\\").endswith(b"-")


def ramp_noise(height: int, width: int) -> Picture:
    random = np.random.default_rng(1)
    wave = np.sin(np.arange(width) / 30)[None] + np.cos(np.arange(height) / 20)[:, None]
    levels = np.clip((wave + random.normal(0, 0.1, wave.shape) + 2) * 16, 0, 63).astype(np.uint8)
    return Picture(levels, np.repeat(np.arange(0, 256, 4, dtype=np.uint8)[:, None], 3, axis=1))


def test_too_much_detail_costs_colours_and_not_bytes() -> None:
    picture = ramp_noise(300, 400)
    full = encode(picture)
    less = encode(within_budget(picture, size, len(full) // 2))
    assert len(less) < len(full) * 0.7
    decoded, registers = decode(less)
    assert 8 <= registers < 64
    error = np.abs(decoded.astype(int) - percent(picture).astype(int))
    assert error.mean() < 4


def test_a_sufficient_budget_changes_nothing() -> None:
    picture = ramp_noise(60, 80)
    assert within_budget(picture, size, 1 << 20) is picture


@pytest.mark.parametrize("registers", [2, 16, 200])
def test_the_terminals_registers_are_respected(registers: int) -> None:
    reduced = within_budget(random_picture(30, 40, 256), size, 1 << 20, registers)
    assert decode(encode(reduced))[1] <= registers


def test_inside_tmux_register_0_has_the_colour_around_the_picture() -> None:
    picture = Picture(np.array([[0, 1, 2]] * 50, np.uint8), np.array([(255, 0, 0), (0, 255, 0), (0, 0, 255)], np.uint8))
    for multiplexer, registers in (("tmux 3.5a", b"#0;2;20;40;60#1;2;100;0;0"), ("", b"#0;2;100;0;0#1;2;0;100;0")):
        terminal = Terminal(Protocol.SIXEL, 10, 20, multiplexer=multiplexer)
        for piece in encode_job(Job(picture, Area(30, 20), terminal, (51, 102, 153))).slices:
            assert registers in piece.data
            shown, _ = decode(piece.data)
            assert shown[0, [0, len(shown[0]) // 2, -1]].tolist() == [[100, 0, 0], [0, 100, 0], [0, 0, 100]]


def test_inside_tmux_one_register_is_left_for_the_colour_around_the_picture() -> None:
    noise = np.arange(64 * 64, dtype=np.uint32).reshape(64, 64).astype(np.uint8)
    palette = np.random.default_rng(0).integers(0, 256, (256, 3), dtype=np.uint8)
    terminal = Terminal(Protocol.SIXEL, 10, 20, multiplexer="tmux 3.5a")
    for piece in encode_job(Job(Picture(noise, palette), Area(30, 20), terminal, (51, 102, 153))).slices:
        assert b"#0;2;20;40;60#" in piece.data
        assert decode(piece.data)[1] <= 256
