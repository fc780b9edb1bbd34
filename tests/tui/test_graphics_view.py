"""The picture view in an app: what it shows, and what goes to the terminal for it."""

from __future__ import annotations

import re
import threading
import time

import numpy as np
import pytest
from rich.console import Console
from textual.app import App, ComposeResult
from textual.geometry import Region
from textual.screen import ModalScreen
from textual.widgets import Static

import tui.graphics.widget as widget_module
from tui.graphics import Picture, PictureView, Protocol, Terminal, acknowledged, farewell, statistics
from tui.graphics.encode import Encoded, Job
from tui.graphics.strips import PaintedStrip

CONSOLE = Console(color_system="truecolor", force_terminal=True)


def picture(colour: int = 0, height: int = 40, width: int = 60) -> Picture:
    pixels = np.indices((height, width)).sum(axis=0) % 2
    return Picture(pixels.astype(np.uint8), np.array([[colour, 10, 10], [10, 200, colour]], np.uint8))


class ViewApp(App[None]):
    CSS = """
    PictureView { width: 40; height: 12; background: rgb(1,2,3); }
    PictureView.framed { border: round green; padding: 1 2; }
    """

    def __init__(self, terminal: Terminal | None, classes: str = "", align: str = "top-left") -> None:
        super().__init__()
        if terminal is not None:
            self.terminal = terminal
        self.shown: list[PictureView.Shown] = []
        self._view = PictureView(id="view", classes=classes, placeholder="nothing yet\n[b]second[/b]", align=align)

    def compose(self) -> ComposeResult:
        yield Static("above")
        yield self._view
        yield Static("below")

    @property
    def view(self) -> PictureView:
        return self._view

    def on_picture_view_shown(self, message: PictureView.Shown) -> None:
        self.shown.append(message)

    def text(self) -> list[str]:
        region = Region(0, 0, *self.view.outer_size)
        return [strip.text for strip in self.view.render_lines(region)]

    def written(self) -> str:
        """What an update of the whole view writes."""
        region = Region(0, 0, *self.view.outer_size)
        return "\n".join(strip.render(CONSOLE) for strip in self.view.render_lines(region))

    async def until_shown(self, wanted: Picture) -> None:
        await self.workers.wait_for_complete()
        await self.until_idle()
        assert self.view.shown_picture is wanted

    async def until_idle(self) -> None:
        done = threading.Event()
        self.view.call_later(done.set)
        while not done.is_set():
            await widget_module.asyncio.sleep(0)


HALFBLOCK = Terminal(Protocol.HALFBLOCK)
SIXEL = Terminal(Protocol.SIXEL)
KITTY = Terminal(Protocol.KITTY)
ALL = pytest.mark.parametrize("terminal", [HALFBLOCK, SIXEL, KITTY], ids=lambda terminal: terminal.protocol.value)


@ALL
async def test_the_placeholder_is_plain_text_in_the_middle_until_there_is_a_picture(terminal: Terminal) -> None:
    app = ViewApp(terminal)
    async with app.run_test():
        lines = app.text()
        assert lines[5].strip() == "nothing yet"
        assert lines[6].strip() == "[b]second[/b]"
        app.view.placeholder = "soon"
        assert "soon" in "".join(app.text())
        shown = picture()
        app.view.show(shown)
        await app.until_shown(shown)
        assert "soon" not in "".join(app.text())
        app.view.show(None)
        assert "soon" in "".join(app.text())
        assert "\x1bP" not in app.written()


async def test_an_app_without_a_terminal_gets_half_blocks() -> None:
    app = ViewApp(None)
    async with app.run_test():
        shown = picture()
        app.view.show(shown)
        await app.until_shown(shown)
        assert app.view.area_px == (40, 24)
        assert "▀" in "".join(app.text())


@ALL
async def test_a_picture_may_be_asked_for_before_there_is_a_layout(terminal: Terminal) -> None:
    app = ViewApp(terminal)
    shown = picture()
    assert app.view.area_px == (0, 0)
    app.view.show(None)
    app.view.show(shown)
    async with app.run_test() as pilot:
        await app.until_shown(shown)
        await pilot.pause()
        assert [message.picture for message in app.shown] == [shown]


async def test_the_newest_wins_and_what_came_between_is_never_encoded(monkeypatch: pytest.MonkeyPatch) -> None:
    began, go_on = threading.Event(), threading.Event()
    encoded: list[Picture] = []
    real = widget_module.encode

    def slow(job: Job) -> Encoded:
        encoded.append(job.picture)
        began.set()
        assert go_on.wait(10)
        return real(job)

    monkeypatch.setattr(widget_module, "encode", slow)
    app = ViewApp(SIXEL)
    pictures = [picture(colour) for colour in range(0, 250, 10)]
    async with app.run_test():
        app.view.show(pictures[0])
        while not began.is_set():
            await app.until_idle()
        for later in pictures[1:]:
            app.view.show(later)
        assert app.view.shown_picture is None
        go_on.set()
        await app.until_shown(pictures[-1])
    assert encoded == [pictures[0], pictures[-1]]


async def test_the_old_picture_stays_until_the_new_one_is_ready(monkeypatch: pytest.MonkeyPatch) -> None:
    app = ViewApp(HALFBLOCK)
    first, second = picture(0), picture(200)
    async with app.run_test():
        app.view.show(first)
        await app.until_shown(first)
        before = app.written()
        began, go_on = threading.Event(), threading.Event()
        real = widget_module.encode

        def slow(job: Job) -> Encoded:
            began.set()
            assert go_on.wait(10)
            return real(job)

        monkeypatch.setattr(widget_module, "encode", slow)
        app.view.show(second)
        while not began.is_set():
            await app.until_idle()
        assert app.written() == before
        go_on.set()
        await app.until_shown(second)
        assert app.written() != before


async def test_a_picture_taken_away_while_it_is_encoded_does_not_appear(monkeypatch: pytest.MonkeyPatch) -> None:
    began, go_on = threading.Event(), threading.Event()
    real = widget_module.encode

    def slow(job: Job) -> Encoded:
        began.set()
        assert go_on.wait(10)
        return real(job)

    monkeypatch.setattr(widget_module, "encode", slow)
    app = ViewApp(HALFBLOCK)
    async with app.run_test():
        app.view.show(picture())
        while not began.is_set():
            await app.until_idle()
        app.view.show(None)
        go_on.set()
        await app.workers.wait_for_complete()
        await app.until_idle()
        assert app.view.shown_picture is None
        assert "nothing yet" in "".join(app.text())


@ALL
async def test_a_seen_picture_comes_back_without_being_encoded(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = ViewApp(terminal)
    first, second = picture(0), picture(200)
    async with app.run_test():
        for wanted in (first, second):
            app.view.show(wanted)
            await app.until_shown(wanted)
        monkeypatch.setattr(widget_module, "encode", None)
        app.view.show(first)
        assert app.view.shown_picture is first


@ALL
async def test_a_resized_view_fits_its_picture_again(terminal: Terminal) -> None:
    app = ViewApp(terminal)
    shown = picture(height=1000, width=1000)
    async with app.run_test() as pilot:
        app.view.show(shown)
        await app.until_shown(shown)
        before = app.view.area_px
        app.view.styles.width = 10
        end = time.monotonic() + 10
        while (encoded := app.view._painter.encoded) is None or encoded.placement.columns > 10:
            assert time.monotonic() < end, encoded
            await pilot.pause()
        assert app.view.area_px[0] * 4 == before[0]


async def test_sixel_data_comes_once_after_the_last_row_and_leaves_the_cursor() -> None:
    app = ViewApp(SIXEL, classes="framed")
    shown = picture()
    async with app.run_test():
        app.view.show(shown)
        await app.until_shown(shown)
        written = app.written()
        data = re.findall(r"\x1b7\x1b\[(\d+);(\d+)H\x1bP0;1;0q.*?\x1b\\\x1b8", written, re.S)
        region = app.view.content_region
        assert data == [(str(region.y + 1), str(region.x + 1))]
        encoded = app.view._painter.encoded
        assert encoded is not None
        line = next(index for index, text in enumerate(written.split("\n")) if "\x1bP" in text)
        assert line == region.y - app.view.region.y + encoded.placement.rows - 1


async def test_sixel_pixels_that_are_still_there_are_skipped_not_sent_again() -> None:
    app = ViewApp(SIXEL)
    first, second = picture(0), picture(200)
    async with app.run_test():
        app.view.show(first)
        await app.until_shown(first)
        assert "\x1bP" in app.written()
        again = app.written()
        assert "\x1bP" not in again
        assert re.search(r"\x1b\[\d+C", again)
        app.view.show(second)
        await app.until_shown(second)
        flipped = app.written()
        assert flipped.count("\x1bP") == 1
        assert " " * 30 not in flipped.replace("\n", ""), "no blank cells wipe the old picture first"
        app.view.redraw()
        assert "\x1bP" in app.written()


async def test_a_sixel_picture_leaves_the_screens_last_row_alone() -> None:
    app = ViewApp(SIXEL)
    shown = picture(height=2000, width=100)
    async with app.run_test(size=(60, 20)) as pilot:
        app.view.styles.height = "1fr"
        app.query(Static).last().display = False
        await pilot.pause()
        assert app.view.content_region.bottom == 20
        app.view.show(shown)
        await app.until_shown(shown)
        assert app.view.area_px[1] <= 18 * 20
        encoded = app.view._painter.encoded
        assert encoded is not None
        assert app.view.content_region.y + encoded.placement.rows <= 19


class Dialog(ModalScreen[None]):
    def compose(self) -> ComposeResult:
        yield Static("dialog")


@pytest.mark.parametrize("terminal", [SIXEL, KITTY], ids=["sixel", "kitty"])
async def test_below_a_dialog_the_picture_is_plain_cells_and_comes_back_after_it(terminal: Terminal) -> None:
    app = ViewApp(terminal)
    shown = picture()
    async with app.run_test() as pilot:
        app.view.show(shown)
        await app.until_shown(shown)
        real = app.written()
        app.push_screen(Dialog())
        await pilot.pause()
        covered = app.written()
        assert "\x1b[48;2;" in covered
        assert "\x1bP" not in covered
        assert "\U0010eeee" not in covered
        app.pop_screen()
        await pilot.pause()
        after = app.written()
        if terminal is SIXEL:
            assert after == real
        else:
            assert "\U0010eeee" in after


async def test_what_covers_a_sixel_picture_makes_it_be_drawn_again() -> None:
    app = ViewApp(SIXEL)
    shown = picture()
    async with app.run_test(notifications=True) as pilot:
        app.view.styles.height = "1fr"
        app.view.styles.width = "1fr"
        await pilot.pause()
        app.view.show(shown)
        await app.until_shown(shown)
        assert "\x1bP" in app.written()
        assert "\x1bP" not in app.written()
        app.notify("over it", timeout=60)
        await pilot.pause()
        await pilot.pause()
        assert app.view._painter._overlays()
        assert "\x1bP" in app.written()


async def test_kitty_data_is_sent_once_ahead_of_the_cells() -> None:
    app = ViewApp(KITTY)
    first, second = picture(0), picture(200)
    async with app.run_test():
        app.view.show(first)
        await app.until_shown(first)
        written = app.written()
        assert written.count("a=T,U=1") == 1
        assert written.index("\x1b_G") < written.index("\U0010eeee")
        number = re.search(r"i=(\d+)", written)
        assert number
        assert f"\x1b[38;5;{int(number[1]) & 255}m" in written
        assert "\x1b_G" not in app.written()
        app.view.show(second)
        await app.until_shown(second)
        assert "a=T,U=1" in app.written()
        app.view.show(first)
        back = app.written()
        assert "\x1b_G" not in back
        assert len(back) < 6000
        text = farewell(app)
        assert text.count("a=d,d=I") == 2
        assert farewell(app) == ""


async def test_pieces_of_a_kitty_line_each_say_where_they_are() -> None:
    app = ViewApp(KITTY)
    shown = picture()
    async with app.run_test():
        app.view.show(shown)
        await app.until_shown(shown)
        app.written()
        strip = app.view.render_lines(Region(0, 0, 40, 12))[0]
        assert isinstance(strip, PaintedStrip)
        pieces = strip.divide([10, 25, 40])
        assert [piece.cell_length for piece in pieces] == [10, 15, 15]
        rendered = [piece.render(CONSOLE) for piece in pieces]
        whole = strip.render(CONSOLE)
        assert sum(text.count("\U0010eeee") for text in rendered) == whole.count("\U0010eeee")
        assert rendered[1] != rendered[0]
        cropped = strip.crop(10, 25)
        assert cropped.render(CONSOLE) == rendered[1]
        assert strip.crop(5, 5).render(CONSOLE) == ""


async def test_the_line_around_a_framed_picture_is_kept() -> None:
    app = ViewApp(HALFBLOCK, classes="framed", align="center")
    shown = picture(height=3, width=3)
    async with app.run_test():
        app.view.show(shown)
        await app.until_shown(shown)
        lines = app.text()
        assert lines[0].startswith("╭")
        assert all(line[0] == "│" and line[-1] == "│" for line in lines[1:-1])
        assert all(len(line) == 40 for line in lines)


async def test_what_was_written_is_counted() -> None:
    app = ViewApp(KITTY)
    shown = picture()
    async with app.run_test():
        assert statistics(app).bytes_sent == 0
        app.view.show(shown)
        await app.until_shown(shown)
        app.written()
        counted = statistics(app)
        assert counted.pictures == 1
        assert counted.bytes_sent >= counted.last_bytes > 0
        assert counted.last_encode_ms > 0


def noise(seed: int) -> Picture:
    random = np.random.default_rng(seed)
    return Picture(
        random.integers(0, 256, (300, 400), dtype=np.uint8), random.integers(0, 256, (256, 3), dtype=np.uint8)
    )


@pytest.mark.parametrize("terminal", [SIXEL, KITTY], ids=["sixel", "kitty"])
async def test_with_receipts_the_next_picture_waits_for_the_last_and_those_in_between_are_skipped(
    terminal: Terminal,
) -> None:
    app = ViewApp(terminal)
    pictures = [noise(seed) for seed in range(6)]
    async with app.run_test():
        app.view.show(pictures[0])
        await app.until_shown(pictures[0])
        assert app.written().count("\x1b[6n") == 1
        acknowledged(app)
        app.view.show(pictures[1])
        await app.until_shown(pictures[1])
        app.written()
        for later in pictures[2:]:
            app.view.show(later)
            await app.until_idle()
        assert app.view.shown_picture is pictures[1]
        acknowledged(app)
        await app.until_shown(pictures[-1])
        shown = [next(n for n, one in enumerate(pictures) if one is message.picture) for message in app.shown]
        assert shown in ([0, 1, 5], [0, 1, 2, 5]), "2 may have been under way when the link became free"


async def test_without_receipts_nothing_waits() -> None:
    app = ViewApp(SIXEL)
    async with app.run_test():
        for seed in range(3):
            wanted = noise(seed)
            app.view.show(wanted)
            await app.until_shown(wanted)
            app.written()
