"""What the pictures of one app share: the encode cache, the link, what a kitty terminal holds, and counters."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace
from operator import attrgetter
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from cachetools import LRUCache

from tui.graphics import kitty
from tui.graphics.encode import Encoded, Slice
from tui.graphics.kitty import TerminalImageCache
from tui.graphics.link import NEAR_S, NUMBERS, Link
from tui.graphics.probe import discard_cursor_reports
from tui.graphics.terminal import Protocol, Terminal

if TYPE_CHECKING:
    from textual.app import App

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
DRAIN_POLL_S = 0.02


@dataclass(frozen=True)
class PictureStatistics:
    """Counters of the pictures written so far, and the measured link."""

    pictures: int = 0
    """Pictures written, repetitions included."""
    bytes_sent: int = 0
    """Bytes written for them, cells included."""
    bytes_per_second: float | None = None
    """The measured rate of the link; None if unknown."""
    round_trip_s: float | None = None
    held: int = 0
    """Slices that a kitty terminal holds."""


def cursor_query(number: int) -> str:
    """Return a query for the cursor position; the column of the reply tells the number of the query.

    Textual parses the reply into a `CursorPosition` event.
    """
    return f"\x1b7\x1b[1;{number + _FIRST_X + 1}H\x1b[6n\x1b8"


class GraphicsContext:
    """The shared state of one app's pictures.

    Args:
        terminal: The terminal at the other end of the link.
    """

    def __init__(self, terminal: Terminal) -> None:
        self.terminal = terminal
        self.cache: LRUCache[tuple[object, ...], Encoded] = LRUCache(CACHE_LIMIT_BYTES, attrgetter("size_bytes"))
        self.held = TerminalImageCache()
        self.link = Link(terminal.round_trip_s)
        self.statistics = PictureStatistics()
        self.on_screen: dict[int, set[bytes]] = {}
        """Keys of the slices on the screen, by `id` of the view."""
        self.areas: dict[int, int] = {}
        """Cells for the picture, by `id` of the view."""
        self._budgets: dict[int, int] = {}
        self._planned: dict[int, int] = {}
        self._waiting: dict[int, Callable[[], None]] = {}
        self._unqueried_bytes = 0
        self.resting = False
        """Nothing more is sent until everything sent has been read."""
        self.to_free: list[int] = []
        """Numbers of slices that a kitty terminal may still hold although they are forgotten here."""

    # What may be sent

    @property
    def has_room(self) -> bool:
        """Whether more may be planned; planned bytes count as if they were in flight."""
        return not self.resting and self.link.may_send(sum(self._planned.values()))

    def plan(self, view: int, size_bytes: int) -> None:
        """Add bytes that a view is about to write."""
        self._planned[view] = self._planned.get(view, 0) + size_bytes

    def unplan(self, view: int, size_bytes: int | None = None) -> None:
        """Subtract planned bytes that a view has written; None cancels the rest of its plan."""
        left = self._planned.pop(view, 0) - (size_bytes or 0)
        if size_bytes is not None and left > 0:
            self._planned[view] = left

    def when_free(self, view: int, callback: Callable[[], None]) -> None:
        """Call back when the terminal has read more; each view has at most one callback."""
        self._waiting[view] = callback

    def forget_view(self, view: int) -> None:
        """Forget a view that was removed."""
        for registry in (self.on_screen, self.areas, self._planned, self._waiting):
            registry.pop(view, None)

    def budget_bytes(self, cells: int) -> int:
        """Return the most bytes for a picture of ``cells`` cells on this link; 0 for no limit.

        The budget changes in steps, so that encoded pictures can be reused although the measured rate varies.
        """
        rate = self.link.bytes_per_second
        if rate is None:
            return 0
        budget = int(max(MIN_BUDGET_BYTES, rate * BUDGET_S * cells / max(cells, sum(self.areas.values()))))
        before = self._budgets.get(cells, 0)
        if not before / BUDGET_STEP < budget < before * BUDGET_STEP:
            before = self._budgets[cells] = budget
        return before if before < NO_BUDGET_BYTES else 0

    def cursor_reported(self, number: int | None) -> None:
        """Record that the terminal has replied, and call back who waits for it."""
        self.link.acknowledged(number)
        waiting, self._waiting = self._waiting, {}
        for callback in waiting.values():
            callback()

    # What is written

    def wrote(self, size_bytes: int, *, picture: bool = False, last: bool = False) -> str:
        """Count bytes written for a picture; returns the query to write after them, or nothing.

        Args:
            size_bytes: Bytes written.
            picture: They complete a picture.
            last: Nothing more of this view follows in this update.
        """
        old = self.statistics
        self.statistics = replace(old, pictures=old.pictures + picture, bytes_sent=old.bytes_sent + size_bytes)
        self._unqueried_bytes += size_bytes
        due = self._unqueried_bytes >= min(QUERY_EVERY_BYTES, self.link.window_bytes / 4) or (
            last and self._unqueried_bytes >= MIN_QUERY_BYTES
        )
        if not due:
            return ""
        number = self.link.sent(self._unqueried_bytes)
        self._unqueried_bytes = 0
        return cursor_query(number)

    def forget_held(self) -> None:
        """Assume that a kitty terminal holds nothing; whatever it still holds is deleted with the next picture."""
        self.to_free += self.held.clear()

    def hand_over(self, piece: Slice, columns: int, terminal: Terminal) -> tuple[int, str]:
        """Return a slice's number in a kitty terminal, and what to write first if the terminal does not hold it."""
        number = self.held.number(piece.key)
        if number is not None:
            return number, ""
        tmux = terminal.multiplexer.startswith("tmux")
        rows = piece.rows + 2 * piece.margin_rows
        pixels = columns * terminal.cell_width_px * rows * terminal.cell_height_px
        number, evicted = self.held.add(piece.key, pixels * 4, set().union(*self.on_screen.values()))
        freed, self.to_free = [*self.to_free, *evicted], []
        commands = [kitty.deletion(old, tmux) for old in freed]
        commands.append(kitty.transmission(piece.data, number, columns, rows, tmux))
        return number, "".join(commands)


_contexts: WeakKeyDictionary[App[Any], GraphicsContext] = WeakKeyDictionary()


def context_of(app: App[Any]) -> GraphicsContext:
    """Return the app's context, created on first use."""
    context = _contexts.get(app)
    if context is None:
        context = _contexts[app] = GraphicsContext(terminal_of(app))
    return context


def terminal_of(app: object) -> Terminal:
    """Return the app's `terminal` attribute, or a terminal with half blocks if it has none."""
    terminal = getattr(app, "terminal", None)
    return terminal if isinstance(terminal, Terminal) else Terminal()


def statistics(app: App[Any]) -> PictureStatistics:
    """Return the counters of the app's pictures and the measured link."""
    context = context_of(app)
    return replace(
        context.statistics,
        bytes_per_second=context.link.bytes_per_second,
        round_trip_s=context.link.round_trip_s,
        held=len(context.held),
    )


def cursor_reported(app: App[Any], x: int) -> None:
    """Record that the terminal reported its cursor position; call it from an app's `on_cursor_position`.

    The reports pace the pictures: they bound the data that the terminal has not read yet.

    Args:
        app: The app.
        x: The column, counted from 0.
    """
    number = x - _FIRST_X
    context_of(app).cursor_reported(number if 0 <= number < NUMBERS else None)


def discard_pending_reports(app: App[Any], timeout_s: float = 5.0) -> None:
    """After the app has ended, read and drop cursor reports under way, which the shell would take for input."""
    link = context_of(app).link
    if link.waiting:
        # On a near link they arrive at once, or were read before the end. On a far one, text may be queued before them.
        delay_s = link.round_trip_s
        limit_s = 1.0 if delay_s is None else 0.1 if delay_s < NEAR_S else timeout_s
        discard_cursor_reports(link.waiting, min(timeout_s, limit_s))


def reset_context(app: App[Any]) -> None:
    """Start over after the terminal was probed again: it may be another one, which holds nothing."""
    context, terminal = context_of(app), terminal_of(app)
    context.forget_held()
    context.terminal, context.link = terminal, Link(terminal.round_trip_s)


async def wait_until_flushed(app: App[Any], limit_s: float) -> None:
    """Wait until the terminal has read everything sent, so that it does not reply to somebody else, e.g. the shell."""
    context, clock = context_of(app), asyncio.get_running_loop().time
    until = clock() + limit_s
    context.resting = True
    try:
        while context.link.in_flight_bytes and clock() < until:
            await asyncio.sleep(DRAIN_POLL_S)
    finally:
        context.resting = False


def image_cleanup_sequence(app: App[Any]) -> str:
    """Return what to write after the app has ended, to free its pictures in the terminal's memory."""
    context = context_of(app)
    numbers = [*context.held.clear(), *context.to_free]
    terminal = terminal_of(app)
    if terminal.protocol is not Protocol.KITTY or not numbers:
        return ""
    tmux = terminal.multiplexer.startswith("tmux")
    deletions = "".join(kitty.deletion(number, tmux) for number in numbers)
    # The pictures belong to the alternate screen, which the app has left: return to it for a moment, unseen.
    return f"\x1b[?2026h\x1b[?1049h{deletions}\x1b[?1049l\x1b[?2026l"
