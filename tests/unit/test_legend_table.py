"""The legend of compared runs: whole columns, one line for each run, the cursor always in view."""

from __future__ import annotations

import pytest
from textual.app import ComposeResult

from tui.colours import ColouredApp
from tui.widgets.legend_table import Legend, LegendRow, LegendTable

COLUMNS = ("val. loss", "best acc. @ epoch", "learning rate")


class LegendApp(ColouredApp):
    """Only a legend."""

    CSS = "LegendTable { height: 4; }"

    def __init__(self, legend: Legend) -> None:
        super().__init__()
        self.table = LegendTable()
        self.legend = legend

    def compose(self) -> ComposeResult:
        yield self.table

    def on_mount(self) -> None:
        self.table.legend = self.legend


def rows(count: int, name: str = "run") -> tuple[LegendRow, ...]:
    return tuple(
        LegendRow(str(n), "#ffffff", f"{name}-{n}", ("✓", "#ffffff"), ("0.500", "0.900 @ 3", "0.001"))
        for n in range(1, count + 1)
    )


async def shown(legend: Legend, width: int) -> list[str]:
    """The lines of the table on a screen of some columns."""
    app = LegendApp(legend)
    async with app.run_test(size=(width, 4)) as pilot:
        await pilot.pause()
        return [app.table.render_line(y).text.rstrip() for y in range(4)]


@pytest.mark.parametrize("width", [12, 20, 24, 25, 26, 27, *range(40, 62)])
async def test_columns_are_shown_whole_or_not_at_all_and_no_line_is_broken(width: int) -> None:
    header, *lines = await shown(Legend(COLUMNS, frozenset(), rows(3)), width)
    assert all("run-" in line for line in lines)
    for column, value in zip(COLUMNS, ("0.500", "0.900 @ 3", "0.001"), strict=True):
        assert (column in header) == all(value in line for line in lines)


async def test_the_row_under_the_cursor_is_in_view_and_a_long_name_is_cut() -> None:
    _, *lines = await shown(Legend(COLUMNS, frozenset(), rows(20, "a-very-long-name-of-a-training-run"), 12), 60)
    assert [line.split()[0] for line in lines] == ["12", "›13", "14"]
    assert all("…" in line for line in lines)
