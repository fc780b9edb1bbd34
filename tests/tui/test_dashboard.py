"""The dashboard under the keyboard: moving about in a run, while it goes on and when something is missing."""

from __future__ import annotations

import re
import shutil
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import recorded
from msgspec import structs
from piloting import COMMON, LARGE, SMALL, WatchedApp, palette_of, running, screen_text, title, until, until_said
from textual import events
from textual.pilot import Pilot
from textual.widgets import Input

from facegender.runs.events import Notice, RunFinished, Status, System
from facegender.runs.folder import RunFolder, open_run
from facegender.runs.frames import write_frame
from tui.commands import DASHBOARD, PANES, for_palette
from tui.graphics.context import context_of
from tui.graphics.link import Link
from tui.inspect import compose as composing
from tui.inspect.request import LayerPicture, LayerRequest
from tui.screens.base import BaseScreen
from tui.screens.confirm import Confirm
from tui.widgets.chart import Chart
from tui.widgets.keys import KeyHints
from tui.widgets.log import RunLog

KEYS = [
    key for command in for_palette(DASHBOARD) if command.name not in ("close", "quit", "suspend") and command.keys
    for key in command.keys.split(",")
]  # fmt: skip
SIZES = pytest.mark.parametrize("size", [LARGE, COMMON, SMALL], ids=lambda size: f"{size[0]}x{size[1]}")


async def seen(app: WatchedApp, epoch: int) -> None:
    """Wait until the pictures of an epoch, counted from 0, are shown."""
    browser = app.dashboard.browser
    await until(lambda: f"epoch {epoch + 1}" in title(browser) and browser.view.mosaic.shown is not None)


async def press(app: WatchedApp, pilot: Pilot[None], *keys: str) -> None:
    """Press keys one after another, with the picture of each on the screen before the next."""
    for key in keys:
        await pilot.press(key)
        await until(lambda: not app.dashboard.browser._composing)
        await pilot.pause()


class SlowCompose:
    """Composing pictures takes a while, and not before the gate is open; counts how many are under way."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, delay_s: float = 0.0) -> None:
        self.gate = threading.Event()
        self.gate.set()
        self.running = self.most_running = 0
        self._lock = threading.Lock()
        compose = composing.compose

        def slow(request: LayerRequest) -> LayerPicture:
            with self._lock:
                self.running += 1
                self.most_running = max(self.most_running, self.running)
            try:
                assert self.gate.wait(10)
                time.sleep(delay_s)
                return compose(request)
            finally:
                with self._lock:
                    self.running -= 1

        monkeypatch.setattr(composing, "compose", slow)


# Opening


async def test_while_the_terminal_has_not_read_all_other_keys_work_and_its_answer_is_heard(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tui.app.is_shell_job", lambda: True)
    recorded.write_run(root, "a", created=100.0, end="completed")
    async with running(root) as (app, pilot):
        context = context_of(app)
        context.link = Link(0.25)
        context.link.sent(50_000)
        asked: list[str] = []
        app.action_suspend_process = lambda: asked.append("suspend")  # type: ignore[method-assign]
        await pilot.press("ctrl+z")
        await pilot.press("question_mark")
        await until(lambda: app.screen is not app.dashboard)
        assert not context.has_room
        assert not asked
        app.post_message(events.CursorPosition(1, 0))
        await until(lambda: asked)
        assert context.has_room


async def test_where_no_shell_would_go_on_with_it_it_is_not_suspended(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tui.app.is_shell_job", lambda: False)
    async with running(root) as (app, pilot):
        app.action_suspend_process = lambda: pytest.fail("suspended")  # type: ignore[method-assign]
        await pilot.press("ctrl+z")
        await pilot.pause(0.1)


async def test_leaving_waits_for_the_terminal_but_not_when_it_is_asked_twice(root: Path) -> None:
    recorded.write_run(root, "a", created=100.0, end="completed")
    async with running(root) as (app, pilot):
        context_of(app).link = Link(0.25)
        context_of(app).link.sent(50_000)
        left: list[bool] = []
        app.exit = lambda *_, **__: left.append(True)  # type: ignore[method-assign]
        await pilot.press("q")
        await pilot.pause(0.1)
        assert not left
        await pilot.press("q")
        await until(lambda: left)


async def test_an_answer_of_the_terminal_that_comes_late_presses_no_keys(root: Path) -> None:
    recorded.write_run(root, "a", created=100.0, end="completed")
    async with running(root) as (app, pilot):
        for character in "^P>|xterm(390)^_Gi=31;OK":
            app.post_message(events.Key(character, character))
        await until(lambda: app.told)
        assert "replied late" in app.told[0]
        await pilot.pause(0.4)
        assert app.screen is app.dashboard
        assert app.screen is app.dashboard
        await pilot.press("question_mark")
        await until(lambda: app.screen is not app.dashboard)


async def test_the_newest_run_is_opened_with_its_name_and_state(root: Path) -> None:
    recorded.write_run(root, "older", created=100.0, end="completed")
    recorded.write_run(root, "newer", created=200.0)
    async with running(root) as (app, _):
        await until_said(app, "newer  ● training")
        assert "older" not in screen_text(app)


async def test_the_run_that_was_asked_for_is_opened(root: Path) -> None:
    recorded.write_run(root, "older", created=100.0, end="completed")
    recorded.write_run(root, "newer", created=200.0)
    async with running(root, run=open_run(root, "older")) as (app, _):
        await until_said(app, "older  ✓ completed")


@pytest.mark.parametrize(
    ("end", "words"),
    [("completed", "✓ completed"), ("stopped", "■ stopped"), ("failed", "✗ failed"), (None, "● training")],
)
async def test_the_state_is_told_by_a_sign_and_a_word(root: Path, end: str | None, words: str) -> None:
    recorded.write_run(root, end=end)
    async with running(root) as (app, _):
        await until_said(app, words)


async def test_curves_numbers_pictures_and_log_of_a_run_are_on_one_large_screen(root: Path) -> None:
    recorded.write_run(root)
    async with running(root) as (app, _):
        await seen(app, 2)
        await until_said(app, "best 0.620 at epoch 3")
        shown = screen_text(app)
        for text in ("Loss", "validation 0.580", "macro F1 0.750", "epoch 3 of 5", "▸conv1◂", "conv3", "● live"):
            assert text in shown, shown
        assert "epoch 3: loss 0.480" in shown
        assert re.search("[⠁-⣿]", shown)
        assert re.search("[▀▄]", shown)


async def test_a_run_without_pictures_says_when_there_will_be_some(root: Path) -> None:
    recorded.write_run(root, epochs_done=0)
    async with running(root) as (app, _):
        await until_said(app, "feature maps appear after the first epoch")
        await until_said(app, "the loss appears with the first batches")


@pytest.mark.parametrize("end", [None, "completed"])
async def test_a_run_that_keeps_no_feature_maps_says_so(root: Path, end: Status | None) -> None:
    folder = recorded.write_run(root, epochs_done=0)
    recorded.append(folder, recorded.run_started(visualize_every=0))
    recorded.append(folder, recorded.epoch_finished(0))
    if end:
        recorded.append(folder, RunFinished(time=2000.0, status=end))
    async with running(root) as (app, _):
        await until_said(app, "this run keeps no feature maps")


async def test_a_run_that_has_not_begun_says_what_it_waits_for(folder: RunFolder) -> None:
    folder.log_path.touch()
    async with running(folder.root) as (app, _):
        await until_said(app, "◌ starting")
        await until_said(app, "the trainer is starting")


async def test_demo_faces_say_so(root: Path) -> None:
    folder = recorded.write_run(root, epochs_done=0)
    recorded.append(folder, recorded.run_started(demo=True))
    async with running(root) as (app, _):
        await until_said(app, "demo faces")


async def test_an_epoch_that_is_over_is_said_to_be_whole(root: Path) -> None:
    folder = recorded.write_run(root)
    async with running(root) as (app, _):
        await until_said(app, "epoch 3 of 5")
        await until_said(app, "100%  val. loss 0.580  val. acc. 0.620  batch 5 of 5")
        recorded.append(folder, recorded.epoch_started(3))
        await until_said(app, "epoch 4 of 5")
        await until_said(app, " 0%  val. loss 0.580  val. acc. 0.620  batch 0 of 5")


# Every key, every size


@SIZES
async def test_every_key_of_the_registry_can_be_pressed(root: Path, size: tuple[int, int]) -> None:
    recorded.write_run(root)
    async with running(root, size) as (app, pilot):
        await seen(app, 2)
        for key in [*KEYS, "tab", "shift+tab", "pageup", "pagedown", *map(str, range(1, len(PANES) + 1))]:
            await pilot.press(key)
            while app.screen is not app.dashboard or isinstance(app.focused, Input):
                await pilot.press("escape")
        assert app.dashboard.is_current
        assert app.is_running


@SIZES
async def test_every_key_can_be_pressed_where_there_is_no_run(root: Path, size: tuple[int, int]) -> None:
    async with running(root, size) as (app, pilot):
        await pilot.press("escape")
        await pilot.pause()
        assert app.screen is app.dashboard
        for key in KEYS:
            await pilot.press(key)
            while app.screen is not app.dashboard or isinstance(app.focused, Input):
                await pilot.press("escape")
        await pilot.press("5")
        assert "no run" in screen_text(app)


async def test_keys_pressed_at_once_leave_the_last_wish_on_the_screen(root: Path) -> None:
    recorded.write_run(root, epochs_done=5)
    async with running(root) as (app, pilot):
        await seen(app, 4)
        await pilot.press("left", "left", "left", "down", "down", "m", "n", "left", "right", "up")
        browser = app.dashboard.browser
        await until(lambda: not browser._composing and browser._picture.request == browser._wanted)
        assert browser._picture.layers[browser._picture.request.selection.layer] == "conv2"
        selection = browser._picture.request.selection
        assert (selection.epoch, selection.mode.title) == (1, "filters")


async def test_the_screen_can_become_any_size_at_any_time(root: Path) -> None:
    recorded.write_run(root)
    async with running(root) as (app, pilot):
        await seen(app, 2)
        for size in (COMMON, SMALL, (20, 5), (1, 1), LARGE, (300, 90), (60, 200), LARGE):
            await pilot.resize_terminal(*size)
            await pilot.pause()
            assert app.size == size
        await until(lambda: "▸conv1◂" in screen_text(app) and "best 0.620" in screen_text(app))
        assert not app.dashboard.has_class("-single")


async def test_on_the_smallest_screens_the_run_and_its_panes_are_still_told(root: Path) -> None:
    recorded.write_run(root)
    async with running(root, (20, 5)) as (app, pilot):
        await until_said(app, "otter-3  ● training")
        for key, said in (("3", "best 0.620"), ("4", "load of the"), ("6", "best so far"), ("S", "y yes    n no")):
            await pilot.press(key)
            await until_said(app, said)
        assert all(len(row) <= 20 for row in screen_text(app).splitlines())


# Moving about


async def test_left_and_right_go_through_the_epochs_and_the_last_one_follows(root: Path) -> None:
    recorded.write_run(root, epochs_done=4)
    async with running(root) as (app, pilot):
        browser = app.dashboard.browser
        await seen(app, 3)
        assert browser.selection.follows_live
        await press(app, pilot, "left")
        assert browser.selection.epoch == 2
        assert "epoch 3 of 4" in title(browser)
        await press(app, pilot, "left", "left", "left")
        assert browser.selection.epoch == 0
        await press(app, pilot, "right")
        assert browser.selection.epoch == 1
        await press(app, pilot, "right", "right")
        assert browser.selection.follows_live
        await press(app, pilot, "home")
        assert "epoch 1 of 4" in title(browser)
        await press(app, pilot, "end")
        assert browser.selection.follows_live
        assert "epoch 4 ● live" in title(browser)


async def test_shift_and_an_arrow_are_ten_epochs(root: Path) -> None:
    folder = recorded.write_run(root, epochs_done=1)
    for epoch in range(1, 25):
        recorded.append(folder, recorded.frame_saved(epoch))
    recorded.add_epoch(folder, 14)
    recorded.append(folder, recorded.frame_saved(24))
    async with running(root) as (app, pilot):
        await until(lambda: "epoch 25" in title(app.dashboard.browser))
        await press(app, pilot, "shift+left")
        assert app.dashboard.browser.selection.epoch == 14
        await press(app, pilot, "shift+right")
        assert app.dashboard.browser.selection.follows_live


async def test_up_and_down_go_through_the_layers(root: Path) -> None:
    recorded.write_run(root)
    async with running(root) as (app, pilot):
        browser = app.dashboard.browser
        await seen(app, 2)
        pictures = {browser.view.mosaic.picture.key}
        for layer, key in ((1, "down"), (2, "down"), (2, "down"), (1, "up"), (0, "up"), (0, "up")):
            await press(app, pilot, key)
            assert browser.selection.layer == layer
            assert f"▸conv{layer + 1}◂" in title(browser)
            pictures.add(browser.view.mosaic.picture.key)
        assert len(pictures) == 3


async def test_m_goes_through_all_views(root: Path) -> None:
    recorded.write_run(root)
    async with running(root) as (app, pilot):
        browser = app.dashboard.browser
        await seen(app, 2)
        assert " feature maps" in title(browser)
        for words in ("filters", "channel average", "difference", "where it looked", "top patches", "feature maps"):
            await press(app, pilot, "m")
            assert f" {words}" in title(browser)
            assert browser._picture.request.selection.mode.title == words


async def test_a_picture_composed_ahead_for_a_pane_that_is_gone_is_dropped(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorded.write_run(root)
    async with running(root) as (app, pilot):
        await seen(app, 2)
        browser = app.dashboard.browser
        slow = SlowCompose(monkeypatch)
        slow.gate.clear()
        browser._pictures.clear()
        await pilot.press("left")
        await until(lambda: slow.running)
        await browser.remove()
        slow.gate.set()
        await until(lambda: not slow.running)
        await pilot.pause()
        assert app.is_running


async def test_at_most_one_picture_is_composed_at_a_time(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recorded.write_run(root, epochs_done=5)
    async with running(root) as (app, pilot):
        await seen(app, 4)
        browser = app.dashboard.browser
        slow = SlowCompose(monkeypatch, delay_s=0.2)
        browser._pictures.clear()
        for key in ("left", "n", "down", "left", "m", "left"):
            await pilot.press(key)
            await pilot.pause(0.25)  # by now the neighbour is being composed ahead
        await until(lambda: browser._picture.request == browser._wanted)
        assert slow.most_running == 1


async def test_playing_shows_every_epoch_when_composing_is_slow(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tui.inspect.browser.PLAY_EVERY_S", 0.1)
    recorded.write_run(root, epochs_done=5)
    async with running(root) as (app, pilot):
        await seen(app, 4)
        browser = app.dashboard.browser
        SlowCompose(monkeypatch, delay_s=0.3)
        browser._pictures.clear()
        shown: list[int] = []
        show = browser._show_picture
        monkeypatch.setattr(
            browser, "_show_picture", lambda one: (shown.append(one.request.selection.epoch), show(one))
        )
        await pilot.press("space")
        await until(lambda: browser._player is None and browser._picture.request == browser._wanted)
        assert shown == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("columns", [4, 6])
async def test_statistics_with_other_columns_are_left_out(root: Path, columns: int) -> None:
    folder = recorded.write_run(root, epochs_done=1)
    frame = recorded.frame(0)
    layers = [
        structs.replace(layer, stats=np.zeros((*layer.stats.shape[:2], columns), np.float32)) for layer in frame.layers
    ]
    write_frame(folder.frame_path(0), structs.replace(frame, layers=layers))
    async with running(root) as (app, pilot):
        await seen(app, 0)
        await press(app, pilot, "l", "l")
        await until_said(app, "channel 2 of 4")
        assert "zero" not in screen_text(app)


async def test_n_and_p_go_round_the_probe_photographs(root: Path) -> None:
    recorded.write_run(root)
    async with running(root) as (app, pilot):
        browser = app.dashboard.browser
        await seen(app, 2)
        assert "probe 1/2" in title(browser)
        await until_said(app, "face-0.png")
        for probe, key in ((1, "n"), (0, "n"), (1, "p")):
            await press(app, pilot, key)
            assert browser.selection.probe == probe
            assert f"probe {probe + 1}/2" in title(browser)
            await until_said(app, f"face-{probe}.png")


async def test_hjkl_move_a_cursor_in_the_mosaic_and_stop_at_its_edges(root: Path) -> None:
    recorded.write_run(root)
    async with running(root) as (app, pilot):
        browser = app.dashboard.browser
        await seen(app, 2)
        await press(app, pilot, "down", "down")
        columns, channels = browser._picture.layout.grid.columns, browser._picture.channels
        assert channels == 9
        await press(app, pilot, "l")
        assert browser.selection.channel == 0
        await press(app, pilot, "l", "j")
        assert browser.selection.channel == 1 + columns
        await press(app, pilot, "k", "k", "h", "h", "h")
        assert browser.selection.channel == 0
        await press(app, pilot, *["l"] * 12)
        assert browser.selection.channel == 8
        await press(app, pilot, "j")
        assert browser.selection.channel == 8
        await until_said(app, "channel 9 of 9")
        assert "zero" in screen_text(app)


async def test_enter_zooms_and_escape_goes_back_step_by_step(root: Path) -> None:
    recorded.write_run(root)
    async with running(root) as (app, pilot):
        browser = app.dashboard.browser
        await seen(app, 2)
        mosaic = browser.view.mosaic.picture.key
        await press(app, pilot, "enter", "enter", "enter")
        assert (browser.selection.channel, browser.selection.zoomed) == (0, True)
        assert browser.view.mosaic.picture.key != mosaic
        await press(app, pilot, "escape")
        assert (browser.selection.channel, browser.selection.zoomed) == (0, False)
        await press(app, pilot, "escape")
        assert browser.selection.channel is None
        await press(app, pilot, "escape")
        await until(lambda: browser.view.mosaic.picture.key == mosaic)


async def test_enter_on_a_filter_shows_a_kernel_for_every_input(root: Path) -> None:
    recorded.write_run(root)
    async with running(root) as (app, pilot):
        await seen(app, 2)
        await press(app, pilot, "m", "v", "l", "l", "enter")
        await until_said(app, "one kernel per input")
        await press(app, pilot, "v", "down")
        await until_said(app, "one kernel per input")


async def test_space_plays_the_epochs_to_the_end(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tui.inspect.browser.PLAY_EVERY_S", 0.1)
    recorded.write_run(root, epochs_done=4)
    async with running(root) as (app, pilot):
        browser = app.dashboard.browser
        await seen(app, 3)
        played: list[int | None] = []
        select = browser.select
        monkeypatch.setattr(browser, "select", lambda one: (played.append(one.epoch), select(one)))
        await pilot.press("space")
        await until(lambda: played and browser._player is None)
        assert played == [0, 1, 2, None]
        monkeypatch.setattr("tui.inspect.browser.PLAY_EVERY_S", 60.0)
        await pilot.press("space", "space")
        await pilot.pause()
        assert browser.selection.epoch == 0
        assert browser._player is None


async def test_a_mode_outlives_a_change_of_the_run_and_the_rest_does_not(root: Path) -> None:
    recorded.write_run(root, "older", created=100.0, end="completed")
    recorded.write_run(root, "newer", created=200.0)
    async with running(root) as (app, pilot):
        await seen(app, 2)
        await press(app, pilot, "m", "down", "left")
        app.dashboard.open_run(open_run(root, "older"))
        browser = app.dashboard.browser
        await until(lambda: browser._picture is not None and "older" in str(browser._picture.request.file))
        assert (browser.selection.mode.title, browser.selection.layer) == ("filters", 0)
        assert browser.selection.follows_live
        await until_said(app, "older  ✓ completed")


# Following


async def test_an_epoch_that_arrives_while_following_is_shown(root: Path) -> None:
    folder = recorded.write_run(root, epochs_done=2)
    async with running(root) as (app, _):
        browser = app.dashboard.browser
        await seen(app, 1)
        before = browser.view.mosaic.picture.key
        recorded.add_epoch(folder, 2)
        await seen(app, 2)
        await until(lambda: browser.view.mosaic.picture.key != before)
        await until_said(app, "epoch 3 of 5")
        await until_said(app, "epoch 3: loss 0.480")


async def test_an_epoch_that_arrives_while_looking_back_does_not_move_the_view_until_end_is_pressed(root: Path) -> None:
    folder = recorded.write_run(root, epochs_done=2)
    async with running(root) as (app, pilot):
        browser = app.dashboard.browser
        await seen(app, 1)
        await press(app, pilot, "home")
        recorded.add_epoch(folder, 2)
        await until(lambda: "epoch 1 of 3" in title(browser))
        assert browser._picture.request.selection.epoch == 0
        await press(app, pilot, "end")
        await seen(app, 2)
        recorded.add_epoch(folder, 3)
        await seen(app, 3)


async def test_steps_move_the_progress_as_they_arrive(root: Path) -> None:
    folder = recorded.write_run(root, epochs_done=1)
    async with running(root) as (app, _):
        await until_said(app, "epoch 1 of 5")
        recorded.append(folder, recorded.epoch_started(1), recorded.steps(1, 2))
        await until_said(app, "epoch 2 of 5")
        await until_said(app, "batch 2 of 5")
        await until_said(app, "40%")
        await until_said(app, "320 images/s")


async def test_a_run_that_ends_is_told_at_once(root: Path) -> None:
    folder = recorded.write_run(root)
    async with running(root) as (app, _):
        await until_said(app, "● training")
        recorded.append(folder, RunFinished(time=2000.0, status="completed"))
        await until_said(app, "✓ completed")
        await until_said(app, "training is complete")
        await until_said(app, "epoch 3 latest")


async def test_a_run_that_goes_on_is_live_again(root: Path) -> None:
    folder = recorded.write_run(root, end="stopped")
    async with running(root) as (app, _):
        await until_said(app, "■ stopped")
        recorded.append(folder, recorded.run_started(start_epoch=3, start_step=15, resumed=True))
        await until_said(app, "● training")


async def test_a_journal_that_was_replaced_is_shown_from_its_beginning(root: Path) -> None:
    folder = recorded.write_run(root, epochs_done=3)
    async with running(root) as (app, _):
        await until_said(app, "epoch 3 of 5")
        folder.journal_path.unlink()
        recorded.append(folder, recorded.run_started(), *recorded.epoch_events(0))
        await until_said(app, "epoch 1 of 5")
        assert len(app.dashboard.state.steps) == recorded.STEPS_PER_EPOCH


async def test_a_loss_that_is_no_number_is_shown_as_such(root: Path) -> None:
    nan = float("nan")
    folder = recorded.write_run(root, epochs_done=1)
    recorded.append(folder, recorded.steps(1, loss=[nan] * 5), recorded.epoch_finished(1, nan, validation_loss=nan))
    async with running(root) as (app, _):
        await until_said(app, "validation NaN")
        await until_said(app, "×")
        assert "best 0.600 at epoch 1" in screen_text(app)


async def test_the_load_of_the_machine_is_told_from_one_that_was_measured_at_the_end(root: Path) -> None:
    folder = recorded.write_run(root)
    measured = time.mktime((2025, 3, 4, 5, 6, 7, 0, 0, -1))
    load = System(
        time=measured, cpu_percent=12.0, memory_used_bytes=1 << 30, memory_total_bytes=4 << 30, process_memory_bytes=9
    )
    recorded.append(folder, load)
    async with running(root) as (app, _):
        await until_said(app, "CPU")
        assert "at the end" not in screen_text(app)
        recorded.append(folder, RunFinished(time=measured, status="completed"))
        await until_said(app, "at the end of the run, 05:06:07 on 04 Mar")
        await until_said(app, "12%")


async def test_pictures_of_an_epoch_that_are_made_again_are_shown_again(root: Path) -> None:
    folder = recorded.write_run(root)
    async with running(root) as (app, pilot):
        await seen(app, 2)
        await press(app, pilot, "left")
        browser = app.dashboard.browser
        await until(lambda: browser._picture.request.selection.epoch == 1)
        before = browser.view.mosaic.picture.key
        recorded.write_frame(folder.frame_path(1), recorded.frame(77))
        recorded.append(folder, recorded.frame_saved(1, time=9000.0))
        await until(lambda: browser.view.mosaic.picture.key != before)
        assert browser.selection.epoch == 1


# What goes wrong


async def test_a_crash_is_called_a_crash_and_shows_the_end_of_the_log(root: Path) -> None:
    folder = recorded.write_run(root, process=recorded.dead_process())
    folder.log_path.write_bytes(
        b"an earlier line\n" * 90 + b"\n" + b"\x1b[31mRuntimeError: out of [red]memory[/] \x07\n"
    )
    async with running(root) as (app, _):
        await until_said(app, "✗ crashed")
        await until_said(app, "an earlier line")
        await until_said(app, "\ufffd[31mRuntimeError: out of [red]memory[/] \ufffd")


async def test_a_run_that_crashed_before_it_began_says_so(folder: RunFolder) -> None:
    folder.write_manifest(recorded.manifest(folder, process=recorded.dead_process()))
    folder.log_path.write_text("ModuleNotFoundError: No module named 'torch'\n")
    async with running(folder.root) as (app, _):
        await until_said(app, "✗ crashed")
        await until_said(app, "never started")
        await until_said(app, "this run crashed before its first pictures were saved")
        await until_said(app, "last lines of train.log of otter-3")
        await until_said(app, "No module named 'torch'")
        await until_said(app, "the trainer ended unexpectedly")


async def test_a_failed_run_says_why(root: Path) -> None:
    recorded.write_run(root, end="failed")
    async with running(root) as (app, _):
        await until_said(app, "training failed: the disk is full")


async def test_markup_and_controls_in_names_and_notices_are_shown_as_they_are_or_made_harmless(root: Path) -> None:
    folder = recorded.write_run(root, epochs_done=0, data="/photos/[bold]x[/bold]\x1b[2J")
    recorded.append(folder, Notice(time=1.0, level="warning", text="skipped [red]a[/red] [/] \x1b[2Jb.jpg"))
    names = ["[b]ann[/b].jpg", "e\x1b[2Jvil.jpg"]
    recorded.write_frame(folder.frame_path(0), recorded.frame(0, names=names))
    recorded.append(folder, *recorded.epoch_events(0))
    async with running(root) as (app, pilot):
        await seen(app, 0)
        await until_said(app, "skipped [red]a[/red] [/] \ufffd[2Jb.jpg")
        await until_said(app, "[b]ann[/b].jpg")
        await press(app, pilot, "n")
        await until_said(app, "vil.jpg")
        assert "\x1b" not in screen_text(app)


async def test_layers_with_names_like_markup_are_shown_as_they_are(root: Path) -> None:
    folder = recorded.write_run(root, epochs_done=0)
    infos = list(recorded.layer_infos())
    odd = [type(infos[0])(name="[red]block[/red].0", channels=4, size=(8, 8), kernel=(3, 3, 3))]
    recorded.append(folder, recorded.run_started(layers=odd))
    async with running(root) as (app, _):
        await until(lambda: "▸[red]block[/red].0◂" in title(app.dashboard.browser))
        await until_said(app, "▸[red]block[/red].0◂")


async def test_a_missing_frame_is_told_and_the_others_can_still_be_seen(root: Path) -> None:
    folder = recorded.write_run(root)
    folder.frame_path(1).unlink()
    async with running(root) as (app, pilot):
        await seen(app, 2)
        await press(app, pilot, "left")
        await until_said(app, "epoch_1.safetensors does not exist")
        await press(app, pilot, "left")
        await seen(app, 0)
        assert app.dashboard.browser._picture.request.selection.epoch == 0


async def test_a_damaged_frame_is_told(root: Path) -> None:
    folder = recorded.write_run(root)
    folder.frame_path(2).write_bytes(folder.frame_path(2).read_bytes()[:500])
    async with running(root) as (app, pilot):
        await until_said(app, "epoch_2.safetensors cannot be read")
        await press(app, pilot, "n", "m", "l", "enter", "left")
        await seen(app, 1)


async def test_a_frame_with_another_network_is_shown_nevertheless(root: Path) -> None:
    recorded.write_run(root)
    recorded.append(open_run(root, "otter-3"), recorded.run_started(layers=recorded.layer_infos()[:1]))
    async with running(root) as (app, pilot):
        await seen(app, 2)
        await press(app, pilot, "down", "down", "down")
        assert app.is_running


async def test_a_run_folder_that_disappears_is_told_and_closed(root: Path) -> None:
    folder = recorded.write_run(root)
    async with running(root) as (app, pilot):
        await seen(app, 2)
        shutil.rmtree(folder.path)
        shutil.rmtree(folder.visuals)
        await until(lambda: "the folder of run otter-3 is gone" in app.told)
        await until_said(app, "no run is open")
        assert app.dashboard.folder is None
        await press(app, pilot, *(key for key in KEYS if key not in ("t", "r", "c", "colon", "question_mark", "f1")))
        await until_said(app, "no run is open")


# Stopping


async def test_stopping_asks_first_and_n_means_no(root: Path) -> None:
    folder = recorded.write_run(root)
    async with running(root) as (app, pilot):
        for no in ("n", "escape", "q"):
            await pilot.press("S")
            await until(lambda: isinstance(app.screen, Confirm))
            await until_said(app, "Stop run otter-3?")
            await pilot.press(no)
            await until(lambda: app.screen is app.dashboard)
        await pilot.pause()
        assert not folder.stop_requested()


async def test_stopping_writes_the_request_after_y(root: Path) -> None:
    folder = recorded.write_run(root)
    async with running(root) as (app, pilot):
        await pilot.press("S")
        await until(lambda: isinstance(app.screen, Confirm))
        await pilot.press("enter", "space", "S")
        assert not folder.stop_requested()
        await pilot.press("y")
        await until(folder.stop_requested)
        await until(lambda: "otter-3 will stop after this batch" in app.told)


async def test_stopping_the_run_of_a_script_promises_no_checkpoint(root: Path) -> None:
    folder = recorded.write_run(root)
    folder.write_manifest(recorded.manifest(folder, script="train.py"))
    async with running(root) as (app, pilot):
        await pilot.press("S")
        await until(lambda: isinstance(app.screen, Confirm))
        await until_said(app, "Its script ends the training after this batch")


async def test_no_key_is_shown_that_resumes_the_run_of_a_script(root: Path) -> None:
    folder = recorded.write_run(root, process=recorded.dead_process())
    async with running(root) as (app, _):
        await until_said(app, "R resume")
    folder.journal_path.unlink()
    recorded.append(folder, recorded.run_started(run=folder.name, recipe=""))
    async with running(root) as (app, _):
        await until_said(app, "✗ crashed")
        await until(lambda: app.dashboard.state is not None and app.dashboard.state.started is not None)
        await until(lambda: "R resume" not in screen_text(app))


async def test_the_run_of_a_script_asks_for_no_photograph_that_it_cannot_classify(root: Path) -> None:
    folder = recorded.write_run(root, epochs_done=0)
    folder.journal_path.unlink()
    recorded.append(folder, recorded.run_started(run=folder.name, recipe=""))
    async with running(root) as (app, pilot):
        await until(lambda: app.dashboard.state is not None and app.dashboard.state.started is not None)
        await pilot.press("c")
        await until_said(app, "trained by its own script")
        await pilot.press(*"a.jpg", "enter")
        assert palette_of(app)


async def test_a_run_that_is_not_training_is_not_stopped(root: Path) -> None:
    folder = recorded.write_run(root, end="completed")
    async with running(root) as (app, pilot):
        await pilot.press("S")
        await until(lambda: "run otter-3 is not training" in app.told)
        assert app.screen is app.dashboard
        assert not folder.stop_requested()


async def test_q_leaves_and_asks_nobody_to_stop(root: Path) -> None:
    folder = recorded.write_run(root)
    async with running(root) as (app, pilot):
        await pilot.press("q")
        await until(lambda: not app.is_running)
    assert app.return_code == 0
    assert not folder.stop_requested()
    assert folder.state() == "training"


# Panes


async def test_on_a_small_screen_one_pane_is_shown_and_its_number_chooses_it(root: Path) -> None:
    recorded.write_run(root)
    async with running(root, COMMON) as (app, pilot):
        await seen(app, 2)
        for number, pane in enumerate(PANES, 1):
            await pilot.press(str(number))
            await pilot.pause()
            shown = [name for name in PANES if app.dashboard.query_one(f"#{name}").is_on_screen]
            assert shown == [pane]
            assert app.focused.id == pane


async def test_tab_goes_through_the_panes_in_both_directions(root: Path) -> None:
    recorded.write_run(root)
    async with running(root) as (app, pilot):
        assert app.focused.id == "layers"
        visited = []
        for _ in PANES:
            await pilot.press("tab")
            visited.append(app.focused.id)
        assert visited == ["log", *PANES[:5]]
        await pilot.press("shift+tab")
        assert app.focused.id == "machine"


async def test_plus_gives_the_focused_pane_the_whole_screen_and_underscore_takes_it_back(root: Path) -> None:
    recorded.write_run(root)
    async with running(root) as (app, pilot):
        await pilot.press("1", "plus")
        await pilot.pause()
        assert app.dashboard.query_one("#loss").size.width > 140
        assert not app.dashboard.query_one("#layers").is_on_screen
        await pilot.press("underscore")
        await pilot.pause()
        assert app.dashboard.query_one("#layers").is_on_screen


async def test_no_pane_is_empty_before_there_is_anything_to_show(root: Path) -> None:
    async with running(root, COMMON) as (app, pilot):
        await pilot.press("escape")
        said = {
            "1": "the loss appears with the first batches",
            "2": "accuracy appears with the first batches",
            "3": "best epoch: known after the first validation",
            "4": "load of the machine: shown when the trainer reports it",
            "5": "no run is open: t starts one",
            "6": "the trainer's messages appear here",
        }
        for key, text in said.items():
            await pilot.press(key)
            await until_said(app, text)


async def test_y_x_and_s_change_the_curves(root: Path) -> None:
    recorded.write_run(root)
    async with running(root) as (app, pilot):
        chart = app.dashboard.query_one("#loss-chart", Chart)
        await until_said(app, "epochs")
        await pilot.press("y")
        await until_said(app, "Loss (log)")
        assert chart.logarithmic
        await pilot.press("y")
        await until(lambda: "(log)" not in screen_text(app))
        for axis in ("steps", "minutes", "epochs"):
            await pilot.press("x")
            await until(lambda axis=axis: chart.render_line(chart.size.height - 1).text.rstrip().endswith(axis))
        await pilot.press("s")
        await until_said(app, "◆ validation 0.580  raw")
        await pilot.press("y")
        await until_said(app, "Loss (log)  train 0.067  ◆ val 0.580  raw")


async def test_the_numbers_of_a_chart_are_seen_whatever_room_its_title_has(root: Path) -> None:
    recorded.write_run(root)
    async with running(root) as (app, pilot):
        await pilot.press("y")
        await until(lambda: re.search(r"Loss \(log\)  train \d\.\d{3}  ◆ validation 0.580 ", screen_text(app)))
        await pilot.press("1", "plus")
        await until(lambda: re.search(r"Loss \(log\)  ━ train \d\.\d{3}  ◆ validation 0.580 ", screen_text(app)))
        await pilot.resize_terminal(46, 12)
        await until(lambda: re.search(r"Loss \(log\)  train \d\.\d{3}  ◆ val 0.580 ", screen_text(app)))
        await pilot.resize_terminal(*SMALL)
        await until(lambda: re.search(r"Loss  train \d\.\d{3}  ◆ val 0.580 ", screen_text(app)))
        await pilot.resize_terminal(34, 12)
        await until(lambda: re.search(r"Loss  train \d\.\d{3}  val 0.580 ", screen_text(app)))


# Prompt


async def test_a_path_is_completed_with_tab_and_left_with_escape(root: Path) -> None:
    recorded.write_run(root)
    for name in ("anna.jpg", "anton.jpg"):
        (root / name).touch()
    async with running(root) as (app, pilot):
        await pilot.press("c", "a", "tab")
        assert palette_of(app)
        prompt = palette_of(app)
        await until(lambda: prompt.input.value == "classify an")
        await until_said(app, "anna.jpg  anton.jpg")
        await pilot.press("t", "tab")
        await until(lambda: prompt.input.value == "classify anton.jpg")
        await pilot.press("escape")
        await until(lambda: app.screen is app.dashboard)
        assert app.focused.id == "layers"


async def test_keys_go_to_the_palette_while_it_is_open(root: Path) -> None:
    recorded.write_run(root)
    async with running(root) as (app, pilot):
        await seen(app, 2)
        await pilot.press("c", *"qmStry", "left", "home", "1")
        assert palette_of(app)
        assert palette_of(app).input.value == "1classify qmStry"
        assert app.dashboard.browser.selection.follows_live


async def test_leaving_is_not_cancelled_by_the_key_that_draws_again(root: Path) -> None:
    recorded.write_run(root, "a", created=100.0, end="completed")
    async with running(root) as (app, pilot):
        context_of(app).link = Link(0.25)
        context_of(app).link.sent(50_000)
        exits: list[bool] = []
        app.exit = lambda *_, **__: exits.append(True)  # type: ignore[method-assign]
        await pilot.press("q", "g")
        await until(lambda: exits)


async def test_the_application_leaves_the_interpreter_as_it_was(root: Path) -> None:
    before = sys.getswitchinterval()
    async with running(root):
        assert sys.getswitchinterval() == before


async def test_the_log_stays_at_its_end_when_it_is_enlarged_shrunk_or_hidden(root: Path) -> None:
    folder = recorded.write_run(root)
    for epoch in range(3, 15):
        recorded.add_epoch(folder, epoch, frame_file=False)
    async with running(root) as (app, pilot):
        await until_said(app, "epoch 15: loss")
        log = app.dashboard.query_one(RunLog)
        await until(lambda: log.max_scroll_y > 0 and log.scroll_y == log.max_scroll_y)
        for key in "6+_":
            await pilot.press(key)
            await pilot.pause()
        await until(lambda: log.max_scroll_y > 0 and log.scroll_y == log.max_scroll_y)
        await pilot.press("5")
        await pilot.resize_terminal(*SMALL)
        recorded.add_epoch(folder, 15, frame_file=False)
        await pilot.pause(0.5)
        await pilot.resize_terminal(*LARGE)
        await until_said(app, "epoch 16: loss")


async def test_a_screen_that_loses_its_widgets_as_the_program_ends_is_not_open(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    open_: list[bool] = []

    def unmounted(hints: KeyHints) -> None:
        assert isinstance(hints.screen, BaseScreen)
        open_.append(hints.screen.is_open)

    monkeypatch.setattr(KeyHints, "on_unmount", unmounted, raising=False)
    recorded.write_run(root)
    async with running(root) as (app, _):
        assert app.dashboard.is_open
    assert open_
    assert not any(open_)
