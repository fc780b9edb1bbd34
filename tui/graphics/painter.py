"""Writes a view's picture, cell by cell, as Textual writes the lines that it is on.

Kitty's placeholders and half blocks are cells, so Textual's own repaints are right for them. Sixel pixels lie on top of
cells: they are drawn with the picture's last row, and drawn again after anything else was written over them. Textual
repaints the whole screen whenever a layout changes; as long as the pixels are known to be there, the cursor skips them.
"""

from __future__ import annotations

from typing import NamedTuple

from textual.geometry import Offset, Region, Size
from textual.widget import Widget

from tui.graphics import kitty
from tui.graphics.encode import Encoded
from tui.graphics.session import Session, session_of
from tui.graphics.terminal import Protocol


class _Drawn(NamedTuple):
    """Sixel pixels on the screen."""

    encoded: Encoded
    region: Region
    """The cells, in the screen's coordinates."""
    screen_size: Size


class PicturePainter:
    """One view's picture on the screen.

    Args:
        view: The widget that has the picture.
    """

    def __init__(self, view: Widget) -> None:
        self._view = view
        self.encoded: Encoded | None = None
        """What is to be on the screen."""
        self._drawn: _Drawn | None = None
        self._unhealed = False

    @property
    def _session(self) -> Session:
        return session_of(self._view.app)

    def paint(self, row: int, first: int, last: int) -> str | None:
        """The picture's cells in one row, with the picture itself ahead of them where the terminal needs it."""
        encoded = self.encoded
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
        receipt = self._session.receipt_question(len(upload))
        text = f"{upload}{receipt}{encoded.ground_code}{cells}\x1b[0m"
        self._session.wrote(len(text), bool(upload))
        return text

    def painted(self, row: int) -> str:
        """The sixel data after the picture's last row; a mark that it is missing after any other."""
        encoded = self.encoded
        if encoded is None or encoded.job.terminal.protocol is not Protocol.SIXEL:
            return ""
        drawn = self._is_drawn(encoded)
        if row < encoded.placement.rows - 1:
            if not drawn and not self._unhealed:
                self._unhealed = True
                self._view.call_later(self._heal)
            return ""
        self._unhealed = False
        if drawn and self._drawn is not None and self._drawn.encoded is encoded:
            return ""
        self._drawn = self._stamp(encoded)
        region = self._drawn.region
        receipt = self._session.receipt_question(len(encoded.data))
        text = f"\x1b7\x1b[{region.y + 1};{region.x + 1}H{encoded.data.decode('ascii')}{receipt}\x1b8"
        self._session.wrote(len(text), True)
        self._view.call_later(self._repaint_overlays)
        return text

    # What is known of the sixel pixels on the screen

    def _stamp(self, encoded: Encoded) -> _Drawn:
        placement = encoded.placement
        offset = self._view.content_region.offset + Offset(placement.left, placement.top)
        return _Drawn(encoded, Region(*offset, placement.columns, placement.rows), self._view.app.size)

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

    def disturbed(self, _: object = None) -> None:
        """Something else was written to the screen."""
        self._drawn = None

    def laid_out(self, _: object) -> None:
        """After a layout: pixels below another widget, or on a screen of another size, are not to be relied on."""
        if self._drawn is not None and (self._drawn.screen_size != self._view.app.size or self._overlays()):
            self._drawn = None

    def _heal(self) -> None:
        """Draw the sixel picture again if rows of it were written over and it has not been drawn since."""
        if self._unhealed:
            self._draw_sixel()

    def _draw_sixel(self) -> None:
        """Write the picture's last row again, and with it the picture."""
        self._unhealed = False
        if self.encoded is not None and self._view.is_attached:
            placement = self.encoded.placement
            self._view.refresh(Region(0, placement.top + placement.rows - 1, self._view.content_size.width, 1))

    def _repaint_overlays(self) -> None:
        """Write what lies on top of the picture again: a sixel picture covers all cells in its place."""
        if self._view.is_attached:
            for widget in self._overlays():
                self._drawn = None
                widget.refresh()

    def _overlays(self) -> list[Widget]:
        """What lies on top of this widget, or could."""
        mine, above = self._view.region, set(self._view.ancestors_with_self)
        return [
            widget
            for widget in self._view.screen.walk_children(Widget)
            if widget not in above and widget.visible and widget.display and widget.region.overlaps(mine)
        ]
