"""Pictures side by side: one selection for two runs, or for two epochs of one run."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import recorded
from piloting import LARGE, WatchedApp, running, screen_text, title, until, until_said
from textual.pilot import Pilot

from facegender.runs.folder import RunFolder
from facegender.runs.frames import write_frame
from tui.inspect.browser import LayerBrowser
from tui.inspect.selection import Selection
from tui.screens.beside import Beside


def panes(app: WatchedApp) -> tuple[LayerBrowser, LayerBrowser]:
    """The left and the right pane."""
    left, right = app.screen.query(LayerBrowser)
    return left, right


@asynccontextmanager
async def side_by_side(
    *folders: RunFolder, size: tuple[int, int] = LARGE
) -> AsyncIterator[tuple[WatchedApp, Pilot[None]]]:
    """Two runs side by side, with both pictures shown."""
    left, right = folders
    async with running(left.root, size) as (app, pilot):
        await app.push_screen(Beside((left, right), (Selection(), Selection()), app._classifier))
        await until(lambda: all(pane.shown is not None for pane in panes(app)))
        await until(lambda: all(app.screen._probes))
        yield app, pilot


def shown(app: WatchedApp) -> list[tuple[int | None, str, int | None]]:
    """The epoch, layer and channel of each side."""
    return [(pane.epoch, pane._layers[pane.selection.layer], pane.selection.channel) for pane in panes(app)]


async def test_both_runs_show_the_same_layer_channel_and_epoch(root: Path) -> None:
    async with side_by_side(recorded.write_run(root, "heron"), recorded.write_run(root, "otter")) as (app, pilot):
        await until_said(app, "heron")
        await pilot.press("down", "left", "l", "l")
        await until(lambda: shown(app) == [(1, "conv2", 1), (1, "conv2", 1)])
        assert "feature maps" in title(panes(app)[1])
        await pilot.press("m")
        await until(lambda: all("filters" in title(pane) for pane in panes(app)))


async def test_tab_chooses_which_side_the_epoch_keys_move(root: Path) -> None:
    async with side_by_side(recorded.write_run(root, "heron"), recorded.write_run(root, "otter")) as (app, pilot):
        await pilot.press("tab", "left")
        await until(lambda: [pane.epoch for pane in panes(app)] == [1, 2])
        await pilot.press("tab", "home")
        await until(lambda: [pane.epoch for pane in panes(app)] == [1, 0])
        await until_said(app, "←→ moves right")


async def test_a_click_on_the_right_changes_the_left(root: Path) -> None:
    async with side_by_side(recorded.write_run(root, "heron"), recorded.write_run(root, "otter")) as (app, _):
        panes(app)[1].select_layer(2)
        await until(lambda: shown(app) == [(2, "conv3", None), (2, "conv3", None)])


async def test_photographs_belong_together_by_their_names(root: Path) -> None:
    heron, otter = recorded.write_run(root, "heron"), recorded.write_run(root, "otter")
    for epoch in range(3):
        write_frame(heron.frame_path(epoch), recorded.frame(epoch, names=["a.jpg", "b.jpg"]))
        write_frame(otter.frame_path(epoch), recorded.frame(epoch, names=["b.jpg", "c.jpg"]))
    async with side_by_side(heron, otter) as (app, pilot):
        await until_said(app, "not the same photograph: a.jpg | b.jpg")
        await pilot.press("n")
        await until(lambda: [pane.selection.probe for pane in panes(app)] == [1, 0])
        await until(lambda: "not the same" not in app.screen.query_one("#title").content.plain)


async def test_the_frozen_epoch_stands_beside_the_selected_one(root: Path) -> None:
    recorded.write_run(root, "otter")
    async with running(root) as (app, pilot):
        await until(lambda: app.dashboard.browser.shown is not None)
        await pilot.press("left", "f", "right", "down", "b")
        await until(lambda: isinstance(app.screen, Beside) and app.screen.is_mounted)
        await until(lambda: all(pane.shown is not None for pane in panes(app)))
        await until(lambda: shown(app) == [(1, "conv2", None), (2, "conv2", None)])
        await pilot.press("home")
        await until(lambda: shown(app) == [(1, "conv2", None), (0, "conv2", None)])
        await pilot.press("escape")
        await until(lambda: app.screen is app.dashboard)


@pytest.mark.parametrize("size", [LARGE, (60, 20)])
async def test_runs_that_are_deleted_meanwhile_are_said_to_be_gone(root: Path, size: tuple[int, int]) -> None:
    heron, otter = (
        recorded.write_run(root, "heron", end="completed"),
        recorded.write_run(root, "otter", end="completed"),
    )
    async with side_by_side(heron, otter, size=size) as (app, _):
        for folder in (heron, otter):
            folder.delete()
        await until(lambda: screen_text(app).count("gone") == 2)
        assert "reading the run" not in screen_text(app)


async def test_runs_that_were_deleted_before_are_said_to_be_gone(root: Path) -> None:
    heron, otter = (
        recorded.write_run(root, "heron", end="completed"),
        recorded.write_run(root, "otter", end="completed"),
    )
    recorded.write_run(root, "crane", end="completed")
    async with running(root) as (app, _):
        for folder in (heron, otter):
            folder.delete()
        await app.push_screen(Beside((heron, otter), (Selection(), Selection()), app._classifier))
        await until(lambda: screen_text(app).count("gone") == 2)
