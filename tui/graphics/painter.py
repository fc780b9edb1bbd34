"""Writes a view's picture, slice by slice and cell by cell, as Textual writes the lines that it is on.

Kitty's placeholders and half blocks are cells, so Textual's own repaints are right for them. Sixel pixels lie on top of
cells: they are drawn with a slice's last row, and drawn again after anything else was written over them. Textual
repaints the whole screen whenever a layout changes; as long as the pixels are known to be there, the cursor skips them.

A new picture takes the place of the old one slice by slice, as fast as the link takes them. Slices that look the same
are left alone.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import NamedTuple

from textual.errors import NoWidget
from textual.geometry import Region, Size
from textual.timer import Timer
from textual.widget import Widget

from tui.graphics import kitty
from tui.graphics.context import GraphicsContext, context_of
from tui.graphics.encode import Encoded, Slice
from tui.graphics.terminal import Protocol

BYTES_PER_PLACEHOLDER = 4
RETRY_S = 1.0
"""How soon to look whether the link is free, should the terminal's answer be lost."""


class _ScreenPosition(NamedTuple):
    """Where a picture is, in the screen's coordinates; pixels drawn there are lost when any of it changes."""

    region: Region
    screen_size: Size


class _SliceState:
    """What stands in one slice's place on the screen.

    Attributes:
        shown: The picture that the slice there was taken from; None if nothing is there.
        next: The picture whose slice is written there with the next update; None if none is.
        intact: Sixel: what was written there is known to be there still.
    """

    __slots__ = ("intact", "next", "shown")

    def __init__(self) -> None:
        self.shown: Encoded | None = None
        self.next: Encoded | None = None
        self.intact = False


class PicturePainter:
    """One view's picture on the screen.

    Args:
        view: The widget that has the picture.
        fits: Whether the widget still has room for a picture.
    """

    def __init__(self, view: Widget, fits: Callable[[Encoded], bool]) -> None:
        self._view = view
        self._fits = fits
        self.encoded: Encoded | None = None
        """What is to be on the screen."""
        self._slices: list[_SliceState] = []
        self._drawn_at: _ScreenPosition | None = None
        self._repaint_scheduled = self._overlays_scheduled = False
        self.hidden = False
        """Nothing of the view is laid out, so nothing of it would be written."""
        self._ahead: list[tuple[Slice, Encoded]] = []
        self._retry: Timer | None = None
        self.written = asyncio.Event()
        """Every slice of the picture has been written."""

    @property
    def _graphics(self) -> GraphicsContext:
        return context_of(self._view.app)

    # What is wanted

    def show(self, encoded: Encoded | None) -> None:
        """Bring another picture to the screen, or none."""
        before, self.encoded = self.encoded, encoded
        self._ahead.clear()
        self._cancel()
        self.written.clear()
        if encoded is None or before is None or _layout(before) != _layout(encoded):
            self._slices = [_SliceState() for _ in encoded.slices] if encoded is not None else []
            self._view.refresh()
        self._update_used_keys()
        self.advance()

    def advance(self) -> None:
        """Have the slices that are missing written, from the top, as many as the link takes now."""
        encoded, context = self.encoded, self._graphics
        if encoded is None or self.hidden or not self._view.is_attached or not self._view.screen.is_active:
            return
        if not self._fits(encoded):
            return
        sixel = _is_sixel(encoded)
        regions = []
        for index, (strip, piece) in enumerate(zip(self._slices, encoded.slices, strict=True)):
            if strip.next is encoded:
                continue
            there = strip.shown is not None and strip.shown.slices[index].key == piece.key
            if there and (strip.intact or not sixel):
                strip.shown = encoded
                continue
            held = context.held.number(piece.key) is not None
            if not held and not context.has_room:
                context.when_free(id(self._view), self.advance)
                if self._retry is not None:
                    self._retry.stop()
                self._retry = self._view.set_timer(RETRY_S, self.advance)
                break
            context.plan(id(self._view), 0 if held else piece.size_bytes)
            strip.next = encoded
            regions.append(self._region_of(encoded, piece.first_row, piece.rows))
        if regions:
            self._view.refresh(*regions)
        self._update_used_keys()
        self._update_written()

    def give_up(self) -> None:
        """The picture will not be written: there is no room for it any more. Who waits for it may go on."""
        self._cancel()
        self.written.set()

    def send_ahead(self, encoded: Encoded) -> None:
        """Have a kitty terminal hold a picture that may be wanted next, while the link has nothing else to do."""
        missing = [piece for piece in encoded.slices if self._graphics.held.number(piece.key) is None]
        self._ahead = [(piece, encoded) for piece in missing]
        self._send_next_ahead()

    def _send_next_ahead(self) -> None:
        if not self._ahead or self.encoded is None or not self._view.is_attached or not self.written.is_set():
            return
        if self._graphics.has_room:
            # It goes out with the first row of the picture, as everything goes out with a line.
            self._view.refresh(self._region_of(self.encoded, 0, 1))
        else:
            self._graphics.when_free(id(self._view), self._send_next_ahead)

    def _update_written(self) -> None:
        if all(strip.shown is self.encoded for strip in self._slices):
            self.written.set()

    def _cancel(self) -> None:
        """Write nothing of what was about to be written."""
        for strip in self._slices:
            strip.next = None
        self._graphics.unplan(id(self._view))

    # What is written

    def paint(self, row: int, first: int, last: int) -> str | None:
        """The picture's cells in one row, with the picture itself ahead of them where the terminal needs it."""
        encoded = self.encoded
        if encoded is None:
            return None
        index = encoded.slice_of(row)
        strip = self._slices[index]
        source = strip.next or strip.shown
        if source is None:
            return None
        if source.job.terminal.protocol is Protocol.KITTY:
            return self._kitty_cells(source, index, row, first, last)
        if _is_sixel(source) and strip.intact and self._unmoved() and (strip.next is None or source.blocks is None):
            # What is there stays, or is drawn over.
            return f"\x1b[{last - first}C"
        if source.blocks is None:
            return None
        whole = (first, last) == (0, encoded.placement.columns)
        return source.blocks.rows[row] if whole else source.blocks.cells(row, first, last)

    def painted(self, row: int) -> str:
        """What goes out after a line: sixel data after a slice's last row, and the question whether it was read."""
        encoded = self.encoded
        if encoded is None:
            return ""
        index = encoded.slice_of(row)
        strip, piece = self._slices[index], encoded.slices[index]
        if strip.next is None:
            if _is_sixel(encoded) and strip.shown is not None and not (strip.intact and self._unmoved()):
                # Something was written over it.
                strip.intact = False
                self._schedule_repaint()
            return self._next_ahead() if row == 0 else ""
        if row < piece.first_row + piece.rows - 1:
            return ""
        strip.shown, strip.next, strip.intact = encoded, None, True
        text = self._sixel_data(encoded, piece) if _is_sixel(encoded) else ""
        self._update_written()
        is_last = all(other.next is None for other in self._slices)
        self._graphics.unplan(id(self._view), None if is_last else piece.size_bytes)
        # What a kitty terminal gets ahead of the cells has been counted there.
        cells = encoded.placement.columns * piece.rows * BYTES_PER_PLACEHOLDER
        size = cells if encoded.job.terminal.protocol is Protocol.KITTY else len(text) or piece.size_bytes
        return text + self._graphics.wrote(size, picture=is_last, last=is_last)

    def _kitty_cells(self, source: Encoded, index: int, row: int, first: int, last: int) -> str | None:
        strip, piece = self._slices[index], source.slices[index]
        if strip.next is None and self._graphics.held.number(piece.key) is None:
            # The terminal was told to forget it meanwhile.
            strip.shown = None
            self._schedule_repaint()
            return None
        number, upload = self._graphics.hand_over(piece, source.placement.columns, source.job.terminal)
        question = self._graphics.wrote(len(upload)) if upload else ""
        spelled_out = bool(source.job.terminal.multiplexer)
        cells = kitty.cells(number, row - piece.first_row + piece.margin_rows, first, last, spelled_out)
        return f"{upload}{question}{source.background_code}{cells}\x1b[0m"

    def _sixel_data(self, encoded: Encoded, piece: Slice) -> str:
        """The data at its place, with the cursor back where it was; nothing where the cells are the picture."""
        self._drawn_at = self._position()
        if encoded.blocks is not None:
            return ""
        if not self._overlays_scheduled:
            self._overlays_scheduled = True
            self._view.call_later(self._repaint_overlays)
        x, y = self._drawn_at.region.offset
        return f"\x1b7\x1b[{y + piece.first_row + 1};{x + 1}H{piece.data.decode('ascii')}\x1b8"

    def _next_ahead(self) -> str:
        if not self._ahead or not self._graphics.has_room:
            return ""
        piece, encoded = self._ahead.pop(0)
        _, upload = self._graphics.hand_over(piece, encoded.placement.columns, encoded.job.terminal)
        if self._ahead:
            self._view.call_later(self._send_next_ahead)
        return upload + self._graphics.wrote(len(upload), last=True)

    # What is known of what is on the screen

    def _position(self) -> _ScreenPosition:
        assert self.encoded is not None
        placement = self.encoded.placement
        return _ScreenPosition(
            Region(*self._view.content_region.offset, placement.columns, placement.rows), self._view.app.size
        )

    def _unmoved(self) -> bool:
        """Whether the view is where it was when its pixels were drawn."""
        return self._drawn_at == self._position()

    def disturbed(self, _: object = None) -> None:
        """Something else was, or will be, written to the screen: what was drawn cannot be relied on."""
        self._cancel()
        for strip in self._slices:
            strip.intact = False
        self.advance()

    def laid_out(self, _: object) -> None:
        """After a layout: pixels below another widget, or on a screen of another size, are not to be relied on."""
        if self._drawn_at is None:
            return
        if self._drawn_at.screen_size != self._view.app.size:
            self.disturbed()
        elif overlays := self._overlays():
            self._cover(overlays)
            self.advance()

    def forget(self) -> None:
        """Nothing of the picture is on the screen or in the terminal any more."""
        self._cancel()
        self._slices = [_SliceState() for _ in self._slices]
        self._view.refresh()
        self.advance()

    def _schedule_repaint(self) -> None:
        """Write again what was written over, once this update is out."""
        if not self._repaint_scheduled:
            self._repaint_scheduled = True
            self._view.call_later(self._repaint)

    def _repaint(self) -> None:
        self._repaint_scheduled = False
        self.advance()

    def _repaint_overlays(self) -> None:
        """Write what lies on top of the picture again: a sixel picture covers all cells in its place."""
        self._overlays_scheduled = False
        if self._view.is_attached:
            overlays = self._overlays()
            self._cover(overlays)
            for widget in overlays:
                widget.refresh()

    def _cover(self, overlays: list[Widget]) -> None:
        """Note which slices other widgets hide, in whole or in part."""
        if self.encoded is None:
            return
        left, top = self._position().region.offset
        for strip, piece in zip(self._slices, self.encoded.slices, strict=True):
            region = Region(left, top + piece.first_row, self.encoded.placement.columns, piece.rows)
            if any(self._seen(widget).overlaps(region) for widget in overlays):
                strip.intact = False

    def _overlays(self) -> list[Widget]:
        """What lies on top of this widget, or could."""
        mine, above = self._view.region, set(self._view.ancestors_with_self)
        others = (widget for widget in self._view.screen.walk_children(Widget) if widget not in above)
        return [one for one in others if one.visible and one.display and self._seen(one).overlaps(mine)]

    def _seen(self, widget: Widget) -> Region:
        """Where a widget is on the screen, without what its container cuts off."""
        try:
            return self._view.screen.find_widget(widget).visible_region
        except NoWidget:
            return Region()

    def _region_of(self, encoded: Encoded, first_row: int, rows: int) -> Region:
        """Some rows of the picture in the view's own coordinates, padding and border not counted."""
        return Region(0, first_row, self._view.content_size.width, rows)

    def _update_used_keys(self) -> None:
        """Tell which slices are on the screen, so that the terminal keeps them."""
        used = {
            source.slices[index].key
            for index, strip in enumerate(self._slices)
            for source in (strip.shown, strip.next)
            if source is not None
        }
        self._graphics.on_screen[id(self._view)] = used


def _is_sixel(encoded: Encoded) -> bool:
    return encoded.job.terminal.protocol is Protocol.SIXEL


def _layout(encoded: Encoded) -> tuple[object, ...]:
    """What two pictures must share for one to take the other's place slice by slice.

    The same cells are not enough: of a larger one pixels would stay in the last cells of each row and column.
    """
    return encoded.placement, encoded.slice_rows, encoded.job.terminal
