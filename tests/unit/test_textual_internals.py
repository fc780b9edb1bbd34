"""What the program overrides of Textual."""

from __future__ import annotations

import inspect
import sys
from typing import Any, Self

import pytest
from piloting import until
from rich.console import Console
from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.app import App, ComposeResult
from textual.color import Color
from textual.filter import Monochrome
from textual.geometry import Region
from textual.screen import ModalScreen, Screen
from textual.strip import Strip
from textual.widgets import OptionList, Static

from tui.graphics.textual_internals import ForgivingScreen, PictureStrip, PreparedScreen

CONSOLE = Console(color_system="truecolor", force_terminal=True)
BOLD = Style(bold=True)


class Digits:
    """Paints the number of each column."""

    def paint(self, row: int, first: int, last: int) -> str:
        return "".join(str(column) for column in range(first, last))

    def painted(self, row: int) -> str:
        return ""


def picture_strip() -> PictureStrip:
    """A line of ten cells, all of which are the picture's."""
    return PictureStrip(Strip([Segment("." * 10, Style())]), Digits(), 0, 0, 10)


CALLS: dict[str, tuple[tuple[Any, ...], str]] = {
    "__add__": ((Strip([Segment("++")]),), "0123456789++"),
    "__getitem__": ((slice(2, 5),), "234"),
    "_apply_link_style": ((BOLD,), "0123456789"),
    "adjust_cell_length": ((12,), "0123456789  "),
    "apply_filter": ((Monochrome(), Color(0, 0, 0)), "0123456789"),
    "apply_meta": (({"name": 1},), "0123456789"),
    "apply_offsets": ((3, 4), "0123456789"),
    "apply_style": ((BOLD,), "0123456789"),
    "crop": ((3, 7), "3456"),
    "crop_extend": ((3, 12, None), "3456789  "),
    "crop_pad": ((10, 1, 2, Style()), " 0123456789  "),
    "discard_meta": ((), "0123456789"),
    "extend_cell_length": ((11,), "0123456789 "),
    "simplify": ((), "0123456789"),
    "style_links": (("no such link", BOLD), "0123456789"),
    "text_align": ((14, "center"), "  0123456789  "),
}
"""Arguments for each method, and what its result writes."""


def test_every_method_of_a_strip_that_gives_a_strip_is_known() -> None:
    giving = {
        name
        for name, method in vars(Strip).items()
        if inspect.isfunction(method) and method.__annotations__.get("return") == "Strip"
    }
    assert giving == set(CALLS), "a newer Textual has other methods: PictureStrip must override them"


@pytest.mark.parametrize("name", CALLS)
def test_what_a_method_gives_still_paints_the_picture(name: str) -> None:
    arguments, written = CALLS[name]
    strip = getattr(picture_strip(), name)(*arguments)
    assert strip.render(CONSOLE) == written
    assert strip.cell_length == len(written)


@pytest.mark.parametrize(("align", "written"), [("left", "0123456789  "), ("right", "  0123456789")])
def test_an_aligned_line_paints_where_it_is(align: str, written: str) -> None:
    assert picture_strip().text_align(12, align).render(CONSOLE) == written


def test_each_piece_of_a_divided_line_paints_its_own_columns() -> None:
    assert [piece.render(CONSOLE) for piece in picture_strip().divide([2, 5, 10])] == ["01", "234", "56789"]


class OneText(App[None]):
    """A text on a screen that survives its removal."""

    def get_default_screen(self) -> Screen[None]:
        return ForgivingScreen(id="_default")

    def compose(self) -> ComposeResult:
        yield Static("a notification")


async def test_a_press_of_the_mouse_where_a_widget_was_removed_does_nothing() -> None:
    app = OneText()
    async with app.run_test() as pilot:
        removed = app.screen.query_one(Static)
        await removed.remove()  # the next layout comes later
        assert Screen.get_widget_and_offset_at(app.screen, 1, 0)[0] is removed
        app.screen._forward_event(
            events.MouseDown(removed, 1, 0, 0, 0, button=1, shift=False, meta=False, ctrl=False, screen_x=1, screen_y=0)
        )
        await pilot.pause()
        assert app.is_running


class Below(PreparedScreen[None]):
    def compose(self) -> ComposeResult:
        yield Static("before")


class OnTop(PreparedScreen[None]):
    """Counts how often it is painted."""

    paints = 0

    def compose(self) -> ComposeResult:
        yield Static("on top")

    def refresh(self, *regions: Region, **options: Any) -> Self:
        self.paints += 1
        return super().refresh(*regions, **options)


async def test_a_change_below_an_opaque_screen_paints_nothing_until_it_is_seen_again() -> None:
    app: App[None] = App()
    async with app.run_test() as pilot:
        below, top = Below(), OnTop()
        await app.push_screen(below)
        await app.push_screen(top)
        await pilot.pause()
        painted = top.paints
        below.query_one(Static).update("after")
        for _ in range(3):
            await pilot.press("x")
            await pilot.pause()
        assert top.paints == painted
        app.pop_screen()
        await until(lambda: "after" in app.export_screenshot())


async def test_a_change_below_a_dialog_is_seen() -> None:
    app: App[None] = App()
    async with app.run_test() as pilot:
        below = Below()
        await app.push_screen(below)
        await app.push_screen(ModalScreen())
        await pilot.pause()
        below.query_one(Static).update("after")
        await until(lambda: "after" in app.export_screenshot())


@pytest.mark.parametrize("action", ["page_down", "page_up"])
async def test_a_page_of_choices_that_are_not_laid_out_yet_is_turned_without_an_error(action: str) -> None:
    class Choices(App[None]):
        def compose(self) -> ComposeResult:
            yield OptionList("otter", "seal")

        def on_mount(self) -> None:
            self.query_one(OptionList).display = False

    async with Choices().run_test() as pilot:
        choices = pilot.app.query_one(OptionList)
        getattr(choices, f"action_{action}")()
        choices.display = True
        await until(lambda: bool(choices.size.height))
        choices.highlighted = 0
        choices.action_page_down()
        assert choices.highlighted == 1


def test_a_strip_that_is_cut_nowhere_does_not_hold_itself() -> None:
    strip = Strip([Segment("otter")], 5)
    before = sys.getrefcount(strip)
    assert strip.divide([5, 9]) == [strip]
    assert sys.getrefcount(strip) == before
    assert [piece.text for piece in strip.divide([2, 5])] == ["ot", "ter"]
