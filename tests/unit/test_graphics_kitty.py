"""The kitty protocol: syntax of the commands, and what the terminal is left to hold."""

from __future__ import annotations

import io
import re
import unicodedata
import zlib
from base64 import b64decode
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from tui.graphics.encode import Job, Slice, encode
from tui.graphics.geometry import Area
from tui.graphics.kitty import DIACRITICS, PLACEHOLDER, TerminalImageCache, cells, deletion, png, transmission
from tui.graphics.palette import within_budget
from tui.graphics.picture import Picture
from tui.graphics.terminal import Protocol, Terminal

COMMAND = re.compile(r"\x1b_G([^;\x1b]*)(?:;([^\x1b]*))?\x1b\\")


def random_picture(height: int, width: int, colours: int) -> Picture:
    random = np.random.default_rng(0)
    return Picture(
        random.integers(0, colours, (height, width), dtype=np.uint8),
        random.integers(0, 256, (colours, 3), dtype=np.uint8),
    )


@pytest.mark.parametrize("size", [(1, 1), (3, 5), (64, 33)])
@pytest.mark.parametrize("colours", [1, 16, 17, 256])
def test_png_keeps_every_pixel(size: tuple[int, int], colours: int) -> None:
    picture = random_picture(*size, colours)
    image = Image.open(io.BytesIO(png(picture)))
    assert image.mode == "P"
    np.testing.assert_array_equal(np.asarray(image.convert("RGB")), picture.rgb())


def test_the_levels_of_a_map_take_less_than_without_a_filter() -> None:
    y, x = np.mgrid[0:200, 0:200] / 200
    noise = np.random.default_rng(0).normal(0, 0.7, (200, 200))
    levels = (16 + 12 * np.sin(9 * x + 5 * y) + noise).clip(0, 31).astype(np.uint8)
    picture = Picture(levels, np.zeros((32, 3), np.uint8))
    unfiltered = zlib.compress(np.pad(levels, ((0, 0), (1, 0))).tobytes(), 9)
    assert len(png(picture)) < 0.9 * len(unfiltered)


def pixels_of(piece: Slice) -> npt.NDArray[np.uint8]:
    """The (H, W) palette indices of a slice."""
    return np.asarray(Image.open(io.BytesIO(piece.data)))


def test_enlarged_slices_repeat_their_neighbours_rows_so_that_no_line_shows_between_them() -> None:
    picture = random_picture(150, 100, 16)
    encoded = encode(Job(picture, Area(60, 40), Terminal(Protocol.KITTY, 10, 20)))
    row_px = encoded.placement.row_px
    assert row_px < 20
    assert len(encoded.slices) > 2
    parts = [pixels_of(piece) for piece in encoded.slices]
    for piece, pixels in zip(encoded.slices, parts, strict=True):
        assert piece.margin_rows == 1
        assert len(pixels) == (piece.rows + 2) * row_px
    for above, below in pairwise(parts):
        assert (above[-row_px:] == below[row_px]).all()
        assert (below[:row_px] == above[-row_px - 1]).all()
    assert (parts[0][:row_px] == parts[0][row_px]).all(), "nor does the outer edge fade"
    assert (parts[-1][-row_px:] == parts[-1][-row_px - 1]).all()


def test_slices_that_are_not_enlarged_have_no_margin() -> None:
    encoded = encode(Job(random_picture(400, 300, 16), Area(30, 20), Terminal(Protocol.KITTY, 10, 20)))
    assert {piece.margin_rows for piece in encoded.slices} == {0}
    assert sum(len(pixels_of(piece)) for piece in encoded.slices) == 400


def test_noise_is_sent_with_fewer_colours() -> None:
    picture = random_picture(300, 300, 256)
    assert len(png(within_budget(picture, lambda part: len(png(part)), 50_000))) < len(png(picture)) * 0.75


def test_transmission_is_quiet_chunked_and_complete() -> None:
    data = bytes(range(256)) * 50
    commands = COMMAND.findall(transmission(data, 0x2A000011, 40, 20))
    first = dict(pair.split("=") for pair in commands[0][0].split(","))
    assert first == {"a": "T", "U": "1", "i": str(0x2A000011), "f": "100", "c": "40", "r": "20", "q": "2", "m": "1"}
    assert [keys for keys, _ in commands[1:]] == ["q=2,m=1"] * (len(commands) - 2) + ["q=2,m=0"]
    assert all(len(payload) == 4096 for _, payload in commands[:-1])
    assert b64decode("".join(payload for _, payload in commands)) == data


def test_a_small_picture_is_one_command() -> None:
    assert transmission(b"abc", 17, 1, 1) == "\x1b_Ga=T,U=1,i=17,f=100,c=1,r=1,q=2,m=0;YWJj\x1b\\"


def test_tmux_gets_every_command_in_its_envelope() -> None:
    text = transmission(bytes(5000), 17, 1, 1, tmux=True)
    envelopes = re.findall(r"\x1bPtmux;((?:[^\x1b]|\x1b\x1b)*)\x1b\\", text)
    assert len(envelopes) == 2
    assert "".join(envelopes).replace("\x1b\x1b", "\x1b") == transmission(bytes(5000), 17, 1, 1)


def test_deletion_frees_the_data_too() -> None:
    assert deletion(17) == "\x1b_Ga=d,d=I,i=17,q=2\x1b\\"


def test_cells_name_picture_row_and_first_column() -> None:
    text = cells(0x03000021, row=2, first=4, last=7)
    start = PLACEHOLDER + DIACRITICS[2] + DIACRITICS[4] + DIACRITICS[3]
    assert text == f"\x1b[38;5;33m{start}{PLACEHOLDER * 2}\x1b[39m"


def test_spelled_out_cells_are_each_numbered() -> None:
    text = cells(0x03000021, row=0, first=0, last=3, spelled_out=True)
    assert [DIACRITICS.index(text[text.index(PLACEHOLDER) + 4 * n + 2]) for n in range(3)] == [0, 1, 2]


def test_the_diacritics_are_those_of_the_protocol() -> None:
    assert len(DIACRITICS) == len(set(DIACRITICS)) == 297
    assert DIACRITICS.startswith("\u0305\u030d\u030e\u0310\u0312\u033d")
    assert DIACRITICS.endswith("\U0001d244")
    assert all(unicodedata.combining(character) == 230 for character in DIACRITICS)


def test_the_terminal_holds_a_bounded_number_of_pictures() -> None:
    held = TerminalImageCache(max_slices=3, max_bytes=10**9)
    numbers = [held.add(key, 10, set())[0] for key in "abc"]
    assert len(set(numbers)) == 3
    assert all(number & 0xFF for number in numbers)
    assert held.number("a") == numbers[0]
    _, evicted = held.add("d", 10, set())
    assert evicted == [numbers[1]], "the least recently shown goes"
    assert len(held) == 3
    assert held.number("b") is None


def test_the_terminal_holds_a_bounded_number_of_bytes() -> None:
    held = TerminalImageCache(max_slices=100, max_bytes=100)
    held.add("a", 60, set())
    held.add("b", 60, set())
    assert (len(held), held.number("a")) == (1, None)


def test_pictures_on_the_screen_are_not_deleted() -> None:
    held = TerminalImageCache(max_slices=2, max_bytes=10**9)
    first, _ = held.add("a", 1, set())
    held.add("b", 1, set())
    held.add("c", 1, {"a"})
    assert held.number("a") == first


def test_any_number_of_pictures_can_be_on_the_screen() -> None:
    held = TerminalImageCache(max_slices=400)
    on_screen: set[object] = set()
    numbers = []
    for key in range(1000):
        on_screen.add(key)
        number, evicted = held.add(key, 10, on_screen)
        assert not evicted
        numbers.append(number)
    assert len(set(numbers)) == 1000
    assert all(number & 0xFF >= 16 and 0 < number >> 24 < len(DIACRITICS) for number in numbers)


def test_numbers_never_run_out() -> None:
    held = TerminalImageCache(max_slices=4, max_bytes=10**9)
    live: set[int] = set()
    for key in range(2000):
        number, evicted = held.add(key, 1, set())
        assert number not in live
        live = (live | {number}) - set(evicted)
    assert len(live) == 4
    assert set(held.clear()) == live
    assert len(held) == 0
