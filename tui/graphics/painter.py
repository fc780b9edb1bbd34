"""Write a view's picture, slice by slice, as Textual writes the lines of the view.

Kitty's placeholders and half blocks are cells, which Textual repaints correctly. Sixel pixels lie on top of cells: they
are drawn with a slice's last row, and again after anything else was written over them. Textual repaints the whole
screen after each layout; as long as the pixels are known to be intact, the cursor skips them.

A new picture replaces the old one slice by slice, at the rate of the link. Slices that look the same are not written.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from textual.errors import NoWidget
from textual.geometry import Region, Size
from textual.timer import Timer
from textual.widget import Widget

from tui.graphics import kitty
from tui.graphics.context import GraphicsContext, context_of
from tui.graphics.geometry import Area
from tui.graphics.terminal import Protocol

if TYPE_CHECKING:
    from tui.graphics.encode import Encoded, Slice

BYTES_PER_PLACEHOLDER = 4
RETRY_S = 1.0
"""When to check again whether the link is free, in case the terminal's reply is lost."""


@dataclass(slots=True)
class _SliceState:
    """What is on the screen in place of one slice.

    Attributes:
        shown: The picture whose slice is there; None if there is none.
        next: The picture whose slice will be written with the next update; None if none will.
        intact: Sixel only: the pixels are known not to have been written over.
    """

    shown: Encoded | None = None
    next: Encoded | None = None
    intact: bool = False


class PicturePainter:
    """Writes one view's picture.

    Args:
        view: The widget.
        area: Returns the widget's area for a picture; None if it is empty.
    """

    def __init__(self, view: Widget, area: Callable[[], Area | None]) -> None:
        self._view = view
        self._area = area
        self.encoded: Encoded | None = None
        """The picture to show."""
        self._slices: list[_SliceState] = []
        self._drawn_at: tuple[Region, Size] | None = None
        """The picture's position and the size of the screen; when they change, the pixels drawn there are lost."""
        self._repaint_scheduled = self._overlays_scheduled = False
        self.hidden = False
        """The view has no visible part, so nothing of it would be written."""
        self.planned_bytes = 0
        """Bytes that are about to be written."""
        self._ahead: list[tuple[Slice, Encoded]] = []
        self._retry: Timer | None = None
        self.written = asyncio.Event()
        """Set when every slice of the picture has been written."""

    @property
    def _graphics(self) -> GraphicsContext:
        return context_of(self._view.app)

    @property
    def cells(self) -> int:
        """Cells for the picture while the view is visible: it takes a share of the link then; otherwise 0."""
        area = self._area()
        visible = not self.hidden and self._view.is_attached and self._view.screen.is_active
        return area.columns * area.rows if area is not None and visible else 0

    def fits(self, encoded: Encoded) -> bool:
        """Return whether the view still has room for a picture."""
        placement, area = encoded.placement, self._area()
        return area is not None and placement.columns <= area.columns and placement.rows <= area.rows

    # What to write

    def show(self, encoded: Encoded | None) -> None:
        """Show another picture, or none."""
        before, self.encoded = self.encoded, encoded
        self._ahead.clear()
        self._cancel()
        self.written.clear()
        old, new = ((one.placement, one.job.terminal) if one is not None else None for one in (before, encoded))
        # Slice by slice only at the same size in pixels: those of a larger picture would remain in the last cells.
        if encoded is None or old != new:
            self._slices = [_SliceState() for _ in encoded.slices] if encoded is not None else []
            self._view.refresh()
        self.advance()

    def advance(self) -> None:
        """Schedule missing slices, from the top, as far as the link has room."""
        self._repaint_scheduled = False
        encoded, context = self.encoded, self._graphics
        if encoded is None or self.hidden or not self._view.is_attached or not self._view.screen.is_active:
            return
        if not self.fits(encoded):
            return
        sixel = _is_sixel(encoded)
        regions = []
        for index, (state, piece) in enumerate(zip(self._slices, encoded.slices, strict=True)):
            if state.next is encoded:
                continue
            there = state.shown is not None and state.shown.slices[index].key == piece.key
            if there and (state.intact or not sixel):
                state.shown = encoded
                continue
            held = context.held.number(piece.key) is not None
            if not held and not context.has_room:
                context.when_free(self.advance)
                if self._retry is not None:
                    self._retry.stop()
                self._retry = self._view.set_timer(RETRY_S, self.advance)
                break
            self.planned_bytes += 0 if held else piece.size_bytes
            state.next = encoded
            regions.append(Region(0, piece.first_row, self._view.content_size.width, piece.rows))
        if regions:
            self._view.refresh(*regions)
        self._update_written()

    def give_up(self) -> None:
        """Cancel a picture for which there is no room any more, and release who waits for it."""
        self._cancel()
        self.written.set()

    def send_ahead(self, encoded: Encoded) -> None:
        """Send a picture that may be wanted next to a kitty terminal, while the link is idle."""
        missing = [piece for piece in encoded.slices if self._graphics.held.number(piece.key) is None]
        self._ahead = [(piece, encoded) for piece in missing]
        self._send_next_ahead()

    def _send_next_ahead(self) -> None:
        if not self._ahead or self.encoded is None or not self._view.is_attached or not self.written.is_set():
            return
        if self._graphics.has_room:
            # Data is only written with a line; this refresh writes the first row of the picture.
            self._view.refresh(Region(0, 0, self._view.content_size.width, 1))
        else:
            self._graphics.when_free(self._send_next_ahead)

    def _update_written(self) -> None:
        if all(state.shown is self.encoded for state in self._slices):
            self.written.set()

    def _cancel(self) -> None:
        """Cancel what is scheduled."""
        for state in self._slices:
            state.next = None
        self.planned_bytes = 0

    # Writing

    def paint(self, row: int, first: int, last: int) -> str | None:
        """Return columns `first` up to but not including `last` of a row of the picture's cells.

        The picture itself comes before them if the terminal needs it.

        Returns:
            Text and control sequences that leave the cursor after the last cell; None for the line's own cells.
        """
        encoded = self.encoded
        if encoded is None:
            return None
        index = encoded.slice_of(row)
        state = self._slices[index]
        source = state.next or state.shown
        if source is None:
            return None
        if source.job.terminal.protocol is Protocol.KITTY:
            return self._kitty_cells(source, index, row, first, last)
        if _is_sixel(source) and state.intact and self._unmoved() and (state.next is None or source.blocks is None):
            # Skip the pixels: they stay, or are drawn over.
            return f"\x1b[{last - first}C"
        if source.blocks is None:
            return None
        whole = (first, last) == (0, encoded.placement.columns)
        return source.blocks.rows[row] if whole else source.blocks.cells(row, first, last)

    def painted(self, row: int) -> str:
        """Return what to write after a line: sixel data after a slice's last row, and a query whether it was read.

        It leaves the cursor where it was.
        """
        encoded = self.encoded
        if encoded is None:
            return ""
        index = encoded.slice_of(row)
        state, piece = self._slices[index], encoded.slices[index]
        if state.next is None:
            if _is_sixel(encoded) and state.shown is not None and not (state.intact and self._unmoved()):
                state.intact = False
                self._schedule_repaint()
            return self._next_ahead() if row == 0 else ""
        if row < piece.first_row + piece.rows - 1:
            return ""
        state.shown, state.next, state.intact = encoded, None, True
        text = self._sixel_data(encoded, piece) if _is_sixel(encoded) else ""
        self._update_written()
        is_last = all(other.next is None for other in self._slices)
        self.planned_bytes = 0 if is_last else max(0, self.planned_bytes - piece.size_bytes)
        # What is sent to a kitty terminal before the cells was counted then.
        cells = encoded.placement.columns * piece.rows * BYTES_PER_PLACEHOLDER
        size = cells if encoded.job.terminal.protocol is Protocol.KITTY else len(text) or piece.size_bytes
        return text + self._graphics.wrote(size, picture=is_last, last=is_last)

    def _kitty_cells(self, source: Encoded, index: int, row: int, first: int, last: int) -> str | None:
        state, piece = self._slices[index], source.slices[index]
        if state.next is None and self._graphics.held.number(piece.key) is None:
            # It was evicted meanwhile.
            state.shown = None
            self._schedule_repaint()
            return None
        number, upload = self._graphics.hand_over(piece, source.placement.columns, source.job.terminal)
        query = self._graphics.wrote(len(upload)) if upload else ""
        spelled_out = bool(source.job.terminal.multiplexer)
        cells = kitty.cells(number, row - piece.first_row + piece.margin_rows, first, last, spelled_out)
        return f"{upload}{query}{source.background_code}{cells}\x1b[0m"

    def _sixel_data(self, encoded: Encoded, piece: Slice) -> str:
        """Return a slice's data at its position, and the cursor back where it was; nothing if cells are the picture."""
        self._drawn_at = self._position()
        if encoded.blocks is not None:
            return ""
        if not self._overlays_scheduled:
            self._overlays_scheduled = True
            self._view.call_later(self._repaint_overlays)
        x, y = self._view.content_region.offset
        return f"\x1b7\x1b[{y + piece.first_row + 1};{x + 1}H{piece.data.decode('ascii')}\x1b8"

    def _next_ahead(self) -> str:
        if not self._ahead or not self._graphics.has_room:
            return ""
        piece, encoded = self._ahead.pop(0)
        _, upload = self._graphics.hand_over(piece, encoded.placement.columns, encoded.job.terminal)
        if self._ahead:
            self._view.call_later(self._send_next_ahead)
        return upload + self._graphics.wrote(len(upload), last=True)

    # The state of the screen

    def _position(self) -> tuple[Region, Size]:
        assert self.encoded is not None
        columns, rows, *_ = self.encoded.placement
        return Region(*self._view.content_region.offset, columns, rows), self._view.app.size

    def _unmoved(self) -> bool:
        """Return whether the view is where its pixels were drawn."""
        return self._drawn_at == self._position()

    def disturbed(self, _: object = None) -> None:
        """Draw everything again: something else was or will be written to the screen."""
        self._cancel()
        for state in self._slices:
            state.intact = False
        self.advance()

    def laid_out(self, _: object) -> None:
        """After a layout, draw again what may be below another widget, or everything if the screen has another size."""
        if self._drawn_at is None:
            return
        if self._drawn_at[1] != self._view.app.size:
            self.disturbed()
        elif self._cover():
            self.advance()

    def forget(self) -> None:
        """Start over: nothing of the picture is on the screen or in the terminal any more."""
        self._cancel()
        self._slices = [_SliceState() for _ in self._slices]
        self._view.refresh()
        self.advance()

    def _schedule_repaint(self) -> None:
        """Write again what was written over, after this update."""
        if not self._repaint_scheduled:
            self._repaint_scheduled = True
            self._view.call_later(self.advance)

    def _repaint_overlays(self) -> None:
        """Repaint widgets on top of the picture, which a sixel picture has covered."""
        self._overlays_scheduled = False
        if self._view.is_attached:
            for widget in self._cover():
                widget.refresh()

    def _cover(self) -> list[Widget]:
        """Mark the slices that other widgets overlap; returns the visible widgets that overlap the view."""
        mine, above = self._view.region, set(self._view.ancestors_with_self)
        others = (widget for widget in self._view.screen.walk_children(Widget) if widget not in above)
        overlays = [one for one in others if self._seen(one).overlaps(mine) and one.visible and one.display]
        if self.encoded is not None:
            left, top = self._view.content_region.offset
            for state, piece in zip(self._slices, self.encoded.slices, strict=True):
                region = Region(left, top + piece.first_row, self.encoded.placement.columns, piece.rows)
                if any(self._seen(widget).overlaps(region) for widget in overlays):
                    state.intact = False
        return overlays

    def _seen(self, widget: Widget) -> Region:
        """Return the visible region of a widget on the screen."""
        try:
            return self._view.screen.find_widget(widget).visible_region
        except NoWidget:
            return Region()

    def keys_on_screen(self) -> set[bytes]:
        """Return the keys of slices that are on the screen or will be, so that they are not evicted."""
        return {
            source.slices[index].key
            for index, state in enumerate(self._slices)
            for source in (state.shown, state.next)
            if source is not None
        }


def _is_sixel(encoded: Encoded) -> bool:
    return encoded.job.terminal.protocol is Protocol.SIXEL
