"""What `PreparedScreen` saves when a screen is opened, that nothing is missing afterwards, and painting in parts."""

from __future__ import annotations

import asyncio
from itertools import groupby

import pytest
from piloting import until
from rich.segment import Segment
from textual.app import App, ComposeResult
from textual.containers import Vertical
from textual.geometry import Region
from textual.strip import Strip
from textual.widget import Widget

from tui.graphics.textual_internals import PART_CELLS, PreparedScreen, divided


class Counted(Widget):
    """Counts how often it is drawn, and remembers the classes that its screen had when it was mounted."""

    drawn = 0
    mounted_in = frozenset[str]()

    def on_mount(self) -> None:
        self.mounted_in = self.screen.classes

    def render(self) -> str:
        self.drawn += 1
        return f"drawn in {self.size.width} cells"


class Opened(PreparedScreen[None]):
    CSS = "Opened { background: red; } Opened.-wide Counted { width: 50; }"
    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (70, "-wide")]

    def compose(self) -> ComposeResult:
        yield Vertical(Counted())


async def test_a_screen_is_drawn_once_when_it_opens() -> None:
    app = App[None]()
    async with app.run_test(size=(80, 20)) as pilot:
        for _ in range(2):  # its stylesheet is known the second time
            await app.push_screen(Opened())
            counted = app.screen.query_one(Counted)
            await until(lambda counted=counted: counted.drawn)
            await pilot.pause(0.1)
            assert counted.drawn == 1
            assert counted.mounted_in == {"-wide"}
            assert counted.size.width == 50
            assert app.screen.styles.background.rgb == (255, 0, 0)
            app.pop_screen()


async def test_a_screen_follows_the_size_of_the_terminal_also_below_another_one() -> None:
    app = App[None]()
    async with app.run_test(size=(80, 20)) as pilot:
        below = Opened()
        await app.push_screen(below)
        await app.push_screen(Opened())
        await pilot.resize_terminal(60, 20)
        await until(lambda: app.screen.query_one(Counted).size.width == 60)
        app.pop_screen()
        await until(lambda: below.query_one(Counted).size.width == 60)
        assert below.has_class("-narrow")
        assert not below.has_class("-wide")


class Lines(Widget):
    """Remembers which of its lines were drawn, and when other tasks had a turn."""

    DEFAULT_CSS = "Lines { width: 100%; height: 100%; }"

    def __init__(self) -> None:
        super().__init__()
        self.drawn: list[int | None] = []

    def render_line(self, y: int) -> Strip:
        self.drawn.append(y)
        return Strip([Segment("." * self.size.width)])


class Large(PreparedScreen[None]):
    def compose(self) -> ComposeResult:
        yield Lines()


async def test_a_large_change_is_painted_in_parts_between_which_other_tasks_have_a_turn() -> None:
    app = App[None]()
    columns, rows = 100, 60

    async def take_turns(log: list[int | None]) -> None:
        while True:
            log.append(None)
            await asyncio.sleep(0)

    async with app.run_test(size=(columns, rows)) as pilot:
        await app.push_screen(Large())
        lines = app.screen.query_one(Lines)
        await until(lambda: lines.drawn)
        await pilot.pause(0.1)
        for layout in (False, True):
            lines.drawn.clear()
            turns = asyncio.create_task(take_turns(lines.drawn))
            lines.refresh(layout=layout)
            await until(lambda: set(range(rows)) <= set(lines.drawn))
            turns.cancel()
            painted = [[*group] for is_row, group in groupby(lines.drawn, lambda y: y is not None) if is_row]
            assert sorted(row for group in painted for row in group) == [*range(rows)]
            assert max(map(len, painted)) * columns <= PART_CELLS


@pytest.mark.parametrize("kept", [(0, 0, 0, 0), (0, 0, 40, 30), (100, 10, 50, 40), (30, 0, 90, 50), (0, 0, 150, 50)])
def test_a_screen_is_divided_without_gaps_around_what_stays_whole(kept: tuple[int, int, int, int]) -> None:
    whole = Region(0, 0, 150, 50)
    parts = divided(whole, Region(*kept))
    cells = [(x, y) for part in parts for y in part.line_range for x in part.column_range]
    assert sorted(cells) == sorted((x, y) for x in range(150) for y in range(50))
    assert all(part.area <= PART_CELLS for part in parts if part != Region(*kept))
    assert not any(kept) or parts[-1] == Region(*kept)
