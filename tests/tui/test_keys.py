"""Keys: those that are typed in one burst, the keymap, what the line of keys shows, and jumping between panes."""

from __future__ import annotations

import gc
import time
from pathlib import Path

import pytest
import recorded
from piloting import SMALL, running, screen_text, type_at_once, until, until_said

from tui.app import MIN_COLLECTIONS
from tui.screens.help import Help
from tui.screens.runs import Runs
from tui.settings import Settings
from tui.widgets.filter_line import FilterLine
from tui.widgets.layers import LayerList


async def test_keys_of_one_burst_reach_the_screens_that_they_open(root: Path) -> None:
    for name in ("first", "second"):
        recorded.write_run(root, name)
    async with running(root) as (app, _):
        type_at_once(app, "r/second\r")
        await until(lambda: isinstance(app.screen, Runs) and app.screen._view.filter_text == "second")
        type_at_once(app, "?")
        await until(lambda: isinstance(app.screen, Help))
        type_at_once(app, "\x1b\x1b\x1b?jj\x1b")
        await until(lambda: app.screen is app.dashboard)


async def test_slash_filters_the_log_says_so_and_escape_shows_all_lines(root: Path) -> None:
    recorded.write_run(root)
    async with running(root) as (app, pilot):
        await until_said(app, "epoch 2: loss")
        type_at_once(app, "/EPOCH 3\r")
        await until(lambda: "epoch 2: loss" not in screen_text(app))
        await until_said(app, "lines with “EPOCH 3”")
        assert "epoch 3: loss" in screen_text(app)
        await pilot.press("left")  # the keys are those of the dashboard again
        await until(lambda: app.dashboard.browser.epoch == 1)
        await pilot.press("escape")
        await until_said(app, "epoch 2: loss")
        assert "EPOCH 3" not in screen_text(app)


async def test_the_filter_that_is_kept_is_the_text_that_was_typed_last(root: Path) -> None:
    recorded.write_run(root)
    async with running(root) as (app, pilot):
        await until_said(app, "epoch 2: loss")
        await pilot.press("slash")
        line = app.dashboard.query_one(FilterLine)
        line.input.value = "EPOCH 3"
        line.action_close(True)  # before the line was told that the text changed, as in a burst under load
        await until_said(app, "lines with “EPOCH 3”")


async def test_slash_takes_the_text_also_where_another_pane_than_the_log_is_shown(root: Path) -> None:
    recorded.write_run(root)
    async with running(root, size=SMALL) as (app, pilot):
        await until(lambda: app.dashboard.browser.shown is not None)
        for _ in range(2):  # the first time the line is mounted, which takes longer
            await pilot.press("5", "slash")
            await pilot.pause()
            await pilot.press(*"epoch")
            await until_said(app, "lines with “epoch”")
            await pilot.press("escape")
            await until(lambda: "filter the log" not in screen_text(app))


async def test_tab_leaves_the_line_of_the_filter_and_keeps_the_filter(root: Path) -> None:
    recorded.write_run(root)
    async with running(root) as (app, pilot):
        await until_said(app, "epoch 2: loss")
        await pilot.press("slash", *"epoch", "tab")
        await until(lambda: "filter the log" not in screen_text(app))
        await until_said(app, "lines with “epoch”")
        await pilot.press("escape")
        await until(lambda: "lines with" not in screen_text(app))


async def test_a_filter_that_matches_nothing_says_so(root: Path) -> None:
    recorded.write_run(root)
    async with running(root) as (app, pilot):
        await until_said(app, "epoch 2: loss")
        type_at_once(app, "/xyzzy")
        await until_said(app, "no line has this text: Esc shows all")
        await pilot.press("escape")
        await until_said(app, "epoch 2: loss")


async def test_slash_filters_the_layers_of_the_explorer(root: Path) -> None:
    recorded.write_run(root)
    async with running(root) as (app, pilot):
        browser = app.dashboard.browser
        await until(lambda: browser.shown is not None)
        type_at_once(app, "\r/conv2\r")
        await until(lambda: browser.selection.layer == 1)
        listed = app.dashboard.query_one(LayerList)
        assert listed.listed == [1]
        await until_said(app, "1 layer with “conv2”")
        await pilot.press("escape")
        await until(lambda: len(listed.listed) == 3)


async def test_a_key_of_the_settings_works_and_is_shown(root: Path) -> None:
    recorded.write_run(root)
    async with running(root, settings=Settings(keys={"runs": "f5", "train": "w"})) as (app, pilot):
        await until_said(app, "F5 runs")
        await pilot.press("r")
        assert app.screen is app.dashboard
        await pilot.press("f5")
        await until(lambda: isinstance(app.screen, Runs))


async def test_q_closes_the_screen_and_then_the_explorer_and_then_the_program(root: Path) -> None:
    recorded.write_run(root)
    async with running(root) as (app, pilot):
        await until(lambda: app.dashboard.browser.shown is not None)
        await pilot.press("enter", "r")
        await until(lambda: isinstance(app.screen, Runs))
        await pilot.press("q")
        assert app.screen is app.dashboard
        await pilot.press("q")
        assert not app.dashboard._explorer
        await pilot.press("q")
        await until(lambda: not app.is_running)


async def test_equals_does_what_plus_does(root: Path) -> None:
    recorded.write_run(root)
    async with running(root) as (app, pilot):
        await pilot.press("1", "equals_sign")
        await until_said(app, "_ shows all panes")


async def test_the_line_of_keys_shows_only_what_works(root: Path) -> None:
    recorded.write_run(root, end="completed")
    async with running(root, (200, 50)) as (app, _):
        await until(lambda: app.dashboard.state is not None and app.dashboard.state.read)
        await until(lambda: "m view" in screen_text(app))
        last = screen_text(app).splitlines()[-1]
        assert "t train" in last
        assert not {"S stop", "R resume", "w mistakes"} & set(last.split("  "))


async def test_a_letter_of_the_jump_mode_focuses_a_pane(root: Path) -> None:
    recorded.write_run(root)
    async with running(root) as (app, pilot):
        chain = app.dashboard.focus_chain
        type_at_once(app, "'c")
        await until(lambda: app.screen is app.dashboard and app.focused is chain[2])
        await pilot.press("ctrl+o", "escape")
        assert app.screen is app.dashboard
        assert app.focused is chain[2]


async def test_all_garbage_is_collected_while_no_key_is_pressed(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gc, "freeze", lambda: None)
    thresholds = gc.get_threshold()
    recorded.write_run(root)
    async with running(root) as (app, pilot):
        try:
            app._collect_garbage()
            before = time.monotonic()
            await pilot.press("left")
            assert app.last_key_at >= before
            app.last_key_at = before + 60  # however slow this machine is
            for _ in range(MIN_COLLECTIONS):
                gc.collect(1)
            app._collect_when_idle()
            assert gc.get_count()[2] >= MIN_COLLECTIONS
            app.last_key_at = before - 60
            await until(lambda: gc.get_count()[2] < MIN_COLLECTIONS)
        finally:
            gc.set_threshold(*thresholds)
