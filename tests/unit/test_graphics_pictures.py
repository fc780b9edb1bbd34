"""Pictures, half blocks and geometry."""

from __future__ import annotations

import re

import numpy as np
import pytest
from rich.color import Color

from tui.graphics.encode import Job, encode
from tui.graphics.geometry import Area, area_px, fit
from tui.graphics.halfblock import half_blocks
from tui.graphics.palette import PaletteQuantizer
from tui.graphics.picture import Picture
from tui.graphics.terminal import Protocol, Terminal

RED, GREEN, BLUE = (255, 0, 0), (0, 255, 0), (0, 0, 255)
THREE = Picture(np.array([[0, 1], [2, 2], [1, 1]], np.uint8), np.array([RED, GREEN, BLUE], np.uint8))


def test_equal_pictures_have_equal_keys() -> None:
    assert Picture(THREE.pixels.copy(), THREE.palette.copy()).key == THREE.key
    assert Picture(THREE.pixels.T.copy(), THREE.palette).key != THREE.key
    assert Picture(THREE.pixels, THREE.palette[::-1].copy()).key != THREE.key


@pytest.mark.parametrize(
    ("pixels", "palette"),
    [
        (np.zeros((2, 2, 3), np.uint8), np.zeros((1, 3), np.uint8)),
        (np.zeros((0, 2), np.uint8), np.zeros((1, 3), np.uint8)),
        (np.zeros((2, 2), np.int64), np.zeros((1, 3), np.uint8)),
        (np.zeros((2, 2), np.uint8), np.zeros((257, 3), np.uint8)),
        (np.zeros((2, 2), np.uint8), np.zeros((0, 3), np.uint8)),
        (np.full((2, 2), 3, np.uint8), np.zeros((3, 3), np.uint8)),
    ],
)
def test_arrays_of_wrong_shape_type_or_index_are_refused(pixels: np.ndarray, palette: np.ndarray) -> None:
    with pytest.raises(ValueError, match=r"pixels|palette"):
        Picture(pixels, palette)


def test_a_photograph_keeps_its_colours_closely() -> None:
    ramp = np.linspace(0, 255, 64).astype(np.uint8)
    photo = np.stack([np.tile(ramp, (64, 1)), np.tile(ramp[:, None], (1, 64)), np.full((64, 64), 90, np.uint8)], axis=2)
    picture = Picture.from_rgb(photo)
    assert len(picture.palette) <= 256
    assert np.abs(picture.rgb().astype(int) - photo.astype(int)).mean() < 8


def test_half_blocks_show_upper_pixels_as_foreground_and_lower_as_background() -> None:
    blocks = half_blocks(THREE, 2, 2, "truecolor", background=Color.from_rgb(1, 2, 3))
    rgb = np.array([colour.get_truecolor() for colour in blocks.colours])
    assert rgb[blocks.upper].tolist() == [[[255, 0, 0], [0, 255, 0]], [[0, 255, 0], [0, 255, 0]]]
    assert rgb[blocks.lower].tolist() == [[[0, 0, 255], [0, 0, 255]], [[1, 2, 3], [1, 2, 3]]]
    assert blocks.rows[0] == "\x1b[48;2;0;0;255;38;2;255;0;0m▀\x1b[38;2;0;255;0m▀\x1b[0m"


def test_half_blocks_do_not_repeat_colours() -> None:
    flat = Picture(np.zeros((2, 50), np.uint8), np.array([RED], np.uint8))
    assert half_blocks(flat, 50, 1, "truecolor").rows[0] == "\x1b[48;2;255;0;0m" + " " * 50 + "\x1b[0m"


@pytest.mark.parametrize(("colours", "pattern"), [("256", r"[34]8;5;\d+"), ("16", r"3\d|4\d|9\d|10\d")])
def test_half_blocks_use_only_colours_that_the_terminal_has(colours: str, pattern: str) -> None:
    row = half_blocks(THREE, 2, 2, colours).rows[0]  # type: ignore[arg-type]
    for codes in re.findall(r"\x1b\[([^m]*)m", row.removesuffix("\x1b[0m")):
        assert re.fullmatch(rf"(?:{pattern})(?:;(?:{pattern}))*", codes)


@pytest.mark.parametrize(("colours", "codes"), [("256", "48;5;196"), ("16", "41")])
def test_colours_that_the_terminal_does_not_tell_apart_are_not_switched_between(colours: str, codes: str) -> None:
    palette = np.array([(255, 0, 0), (254, 1, 0)], np.uint8)
    picture = Picture(np.array([[0, 1], [1, 0]], np.uint8), palette)
    assert half_blocks(picture, 2, 1, colours).rows[0] == f"\x1b[{codes}m  \x1b[0m"  # type: ignore[arg-type]


KITTY = Terminal(Protocol.KITTY, 10, 20)
SIXEL = Terminal(Protocol.SIXEL, 10, 20)
BLOCKS = Terminal(Protocol.HALFBLOCK)


def test_the_area_is_counted_in_the_protocols_own_pixels() -> None:
    assert area_px(Area(80, 30), KITTY) == (800, 600)
    assert area_px(Area(80, 20), SIXEL) == (800, 396), "whole bands only"
    assert area_px(Area(80, 30), BLOCKS) == (80, 60)
    assert area_px(Area(80, 30), Terminal(Protocol.SIXEL, 10, 20, sixel_limit_px=(500, 300))) == (500, 300)


@pytest.mark.parametrize("terminal", [KITTY, SIXEL, BLOCKS])
@pytest.mark.parametrize("size", [(1, 1), (37, 11), (800, 600), (3000, 40), (50, 4000), (801, 601)])
@pytest.mark.parametrize("area", [(1, 1), (80, 30), (7, 40)])
def test_a_picture_is_never_cropped(terminal: Terminal, size: tuple[int, int], area: tuple[int, int]) -> None:
    placement = fit(*size, Area(*area), terminal)
    room = area_px(Area(*area), terminal)
    assert 1 <= placement.columns <= area[0]
    assert 1 <= placement.rows <= area[1]
    assert 1 <= placement.width_px * placement.enlarge <= max(room[0], 1)
    assert 1 <= placement.height_px * placement.enlarge <= max(room[1], 1)
    assert placement.rows * placement.row_px >= placement.height_px * placement.enlarge


def test_small_pictures_are_enlarged_by_whole_numbers_or_by_the_terminal() -> None:
    assert fit(100, 110, Area(80, 30), SIXEL).enlarge == 5
    assert fit(30, 20, Area(80, 30), BLOCKS).enlarge == 2
    kitty = fit(100, 100, Area(80, 30), KITTY)
    assert kitty.rows <= 30
    assert kitty.height_px == kitty.rows * kitty.row_px, "slices of whole rows of cells have whole rows of pixels"
    assert 100 <= kitty.height_px < 100 + kitty.row_px, "the terminal scales it"
    enlarged = 20 / kitty.row_px
    assert enlarged == pytest.approx(kitty.columns * 10 / kitty.width_px, rel=0.02), "the same both ways"
    assert enlarged > 4


@pytest.mark.parametrize("terminal", [KITTY, SIXEL, BLOCKS])
def test_large_pictures_are_scaled_down_before_they_are_sent(terminal: Terminal) -> None:
    picture = Picture(np.zeros((900, 1600), np.uint8), np.array([RED], np.uint8))
    encoded = encode(Job(picture, Area(40, 10), terminal))
    room = area_px(Area(40, 10), terminal)
    assert encoded.placement.width_px <= room[0]
    assert encoded.placement.height_px <= room[1]
    assert encoded.size_bytes > 0
    assert [sum(len(segment.text) for segment in row) for row in encoded.flat] == (
        [encoded.placement.columns] * encoded.placement.rows
    )


def test_a_coarse_picture_covers_no_more_cells_than_the_full_one() -> None:
    picture = Picture(np.zeros((205, 306), np.uint8), np.array([RED], np.uint8))
    job = Job(picture, Area(40, 12), SIXEL, (1, 2, 3), coarse=True)
    blocks = encode(job).blocks
    assert blocks is not None
    assert blocks.upper.shape == (11, 31)
    assert blocks.colours[blocks.upper[0, 30]].triplet == (1, 2, 3), "exactly, although the picture has 256 colours"
    background = blocks.upper[0, 30]
    assert (blocks.upper[:, :30] != background)[:10].all()
    assert (blocks.upper[:, 30] == background).all()
    assert (blocks.lower[10] == background).all()


def test_similar_colours_are_merged_first() -> None:
    palette = np.array([(0, 0, 0), (4, 4, 4), (128, 128, 128), (255, 0, 0)], np.uint8)
    picture = Picture(np.array([[0, 1, 2, 3]] * 8, np.uint8), palette)
    reduced = PaletteQuantizer(picture).reduced(3)
    assert reduced.rgb()[0].tolist() == [[2, 2, 2], [2, 2, 2], [128, 128, 128], [255, 0, 0]]
    assert PaletteQuantizer(picture).reduced(4) is picture
