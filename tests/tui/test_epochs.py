"""One cursor for charts, pictures and figures: the epoch; and what the second chart shows."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import recorded
from piloting import running, screen_text, title, until, until_said

from facegender.runs.events import RequestDone
from facegender.runs.folder import RunFolder
from facegender.runs.requests import FrameRequest, take_requests
from tui.graphics.context import context_of
from tui.widgets.chart import Chart, ChartPane


def write_sparse_run(root: Path) -> RunFolder:
    """A run of four epochs, of which the second and the fourth have no pictures."""
    folder = recorded.write_run(root, epochs_done=0)
    for epoch in range(4):
        if epoch % 2:
            recorded.append(
                folder, recorded.epoch_started(epoch), recorded.steps(epoch), recorded.epoch_finished(epoch)
            )
        else:
            recorded.add_epoch(folder, epoch)
    return folder


def cursor_columns(chart: Chart) -> set[int]:
    """The columns in which the cursor is drawn, at the top and on the axis."""
    rows = {0: "▾", chart.size.height - 1: "▴"}
    return {column for y, mark in rows.items() for column, cell in enumerate(chart.render_line(y).text) if cell == mark}


async def test_the_charts_mark_the_epoch_of_the_pictures_and_read_its_values(root: Path) -> None:
    recorded.write_run(root, epochs_done=4)
    async with running(root) as (app, pilot):
        await until_said(app, "epoch 4 ● live")
        charts = list(app.dashboard.query(Chart))
        at_the_end = [cursor_columns(chart) for chart in charts]
        assert all(len(columns) == 1 for columns in at_the_end)
        await pilot.press("left", "left")
        await until_said(app, "epoch 2  train 0.490  ◆ val 0.590")
        assert "epoch 2  train 0.700  ◆ val 0.610" in screen_text(app)
        assert "Run  not the latest epoch" in screen_text(app)
        for chart, before in zip(charts, at_the_end, strict=True):
            assert max(cursor_columns(chart)) < min(before)
        await pilot.press("end")
        await until(lambda: "not the latest epoch" not in screen_text(app))


async def test_on_a_chart_the_keys_reach_epochs_without_pictures(root: Path) -> None:
    write_sparse_run(root)
    async with running(root) as (app, pilot):
        browser = app.dashboard.browser
        await until(lambda: browser.epoch == 3)
        await pilot.press("1", "left", "left")
        await until_said(app, "epoch 2  train 0.490")
        await until(lambda: "epoch 2 (pictures of epoch 1) of 3" in title(browser))
        await pilot.press("home")
        assert browser.epoch == 0
        await pilot.press("5", "right")
        assert browser.epoch == 3


async def test_a_click_on_a_chart_selects_the_epoch_and_the_wheel_turns_it(root: Path) -> None:
    recorded.write_run(root, epochs_done=4)
    async with running(root) as (app, pilot):
        browser = app.dashboard.browser
        await until_said(app, "epoch 4 ● live")
        chart = app.dashboard.query_one("#loss-chart", Chart)
        margin = chart.render_line(chart.size.height - 1).text.index("└") + 1
        # The axis has five planned epochs; the second ends at two fifths of it.
        await pilot.click(chart, offset=(margin + round(0.4 * (chart.size.width - margin - 1)), 3))
        await until(lambda: browser.epoch == 1)
        chart.post_message(Chart.Scrolled(1, 10))
        await until(lambda: browser.epoch == 2)
        chart.post_message(Chart.Scrolled(-1, 10))
        await until(lambda: browser.epoch == 1)


async def test_a_goes_through_the_metrics_that_the_run_has(root: Path) -> None:
    folder = recorded.write_run(root, epochs_done=0)
    for epoch in range(3):
        logged = {"val_auc": 0.9 + epoch / 100, "val_error": 12.0 - epoch}
        recorded.append(folder, recorded.epoch_started(epoch), recorded.epoch_finished(epoch, metrics=logged))
    async with running(root) as (app, pilot):
        pane = app.dashboard.query_one("#accuracy", ChartPane)
        await until_said(app, "Accuracy  ━ train")
        for heading in ("macro 0.750", "Learning rate 0.001", "val_auc 0.920", "val_error 10.000"):
            await pilot.press("a")
            await until_said(app, heading)
        assert pane.chart.limits is None
        await pilot.press("a")
        await until_said(app, "Accuracy  ━ train")


async def test_a_run_without_accuracy_says_so_and_draws_no_marks(root: Path) -> None:
    folder = recorded.write_run(root, epochs_done=0)
    nothing = {"macro_f1": math.nan, "classes": [], "f1": [], "precision": [], "recall": [], "confusion": []}
    steps = recorded.steps(0, accuracy=[math.nan] * recorded.STEPS_PER_EPOCH)
    finished = recorded.epoch_finished(0, math.nan, train_accuracy=math.nan, validation_loss=math.nan, **nothing)
    recorded.append(
        folder, recorded.run_started(epochs=0, steps_per_epoch=0), recorded.epoch_started(0), steps, finished
    )
    async with running(root) as (app, _):
        await until_said(app, "no accuracy was recorded")
        shown = screen_text(app)
        assert "×" not in shown
        assert "macro F1 -" in shown
        assert "epoch 1  CPU" in shown


@pytest.mark.parametrize("key", ["space", "left"])
async def test_playing_is_shown_and_ends_with_a_key(root: Path, monkeypatch: pytest.MonkeyPatch, key: str) -> None:
    monkeypatch.setattr("tui.inspect.browser.PLAY_EVERY_S", 5.0)
    recorded.write_run(root, epochs_done=4)
    async with running(root) as (app, pilot):
        browser = app.dashboard.browser
        await until(lambda: "epoch 4 ● live" in title(browser))
        await pilot.press("space")
        await until(lambda: "epoch 1 of 4 ▶ playing" in title(browser))
        await pilot.press(key)
        await until(lambda: "playing" not in title(browser))
        assert browser.epoch == 0


async def test_pictures_within_an_epoch_say_after_which_step_they_were_made(root: Path) -> None:
    folder = recorded.write_run(root, epochs_done=1)
    recorded.append(folder, recorded.epoch_started(1), recorded.frame_saved(1, step=8))
    async with running(root) as (app, _):
        await until(lambda: "epoch 2, step 8" in title(app.dashboard.browser))


async def test_the_initial_weights_are_epoch_0(root: Path) -> None:
    folder = recorded.write_run(root, epochs_done=2)
    recorded.append(folder, recorded.frame_saved(-1, step=0))
    async with running(root) as (app, pilot):
        await until(lambda: "epoch 2 ● live" in title(app.dashboard.browser))
        await pilot.press("home")
        await until_said(app, "epoch 0, initial weights: not validated")
        assert app.dashboard.browser.epoch == -1


async def test_pictures_can_be_asked_for_within_an_epoch(root: Path) -> None:
    folder = recorded.write_run(root)
    async with running(root) as (app, pilot):
        await until_said(app, "● training")
        await pilot.press("F")
        await until(lambda: app.told and "makes pictures after this batch" in app.told[-1])
        assert [type(request) for request in take_requests(folder)] == [FrameRequest]
        recorded.append(folder, RequestDone(time=2000.0, request="frame", done=True, outcome="pictures of step 16"))
        await until_said(app, "pictures of step 16")


async def test_a_run_that_is_not_training_makes_no_pictures(root: Path) -> None:
    folder = recorded.write_run(root, end="completed")
    async with running(root) as (app, pilot):
        await until_said(app, "✓ completed")
        await pilot.press("F")
        await until(lambda: app.told and "otter-3 is not training" in app.told[-1])
        assert take_requests(folder) == []


@pytest.mark.parametrize("rest_s", [0.1, 60.0])
async def test_on_a_slow_link_the_charts_wait_until_no_key_is_pressed(
    root: Path, monkeypatch: pytest.MonkeyPatch, rest_s: float
) -> None:
    recorded.write_run(root, epochs_done=4)
    monkeypatch.setattr("tui.screens.dashboard.EPOCH_AFTER_S", rest_s)
    async with running(root) as (app, pilot):
        await until_said(app, "epoch 4 ● live")
        monkeypatch.setattr(context_of(app).link, "seconds_for", lambda size_bytes: size_bytes / 10_000)
        await pilot.press("left", "left")
        await until(lambda: "epoch 2 of 4" in title(app.dashboard.browser))
        if rest_s < 1:
            await until_said(app, "epoch 2  train 0.490")
        assert ("train 0.490" in screen_text(app)) == (rest_s < 1)


async def test_figures_can_be_selected_with_the_mouse_and_copied(root: Path) -> None:
    recorded.write_run(root)
    async with running(root) as (app, pilot):
        await until_said(app, "best 0.620 at epoch 3")
        await pilot.mouse_down("#run Facts", offset=(0, 0))
        await pilot.hover("#run Facts", offset=(9, 0))
        await pilot.mouse_up("#run Facts", offset=(9, 0))
        await pilot.press("ctrl+c")
        await until(lambda: app.clipboard.startswith("best 0.62"))
        assert app.is_running
