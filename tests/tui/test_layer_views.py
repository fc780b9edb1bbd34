"""The views in the layer pane: what the keys choose, what the legend says of it, and what stands beside a channel."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from msgspec.structs import replace
from textual.app import ComposeResult
from textual.widgets import Static

from facegender.runs.folder import RunFolder
from facegender.runs.frames import Frame, LayerFrame, write_frame
from facegender.runs.patches import write_patches
from facegender.support.errors import UserError
from tests import recorded
from tests.piloting import shown_in, until, until_said
from tests.unit.test_patches import patches
from tui.colours import ColouredApp
from tui.graphics.context import context_of
from tui.graphics.link import Link
from tui.graphics.terminal import Protocol, Terminal
from tui.inspect.browser import LayerBrowser
from tui.inspect.modes import MODES

SIXEL = Terminal(Protocol.SIXEL)
VIEWS = {mode.view: mode for mode in MODES}


class BrowserApp(ColouredApp):
    def __init__(self, terminal: Terminal) -> None:
        super().__init__()
        self.terminal = terminal
        self.browser = LayerBrowser("nothing yet")

    def compose(self) -> ComposeResult:
        yield self.browser


@asynccontextmanager
async def browsing(
    folder: RunFolder, size: tuple[int, int] = (100, 30), terminal: Terminal = SIXEL
) -> AsyncIterator[LayerBrowser]:
    """The layer pane with the latest epoch of a run shown."""
    app = BrowserApp(terminal)
    async with app.run_test(size=size, notifications=True) as pilot:
        browser = app.browser
        await until(lambda: browser.view.pane_size.rows)
        browser.open(folder.frame_path)
        browser.update_frames(tuple(folder.frame_epochs()), tuple(recorded.LAYERS), live=False, placeholder="")
        await drawn(browser)
        yield browser
        await pilot.pause()


async def drawn(browser: LayerBrowser) -> str:
    """Wait until the selection is shown, or why it is not; returns the legend."""
    await asyncio.sleep(0)

    def is_drawn() -> bool:
        wanted, shown = browser.view.mosaic.picture, shown_in(browser.view.mosaic)
        return browser._composing is None and (wanted.key if wanted else None) == (shown.key if shown else None)

    await until(is_drawn)
    return str(browser.query_one("#legend", Static).content)


async def show(browser: LayerBrowser, view: str, **changes: Any) -> str:
    """Show a view; returns the legend."""
    browser.select(replace(browser.selection, mode=VIEWS[view], **changes))
    return await drawn(browser)


def wide_frame(epoch: int, channels: int = 64, side: int = 16) -> Frame:
    """A frame of one layer with many channels."""
    random = np.random.default_rng(epoch)
    maps = random.random((2, channels, side, side)).astype(np.float32) * (epoch + 1)
    layer = LayerFrame(
        name="conv1",
        maps=maps,
        filters=random.normal(size=(channels, 40, 3, 3)).astype(np.float32),
        stats=np.stack([maps.mean((2, 3)), maps.std((2, 3)), maps.min((2, 3)), maps.max((2, 3)), maps[..., 0, 0]], -1),
    )
    return msgspec.structs.replace(recorded.frame(epoch), layers=[layer])


@pytest.fixture
def wide(tmp_path: Path) -> RunFolder:
    folder = recorded.write_run(tmp_path, epochs_done=0)
    for epoch in range(3):
        write_frame(folder.frame_path(epoch), wide_frame(epoch))
    return folder


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    return recorded.write_run(tmp_path)


# Pages


@pytest.mark.parametrize(
    ("terminal", "size", "least_px"),
    [(Terminal(), (80, 20), 14), (Terminal(), (60, 16), 14), (Terminal(Protocol.SIXEL), (60, 16), 48)],
    ids=["half blocks", "small", "sixel"],
)
async def test_tiles_are_large_enough_and_the_rest_is_on_further_pages(
    wide: RunFolder, terminal: Terminal, size: tuple[int, int], least_px: int
) -> None:
    async with browsing(wide, size, terminal) as browser:
        seen = []
        first = 0
        while True:
            picture = browser._picture
            assert min(picture.layout.grid.tile_width, picture.layout.grid.tile_height) >= least_px
            assert picture.first == first
            seen += picture.labels
            last = first + len(picture.labels)
            if last == 64:
                break
            assert re.search(f"{first + 1}( to |–){last} of 64", await drawn(browser))
            browser.move_page(1)
            await drawn(browser)
            first = last
        assert seen == [str(number) for number in range(1, 65)]
        browser.move_page(1)
        assert browser.selection.tile == first, "there is no further page"
        browser.move_page(-1)
        await drawn(browser)
        assert browser._picture.first < first


async def test_the_cursor_moves_over_pages_and_pages_take_it_along(wide: RunFolder) -> None:
    async with browsing(wide, (60, 16), Terminal()) as browser:
        per_page = browser._picture.layout.grid.count
        browser.move_page(1)
        await drawn(browser)
        browser.move_channel(1)
        await drawn(browser)
        assert browser._picture.cursor == per_page, "it appears on the page that is shown"
        browser.move_channel(-1)
        assert f"channel {per_page} of 64" in await drawn(browser)
        assert browser._picture.first == 0
        browser.move_page(1)
        await drawn(browser)
        assert (browser._picture.cursor, browser._picture.first) == (2 * per_page - 1, per_page)


async def test_kernels_of_one_filter_have_pages_too(wide: RunFolder) -> None:
    async with browsing(wide, (60, 24), Terminal()) as browser:
        legend = await show(browser, "filters", channel=5, zoomed=True)
        per_page = browser._picture.layout.grid.count
        assert "filter 6 of 64" in legend
        assert f"kernels 1–{per_page} of 40" in legend
        browser.move_page(1)
        assert f"kernels {per_page + 1}–" in await drawn(browser)
        browser.move_channel(1)
        legend = await drawn(browser)
        assert "filter 7 of 64" in legend
        assert "kernels 1–" in legend


async def test_of_a_filter_with_few_kernels_in_the_file_the_legend_says_of_which_inputs(
    wide: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("facegender.runs.frames.MAX_FILTERS_BYTES", 64 * 9 * 10)
    frame = wide_frame(2)
    write_frame(wide.frame_path(2), frame)
    async with browsing(wide, (150, 45)) as browser:
        legend = await show(browser, "filters", channel=5, zoomed=True)
        strongest = np.argsort(-np.square(frame.layers[0].filters[5]).sum(axis=(1, 2)))[: browser._picture.tiles]
        assert 0 < len(strongest) < 40
        assert f"inputs {', '.join(str(number + 1) for number in strongest)}: the strongest" in legend


async def test_all_tiles_are_on_one_page_where_there_is_room(wide: RunFolder) -> None:
    async with browsing(wide, (150, 45)) as browser:
        assert "64 channels" in await drawn(browser)
        browser.move_page(1)
        assert browser._picture.first == browser.selection.tile == 0


# The cursor


async def test_the_cursor_stays_at_its_channel_in_other_layers_and_views(run: RunFolder) -> None:
    async with browsing(run) as browser:
        await show(browser, "maps", channel=5, layer=1)
        browser.move_layer(1)
        assert "channel 6 of 9" in await drawn(browser)
        browser.move_layer(-2)
        assert "channel 4 of 4" in await drawn(browser)
        browser.move_layer(1)
        assert "channel 6 of 6" in await drawn(browser)
        for _ in MODES:
            browser.next_mode()
        assert "channel 6 of 6" in await drawn(browser)


# Scales


async def test_a_key_chooses_what_shares_a_scale_and_the_legend_has_its_numbers(wide: RunFolder) -> None:
    async with browsing(wide, (150, 45)) as browser:
        maps = [wide_frame(epoch).layers[0].maps for epoch in range(3)]
        browser.select(replace(browser.selection, epoch=0))
        assert ", each tile on its own scale" in await drawn(browser)
        browser.next_scope()
        legend = await drawn(browser)
        assert f"{maps[0][0].max():.3g}, one scale" in legend
        assert "all epochs" not in legend
        browser.next_scope()
        assert f"{max(one.max() for one in maps):.3g}, one scale for all epochs" in await drawn(browser)
        browser.next_scope()
        assert ", each tile on its own scale" in await drawn(browser)


async def test_an_epoch_that_arrives_extends_the_scale_of_the_run(wide: RunFolder) -> None:
    async with browsing(wide, (150, 45)) as browser:
        browser.select(replace(browser.selection, epoch=0, scope="run"))
        before = await drawn(browser)
        write_frame(wide.frame_path(3), wide_frame(9))
        browser.update_frames((0, 1, 2, 3), ("conv1",), live=True, placeholder="")
        assert await drawn(browser) != before
        assert f"{wide_frame(9).layers[0].maps.max():.3g}, one scale for all epochs" in await drawn(browser)


async def test_filters_of_the_first_layer_are_shown_in_colours_or_by_weight(run: RunFolder) -> None:
    async with browsing(run) as browser:
        assert "red, green and blue" in await show(browser, "filters")
        browser.next_variant()
        assert "mean over inputs" in await drawn(browser)
        browser.next_variant()
        assert "red, green and blue" in await drawn(browser)
        browser.move_layer(1)
        assert "mean over inputs" in await drawn(browser)


async def test_a_key_that_can_change_nothing_in_a_view_says_so(run: RunFolder) -> None:
    async with browsing(run) as browser:
        await show(browser, "average")
        browser.next_variant()
        await until_said(browser.app, "this view has no variants")
        browser.next_scope()
        await until_said(browser.app, "this view has only one colour scale")


async def test_a_narrow_legend_still_names_the_frozen_epoch(wide: RunFolder) -> None:
    async with browsing(wide, (80, 20)) as browser:
        assert "each tile on its own scale" in await drawn(browser)
        browser.freeze()
        assert (await drawn(browser)).endswith("epoch 3 is frozen")


# Difference


async def test_a_frozen_epoch_is_what_the_difference_is_to(run: RunFolder) -> None:
    async with browsing(run) as browser:
        assert "epoch 3 − epoch 1" in await show(browser, "difference")
        browser.move_epoch(-1)
        browser.freeze()
        browser.follow_live()
        assert "epoch 3 − epoch 2" in await drawn(browser)
        assert "epoch 2 is frozen" in await show(browser, "maps")
        await show(browser, "difference")
        browser.next_variant()
        legend = await drawn(browser)
        assert "filters  epoch 3 − epoch 2" in legend
        browser.move_epoch(-1)
        browser.freeze()
        assert browser.selection.reference is None
        browser.follow_live()
        assert "epoch 3 − epoch 1" in await drawn(browser)


async def test_the_first_epoch_says_that_there_is_nothing_to_compare_with(run: RunFolder) -> None:
    async with browsing(run) as browser:
        await show(browser, "difference", epoch=0)
        assert "no other epoch to compare with" in browser.view.mosaic.placeholder
        browser.move_epoch(1)
        assert "epoch 2 − epoch 1" in await drawn(browser)


# Where it looked


async def test_all_classes_are_shown_with_their_scales_and_the_method(run: RunFolder) -> None:
    async with browsing(run, (150, 30)) as browser:
        legend = await show(browser, "cam")
        cams = recorded.frame(2).cams
        for name in recorded.CLASSES:
            assert f"{name} 0–{cams[name][0].max():.3g}" in legend
        assert "brighter: more influence (LayerCAM at conv3)" in legend
        browser.move_probe(1)
        assert f"female 0–{cams['female'][1].max():.3g}" in await drawn(browser)
        browser.next_scope()
        highest = max(cam[1].max() for cam in cams.values())
        assert f"female, male  0 █████████ {highest:.3g}, one scale" in await drawn(browser)


async def test_a_view_that_was_not_recorded_says_why_and_the_next_one_is_shown(run: RunFolder) -> None:
    write_frame(run.frame_path(2), msgspec.structs.replace(recorded.frame(2), cams={}))
    async with browsing(run) as browser:
        await show(browser, "cam")
        assert "where it looked: not recorded in this epoch" in browser.view.mosaic.placeholder
        browser.next_mode()
        await drawn(browser)
        assert "photograph" in browser.view.mosaic.placeholder
        browser.next_mode()
        assert "4 channels" in await drawn(browser)


# One channel


async def test_beside_one_channel_stand_its_numbers_and_its_curves(run: RunFolder) -> None:
    async with browsing(run) as browser:
        browser.move_channel(1)
        browser.move_channel(1)
        await drawn(browser)
        browser.zoom()
        await drawn(browser)
        caption = str(browser.query_one("#caption", Static).content)
        layer = recorded.frame(2).layers[0]
        mean, std, low, high, _ = (f"{value:.3g}" for value in layer.stats[0, 1].tolist())
        assert f"mean {mean}  std {std}\nmin {low}  max {high}" in caption
        assert f"active in {100 * layer.units[1, 2]:.0f}% of them" in caption
        means = [recorded.frame(epoch).layers[0].stats[0, 1, 0] for epoch in range(3)]
        assert f"epochs: mean {min(means):.3g} to {max(means):.3g}" in caption
        assert any(0x2800 < ord(character) < 0x2900 for character in caption)
        assert browser.back()
        await drawn(browser)
        assert "std" not in str(browser.query_one("#caption", Static).content)
        assert browser._picture.cursor == 1


# Patches


class Patcher:
    """Makes patches once it may, and counts how often it was asked."""

    def __init__(self, folder: Path, *, is_warm: bool = False, error: str = "") -> None:
        self.folder, self.is_warm, self.error = folder, is_warm, error
        self.may = asyncio.Event()
        self.asked: list[tuple[int, str, int]] = []

    async def patches(self, epoch: int, layer: str, channel: int) -> Path:
        self.asked.append((epoch, layer, channel))
        await self.may.wait()
        if self.error:
            raise UserError(self.error)
        path = self.folder / f"{epoch}-{layer}-{channel}.safetensors"
        write_patches(path, patches())
        return path


async def test_top_patches_are_shown_once_they_are_made_and_their_places_until_then(
    run: RunFolder, tmp_path: Path
) -> None:
    async with browsing(run, (120, 30)) as browser:
        browser.patches.source = patcher = Patcher(tmp_path)
        await show(browser, "top", layer=1)
        top = recorded.frame(2).layers[1].top
        place = browser.view.mosaic.placeholder
        for value, image, (row, column) in zip(top.value[0], top.image[0], top.at[0], strict=True):
            line = next(line for line in place.splitlines() if f"photograph {image + 1} " in line)
            assert f"{value:.3g}" in line
            assert line.split()[-4:] == ["row", str(row + 1), "column", str(column + 1)]
        assert patcher.asked == [(2, "conv2", 0)]
        patcher.may.set()
        await until(lambda: browser._picture.mosaic is not None)
        legend = await drawn(browser)
        assert "channel 1 of 6" in legend
        assert "label → prediction" in legend
        assert browser._picture.tiles == 9
        caption = str(browser.query_one("#caption", Static).content)
        assert "female → male 87.34%\n   face-8.jpg" in caption
        browser.next_variant()
        await drawn(browser)
        assert browser._picture.request.selection.variant == "photographs"
        assert browser._picture.mosaic is not None
        browser.move_channel(1)
        await until(lambda: patcher.asked[-1] == (2, "conv2", 1))


async def test_patches_whose_file_was_removed_are_made_again(run: RunFolder, tmp_path: Path) -> None:
    async with browsing(run, (120, 30)) as browser:
        browser.patches.source = patcher = Patcher(tmp_path)
        patcher.may.set()
        await show(browser, "top")
        await until(lambda: browser._picture is not None and browser._picture.mosaic is not None)
        file = browser._picture.request.patches
        await show(browser, "maps")
        file.unlink()
        browser.redraw()
        await show(browser, "top")
        assert "cannot be read" in browser.view.mosaic.placeholder
        await show(browser, "maps")
        await show(browser, "top")
        await until(lambda: browser._picture is not None and browser._picture.mosaic is not None)
        assert len(patcher.asked) == 2


async def test_patches_that_cannot_be_made_say_why_below_the_places(run: RunFolder, tmp_path: Path) -> None:
    async with browsing(run) as browser:
        browser.patches.source = patcher = Patcher(tmp_path, error="the photographs are gone: /photographs")
        patcher.may.set()
        await show(browser, "top")
        why = "the patches cannot be shown: the photographs are gone: /photographs"
        await until(lambda: why in browser.view.mosaic.placeholder)
        assert "photograph " in browser.view.mosaic.placeholder
        await drawn(browser)
        assert len(patcher.asked) == 1


@pytest.mark.parametrize("is_warm", [True, False])
async def test_one_channel_has_its_patches_beside_it_if_they_cost_little(
    run: RunFolder, tmp_path: Path, is_warm: bool
) -> None:
    async with browsing(run, (150, 45)) as browser:
        browser.patches.source = patcher = Patcher(tmp_path, is_warm=is_warm)
        patcher.may.set()
        await show(browser, "maps", channel=2, zoomed=True)
        if is_warm:
            await until(lambda: browser._picture.request.patches is not None)
            await drawn(browser)
            photograph = browser._picture.photograph
            assert photograph.width_px > 1.9 * photograph.height_px, "the photograph and the patches"
        assert len(patcher.asked) == is_warm


# The link


async def test_tiles_fill_the_pane_unless_the_link_is_slow(wide: RunFolder) -> None:
    for epoch in range(3):
        write_frame(wide.frame_path(epoch), wide_frame(epoch, channels=24, side=64))
    widths = []
    for rate in (None, 20_000):
        async with browsing(wide, (100, 30)) as browser:
            link = Link()
            link.bytes_per_second = rate
            context_of(browser.app).link = link
            browser.redraw()
            await drawn(browser)
            widths.append(browser._picture.layout.grid.tile_width)
    assert widths[0] > 64
    assert widths[1] == 64
