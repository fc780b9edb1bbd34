"""The widget that shows a picture, by whatever protocol the terminal speaks.

What there is to write is worked out in a thread; the picture on the screen stays until its successor is ready. Kitty's
placeholders and half blocks are cells, so Textual's own repaints are right for them. Sixel pixels lie on top of cells:
they are drawn with the picture's last row, and drawn again after anything else was written over them. Textual repaints
the whole screen whenever a layout changes; as long as the pixels are known to be there, the cursor skips them instead.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import NamedTuple

from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.dom import NoScreen
from textual.filter import LineFilter
from textual.geometry import Offset, Region, Size
from textual.message import Message
from textual.strip import Strip
from textual.widget import Widget

from tui.graphics import kitty
from tui.graphics.encode import Encoded, Job, encode
from tui.graphics.geometry import Area, area_px
from tui.graphics.picture import Picture
from tui.graphics.session import Session, session_of, terminal_of
from tui.graphics.strips import PaintedStrip, spliced
from tui.graphics.terminal import Protocol, Terminal


class _Drawn(NamedTuple):
    """Sixel pixels on the screen."""

    encoded: Encoded
    region: Region
    """The cells, in the screen's coordinates."""
    screen_size: Size


class PictureView(Widget, can_focus=False):
    """Shows one picture, whole and with its proportions.

    Args:
        placeholder: Plain text shown in the middle while there is no picture.
        align: Where a picture that does not fill the widget goes: `top-left` or `center`.
    """

    DEFAULT_CSS = """
    PictureView {
        width: 1fr;
        height: 1fr;
    }
    """

    @dataclass
    class Shown(Message):
        """A picture is ready and goes to the screen with the next update."""

        view: PictureView
        picture: Picture
        size_bytes: int
        """Of the encoded data; 0 for half blocks."""
        encode_ms: float

        @property
        def control(self) -> PictureView:
            """The view, for `@on` with a selector."""
            return self.view

    def __init__(
        self,
        *,
        id: str | None = None,
        classes: str | None = None,
        placeholder: str = "",
        align: str = "top-left",
    ) -> None:
        super().__init__(id=id, classes=classes)
        self._placeholder = placeholder
        self._centred = align == "center"
        self._wanted: Picture | None = None
        self._encoded: Encoded | None = None
        self._encoding = False
        self._unhealed = False
        self._drawn: _Drawn | None = None
        self._lines: dict[int, tuple[Strip, PaintedStrip]] = {}

    @property
    def placeholder(self) -> str:
        """Plain text shown while there is no picture."""
        return self._placeholder

    @placeholder.setter
    def placeholder(self, text: str) -> None:
        if text != self._placeholder:
            self._placeholder = text
            if self._encoded is None:
                self.refresh()

    @property
    def picture(self) -> Picture | None:
        """The picture that was last asked for."""
        return self._wanted

    @property
    def shown_picture(self) -> Picture | None:
        """The picture that is on the screen; behind `picture` while that is being encoded."""
        return self._encoded.job.picture if self._encoded else None

    @property
    def terminal(self) -> Terminal:
        """The app's terminal."""
        return terminal_of(self.app)

    @property
    def area_px(self) -> tuple[int, int]:
        """Width and height for a picture that is to be shown pixel by pixel; (0, 0) before there is a layout."""
        size = self.content_size
        return area_px(Area(size.width, size.height), self.terminal) if size else (0, 0)

    def show(self, picture: Picture | None) -> None:
        """Show a picture as soon as it is encoded, or nothing. The newest wins."""
        self._wanted = picture
        if picture is None:
            self._adopt(None)
        else:
            self._encode_if_needed()

    def redraw(self) -> None:
        """Write the picture again, for instance after the terminal's screen was disturbed."""
        self._drawn = None
        self.refresh()

    def on_mount(self) -> None:
        """Learn of everything that may write over sixel pixels unseen."""
        self.app.screen_change_signal.subscribe(self, self._disturbed, immediate=True)
        self.app.app_resume_signal.subscribe(self, self._disturbed, immediate=True)
        self.screen.screen_layout_refresh_signal.subscribe(self, self._laid_out, immediate=True)

    def on_resize(self, event: events.Resize) -> None:
        """Fit the picture to the new size."""
        self._drawn = None
        self._encode_if_needed()

    def on_unmount(self) -> None:
        """Let the terminal drop the picture when it needs the room."""
        self._session.on_screen.pop(id(self), None)

    @property
    def _session(self) -> Session:
        return session_of(self.app)

    def _job(self) -> Job | None:
        """What should be encoded now; None if the right thing is there already or cannot be made yet."""
        size = self.content_size
        if self._wanted is None or not self.is_attached or not size:
            return None
        background = self.rich_style.bgcolor
        triplet = background.triplet if background is not None else None
        ground = (triplet.red, triplet.green, triplet.blue) if triplet is not None else None
        job = Job(self._wanted, Area(size.width, size.height), self.terminal, self._centred, ground)
        return None if self._encoded is not None and self._encoded.job.key == job.key else job

    def _encode_if_needed(self) -> None:
        if self._encoding or (job := self._job()) is None:
            return
        if (ready := self._session.cache.get(job.key)) is not None:
            self._adopt(ready)
            return
        self._encoding = True
        self.run_worker(self._encode_newest(), group="picture", exit_on_error=True)

    async def _encode_newest(self) -> None:
        """Encode in a thread until what was asked for last is there; what was asked for in between is skipped."""
        try:
            while (job := self._job()) is not None:
                ready = self._session.cache.get(job.key)
                if ready is None:
                    ready = await asyncio.to_thread(encode, job)
                    self._session.cache.put(job.key, ready, ready.size_bytes)
                    self._session.encoded(ready.encode_ms)
                if self._wanted is not None:
                    self._adopt(ready)
                    # Let the update go out before the next one is begun.
                    await asyncio.sleep(0)
        finally:
            self._encoding = False

    def _adopt(self, encoded: Encoded | None) -> None:
        before, self._encoded = self._encoded, encoded
        self._lines.clear()
        if encoded is None:
            self._session.on_screen.pop(id(self), None)
            if before is not None:
                self.refresh()
            return
        job, placement = encoded.job, encoded.placement
        self._session.on_screen[id(self)] = (job.picture.key, placement.columns, placement.rows)
        self.refresh()
        self.post_message(self.Shown(self, job.picture, len(encoded.data), encoded.encode_ms))

    # Lines

    def get_line_filters(self) -> list[LineFilter]:
        """None where the colours of cells are picture numbers."""
        return [] if self.terminal.protocol is Protocol.KITTY else list(super().get_line_filters())

    def render_line(self, y: int) -> Strip:
        """A line of text, or blank cells where the picture goes."""
        style = self.rich_style
        width = self.content_size.width
        encoded = self._encoded
        if encoded is None:
            return self._placeholder_line(y, width, style)
        placement = encoded.placement
        blank = Strip.blank(width, style)
        row = y - placement.top
        if encoded.blocks is None or not self._fits(encoded) or not 0 <= row < placement.rows:
            return blank
        background = Style(bgcolor=style.bgcolor)
        segments = [
            Segment(text, background + style_ if style_ is not None else background)
            for text, style_, _ in encoded.blocks.segments(row)
        ]
        return spliced(blank, placement.left, segments, placement.columns)

    def _placeholder_line(self, y: int, width: int, style: Style) -> Strip:
        lines = self._placeholder.splitlines()
        index = y - (self.content_size.height - len(lines)) // 2
        if not 0 <= index < len(lines):
            return Strip.blank(width, style)
        text = Strip([Segment(lines[index], style)]).crop(0, width)
        return Strip.blank((width - text.cell_length) // 2, style) + text.extend_cell_length(
            width - (width - text.cell_length) // 2, style
        )

    def render_lines(self, crop: Region) -> list[Strip]:
        """The lines of a region of the widget, those of the picture able to paint themselves."""
        strips = super().render_lines(crop)
        encoded = self._encoded
        if encoded is None or not self._fits(encoded):
            return strips
        offset = self.content_region.offset - self.region.offset
        placement = encoded.placement
        left = offset.x + placement.left - crop.x
        top = offset.y + placement.top - crop.y
        live = self._is_live(crop)
        lines = list(strips)
        for row in range(max(0, -top), min(placement.rows, len(strips) - top)):
            base = strips[top + row]
            if live:
                known = self._lines.get(row)
                if known is None or known[0] is not base:
                    known = self._lines[row] = base, PaintedStrip(base, self, row, -left, placement.columns)
                lines[top + row] = known[1]
            elif encoded.blocks is None and left >= 0 and left + placement.columns <= base.cell_length:
                lines[top + row] = spliced(base, left, encoded.coarse.segments(row), placement.columns)
        return lines

    def _fits(self, encoded: Encoded) -> bool:
        """Whether the picture was made for a size that still holds it."""
        placement, size = encoded.placement, self.content_size
        return placement.left + placement.columns <= size.width and placement.top + placement.rows <= size.height

    def _is_live(self, crop: Region) -> bool:
        """Whether the real picture can be drawn: not below another screen, nor half out of sight."""
        try:
            return self.screen.is_active and crop.size == self.outer_size
        except NoScreen:
            return False

    # The painter's part: called while an update is being written

    def paint(self, row: int, first: int, last: int) -> str | None:
        """The picture's cells in one row, with the picture itself ahead of them where the terminal needs it."""
        encoded = self._encoded
        if encoded is None:
            return None
        if encoded.blocks is not None:
            whole = (first, last) == (0, encoded.placement.columns)
            text = encoded.blocks.rows[row] if whole else encoded.blocks.cells(row, first, last)
            self._session.wrote(len(text), row == 0)
            return text
        if encoded.job.terminal.protocol is not Protocol.KITTY:
            return f"\x1b[{last - first}C" if self._is_drawn(encoded) else None
        number, upload = self._session.hand_over(encoded)
        spelled_out = bool(encoded.job.terminal.multiplexer)
        cells = kitty.cells(number, row, first, last, spelled_out)
        text = f"{upload}{encoded.ground_code}{cells}\x1b[0m"
        self._session.wrote(len(text), bool(upload))
        return text

    def painted(self, row: int) -> str:
        """The sixel data after the picture's last row; a mark that it is missing after any other."""
        encoded = self._encoded
        if encoded is None or encoded.job.terminal.protocol is not Protocol.SIXEL:
            return ""
        drawn = self._is_drawn(encoded)
        if row < encoded.placement.rows - 1:
            if not drawn and not self._unhealed:
                self._unhealed = True
                self.call_later(self._heal)
            return ""
        self._unhealed = False
        if drawn and self._drawn is not None and self._drawn.encoded is encoded:
            return ""
        self._drawn = self._stamp(encoded)
        region = self._drawn.region
        text = f"\x1b7\x1b[{region.y + 1};{region.x + 1}H{encoded.data.decode('ascii')}\x1b8"
        self._session.wrote(len(text), True)
        self.call_later(self._repaint_overlays)
        return text

    # What is known of the sixel pixels on the screen

    def _stamp(self, encoded: Encoded) -> _Drawn:
        placement = encoded.placement
        offset = self.content_region.offset + Offset(placement.left, placement.top)
        return _Drawn(encoded, Region(*offset, placement.columns, placement.rows), self.app.size)

    def _is_drawn(self, encoded: Encoded) -> bool:
        """Whether a picture of just this extent is on the screen, undisturbed."""
        drawn = self._drawn
        if drawn is None:
            return False
        now, before = encoded.placement, drawn.encoded.placement
        same_pixels = (now.width_px * now.enlarge, now.height_px * now.enlarge) == (
            before.width_px * before.enlarge,
            before.height_px * before.enlarge,
        )
        return same_pixels and drawn[1:] == self._stamp(encoded)[1:]

    def _disturbed(self, _: object) -> None:
        self._drawn = None

    def _laid_out(self, _: object) -> None:
        """After a layout: pixels below another widget, or on a screen of another size, are not to be relied on."""
        if self._drawn is not None and (self._drawn.screen_size != self.app.size or self._overlays()):
            self._drawn = None

    def _heal(self) -> None:
        """Draw the sixel picture again if rows of it were written over and it has not been drawn since."""
        if self._unhealed:
            self._draw_sixel()

    def _draw_sixel(self) -> None:
        """Write the picture's last row again, and with it the picture."""
        self._unhealed = False
        if self._encoded is not None and self.is_attached:
            placement = self._encoded.placement
            self.refresh(Region(0, placement.top + placement.rows - 1, self.content_size.width, 1))

    def _repaint_overlays(self) -> None:
        """Write what lies on top of the picture again: a sixel picture covers all cells in its place."""
        if self.is_attached:
            for widget in self._overlays():
                self._drawn = None
                widget.refresh()

    def _overlays(self) -> list[Widget]:
        """What lies on top of this widget, or could."""
        mine, above = self.region, set(self.ancestors_with_self)
        return [
            widget
            for widget in self.screen.walk_children(Widget)
            if widget not in above and widget.visible and widget.display and widget.region.overlaps(mine)
        ]
