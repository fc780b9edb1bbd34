"""Arrays to images: everything fits, every pixel is where it belongs, and the colours are matplotlib's."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import matplotlib as mpl
import msgspec
import numpy as np
import pytest
import recorded
from PIL import Image

from facegender.rendering import mosaics, pages
from facegender.rendering.colormaps import DIVERGING, VIRIDIS, reduced, sequential
from facegender.rendering.mosaics import Grid, fit_grid, fit_page, mosaic, resized, signed_tiles
from facegender.rendering.overlays import heat_overlay
from facegender.rendering.view_options import ColourMap
from facegender.runs.frames import quantise

COUNTS = (1, 2, 3, 5, 9, 16, 31, 32, 64, 127, 128, 256)
AREAS = ((1270, 560), (700, 700), (430, 90), (90, 430), (240, 160), (2000, 50))
TILES = ((64, 64), (32, 32), (7, 7), (3, 3), (1, 1), (5, 9), (128, 16))


# The grid


def test_a_grid_fits_its_area_wherever_tiles_of_one_pixel_would() -> None:
    for count in COUNTS:
        for area in AREAS:
            for tile in TILES:
                for gap in (1, 2):
                    grid = fit_grid(count, tile, area, gap=gap)
                    assert grid.count == count
                    assert grid.columns * grid.rows >= count
                    assert grid.columns * (grid.rows - 1) < count
                    case = (count, area, tile, gap, grid)
                    # Below about a pixel a tile nothing fits; from there on everything must.
                    columns, rows = (area[0] - gap) // (1 + gap), (area[1] - gap) // (1 + gap)
                    room = columns * rows >= count and max(tile) == min(tile)
                    if room or min(grid.tile_width, grid.tile_height) > 1:
                        assert grid.width <= area[0], case
                        assert grid.height <= area[1], case


def test_tiles_lie_beside_each_other_without_overlap_inside_the_mosaic() -> None:
    for count in COUNTS:
        grid = fit_grid(count, (8, 8), (640, 400))
        taken = np.zeros((grid.height, grid.width), int)
        for tile in range(count):
            x, y = grid.origin(tile)
            taken[y : y + grid.tile_height, x : x + grid.tile_width] += 1
        assert taken.max() == 1
        assert taken.sum() == count * grid.tile_width * grid.tile_height
        assert not taken[: grid.gap].any()
        assert not taken[:, : grid.gap].any()
        assert not taken[-grid.gap :].any()
        assert not taken[:, -grid.gap :].any()


def test_tiles_that_are_much_enlarged_are_so_by_a_whole_factor_and_keep_their_shape() -> None:
    for count in COUNTS:
        for area in AREAS:
            for height, width in TILES:
                grid = fit_grid(count, (height, width), area)
                if grid.tile_width >= 4 * width:
                    assert grid.tile_width % width == 0
                    assert grid.tile_height * width == grid.tile_width * height


def test_more_room_never_makes_tiles_smaller() -> None:
    for count in COUNTS:
        sizes = [fit_grid(count, (16, 16), (side, side)).tile_width for side in range(40, 900, 20)]
        assert sizes == sorted(sizes)


def test_a_tile_is_never_enlarged_beyond_what_is_asked() -> None:
    assert fit_grid(1, (3, 3), (5000, 5000)).tile_width == 48


def test_a_terminal_that_enlarges_by_itself_gets_tiles_as_they_are_unless_they_are_tiny() -> None:
    assert fit_grid(4, (100, 100), (700, 700), enlarging="large").tile_width == 100
    assert fit_grid(4, (7, 7), (700, 700), enlarging="large").tile_width % 7 == 0


def test_tiles_are_repeated_whole_and_never_interpolated_where_that_is_asked() -> None:
    assert fit_grid(4, (100, 100), (390, 390), enlarging="whole").tile_width == 100
    assert fit_grid(4, (100, 100), (500, 500), enlarging="whole").tile_width == 200


@pytest.mark.parametrize("area", [(0, 0), (1, 1), (8, 8), (3, 900)])
def test_an_area_too_small_for_anything_still_gives_a_grid(area: tuple[int, int]) -> None:
    grid = fit_grid(64, (8, 8), area)
    assert grid.tile_width >= 1
    assert grid.tile_height >= 1


# Pages


@pytest.mark.parametrize("least", [14, 48, 64])
@pytest.mark.parametrize("enlarging", ["any", "whole"])
def test_on_a_page_tiles_have_the_least_size_and_all_pages_hold_about_as_many(least: int, enlarging: str) -> None:
    for count in (1, 5, 32, 64, 512):
        for area in AREAS:
            for tile in ((2, 2), (7, 7), (32, 32), (64, 64), (128, 128)):
                grid = fit_page(count, tile, area, least, enlarging=enlarging)
                case = (count, area, tile, grid)
                roomy = min(area) >= 2 * least
                if grid.count > 1 and roomy:
                    assert max(grid.tile_width, grid.tile_height) >= least, case
                if grid.count < count:
                    assert grid.count % grid.columns == 0, case
                    assert not roomy or (grid.width <= area[0] and grid.height <= area[1]), case
                    pages = -(-count // grid.count)
                    assert count > (pages - 1) * grid.count, case


def test_what_fits_is_on_one_page_and_kernels_are_enlarged_to_be_seen() -> None:
    assert fit_page(32, (64, 64), (1000, 700), 48).count == 32
    assert fit_page(64, (3, 3), (1000, 900), 48).tile_width > 48
    assert fit_page(1, (4, 4), (400, 400), 48).tile_width > 64


# The mosaic


def test_a_mosaic_holds_each_tile_at_its_place_and_gaps_elsewhere() -> None:
    tiles = np.arange(3 * 4, dtype=np.uint8).reshape(3, 2, 2) * 20
    grid = Grid(count=3, columns=2, tile_width=2, tile_height=2, gap=1)
    out = mosaic(tiles, grid)
    assert out.shape == (7, 7)
    assert out.dtype == np.uint8
    expected = np.full((7, 7), 64)
    expected[1:3, 1:3] = tiles[0] // 4
    expected[1:3, 4:6] = tiles[1] // 4
    expected[4:6, 1:3] = tiles[2] // 4
    np.testing.assert_array_equal(out, expected)


@pytest.mark.parametrize("levels", [2, 16, 64, 254])
def test_a_mosaic_uses_all_levels_and_no_other_index(levels: int) -> None:
    tiles = np.arange(256, dtype=np.uint8).reshape(1, 16, 16)
    grid = Grid(1, 1, 16, 16, 2)
    out = mosaic(tiles, grid, levels=levels, cursor=0)
    assert set(np.unique(out)) == set(range(levels)) | {levels + 1}
    assert len(mosaics.palette(VIRIDIS, levels)) == levels + 2
    assert out[2, 2] == 0
    assert out[17, 17] == levels - 1


def test_the_cursor_frames_its_tile_and_nothing_else() -> None:
    tiles = np.zeros((5, 3, 4), np.uint8)
    grid = Grid(5, 3, 4, 3, 2)
    for cursor in range(5):
        plain, marked = mosaic(tiles, grid), mosaic(tiles, grid, cursor=cursor)
        x, y = grid.origin(cursor)
        changed = np.zeros_like(plain, bool)
        changed[y - 2 : y + 5, x - 2 : x + 6] = True
        changed[y : y + 3, x : x + 4] = False
        np.testing.assert_array_equal(plain != marked, changed)
        assert (marked[changed] == 65).all()


@pytest.mark.parametrize("cursor", [-1, 5, 99])
def test_a_cursor_that_is_no_tile_is_not_drawn(cursor: int) -> None:
    grid = Grid(5, 3, 4, 3, 2)
    np.testing.assert_array_equal(
        mosaic(np.zeros((5, 3, 4), np.uint8), grid, cursor=cursor), mosaic(np.zeros((5, 3, 4), np.uint8), grid)
    )


def test_resizing_by_a_whole_factor_repeats_pixels_and_reducing_averages() -> None:
    tile = np.array([[[0, 100], [200, 100]]], np.uint8)
    np.testing.assert_array_equal(resized(tile, 4, 4)[0], np.kron(tile[0], np.ones((2, 2), np.uint8)))
    np.testing.assert_array_equal(resized(tile, 1, 1)[0], [[100]])
    assert resized(tile, 3, 5).shape == (1, 5, 3)


# Weights


def test_signed_tiles_are_centred_on_zero_and_symmetric() -> None:
    values = np.random.default_rng(0).normal(size=(4, 3, 3)).astype(np.float32)
    tiles, limit = signed_tiles(values)
    assert limit == pytest.approx(np.abs(values).max())
    np.testing.assert_allclose((tiles.astype(float) - 127.5) / 127.5 * limit, values, atol=limit / 250)
    mirrored, _ = signed_tiles(-values)
    assert (np.abs(tiles.astype(int) + mirrored - 255) <= 1).all()


def test_the_sign_of_a_weight_is_the_side_of_the_middle_it_lies_on() -> None:
    tiles, limit = signed_tiles(np.array([[[-2.0, -1.0, 0.0, 1.0, 2.0]]], np.float32))
    assert limit == 2.0
    low, negative, zero, positive, high = tiles[0, 0].tolist()
    assert (low, high) == (0, 255)
    assert negative < 127 <= zero <= 128 < positive


@pytest.mark.filterwarnings("error")
def test_weights_that_are_zero_or_not_finite_are_the_middle() -> None:
    tiles, limit = signed_tiles(np.zeros((1, 2, 2), np.float32))
    assert (limit, set(tiles.ravel().tolist()) <= {127, 128}) == (1.0, True)
    tiles, limit = signed_tiles(np.array([[[np.nan, np.inf, -np.inf, 4.0]]], np.float32))
    assert limit == 4.0
    assert set(tiles[0, 0, :3].tolist()) <= {127, 128}


def test_the_channel_average_is_the_mean_of_what_the_bytes_stand_for() -> None:
    maps = np.random.default_rng(1).normal(size=(1, 6, 5, 4)).astype(np.float32)
    quantised, low, high = quantise(maps)
    tiles, lowest, highest = mosaics.channel_average(quantised[0], low[0], high[0])
    assert tiles.shape == (1, 5, 4)
    mean = maps[0].mean(axis=0)
    np.testing.assert_allclose(tiles[0] / 255 * (highest - lowest) + lowest, mean, atol=0.03)


@pytest.mark.filterwarnings("error")
def test_the_channel_average_of_a_diverging_network_does_not_overflow() -> None:
    largest = np.full(4, 3e38, np.float32)
    maps = np.tile(np.array([0, 255], np.uint8), (4, 1, 1))
    tiles, lowest, highest = mosaics.channel_average(maps, largest * 0, largest)
    assert tiles.tolist() == [[[0, 255]]]
    assert (lowest, highest) == (0, pytest.approx(3e38))


# Colours


@pytest.mark.parametrize(
    ("name", "table"),
    [("RdBu_r", DIVERGING), *((name, sequential(name)) for name in get_args(ColourMap))],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_table_is_matplotlibs_colour_map(name: str, table: np.ndarray) -> None:
    theirs = np.rint(mpl.colormaps[name](np.arange(256))[:, :3] * 255)
    assert table.shape == (256, 3)
    assert table.dtype == np.uint8
    assert np.abs(table.astype(int) - theirs).max() <= 2


def test_high_activation_is_yellow_low_is_purple_positive_is_red_and_negative_is_blue() -> None:
    assert VIRIDIS[255].tolist() == [253, 231, 37] or VIRIDIS[255].tolist() == [253, 231, 36]
    assert VIRIDIS[0, 2] > VIRIDIS[0, 0] > VIRIDIS[0, 1]
    assert DIVERGING[230, 0] > DIVERGING[230, 2]
    assert DIVERGING[25, 2] > DIVERGING[25, 0]
    assert DIVERGING[127:129].min() > 240


def test_a_reduced_palette_keeps_both_ends() -> None:
    for levels in (2, 7, 64, 256):
        colours = reduced(VIRIDIS, levels)
        assert len(colours) == levels
        np.testing.assert_array_equal(colours[[0, -1]], VIRIDIS[[0, -1]])


# Pages


def test_the_pages_of_an_epoch_are_written_as_png_of_one_width(tmp_path: Path) -> None:
    frame = recorded.frame(3)
    for name, page in (("maps", pages.maps_page(frame)), ("filters", pages.filters_page(frame))):
        path = tmp_path / f"{name}.png"
        pages.write_png(path, page)
        with Image.open(path) as image:
            assert image.format == "PNG"
            assert image.width == 1280
            assert image.height == page.height
    assert {path.name for path in tmp_path.iterdir()} == {"maps.png", "filters.png"}


def test_the_pages_of_a_network_of_very_many_layers_can_still_be_opened() -> None:
    frame = recorded.frame(0)
    layers = [msgspec.structs.replace(frame.layers[0], name=f"conv{number}") for number in range(150)]
    deep = msgspec.structs.replace(frame, layers=layers)
    for page in (pages.maps_page(deep), pages.filters_page(deep)):
        assert page.width == 1280
        assert page.height <= pages.MAX_PAGE_HEIGHT_PX


def test_the_maps_page_shows_the_probe_photographs_and_both_ends_of_the_colour_map() -> None:
    frame = recorded.frame(3)
    page = np.asarray(pages.maps_page(frame).convert("RGB"))
    for colour in (VIRIDIS[0], VIRIDIS[255]):
        assert (page == colour).all(axis=2).any()
    middle = frame.images[0].mean(axis=(0, 1))
    photograph = page[40:200, 20:200].mean(axis=(0, 1))
    np.testing.assert_allclose(photograph, middle, atol=12)


def test_pages_are_made_from_one_probe_and_from_sixteen() -> None:
    for probes in (1, 16):
        frame = recorded.frame(3, probes=probes)
        assert pages.maps_page(frame).width == 1280
        assert pages.filters_page(frame).width == 1280


def test_a_png_that_cannot_be_written_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(self: Image.Image, path: Path, *_: object, **__: object) -> None:
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Image.Image, "save", fail)
    with pytest.raises(OSError, match="No space left"):
        pages.write_png(tmp_path / "a.png", Image.new("RGB", (4, 4)))
    assert not list(tmp_path.iterdir())


def test_a_heatmap_turns_a_photograph_yellow_where_it_is_hot_and_leaves_it_to_be_seen() -> None:
    image = np.full((40, 60, 3), 100, np.uint8)
    image[:, 30:] = 200
    heat = np.zeros((4, 6), np.uint8)
    heat[:2] = 255
    shown = heat_overlay(image, heat)
    assert (shown.shape, shown.dtype) == (image.shape, np.uint8)
    yellow, dark = VIRIDIS[255].astype(float), VIRIDIS[0].astype(float)
    np.testing.assert_allclose(shown[2, 5], 100 * 0.35 + yellow * 0.65, atol=1)
    np.testing.assert_allclose(shown[-3, 5], 100 * 0.85 + dark * 0.15, atol=1)
    assert (shown[:, 40].astype(int) > shown[:, 5]).all()
