"""The picture view in an app: what it shows, and what goes to the terminal for it."""

from __future__ import annotations

import asyncio
import gc
import re
import threading
import time
import weakref
from dataclasses import replace

import numpy as np
import pytest
from rich.console import Console
from textual.app import App, ComposeResult
from textual.geometry import Region
from textual.screen import ModalScreen
from textual.widgets import Static

import tui.graphics.encode as encode_module
import tui.graphics.widget as widget_module
from tests.piloting import shown_in, until
from tui.graphics.context import context_of
from tui.graphics.encode import Encoded, Job
from tui.graphics.link import Link
from tui.graphics.picture import Picture
from tui.graphics.terminal import Protocol, Terminal
from tui.graphics.textual_internals import PictureStrip
from tui.graphics.widget import PictureView

RECEIPT = re.compile(r"\x1b7\x1b\[1;(\d+)H\x1b\[6n\x1b8")
CONSOLE = Console(color_system="truecolor", force_terminal=True)


def picture(colour: int = 0, height: int = 40, width: int = 60) -> Picture:
    pixels = np.indices((height, width)).sum(axis=0) % 2
    return Picture(pixels.astype(np.uint8), np.array([[colour, 10, 10], [10, 200, colour]], np.uint8))


def held_back(monkeypatch: pytest.MonkeyPatch) -> tuple[threading.Event, threading.Event]:
    """Lets encoding begin and then wait: the event that it has begun, and the one that lets it go on."""
    began, go_on = threading.Event(), threading.Event()
    real = encode_module.encode

    def slow(job: Job) -> Encoded:
        began.set()
        assert go_on.wait(10)
        return real(job)

    monkeypatch.setattr(encode_module, "encode", slow)
    return began, go_on


class ViewApp(App[None]):
    CSS = """
    PictureView { width: 40; height: 12; background: rgb(1,2,3); }
    PictureView.framed { border: round green; padding: 1 2; }
    """

    def __init__(self, terminal: Terminal | None, classes: str = "") -> None:
        super().__init__()
        if terminal is not None:
            self.terminal = terminal
        self.shown: list[PictureView.Shown] = []
        self._view = PictureView(id="view", classes=classes, placeholder="nothing yet\n[b]second[/b]")

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
        assert shown_in(self.view) is wanted

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


async def test_a_placeholder_breaks_between_words_in_a_narrow_view() -> None:
    app = ViewApp(HALFBLOCK)
    async with app.run_test() as pilot:
        app.view.styles.width = 25
        app.view.placeholder = "feature maps appear after the first epoch, in about 00:01:12"
        await pilot.pause()
        lines = [line.strip() for line in app.text() if line.strip()]
        assert len(lines) > 1
        assert " ".join(lines).split() == app.view.placeholder.split()


async def test_an_app_without_a_terminal_gets_half_blocks() -> None:
    app = ViewApp(None)
    async with app.run_test():
        shown = picture()
        app.view.show(shown)
        await app.until_shown(shown)
        assert app.view.shown.job.terminal.protocol is Protocol.HALFBLOCK
        assert "▀" in "".join(app.text())


async def test_without_a_screen_half_blocks_have_the_colours_that_would_be_written() -> None:
    app = ViewApp(HALFBLOCK)
    async with app.run_test():
        shown = Picture(np.array([[0], [1]], np.uint8), np.array([[250, 10, 10], [10, 200, 30]], np.uint8))
        app.view.show(shown)
        await app.until_shown(shown)
        strips = app.view.render_lines(Region(0, 0, *app.view.outer_size))
        styles = {str(segment.style) for strip in strips for segment in strip}
        assert {"on #fa0a0a", "on #0ac81e"} <= styles


@ALL
async def test_a_picture_can_be_shown_before_the_first_layout(terminal: Terminal) -> None:
    app = ViewApp(terminal)
    shown = picture()
    assert app.view.size.area == 0
    app.view.show(None)
    app.view.show(shown)
    async with app.run_test() as pilot:
        await app.until_shown(shown)
        await pilot.pause()
        assert [message.encoded.job.picture for message in app.shown] == [shown]


async def test_only_the_newest_picture_is_encoded(monkeypatch: pytest.MonkeyPatch) -> None:
    began, go_on = threading.Event(), threading.Event()
    encoded: list[Picture] = []
    real = encode_module.encode

    def slow(job: Job) -> Encoded:
        encoded.append(job.picture)
        began.set()
        assert go_on.wait(10)
        return real(job)

    monkeypatch.setattr(encode_module, "encode", slow)
    app = ViewApp(SIXEL)
    pictures = [picture(colour) for colour in range(0, 250, 10)]
    async with app.run_test():
        app.view.show(pictures[0])
        while not began.is_set():
            await app.until_idle()
        for later in pictures[1:]:
            app.view.show(later)
        assert app.view.shown is None
        go_on.set()
        await app.until_shown(pictures[-1])
    assert encoded == [pictures[0], pictures[-1]]


async def test_the_old_picture_stays_until_the_new_one_is_ready(monkeypatch: pytest.MonkeyPatch) -> None:
    app = ViewApp(HALFBLOCK)
    first, second = picture(0), picture(200)
    async with app.run_test():
        app.view.show(first)
        await app.until_shown(first)
        app.written()
        before = app.written()
        began, go_on = held_back(monkeypatch)
        app.view.show(second)
        while not began.is_set():
            await app.until_idle()
        assert app.written() == before
        go_on.set()
        await app.until_shown(second)
        assert app.written() != before


async def test_a_picture_cleared_while_it_is_encoded_does_not_appear(monkeypatch: pytest.MonkeyPatch) -> None:
    began, go_on = held_back(monkeypatch)
    app = ViewApp(HALFBLOCK)
    async with app.run_test():
        app.view.show(picture())
        while not began.is_set():
            await app.until_idle()
        app.view.show(None)
        go_on.set()
        await app.workers.wait_for_complete()
        await app.until_idle()
        assert app.view.shown is None
        assert "nothing yet" in "".join(app.text())


@ALL
async def test_a_picture_shown_before_is_not_encoded_again(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    app = ViewApp(terminal)
    first, second = picture(0), picture(200)
    async with app.run_test():
        for wanted in (first, second):
            app.view.show(wanted)
            await app.until_shown(wanted)
        monkeypatch.setattr(encode_module, "encode", None)
        app.view.show(first)
        await app.until_shown(first)


async def test_a_picture_larger_than_the_cache_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tui.graphics.context.CACHE_LIMIT_BYTES", 10)
    app = ViewApp(HALFBLOCK)
    async with app.run_test():
        shown = picture()
        app.view.show(shown)
        await app.until_shown(shown)


@ALL
async def test_a_resized_view_fits_its_picture_again(terminal: Terminal) -> None:
    app = ViewApp(terminal)
    shown = picture(height=1000, width=1000)
    async with app.run_test() as pilot:
        app.view.show(shown)
        await app.until_shown(shown)
        app.view.styles.width = 10
        end = time.monotonic() + 10
        while (encoded := app.view._painter.encoded) is None or encoded.placement.columns > 10:
            assert time.monotonic() < end, encoded
            await pilot.pause()
        assert encoded.job.area.columns == 10


async def test_a_removed_view_is_forgotten() -> None:
    app = ViewApp(Terminal())
    async with app.run_test() as pilot:
        await app.push_screen(Dialog())
        view = PictureView()
        await app.screen.mount(view)
        removed = weakref.ref(view)
        await view.remove()
        del view
        app.pop_screen()
        await pilot.pause()
        await until(lambda: gc.collect() is not None and removed() is None)


def sixel_places(written: str) -> list[tuple[int, int]]:
    """Row and column of every sixel string that is put in its place and leaves the cursor where it was."""
    found = re.findall(r"\x1b7\x1b\[(\d+);(\d+)H\x1bP0;1;0q.*?\x1b\\\x1b8", written, re.S)
    return [(int(row), int(column)) for row, column in found]


async def test_sixel_data_comes_once_after_each_slices_last_row_and_leaves_the_cursor() -> None:
    app = ViewApp(SIXEL, classes="framed")
    shown = picture()
    async with app.run_test():
        app.view.show(shown)
        await app.until_shown(shown)
        written = app.written()
        region = app.view.content_region
        encoded = app.view._painter.encoded
        assert encoded is not None
        assert len(encoded.slices) > 1
        assert sixel_places(written) == [(region.y + 1 + one.first_row, region.x + 1) for one in encoded.slices]
        lines = [index for index, text in enumerate(written.split("\n")) if "\x1bP" in text]
        top = region.y - app.view.region.y
        assert lines == [top + one.first_row + one.rows - 1 for one in encoded.slices]


async def test_only_slices_that_look_different_are_sent() -> None:
    app = ViewApp(SIXEL)
    first = picture(0, height=200, width=200)
    pixels = first.pixels.copy()
    pixels[150:] = 0
    second = Picture(pixels, first.palette)
    async with app.run_test():
        app.view.show(first)
        await app.until_shown(first)
        app.written()
        app.view.show(second)
        await app.until_shown(second)
        assert sixel_places(app.written()) == [(8, 1), (11, 1)], "of slices at 2, 5, 8 and 11"


async def test_intact_sixel_pixels_are_skipped_not_sent_again() -> None:
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
        encoded = app.view._painter.encoded
        assert encoded is not None
        assert len(sixel_places(flipped)) == len(encoded.slices)
        assert " " * 30 not in flipped.replace("\n", ""), "no blank cells wipe the old picture first"
        app.view.redraw()
        assert "\x1bP" in app.written()


async def test_a_sixel_picture_does_not_use_the_last_row_of_the_screen() -> None:
    app = ViewApp(SIXEL)
    shown = picture(height=2000, width=100)
    async with app.run_test(size=(60, 20)) as pilot:
        app.view.styles.height = "1fr"
        app.query(Static).last().display = False
        await pilot.pause()
        assert app.view.content_region.bottom == 20
        app.view.show(shown)
        await app.until_shown(shown)
        encoded = app.view._painter.encoded
        assert encoded is not None
        assert encoded.job.area.rows == 18, "without the last row"
        assert app.view.content_region.y + encoded.placement.rows <= 19


class Dialog(ModalScreen[None]):
    def compose(self) -> ComposeResult:
        yield Static("dialog")


@pytest.mark.parametrize("terminal", [SIXEL, KITTY], ids=["sixel", "kitty"])
async def test_below_a_dialog_the_picture_is_plain_cells_and_is_drawn_again_after_it(terminal: Terminal) -> None:
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
            assert RECEIPT.sub("", after) == RECEIPT.sub("", real)
        else:
            assert "\U0010eeee" in after


async def test_a_covered_sixel_picture_is_drawn_again() -> None:
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
        assert any(toast.region.overlaps(app.view.region) for toast in app.screen.query("Toast"))
        assert "\x1bP" in app.written()


async def test_kitty_data_is_sent_once_ahead_of_the_cells() -> None:
    app = ViewApp(KITTY)
    first, second = noise(0), noise(1)
    async with app.run_test():
        app.view.show(first)
        await app.until_shown(first)
        written = app.written()
        encoded = app.view._painter.encoded
        assert encoded is not None
        assert written.count("a=T,U=1") == len(encoded.slices)
        assert written.index("\x1b_G") < written.index("\U0010eeee")
        number = re.search(r"i=(\d+)", written)
        assert number
        assert f"\x1b[38;5;{int(number[1]) & 255}m" in written
        assert "\x1b_G" not in app.written()
        app.view.show(second)
        await app.until_shown(second)
        assert "a=T,U=1" in app.written()
        app.view.show(first)
        await app.until_shown(first)
        back = app.written()
        assert "\x1b_G" not in back
        assert len(back) < 10_000
        text = context_of(app).image_cleanup_sequence()
        assert text.count("a=d,d=I") == 2 * len(encoded.slices)
        assert context_of(app).image_cleanup_sequence() == ""


async def test_each_piece_of_a_kitty_line_has_its_own_position() -> None:
    app = ViewApp(KITTY)
    shown = picture()
    async with app.run_test():
        app.view.show(shown)
        await app.until_shown(shown)
        app.written()
        strip = app.view.render_lines(Region(0, 0, 40, 12))[0]
        assert isinstance(strip, PictureStrip)
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
    app = ViewApp(HALFBLOCK, classes="framed")
    shown = picture(height=3, width=3)
    async with app.run_test():
        app.view.show(shown)
        await app.until_shown(shown)
        lines = app.text()
        assert lines[0].startswith("╭")
        assert all(line[0] == "│" and line[-1] == "│" for line in lines[1:-1])
        assert all(len(line) == 40 for line in lines)


async def test_nothing_of_a_slightly_larger_sixel_picture_remains_in_the_last_cells() -> None:
    app = ViewApp(SIXEL)
    larger, smaller = picture(height=232, width=398), picture(1, height=226, width=392)
    async with app.run_test():
        app.view.show(larger)
        await app.until_shown(larger)
        app.written()
        assert all(strip.intact for strip in app.view._painter._slices), "another of that size would be drawn over it"
        app.view.show(smaller)
        await app.until_shown(smaller)
        assert not any(strip.intact for strip in app.view._painter._slices), "the cells are blanked first"


async def test_written_pictures_and_bytes_are_counted() -> None:
    app = ViewApp(KITTY)
    shown = picture()
    async with app.run_test():
        assert context_of(app).bytes_sent == 0
        app.view.show(shown)
        await app.until_shown(shown)
        app.written()
        counted = context_of(app)
        assert counted.pictures == 1
        assert counted.bytes_sent > 1000
        assert len(counted.held) > 0


def noise(seed: int) -> Picture:
    random = np.random.default_rng(seed)
    return Picture(
        random.integers(0, 256, (300, 400), dtype=np.uint8), random.integers(0, 256, (256, 3), dtype=np.uint8)
    )


FAR = 0.25
"""Seconds for a round trip."""


class FarApp(ViewApp):
    """On a link of 250 ms and, once the terminal answers, 100 kB a second; its clock moves when it is told to."""

    def __init__(self, protocol: Protocol) -> None:
        super().__init__(Terminal(protocol, round_trip_s=FAR))
        self.now = 0.0

    def on_mount(self) -> None:
        context_of(self).link = Link(FAR, lambda: self.now)

    def write(self) -> int:
        """What an update writes, in bytes; the questions in it are answered as such a link would."""
        *asked, rest = RECEIPT.split(self.written())
        parts, columns = asked[::2], asked[1::2]
        self.now += FAR if parts else 0.0
        for part, column in zip(parts, columns, strict=True):
            self.now += len(part) / 100_000
            context_of(self).cursor_reported(int(column) - 1)
        return sum(map(len, parts)) + len(rest)


@pytest.fixture
def lasting_coarse_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """The full picture waits for longer than a busy machine takes to look at the coarse one."""
    monkeypatch.setattr(widget_module, "REST_S", 3.0)


@pytest.mark.usefixtures("lasting_coarse_pictures")
@pytest.mark.parametrize("protocol", [Protocol.SIXEL, Protocol.KITTY])
async def test_on_a_slow_link_a_coarse_picture_comes_first_and_the_full_one_in_slices(protocol: Protocol) -> None:
    app = FarApp(protocol)
    wanted = noise(1)
    async with app.run_test(size=(100, 40)) as pilot:
        app.view.styles.width, app.view.styles.height = 80, 30
        await pilot.pause()
        app.view.show(wanted)
        while app.view._painter.encoded is None:
            await pilot.pause()
        coarse = app.view._painter.encoded
        assert coarse.job.coarse
        first = app.write()
        while (fine := app.view._painter.encoded) is coarse:
            await pilot.pause()
        assert fine is not None
        assert not fine.job.coarse
        parts = []
        while not app.view._painter.written.is_set():
            parts.append(app.write())
            await pilot.pause()
        assert first < sum(parts) / 2
        assert len([part for part in parts if part > 5000]) > 1, "the link is not filled up at once"


@pytest.mark.usefixtures("lasting_coarse_pictures")
@pytest.mark.parametrize("protocol", [Protocol.SIXEL, Protocol.KITTY])
async def test_a_new_picture_cancels_what_is_not_sent_yet(protocol: Protocol) -> None:
    app = FarApp(protocol)
    async with app.run_test(size=(100, 40)) as pilot:
        app.view.styles.width, app.view.styles.height = 80, 30
        await pilot.pause()
        app.view.show(noise(1))
        while app.view._painter.encoded is None or app.view._painter.encoded.job.coarse:
            app.write()
            await pilot.pause()
        app.write()
        last = noise(2)
        app.view.show(last)
        while shown_in(app.view) is not last:
            await pilot.pause()
        assert app.view._painter.encoded is not None
        assert app.view._painter.encoded.job.coarse
        while not app.view._painter.written.is_set() or app.view._painter.encoded.job.coarse:
            app.write()
            await pilot.pause()
        assert shown_in(app.view) is last


async def test_a_terminal_that_reports_nothing_is_not_waited_for() -> None:
    app = ViewApp(SIXEL)
    async with app.run_test():
        for seed in range(3):
            wanted = noise(seed)
            app.view.show(wanted)
            await app.until_shown(wanted)
            assert "\x1bP" in app.written()
            assert app.view._painter.written.is_set()


async def test_the_next_picture_is_sent_ahead_to_a_kitty_terminal_on_a_slow_link() -> None:
    app = FarApp(Protocol.KITTY)
    shown, coming = noise(1), noise(2)
    async with app.run_test() as pilot:
        app.view.show(shown)
        while not app.view._painter.written.is_set() or shown_in(app.view) is not shown:
            app.write()
            await pilot.pause()
        await app.workers.wait_for_complete()
        held = len(context_of(app).held)
        preparing = asyncio.create_task(app.view.prepare(coming, send=True))
        while not preparing.done() or app.view._painter._ahead:
            app.write()
            await pilot.pause()
        assert len(context_of(app).held) > held
        app.view.show(coming)
        await app.until_shown(coming)
        assert "\x1b_G" not in app.written()


async def test_after_another_program_had_the_terminal_the_picture_is_sent_again_and_the_old_one_freed() -> None:
    app = ViewApp(KITTY)
    shown = noise(1)
    async with app.run_test():
        app.view.show(shown)
        await app.until_shown(shown)
        numbers = set(re.findall(r"a=T,U=1,i=(\d+)", app.written()))
        assert "\x1b_G" not in app.written()
        app.app_resume_signal.publish(app)
        again = app.written()
        assert set(re.findall(r"a=d,d=I,i=(\d+)", again)) == numbers
        assert len(re.findall(r"a=T,U=1", again)) == len(numbers)


@ALL
async def test_another_terminal_gets_the_picture_with_its_protocol(terminal: Terminal) -> None:
    app = ViewApp(SIXEL if terminal is KITTY else KITTY)
    shown = picture()
    async with app.run_test():
        app.view.show(shown)
        await app.until_shown(shown)
        app.written()
        app.terminal = terminal
        context_of(app).reset(terminal)
        app.view.redraw()
        await app.until_shown(shown)
        written = app.written()
        assert ("\x1bP0;1;0q" in written) == (terminal is SIXEL)
        assert ("\U0010eeee" in written) == (terminal is KITTY)


async def test_a_larger_font_has_the_picture_encoded_again() -> None:
    app = ViewApp(SIXEL)
    shown = picture(height=240, width=400)
    async with app.run_test():
        app.view.show(shown)
        await app.until_shown(shown)
        app.terminal = replace(SIXEL, cell_width_px=20, cell_height_px=40)
        app.view.redraw()
        await app.until_shown(shown)
        encoded = app.view._painter.encoded
        assert encoded is not None
        assert encoded.placement.row_px == 40


@pytest.mark.parametrize("protocol", [Protocol.SIXEL, Protocol.KITTY])
async def test_a_picture_cleared_while_its_coarse_form_is_encoded_does_not_appear(
    protocol: Protocol, monkeypatch: pytest.MonkeyPatch
) -> None:
    began, go_on = held_back(monkeypatch)
    app = FarApp(protocol)
    async with app.run_test(size=(100, 40)):
        app.view.show(noise(1))
        while not began.is_set():
            await app.until_idle()
        app.view.show(None)
        go_on.set()
        await app.workers.wait_for_complete()
        assert app.view.shown is None


async def test_a_hidden_view_has_no_share_of_the_link() -> None:
    app = FarApp(Protocol.SIXEL)
    async with app.run_test(size=(100, 40)) as pilot:
        app.view.show(noise(1))
        while app.view.shown is None:
            await pilot.pause()
        app.view.display = False
        context = context_of(app)
        await until(lambda: app.view._painter.hidden and not app.view._painter.planned_bytes)
        assert context.has_room
        app.view.display = True
        await pilot.pause()
        assert "\x1b[" in app.written()


async def test_an_error_of_an_encoder_does_not_end_the_program(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(job: Job) -> Encoded:
        raise TypeError("no such\x1bthing")

    monkeypatch.setattr(encode_module, "encode", broken)
    app = ViewApp(HALFBLOCK)
    async with app.run_test():
        app.view.show(picture())
        await app.workers.wait_for_complete()
        await app.until_idle()
        assert "cannot be shown (no such" in " ".join(" ".join(app.text()).split())


async def test_the_terminal_is_handed_over_only_after_it_has_read_everything() -> None:
    app = FarApp(Protocol.SIXEL)
    async with app.run_test(size=(100, 40)) as pilot:
        link = context_of(app).link
        await asyncio.wait_for(context_of(app).wait_until_flushed(60), 1)
        link.sent(50_000)
        waiting = asyncio.create_task(context_of(app).wait_until_flushed(60))
        await pilot.pause(0.1)
        assert not waiting.done()
        assert not context_of(app).has_room, "what was begun now would have to be waited for as well"
        context_of(app).cursor_reported(1)
        await asyncio.wait_for(waiting, 5)
        assert context_of(app).has_room
        link.sent(50_000)
        await asyncio.wait_for(context_of(app).wait_until_flushed(0.05), 5)
