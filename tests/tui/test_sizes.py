"""What the dashboard shows on small and on large terminals is laid out on purpose."""

from __future__ import annotations

from pathlib import Path

import pytest
import recorded
from piloting import WatchedApp, running, screen_text, until, until_said

from tui.inspect.overview import LayerOverview, layers_around

HUGE = (300, 80)


def header(app: WatchedApp, rows: int) -> str:
    """Return the first rows of the screen."""
    return "\n".join(screen_text(app).splitlines()[:rows])


@pytest.mark.parametrize("size", [(60, 20), (80, 24), (150, 45), HUGE])
async def test_the_header_has_run_state_epoch_figures_and_time_left_at_every_size(
    root: Path, size: tuple[int, int]
) -> None:
    recorded.write_run(root)
    async with running(root, size) as (app, _):
        await until_said(app, "val. acc.")
        text = header(app, 2)
        for part in ("otter-3", "● training", "epoch 3 of 5", "val. loss 0.580", "val. acc. 0.620", "left"):
            assert part in text


@pytest.mark.parametrize("size", [(60, 20), (80, 24)])
async def test_the_explorer_keeps_the_most_important_in_one_row(root: Path, size: tuple[int, int]) -> None:
    recorded.write_run(root)
    async with running(root, size) as (app, pilot):
        await until_said(app, "epoch 3 ● live")
        await pilot.press("enter")
        await until_said(app, "Esc back")
        for part in ("otter-3", "● training", "loss 0.580", "acc. 0.620", "left"):
            assert part in header(app, 1)
        assert ("epoch 3 of 5" in header(app, 1)) == (size[0] >= 80)
        await pilot.press("escape")
        await until(lambda: "val. acc." in header(app, 2))


async def test_a_large_terminal_shows_several_layers_at_once(root: Path) -> None:
    recorded.write_run(root, end="completed")
    async with running(root, HUGE) as (app, pilot):
        browser = app.dashboard.browser
        await until(lambda: app.dashboard.query(LayerOverview))
        overview = app.dashboard.query_one(LayerOverview)
        panes = [pane for pane in overview._panes if pane.display]
        await until(lambda: [pane.selection.layer for pane in overview._panes if pane.display] == [1, 2])
        panes = [pane for pane in overview._panes if pane.display]
        await until(lambda: all(pane.is_shown and pane.shown is not None for pane in panes))
        assert all(pane.shown.pane.columns < browser.shown.pane.columns for pane in panes)

        # One selection: epoch, view and layer.
        await pilot.press("left", "m", "down")
        await until(lambda: all(pane.shown.selection.epoch == 1 for pane in panes))
        await until(
            lambda: (
                [(pane.shown.selection.layer, pane.shown.selection.mode.view) for pane in panes]
                == [(0, "filters"), (2, "filters")]
            )
        )
        assert "conv3  filters" in screen_text(app)

        # A click selects the layer; the keys stay with the pane that has the focus.
        await pilot.click(panes[1].view)
        await until(lambda: browser.selection.layer == 2)
        assert app.focused is browser
        await until(lambda: [pane.selection.layer for pane in panes] == [0, 1])

        await pilot.press("plus")
        await until(lambda: not overview.display)
        await pilot.resize_terminal(150, 45)
        await pilot.press("minus")
        await pilot.pause()
        assert not overview.display


async def test_the_other_layers_appear_with_the_first_pictures(root: Path) -> None:
    folder = recorded.write_run(root, epochs_done=0)
    async with running(root, HUGE) as (app, _):
        await until_said(app, "feature maps appear after the first epoch")
        assert not app.dashboard.query(LayerOverview)
        recorded.add_epoch(folder, 0)
        await until(lambda: app.dashboard.query(LayerOverview))
        await until_said(app, "conv2  feature maps")


@pytest.mark.parametrize(
    ("selected", "layers", "count", "shown"),
    [
        (0, 3, 2, [1, 2]),
        (1, 3, 2, [0, 2]),
        (2, 3, 3, [0, 1]),
        (0, 20, 3, [1, 2, 3]),
        (10, 20, 3, [9, 11, 12]),
        (19, 20, 3, [16, 17, 18]),
        (0, 1, 3, []),
        (5, 20, 0, []),
    ],
)
def test_the_nearest_layers_are_shown_in_the_order_of_the_network(
    selected: int, layers: int, count: int, shown: list[int]
) -> None:
    assert layers_around(selected, layers, count) == shown
