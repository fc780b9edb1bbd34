"""The confusion matrix as it is drawn."""

from __future__ import annotations

import numpy as np
import pytest
from textual.app import ComposeResult

from tui.colours import ColouredApp
from tui.widgets.confusion import ConfusionMatrix


class Shown(ColouredApp):
    def __init__(self, classes: int) -> None:
        super().__init__()
        self.matrix = ConfusionMatrix()
        self.matrix.styles.max_height = "100%"
        self.counts = np.random.default_rng(0).integers(0, 50, (classes, classes))

    def compose(self) -> ComposeResult:
        yield self.matrix

    def on_mount(self) -> None:
        self.matrix.show(self.counts, [f"class_{number}" for number in range(len(self.counts))])


@pytest.mark.parametrize("size", [(150, 45), (60, 20), (20, 5)])
@pytest.mark.parametrize("classes", [2, 10, 100])
async def test_the_cell_under_the_cursor_is_always_drawn_and_no_line_is_too_long(
    classes: int, size: tuple[int, int]
) -> None:
    app = Shown(classes)
    async with app.run_test(size=size) as pilot:
        await pilot.pause()
        for cell in ((0, 0), (classes - 1, classes - 1), (classes // 2, 0)):
            app.matrix.move(cell[0] - app.matrix.cell[0], cell[1] - app.matrix.cell[1])
            text = app.matrix.render()
            lines = text.plain.splitlines()
            assert max(map(len, lines)) <= size[0]
            assert len(lines) <= max(3, size[1])
            reversed_ = [
                text.plain[span.start : span.end] for span in text.spans if getattr(span.style, "reverse", False)
            ]
            assert [int(one) for one in reversed_] == [app.counts[cell]]


async def test_the_figures_of_each_class_stand_behind_its_row_where_there_is_room() -> None:
    app = Shown(2)
    app.counts = np.array([[8, 2], [1, 9]])
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.pause()
        lines = app.matrix.render().plain.splitlines()
        assert lines[2].split() == ["class_0", "8", "2", "0.889", "0.800", "0.842"]


async def test_a_click_selects_a_cell() -> None:
    app = Shown(2)
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.pause()
        line = app.matrix.render().plain.splitlines()[3]
        column = line.index(str(app.counts[1, 0])) + 1
        await pilot.click(ConfusionMatrix, offset=(column + 1, 3))
        assert app.matrix.cell == (1, 0)
