"""The explorer: the lists, the epochs and the way in and out."""

from __future__ import annotations

from pathlib import Path

import pytest
import recorded
from piloting import COMMON, LARGE, WatchedApp, running, screen_text, title, until, until_said
from textual import events
from textual.app import ComposeResult
from textual.pilot import Pilot

from facegender.runs.events import LayerHealth, LayerInfo
from facegender.runs.folder import RunFolder
from facegender.support.errors import UserError
from tui.colours import ColouredApp
from tui.commands import PANES
from tui.inspect.browser import LayerBrowser
from tui.widgets.layers import MAX_FINDINGS, HealthList, LayerList
from tui.widgets.scrubber import EpochScrubber

SIZES = pytest.mark.parametrize("size", [LARGE, COMMON], ids=lambda size: f"{size[0]}x{size[1]}")


@pytest.fixture
def folder(root: Path) -> RunFolder:
    """A run of three epochs, with findings after the last one only."""
    folder = recorded.write_run(root)
    recorded.append(folder, recorded.health_measured(0, layers=[]), recorded.health_measured(2))
    return folder


async def opened(app: WatchedApp, pilot: Pilot[None]) -> None:
    """Open the explorer."""
    await until(lambda: "epoch 3 ● live" in title(app.dashboard.browser))
    await until(lambda: app.dashboard.browser.view.mosaic.shown is not None)
    await pilot.press("enter")
    await until(lambda: app.dashboard.query_one(EpochScrubber).region.height)
    # Once what is shown now is laid out, a click finds it.
    await until(lambda: app.dashboard.browser.shown and app.dashboard.browser.shown.pane == browser_pane(app))
    await pilot.pause()


def browser_pane(app: WatchedApp) -> tuple[int, int]:
    """The size of the pane of the pictures."""
    return app.dashboard.browser.view.pane_size


def shown_panes(app: WatchedApp) -> list[str]:
    """The panes of the dashboard that are on the screen."""
    return [
        name for name in PANES if all(one.display for one in app.dashboard.query_one(f"#{name}").ancestors_with_self)
    ]


@SIZES
async def test_enter_goes_in_step_by_step_and_escape_goes_out(folder: RunFolder, size: tuple[int, int]) -> None:
    async with running(folder.root, size) as (app, pilot):
        browser = app.dashboard.browser
        before = shown_panes(app)
        await opened(app, pilot)
        assert shown_panes(app) == ["layers"]
        await pilot.press("enter")
        assert (browser.selection.channel, browser.selection.zoomed) == (0, False)
        await pilot.press("enter")
        assert (browser.selection.channel, browser.selection.zoomed) == (0, True)
        await pilot.press("escape")
        assert (browser.selection.channel, browser.selection.zoomed) == (0, False)
        await pilot.press("escape")
        assert browser.selection.channel is None
        assert shown_panes(app) == ["layers"]
        await pilot.press("escape")
        assert shown_panes(app) == before
        assert not app.dashboard.query_one(EpochScrubber).display


async def test_enter_on_a_channel_enlarges_it_in_the_explorer(folder: RunFolder) -> None:
    async with running(folder.root) as (app, pilot):
        browser = app.dashboard.browser
        await until(lambda: browser.view.mosaic.shown is not None)
        await pilot.press("l", "l")
        await until(lambda: browser.selection.channel == 1)
        await pilot.press("enter")
        assert shown_panes(app) == ["layers"]
        assert (browser.selection.channel, browser.selection.zoomed) == (1, True)


async def test_the_layers_are_listed_with_their_size_and_the_number_of_findings(folder: RunFolder) -> None:
    async with running(folder.root) as (app, pilot):
        await opened(app, pilot)
        await until_said(app, "conv2")
        lines = [" ".join(line.split()) for line in screen_text(app).splitlines()]
        assert any("conv1 4 8×8 !1" in line for line in lines)
        assert any("conv3 9 4×4 !1" in line for line in lines)
        await pilot.press("down")
        await until(lambda: app.dashboard.query_one(LayerList).highlighted == 1)


async def test_a_click_on_a_listed_layer_shows_it(folder: RunFolder) -> None:
    async with running(folder.root) as (app, pilot):
        await opened(app, pilot)
        await until(lambda: app.dashboard.query_one(LayerList).option_count == 3)
        await pilot.pause()
        await pilot.click(LayerList, offset=(2, 2))
        await until(lambda: app.dashboard.browser.selection.layer == 2)


async def test_a_click_on_the_line_of_epochs_shows_that_epoch(folder: RunFolder) -> None:
    async with running(folder.root) as (app, pilot):
        await opened(app, pilot)
        await pilot.click(EpochScrubber, offset=(3, 0))
        await until(lambda: app.dashboard.browser.epoch == 0)


@SIZES
async def test_the_health_list_leads_to_the_layer_and_the_channel(folder: RunFolder, size: tuple[int, int]) -> None:
    async with running(folder.root, size) as (app, pilot):
        browser = app.dashboard.browser
        await until(lambda: browser.view.mosaic.shown is not None)
        await pilot.press("H")
        await until_said(app, "conv2 1 of 6 channels is dead")
        await pilot.press("down", "enter")
        await until(lambda: browser.has_focus)
        assert (browser.selection.layer, browser.selection.channel) == (1, 2)
        await until(lambda: "layers" in shown_panes(app))


async def test_the_findings_are_those_of_the_shown_epoch(folder: RunFolder) -> None:
    async with running(folder.root) as (app, pilot):
        await until_said(app, "3 findings about the layers: H")
        await until(lambda: "epoch 3 ● live" in title(app.dashboard.browser))
        await pilot.press("home")
        await until(lambda: "findings" not in screen_text(app))
        await pilot.press("H")
        await until(lambda: app.told and app.told[-1] == "all layers are healthy after epoch 1")


async def test_of_very_many_findings_the_first_are_listed_with_the_number_of_the_others(folder: RunFolder) -> None:
    layers = [LayerHealth(name=f"conv{number}", channels=4, dead_count=1, dead=[2]) for number in range(50_000)]
    recorded.append(folder, recorded.health_measured(2, layers=layers))
    async with running(folder.root) as (app, pilot):
        await until(lambda: "50000 findings" in screen_text(app))
        await pilot.press("H")
        listed = app.dashboard.query_one(HealthList)
        await until(lambda: listed.has_focus and listed.option_count > 0)
        assert listed.option_count == MAX_FINDINGS + 1
        assert f"{50_000 - MAX_FINDINGS} more" in str(listed.get_option_at_index(MAX_FINDINGS).prompt)


async def test_escape_leaves_the_health_list_first(folder: RunFolder) -> None:
    async with running(folder.root, COMMON) as (app, pilot):
        await opened(app, pilot)
        await pilot.press("H")
        await until(lambda: app.dashboard.query_one(HealthList).has_focus)
        await pilot.press("escape")
        await until(lambda: shown_panes(app) == ["layers"])
        assert app.dashboard.query_one(EpochScrubber).display


async def test_without_figures_of_the_layers_h_says_so(root: Path) -> None:
    recorded.write_run(root)
    async with running(root) as (app, pilot):
        await until(lambda: "epoch 3 ● live" in title(app.dashboard.browser))
        await pilot.press("H")
        await until(lambda: app.told and "nothing is known of the layers' health yet" in app.told[-1])
        await pilot.press("enter")
        await until(lambda: app.dashboard.query_one(EpochScrubber).display)
        assert not app.dashboard.query_one("#health").display


async def test_a_number_or_a_key_of_a_pane_leads_out_of_the_explorer(folder: RunFolder) -> None:
    async with running(folder.root) as (app, pilot):
        await opened(app, pilot)
        await pilot.press("1")
        await until(lambda: "loss" in shown_panes(app))
        assert not app.dashboard.query_one(EpochScrubber).display


def cell_of(browser: LayerBrowser, tile: int) -> tuple[int, int]:
    """A cell in the middle of a tile, relative to the mosaic."""
    assert browser._picture is not None
    grid = browser._picture.layout.grid
    x, y = grid.origin(tile)
    middle = x + grid.tile_width // 2, y + grid.tile_height // 2
    mosaic = browser.view.mosaic
    return next(
        (column, row)
        for row in range(mosaic.size.height)
        for column in range(mosaic.size.width)
        if (pixel := mosaic.pixel_at(column, row)) is not None
        and pixel[0] >= middle[0] - 1
        and pixel[1] >= middle[1] - 1
    )


@SIZES
async def test_a_click_on_a_channel_puts_the_cursor_there_and_a_second_one_enlarges_it(
    folder: RunFolder, size: tuple[int, int]
) -> None:
    async with running(folder.root, size) as (app, pilot):
        browser = app.dashboard.browser
        await until(lambda: browser.view.mosaic.shown is not None)
        for tile in (2, 1):
            await pilot.click(browser.view.mosaic, offset=cell_of(browser, tile))
            await until(lambda tile=tile: browser.selection.channel == tile)
            assert not browser.selection.zoomed
        await until(lambda: browser._picture is not None and browser._picture.cursor == 1)
        await pilot.click(browser.view.mosaic, offset=cell_of(browser, 1))
        await until(lambda: browser.selection.zoomed)
        assert browser.selection.channel == 1


async def test_a_click_beside_the_pictures_changes_nothing(folder: RunFolder) -> None:
    async with running(folder.root) as (app, pilot):
        browser = app.dashboard.browser
        await until(lambda: browser.view.mosaic.shown is not None)
        mosaic = browser.view.mosaic
        assert mosaic.pixel_at(mosaic.size.width, mosaic.size.height) is None
        await pilot.click("#legend")
        assert browser.selection.channel is None
        assert browser.has_focus


async def test_a_click_on_a_layer_in_the_title_shows_it(folder: RunFolder) -> None:
    async with running(folder.root) as (app, pilot):
        browser = app.dashboard.browser
        await until(lambda: "conv3" in title(browser))
        await pilot.click("#layers PaneTitle", offset=(title(browser).index("conv3") + 4, 0))
        await until(lambda: browser.selection.layer == 2)


async def test_the_wheel_over_the_pictures_turns_the_epochs(folder: RunFolder) -> None:
    async with running(folder.root) as (app, pilot):
        browser = app.dashboard.browser
        await until(lambda: browser.view.mosaic.shown is not None)
        assert await pilot._post_mouse_events([events.MouseScrollUp], browser.view.mosaic, (3, 3))
        await until(lambda: browser.epoch == 1)
        assert await pilot._post_mouse_events([events.MouseScrollDown], browser.view.mosaic, (3, 3))
        await until(lambda: browser.epoch == 2)


async def test_patches_are_asked_for_again_when_the_frame_was_written_again(folder: RunFolder) -> None:
    class Source:
        is_warm = True
        asked = 0

        async def patches(self, epoch: int, layer: str, channel: int) -> Path:
            self.asked += 1
            raise UserError("made within the epoch")

    async with running(folder.root) as (app, pilot):
        browser = app.dashboard.browser
        await until(lambda: browser.view.mosaic.shown is not None)
        source = browser.patches.source = Source()
        await pilot.press("m", "m", "m", "m", "m")
        await until(lambda: source.asked)
        asked = source.asked
        recorded.append(folder, recorded.frame_saved(2, time=3000.0))
        await until(lambda: source.asked > asked)


async def test_a_click_on_a_tab_shows_that_pane(folder: RunFolder) -> None:
    async with running(folder.root, COMMON) as (app, pilot):
        await until_said(app, "3 run")
        await pilot.click("#tabs", offset=(screen_text(app).splitlines()[2].index("3 run") + 1, 0))
        await until_said(app, "best 0.620")


@SIZES
async def test_an_epoch_without_findings_leads_out_of_their_list(folder: RunFolder, size: tuple[int, int]) -> None:
    async with running(folder.root, size) as (app, pilot):
        await opened(app, pilot)
        await pilot.press("H")
        await until(lambda: app.dashboard.query_one(HealthList).has_focus)
        await pilot.press("left", "left")
        await until(lambda: app.dashboard.browser.has_focus)
        await until(lambda: shown_panes(app) == ["layers"])
        assert not app.dashboard.query_one("#health").display


class ListApp(ColouredApp):
    """A list of layers alone."""

    def compose(self) -> ComposeResult:
        yield LayerList()


@pytest.mark.parametrize(
    ("width", "expected"), [(40, ["features.0", "features.conv12"]), (28, ["0", "conv12"])], ids=["wide", "narrow"]
)
async def test_what_all_names_begin_with_is_left_out_only_where_they_do_not_fit(
    width: int, expected: list[str]
) -> None:
    layers = [
        LayerInfo(name=name, channels=8, size=(16, 16), kernel=(3, 3, 3)) for name in ("features.0", "features.conv12")
    ]
    app = ListApp()
    async with app.run_test(size=(width, 10)) as pilot:
        listed = app.query_one(LayerList)
        listed.show(layers, [], 0)
        await pilot.pause()
        assert [str(listed.get_option_at_index(index).prompt).split()[0] for index in range(2)] == expected
