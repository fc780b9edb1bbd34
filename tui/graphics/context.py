"""What the pictures of one app share: the encode cache, the link, what a kitty terminal holds, and counters."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from operator import attrgetter
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from cachetools import LRUCache

from tui.graphics import kitty
from tui.graphics.kitty import TerminalImageCache
from tui.graphics.link import NEAR_S, NUMBERS, Link
from tui.graphics.probe import discard_cursor_reports
from tui.graphics.terminal import Protocol, Terminal

if TYPE_CHECKING:
    from textual.app import App

    from tui.graphics.encode import Encoded, Slice
    from tui.graphics.painter import PicturePainter

CACHE_LIMIT_BYTES = 48 << 20
QUERY_EVERY_BYTES = 32 << 10
"""A query follows this many bytes of pictures, and the last slice of an update."""

_FIRST_X = 1
"""Column 0 is not used: some terminals always report it."""
MIN_QUERY_BYTES = 1 << 10
MIN_BUDGET_BYTES = 16 << 10
NO_BUDGET_BYTES = 600 << 10
"""A larger budget is no limit."""
BUDGET_STEP = 1.6
"""The factor by which a budget must change to replace the one before."""
BUDGET_S = 1.7
"""On a slow link pictures lose colours until all on the screen together take this long."""
FLUSH_POLL_S = 0.02


class GraphicsContext:
    """The shared state of one app's pictures.

    Attributes:
        painters: Those of the app's mounted views.
        pictures: Pictures written so far, repetitions included.
        bytes_sent: Bytes written for them, cells included.
    """

    def __init__(self, terminal: Terminal) -> None:
        self.terminal = terminal
        self.cache: LRUCache[tuple[object, ...], Encoded] = LRUCache(CACHE_LIMIT_BYTES, attrgetter("size_bytes"))
        self.held = TerminalImageCache()
        self.link = Link(terminal.round_trip_s)
        self.painters: set[PicturePainter] = set()
        self.pictures = self.bytes_sent = 0
        self._budgets: dict[int, int] = {}
        self._waiting: set[Callable[[], None]] = set()
        self._unqueried_bytes = 0
        self._flushing = False
        """Nothing more is sent until everything sent has been read."""
        self._to_free: list[int] = []
        """Numbers of slices that a kitty terminal may still hold although they are forgotten here."""

    def reset(self, terminal: Terminal) -> None:
        """Start over after the terminal was probed again: it may be another one, which holds nothing."""
        self.forget_held()
        self.terminal, self.link = terminal, Link(terminal.round_trip_s)

    # What may be sent

    @property
    def has_room(self) -> bool:
        """Whether more may be planned; planned bytes count as if they were in flight."""
        return not self._flushing and self.link.may_send(sum(painter.planned_bytes for painter in self.painters))

    def when_free(self, callback: Callable[[], None]) -> None:
        """Call back, once, when the terminal has read more."""
        self._waiting.add(callback)

    def budget_bytes(self, cells: int) -> int:
        """Return the most bytes for a picture of ``cells`` cells on this link; 0 for no limit.

        The budget changes in steps, so that encoded pictures can be reused although the measured rate varies.
        """
        rate = self.link.bytes_per_second
        if rate is None:
            return 0
        share = cells / max(cells, sum(painter.cells for painter in self.painters))
        budget = int(max(MIN_BUDGET_BYTES, rate * BUDGET_S * share))
        before = self._budgets.get(cells, 0)
        if not before / BUDGET_STEP < budget < before * BUDGET_STEP:
            before = self._budgets[cells] = budget
        return before if before < NO_BUDGET_BYTES else 0

    def cursor_reported(self, x: int) -> None:
        """Record that the terminal reported its cursor position, and call back who waits for it.

        An app calls it from `on_cursor_position`. The reports pace the pictures: they bound the data that the terminal
        has not read yet. The column `x`, counted from 0, tells the number of the query.
        """
        number = x - _FIRST_X
        self.link.acknowledged(number if 0 <= number < NUMBERS else None)
        waiting, self._waiting = self._waiting, set()
        for callback in waiting:
            callback()

    # What is written

    def wrote(self, size_bytes: int, *, picture: bool = False, last: bool = False) -> str:
        """Count bytes written for a picture; returns the query to write after them, or nothing.

        Args:
            size_bytes: Bytes written.
            picture: They complete a picture.
            last: Nothing more of this view follows in this update.
        """
        self.pictures += picture
        self.bytes_sent += size_bytes
        self._unqueried_bytes += size_bytes
        due = self._unqueried_bytes >= min(QUERY_EVERY_BYTES, self.link.window_bytes / 4) or (
            last and self._unqueried_bytes >= MIN_QUERY_BYTES
        )
        if not due:
            return ""
        number = self.link.sent(self._unqueried_bytes)
        self._unqueried_bytes = 0
        # Textual parses the reply into a `CursorPosition` event.
        return f"\x1b7\x1b[1;{number + _FIRST_X + 1}H\x1b[6n\x1b8"

    def forget_held(self) -> None:
        """Assume that a kitty terminal holds nothing; whatever it still holds is deleted with the next picture."""
        self._to_free += self.held.clear()

    def hand_over(self, piece: Slice, columns: int, terminal: Terminal) -> tuple[int, str]:
        """Return a slice's number in a kitty terminal, and what to write first if the terminal does not hold it."""
        number = self.held.number(piece.key)
        if number is not None:
            return number, ""
        rows = piece.rows + 2 * piece.margin_rows
        pixels = columns * terminal.cell_width_px * rows * terminal.cell_height_px
        keep = set().union(*(painter.keys_on_screen() for painter in self.painters))
        number, evicted = self.held.add(piece.key, pixels * 4, keep)
        freed, self._to_free = [*self._to_free, *evicted], []
        commands = [kitty.deletion(old, terminal.in_tmux) for old in freed]
        commands.append(kitty.transmission(piece.data, number, columns, rows, terminal.in_tmux))
        return number, "".join(commands)

    # The end

    async def wait_until_flushed(self, limit_s: float) -> None:
        """Wait until the terminal has read everything sent, so that it does not reply to the shell."""
        clock = asyncio.get_running_loop().time
        until = clock() + limit_s
        self._flushing = True
        try:
            while self.link.in_flight_bytes and clock() < until:
                await asyncio.sleep(FLUSH_POLL_S)
        finally:
            self._flushing = False

    def discard_pending_reports(self) -> None:
        """After the app has ended, read and drop cursor reports under way, which the shell would take for input."""
        if self.link.waiting:
            # On a near link they arrive at once, or were read before the end. On a far one, text may be queued before.
            delay_s = self.link.round_trip_s
            discard_cursor_reports(self.link.waiting, 1.0 if delay_s is None else 0.1 if delay_s < NEAR_S else 5.0)

    def image_cleanup_sequence(self) -> str:
        """Return what to write after the app has ended, to free its pictures in the terminal's memory."""
        numbers = [*self.held.clear(), *self._to_free]
        if self.terminal.protocol is not Protocol.KITTY or not numbers:
            return ""
        deletions = "".join(kitty.deletion(number, self.terminal.in_tmux) for number in numbers)
        # The pictures belong to the alternate screen, which the app has left: return to it for a moment, unseen.
        return f"\x1b[?2026h\x1b[?1049h{deletions}\x1b[?1049l\x1b[?2026l"


_contexts: WeakKeyDictionary[App[Any], GraphicsContext] = WeakKeyDictionary()


def context_of(app: App[Any]) -> GraphicsContext:
    """Return the app's context, created on first use."""
    if app not in _contexts:
        _contexts[app] = GraphicsContext(terminal_of(app))
    return _contexts[app]


def terminal_of(app: object) -> Terminal:
    """Return the app's `terminal` attribute, or a terminal with half blocks if it has none."""
    terminal = getattr(app, "terminal", None)
    return terminal if isinstance(terminal, Terminal) else Terminal()
