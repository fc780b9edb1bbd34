"""What `PreparedScreen` saves when a screen is opened, and that nothing is missing afterwards."""

from __future__ import annotations

from piloting import until
from textual.app import App, ComposeResult
from textual.containers import Vertical
from textual.widget import Widget

from tui.graphics.textual_internals import PreparedScreen


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
