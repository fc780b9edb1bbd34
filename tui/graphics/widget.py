"""The widget that shows a picture, with whatever protocol the terminal supports.

A worker thread encodes the picture; the one on the screen stays until the next one is ready.
"""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rich.text import Text
from textual import work
from textual.dom import NoScreen
from textual.geometry import Region
from textual.message import Message
from textual.reactive import reactive
from textual.strip import Strip

from tui.graphics.context import GraphicsContext, context_of, terminal_of
from tui.graphics.geometry import Area
from tui.graphics.painter import PicturePainter
from tui.graphics.terminal import Protocol, clean_name
from tui.graphics.textual_internals import PictureStrip, UndividedWidget, spliced

if TYPE_CHECKING:
    from tui.graphics.encode import Encoded, Job
    from tui.graphics.picture import Picture

COARSE_FROM_S = 0.35
"""A picture that takes longer to send is preceded by a coarse one."""
REST_S = 0.2
"""How long no other picture must have been requested before the full one follows."""
MAX_WAIT_S = 3.0
IDLE_S = 0.8
"""How long nothing must have been shown before a picture is sent ahead."""
TYPICAL_BYTES_PER_PX = 0.4


class PictureView(UndividedWidget, can_focus=False):
    """Shows one picture, whole and with its proportions."""

    DEFAULT_CSS = """
    PictureView { width: 1fr; height: 1fr; content-align: center middle; text-align: center; }
    """

    ALLOW_SELECT = False

    @dataclass
    class Shown(Message):
        """A picture is encoded and will be written with the next update."""

        encoded: Encoded

    placeholder: reactive[str] = reactive("")
    """Plain text shown in the middle while there is no picture."""

    def __init__(self, *, id: str | None = None, classes: str | None = None, placeholder: str = "") -> None:
        super().__init__(id=id, classes=classes)
        self.set_reactive(PictureView.placeholder, placeholder)
        self.picture: Picture | None = None
        """The picture requested last."""
        self._idle = asyncio.Event()
        """Set while nothing is being encoded or waits to be written."""
        self._idle.set()
        self._painter = PicturePainter(self, self._area)
        self._under_way: dict[object, asyncio.Task[Encoded]] = {}

    @property
    def shown(self) -> Encoded | None:
        """The encoded picture on the screen; still the one before `picture` while that is being encoded."""
        return self._painter.encoded

    def show(self, picture: Picture | None, *, once_laid_out: bool = False) -> None:
        """Show a picture as soon as it is encoded, or none. Only the newest is shown.

        ``once_laid_out`` means that it was made for the size after the next layout.
        """
        self.picture = picture
        if picture is None:
            if self._painter.encoded is not None:
                self._show_encoded(None)
        elif once_laid_out:
            self.call_after_refresh(self._encode_if_needed)
        else:
            self._encode_if_needed()

    async def prepare(self, picture: Picture, *, send: bool = False) -> None:
        """Encode a picture that may be wanted next; ``send`` it to a kitty terminal on a slow link, once it is idle."""
        if (job := self._job_for(picture)) is None:
            return
        try:
            ready = await self._encoded(job)
        except Exception:  # reported when the picture is requested
            return
        if send and terminal_of(self.app).protocol is Protocol.KITTY and not self._is_quick(ready):
            await self._idle.wait()
            await self._painter.written.wait()
            await asyncio.sleep(IDLE_S)
            if self._idle.is_set() and self._job_for(picture) == job:
                self._painter.send_ahead(ready)

    def redraw(self) -> None:
        """Write the picture again, encoded again if the terminal has changed."""
        encoded = self._painter.encoded
        if encoded is not None and encoded.job.terminal != terminal_of(self.app):
            self._show_encoded(None)
            self._encode_if_needed()
        else:
            self._painter.forget()

    def restyle(self) -> None:
        """Encode the picture again if the colour behind it has changed."""
        self._encode_if_needed()

    def on_mount(self) -> None:
        """Subscribe to everything that may write over sixel pixels."""
        self._graphics.painters.add(self._painter)
        self.app.screen_change_signal.subscribe(self, self._painter.disturbed, immediate=True)
        self.app.app_resume_signal.subscribe(self, self._resumed, immediate=True)
        self.screen.screen_layout_refresh_signal.subscribe(self, self._painter.laid_out, immediate=True)

    def _resumed(self, _: object) -> None:
        """Another program had the terminal and may have deleted pictures."""
        self._graphics.forget_held()
        self._painter.forget()

    def on_resize(self) -> None:
        """Fit the picture to the new size; the painter knows which pixels are intact."""
        self._painter.advance()
        self._encode_if_needed()

    def on_show(self) -> None:
        """Write the picture, which is not on the screen."""
        self._painter.hidden = False
        self._painter.disturbed()
        self._encode_if_needed()

    def on_hide(self) -> None:
        """Give back the share of the link."""
        self._painter.hidden = True
        self._painter.disturbed()

    def on_unmount(self) -> None:
        """Allow the terminal's copy of the picture to be evicted."""
        self._graphics.painters.discard(self._painter)
        # Textual drops removed widgets from a signal only when it is published, which may never happen to this one.
        self.app.app_resume_signal.unsubscribe(self)

    @property
    def _graphics(self) -> GraphicsContext:
        return context_of(self.app)

    def _area(self) -> Area | None:
        """Return the area for a picture; None if it is empty.

        Most terminals leave the cursor below a sixel picture: on the screen's last row the whole screen would scroll,
        so that row is not used.
        """
        width, height = self.content_size
        sixel = terminal_of(self.app).protocol is Protocol.SIXEL
        if height and sixel and self.content_region.bottom >= self.app.size.height:
            height -= 1
        return Area(width, height) if width and height else None

    def _job_for(self, picture: Picture) -> Job | None:
        """Return what to encode for a picture; None if it cannot be shown yet."""
        from tui.graphics.encode import Job  # with the first picture: the first screen does not wait for numpy

        if not self.is_attached or (area := self._area()) is None:
            return None
        bgcolor = self.rich_style.bgcolor
        background = bgcolor.triplet if bgcolor is not None else None
        budget = self._graphics.budget_bytes(area.columns * area.rows)
        return Job(picture, area, terminal_of(self.app), background, budget)

    def _job(self) -> Job | None:
        """Return what to encode now; None if it is on the screen already or cannot be shown yet."""
        if self.picture is None or (job := self._job_for(self.picture)) is None:
            return None
        shown = self._painter.encoded
        # Another budget alone is no reason to send a picture again.
        same = shown is not None and shown.job._replace(budget_bytes=job.budget_bytes).key == job.key
        return None if same else job

    def _encode_if_needed(self) -> None:
        if not self._idle.is_set() or (job := self._job()) is None:
            return
        ready = self._graphics.cache.get(job.key)
        if ready is not None and self._is_quick(ready) and self._painter.written.is_set():
            self._show_encoded(ready)
            return
        self._idle.clear()
        self._show_newest()

    @work(group="picture")
    async def _show_newest(self) -> None:
        """Encode and show the picture requested last, skipping those requested in between.

        If the full picture takes long to send, a coarse one comes first, and the full one when no other picture has
        been requested for a moment.
        """
        try:
            while (job := self._job()) is not None:
                ready = self._graphics.cache.get(job.key)
                if ready is None and not self._is_probably_slow(job.picture):
                    ready = await self._encoded(job)
                if ready is None or not self._is_quick(ready):
                    coarse = await self._encoded(job._replace(budget_bytes=0, coarse=True))
                    if self._fits_now(job):
                        self._show_encoded(coarse, coarse=True)
                        await self._until_written()
                        await asyncio.sleep(REST_S)
                    if not self._is_wanted(job):
                        continue
                    ready = ready or await self._encoded(job)
                    if self._is_wanted(job):
                        self._show_encoded(ready)
                elif self._fits_now(job):
                    self._show_encoded(ready)
                    await self._until_written()
        except Exception as error:  # an encoder's error must not end the program
            self.picture = None
            self._show_encoded(None)
            self.placeholder = f"this picture cannot be shown ({clean_name(str(error))})"
        finally:
            self._idle.set()

    def _fits_now(self, job: Job) -> bool:
        """Return whether what was encoded meanwhile is for the current size and terminal."""
        now = self._job_for(job.picture)
        return self.picture is not None and now is not None and now._replace(budget_bytes=job.budget_bytes) == job

    def _is_wanted(self, job: Job) -> bool:
        """Return the same, and whether it is still the newest request."""
        return self.picture is not None and self.picture.key == job.picture.key and self._fits_now(job)

    async def _encoded(self, job: Job) -> Encoded:
        """Return the picture from the cache or encode it in a thread, once for all who request the same."""
        from tui.graphics.encode import encode

        ready = self._graphics.cache.get(job.key)
        if ready is None:
            task = self._under_way.get(job.key)
            if task is None:
                task = self._under_way[job.key] = asyncio.create_task(asyncio.to_thread(encode, job))
                task.add_done_callback(lambda _: self._under_way.pop(job.key, None))
            ready = await asyncio.shield(task)
            with contextlib.suppress(ValueError):  # larger than the cache
                self._graphics.cache[job.key] = ready
        return ready

    async def _until_written(self) -> None:
        """Wait until the picture is written; otherwise none would be complete while a key is held down."""
        if self.is_attached and self.screen.is_active and not self.app.is_headless:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._painter.written.wait(), MAX_WAIT_S)

    def _is_quick(self, ready: Encoded) -> bool:
        """Return whether the missing part of a picture can be sent soon."""
        held = self._graphics.held
        missing = sum(piece.size_bytes for piece in ready.slices if held.number(piece.key) is None)
        return self._graphics.link.seconds_for(missing) <= COARSE_FROM_S

    def _is_probably_slow(self, picture: Picture) -> bool:
        """Return whether sending a picture that is not encoded yet will probably take long."""
        return self._graphics.link.seconds_for(round(picture.pixels.size * TYPICAL_BYTES_PER_PX)) > COARSE_FROM_S

    def _show_encoded(self, encoded: Encoded | None, *, coarse: bool = False) -> None:
        was_empty = self._painter.encoded is None
        self._painter.show(encoded)
        if encoded is None or was_empty:
            self.refresh()
        if encoded is not None and not coarse:
            self.post_message(self.Shown(encoded))

    def pixel_at(self, column: int, row: int) -> tuple[int, int] | None:
        """Return the (x, y) of the pixel that a cell of the content shows; None beside the picture."""
        encoded = self._painter.encoded
        if encoded is None:
            return None
        picture, placement, terminal = encoded.job.picture, encoded.placement, encoded.job.terminal
        cell = (1, 2) if terminal.protocol is Protocol.HALFBLOCK else (terminal.cell_width_px, terminal.cell_height_px)
        # A large picture is scaled down, a small one repeats its pixels.
        scale = min(1.0, placement.width_px / picture.width_px, placement.height_px / picture.height_px)
        row_px = placement.row_px / placement.enlarge / scale
        x, y = int((column + 0.5) * row_px * cell[0] / cell[1]), int((row + 0.5) * row_px)
        return (x, y) if 0 <= x < picture.width_px and 0 <= y < picture.height_px else None

    # Lines

    def render(self) -> Text:
        """Return the placeholder; nothing where a picture is."""
        return Text(self.placeholder if self._painter.encoded is None else "")

    def render_lines(self, crop: Region) -> list[Strip]:
        """Return the lines of a region of the widget, with `PictureStrip`s where the picture is.

        In headless mode half blocks are ordinary segments.
        """
        strips = super().render_lines(crop)
        encoded = self._painter.encoded
        if encoded is None:
            return strips
        if not self._painter.fits(encoded):
            self._painter.give_up()
            # The view was moved onto the screen's last row without a change of size.
            self.call_later(self._encode_if_needed)
            return strips
        offset = self.content_region.offset - self.region.offset
        placement = encoded.placement
        left = offset.x - crop.x
        top = offset.y - crop.y
        live = self._is_live(crop)
        blocks = encoded.blocks if live and self.app.is_headless else None
        lines = list(strips)
        for row in range(max(0, -top), min(placement.rows, len(strips) - top)):
            base = strips[top + row]
            if live and blocks is None:
                lines[top + row] = PictureStrip(base, self._painter, row, -left, placement.columns)
            elif left >= 0 and left + placement.columns <= base.cell_length:
                if blocks is None:
                    segments = encoded.flat[row]
                else:
                    segments = list(Text.from_ansi(blocks.rows[row]).render(self.app.console))
                lines[top + row] = spliced(base, left, segments, placement.columns)
        return lines

    def _is_live(self, crop: Region) -> bool:
        """Return whether the real picture can be drawn: not below another screen, and only as a whole."""
        try:
            return self.screen.is_active and crop.size == self.outer_size
        except NoScreen:
            return False
