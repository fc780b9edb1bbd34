"""Writing what the layer pane shows as a file."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import pytest
import recorded
from PIL import Image
from piloting import WatchedApp, running, until
from textual.pilot import Pilot

from facegender.runs.patches import Patches, write_patches
from tui.inspect.browser import LayerBrowser


async def shown(app: WatchedApp) -> LayerBrowser:
    """The layer pane, once it shows a picture."""
    browser = app.dashboard.browser
    await until(lambda: browser.view.mosaic.shown is not None)
    return browser


async def pressed(app: WatchedApp, pilot: Pilot[None], *keys: str) -> str:
    """Press keys and return the last notice that follows."""
    await pilot.press(*keys)
    await until(lambda: any("written" in text for text in app.told))
    return app.told[-1]


async def test_e_writes_the_view_and_says_where(root: Path) -> None:
    folder = recorded.write_run(root)
    async with running(root) as (app, pilot):
        await shown(app)
        path = folder.visuals / "conv1_maps_epoch_2.png"
        assert await pressed(app, pilot, "e") == f"written to {path}"
        with Image.open(path) as image:
            assert image.width > 200


async def test_a_channel_that_is_enlarged_is_alone_in_the_file(root: Path) -> None:
    folder = recorded.write_run(root)
    async with running(root) as (app, pilot):
        browser = await shown(app)
        await pilot.press("m", "down", "l", "l", "enter")
        await until(lambda: browser.shown is not None and browser.shown.selection.zoomed)
        assert (await pressed(app, pilot, "e")).endswith("conv2_filters_channel_2_epoch_2.png")
        assert (folder.visuals / "conv2_filters_channel_2_epoch_2.png").exists()


async def test_one_file_is_written_at_a_time(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recorded.write_run(root)
    running_now, most = 0, 0
    done = threading.Event()

    def slow_export(*_: object, animated: bool) -> Path:
        nonlocal running_now, most
        running_now += 1
        most = max(most, running_now)
        done.wait(10)
        running_now -= 1
        return root / "written.gif"

    monkeypatch.setattr("tui.inspect.export.export_view", slow_export)
    async with running(root) as (app, pilot):
        await shown(app)
        await pilot.press(*"EEEe")
        await until(lambda: "the last file is still being written" in app.told)
        done.set()
        await until(lambda: any(text.startswith("written to") for text in app.told))
        await pilot.press("e")
        await until(lambda: sum(text.startswith("written to") for text in app.told) == 2)
    assert most == 1


async def test_the_epochs_become_a_gif(root: Path) -> None:
    folder = recorded.write_run(root)
    async with running(root) as (app, pilot):
        await shown(app)
        await pilot.press("E")
        path = folder.visuals / "conv1_maps.gif"
        await until(lambda: app.told[-1] == f"written to {path}")
        with Image.open(path) as image:
            assert getattr(image, "n_frames", 1) == 3


async def test_a_view_without_anything_to_show_is_not_written(root: Path) -> None:
    recorded.write_run(root)
    async with running(root) as (app, pilot):
        browser = await shown(app)
        while browser.selection.mode.view != "top":
            await pilot.press("m")
        await until(lambda: browser.shown is not None and browser.shown.selection.mode.view == "top")
        assert (await pressed(app, pilot, "e")).startswith("not written: ")


async def test_patches_are_written_with_their_captions(root: Path, tmp_path: Path) -> None:
    folder = recorded.write_run(root)
    random = np.random.default_rng(0)
    patches = Patches(
        patches=random.integers(0, 256, (3, 7, 7, 3), np.uint8),
        photographs=random.integers(0, 256, (3, 24, 24, 3), np.uint8),
        boxes=np.array([[1, 1, 9, 9]] * 3, np.int32),
        values=np.array([3.0, 2.0, 1.0], np.float32),
        names=["a.png", "b.png", "c.png"],
        labels=["female"] * 3,
        answers=["male 61.00%"] * 3,
    )
    write_patches(tmp_path / "patches.safetensors", patches)

    class Ready:
        is_warm = True

        async def patches(self, epoch: int, layer: str, channel: int) -> Path:
            return tmp_path / "patches.safetensors"

    async with running(root) as (app, pilot):
        browser = await shown(app)
        browser.patches.source = Ready()
        while browser.selection.mode.view != "top":
            await pilot.press("m")
        await until(lambda: browser.shown is not None and browser.shown.patches is not None)
        await pressed(app, pilot, "e")
        assert (folder.visuals / "conv1_top_channel_1_epoch_2.png").exists()


@pytest.mark.parametrize("key", ["e", "E"])
async def test_without_a_picture_nothing_is_written(root: Path, key: str) -> None:
    recorded.write_run(root, epochs_done=0)
    async with running(root) as (app, pilot):
        await pilot.press(key)
        assert app.told == ["there is no picture to write yet"]
