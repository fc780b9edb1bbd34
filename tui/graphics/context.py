"""What one app shares among its pictures: the encode cache, the link, what a kitty terminal holds, and counters."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from tui.graphics import kitty
from tui.graphics.cache import ByteCache
from tui.graphics.encode import Encoded, Slice
from tui.graphics.kitty import TerminalImageCache
from tui.graphics.link import NEAR_S, NUMBERS, Link
from tui.graphics.probe import discard_cursor_reports
from tui.graphics.terminal import Protocol, Terminal

if TYPE_CHECKING:
    from textual.app import App

CACHE_LIMIT_BYTES = 48 << 20
RECEIPT_BYTES = 32 << 10
"""The question is asked after so many bytes of pictures, and after the last that are due."""

_FIRST_X = 1
"""Column 0 is where some answer whatever the question."""
MIN_ASKED_BYTES = 1 << 10
MIN_BUDGET_BYTES = 16 << 10
NO_BUDGET_BYTES = 600 << 10
"""A share of the link that carries so much in `BUDGET_S` sets no limit."""
BUDGET_STEP = 1.6
"""By which factor the rate must change for another budget."""
BUDGET_S = 1.7
"""On a slow link pictures lose colours until all that are on the screen take so long together."""
DRAIN_POLL_S = 0.02


@dataclass(frozen=True)
class PictureStatistics:
    """What pictures have cost so far."""

    pictures: int = 0
    """Pictures written, counting each time."""
    bytes_sent: int = 0
    """Bytes written for them, cells included."""
    bytes_per_second: float | None = None
    """What the link carries, as far as it was measured."""
    round_trip_s: float | None = None
    held: int = 0
    """Slices of pictures that a kitty terminal keeps for us."""


def receipt_question(number: int) -> str:
    """Where is the cursor? A terminal answers when it has got this far, and the column tells which question it was.

    Textual takes the answer for what it is, a cursor position.
    """
    return f"\x1b7\x1b[1;{number + _FIRST_X + 1}H\x1b[6n\x1b8"


class GraphicsContext:
    """One app's pictures.

    Args:
        terminal: Whose link it is.
    """

    def __init__(self, terminal: Terminal) -> None:
        self.terminal = terminal
        self.cache: ByteCache[Encoded] = ByteCache(CACHE_LIMIT_BYTES)
        self.held = TerminalImageCache()
        self.link = Link(terminal.round_trip_s)
        self.statistics = PictureStatistics()
        self.on_screen: dict[int, set[bytes]] = {}
        """Keys of the slices that each view shows, by the view's identity."""
        self.areas: dict[int, int] = {}
        """Cells that each view has for its picture."""
        self._budgets: dict[int, int] = {}
        self._planned: dict[int, int] = {}
        self._waiting: dict[int, Callable[[], None]] = {}
        self._unasked_bytes = 0
        self.resting = False
        """Nothing more is begun until what was sent has been read."""
        self.to_free: list[int] = []
        """Numbers of slices that a kitty terminal may hold and that nothing refers to any more."""

    # What may be sent

    @property
    def has_room(self) -> bool:
        """Whether more may be planned now: what is planned counts as if it were on its way."""
        return not self.resting and self.link.may_send(sum(self._planned.values()))

    def plan(self, view: int, size_bytes: int) -> None:
        """Note that a view is about to write so many bytes."""
        self._planned[view] = self._planned.get(view, 0) + size_bytes

    def unplan(self, view: int, size_bytes: int | None = None) -> None:
        """Note that a view has written so many bytes of what it had planned, or will write no more of it."""
        left = self._planned.pop(view, 0) - (size_bytes or 0)
        if size_bytes is not None and left > 0:
            self._planned[view] = left

    def when_free(self, view: int, go_on: Callable[[], None]) -> None:
        """Have something called when the terminal has read more; a view has one such wish at a time."""
        self._waiting[view] = go_on

    def forget_view(self, view: int) -> None:
        """A view is gone."""
        for registry in (self.on_screen, self.areas, self._planned, self._waiting):
            registry.pop(view, None)

    def budget_bytes(self, cells: int) -> int:
        """What a picture of so many cells may take on this link; 0 for no limit.

        A rate that varies a little changes nothing, so that what was encoded and sent before can be shown again.
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
        """The terminal has read so far; who waited for it may go on."""
        self.link.acknowledged(number)
        waiting, self._waiting = self._waiting, {}
        for go_on in waiting.values():
            go_on()

    # What is written

    def wrote(self, size_bytes: int, *, picture: bool = False, last: bool = False) -> str:
        """Count what was written for a picture; what to write after it, to learn when the terminal has read it.

        Args:
            picture: A picture's last slice, for the count of pictures.
            last: Nothing more of this view's follows in this update.
        """
        old = self.statistics
        self.statistics = replace(old, pictures=old.pictures + picture, bytes_sent=old.bytes_sent + size_bytes)
        self._unasked_bytes += size_bytes
        asked = self._unasked_bytes >= min(RECEIPT_BYTES, self.link.window_bytes / 4) or (
            last and self._unasked_bytes >= MIN_ASKED_BYTES
        )
        if not asked:
            return ""
        number = self.link.sent(self._unasked_bytes)
        self._unasked_bytes = 0
        return receipt_question(number)

    def forget_held(self) -> None:
        """Take it that a kitty terminal holds nothing of ours; what it does hold is freed with the next picture."""
        self.to_free += self.held.clear()

    def hand_over(self, piece: Slice, columns: int, terminal: Terminal) -> tuple[int, str]:
        """A slice's number in a kitty terminal, and what must be written first for the terminal to hold it."""
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
    """The app's context, begun on first use."""
    context = _contexts.get(app)
    if context is None:
        context = _contexts[app] = GraphicsContext(terminal_of(app))
    return context


def terminal_of(app: object) -> Terminal:
    """The app's `terminal`, or plain half blocks if it has none."""
    terminal = getattr(app, "terminal", None)
    return terminal if isinstance(terminal, Terminal) else Terminal()


def statistics(app: App[Any]) -> PictureStatistics:
    """What the app's pictures have cost so far, and what is known of the link."""
    context = context_of(app)
    return replace(
        context.statistics,
        bytes_per_second=context.link.bytes_per_second,
        round_trip_s=context.link.round_trip_s,
        held=len(context.held),
    )


def cursor_reported(app: App[Any], x: int) -> None:
    """Tell that the terminal reported its cursor's position. For an app's `on_cursor_position`.

    It paces the pictures: what the terminal has not read yet is not added to without bound.

    Args:
        x: The column, counted from 0.
    """
    number = x - _FIRST_X
    context_of(app).cursor_reported(number if 0 <= number < NUMBERS else None)


def discard_pending_reports(app: App[Any], timeout_s: float = 5.0) -> None:
    """After the app has ended, read and drop cursor reports still under way; the shell would take them for input."""
    link = context_of(app).link
    if link.waiting:
        # On a near link they are here in a moment, or were read before the end. On a far one text may wait before them.
        delay_s = link.round_trip_s
        limit_s = 1.0 if delay_s is None else 0.1 if delay_s < NEAR_S else timeout_s
        discard_cursor_reports(link.waiting, min(timeout_s, limit_s))


def reset_context(app: App[Any]) -> None:
    """Begin anew, after the terminal was asked again: nothing is held there; of another one's link nothing is known."""
    context, terminal = context_of(app), terminal_of(app)
    context.forget_held()
    context.terminal, context.link = terminal, Link(terminal.round_trip_s)


async def wait_until_flushed(app: App[Any], limit_s: float) -> None:
    """Wait until the terminal has read what was sent, or it would answer somebody else, e.g. the shell."""
    context, clock = context_of(app), asyncio.get_running_loop().time
    until = clock() + limit_s
    context.resting = True
    try:
        while context.link.in_flight_bytes and clock() < until:
            await asyncio.sleep(DRAIN_POLL_S)
    finally:
        context.resting = False


def image_cleanup_sequence(app: App[Any]) -> str:
    """What to write to the terminal after the app has ended, so that none of its pictures stays in memory there."""
    context = context_of(app)
    numbers = [*context.held.clear(), *context.to_free]
    terminal = terminal_of(app)
    if terminal.protocol is not Protocol.KITTY or not numbers:
        return ""
    tmux = terminal.multiplexer.startswith("tmux")
    deletions = "".join(kitty.deletion(number, tmux) for number in numbers)
    # The pictures belong to the alternate screen that the app has left: go back there for a moment, unseen.
    return f"\x1b[?2026h\x1b[?1049h{deletions}\x1b[?1049l\x1b[?2026l"
