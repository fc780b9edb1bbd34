"""What one app shares among its pictures: the encode cache, the pictures that a kitty terminal holds, and counters."""

from __future__ import annotations

import asyncio
import secrets
from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from tui.graphics import kitty
from tui.graphics.cache import ByteCache
from tui.graphics.encode import Encoded
from tui.graphics.probe import swallow
from tui.graphics.terminal import Protocol, Terminal

if TYPE_CHECKING:
    from textual.app import App

CACHE_LIMIT_BYTES = 48 << 20
HELD_PICTURES = 24
HELD_BYTES = 32 << 20

RECEIPT_QUESTION = "\x1b[6n"
"""Where is the cursor? A terminal answers when it has got this far; Textual takes the answer for what it is."""
RECEIPT_BYTES = 32 << 10
"""Pictures above this size are followed by the question."""
RECEIPT_LIMIT_S = 5.0


@dataclass(frozen=True)
class PictureStatistics:
    """What pictures have cost so far."""

    pictures: int = 0
    """Pictures written, counting each time."""
    bytes_sent: int = 0
    """Bytes written for them, cells included."""
    last_bytes: int = 0
    last_encode_ms: float = 0.0


class HeldPictures:
    """The pictures that the terminal keeps for us, by number. Bounded; the least recently shown go first.

    Args:
        most: Pictures to keep there.
        most_bytes: Bytes of memory they may take there.
    """

    def __init__(self, most: int = HELD_PICTURES, most_bytes: int = HELD_BYTES) -> None:
        self._most = most
        self._most_bytes = most_bytes
        self._held: OrderedDict[Hashable, tuple[int, int]] = OrderedDict()
        # The high byte keeps apart the pictures of several programs in one terminal; 16 to 255 are fixed colours.
        self._high = 1 + secrets.randbelow(254)
        self._free = list(range(255, 15, -1))

    def number(self, key: Hashable) -> int | None:
        """The picture's number if the terminal holds it."""
        held = self._held.get(key)
        if held is None:
            return None
        self._held.move_to_end(key)
        return held[0]

    def add(self, key: Hashable, size_bytes: int, keep: set[Hashable]) -> tuple[int, list[int]]:
        """Give a new picture a number.

        Args:
            key: What the picture is known by; not held yet.
            size_bytes: What it takes in the terminal.
            keep: Keys of pictures on the screen, which must not go.

        Returns:
            The number, and those of the pictures to delete.
        """
        evicted = []
        for old in list(self._held):
            if len(self._held) < self._most and self.held_bytes + size_bytes <= self._most_bytes:
                break
            if old not in keep:
                evicted.append(self._held.pop(old)[0])
        number = (self._high << 24) | self._free.pop()
        # Freed numbers go to the far end: a late repaint of an old picture finds nothing rather than a wrong one.
        self._free[:0] = [old & 0xFF for old in evicted]
        self._held[key] = (number, size_bytes)
        return number, evicted

    def clear(self) -> list[int]:
        """Forget all; the numbers to delete."""
        numbers = [number for number, _ in self._held.values()]
        self._held.clear()
        self._free[:0] = [number & 0xFF for number in numbers]
        return numbers

    @property
    def held_bytes(self) -> int:
        """What the pictures take in the terminal."""
        return sum(size for _, size in self._held.values())

    def __len__(self) -> int:
        return len(self._held)


class Session:
    """One app's pictures."""

    def __init__(self) -> None:
        self.cache: ByteCache[Encoded] = ByteCache(CACHE_LIMIT_BYTES)
        self.held = HeldPictures()
        self.statistics = PictureStatistics()
        self.on_screen: dict[int, Hashable] = {}
        """What each view shows, by the view's identity."""
        self.receipts_due = 0
        """Pictures that the terminal has not yet confirmed to have read."""
        self._receipts_come = False
        self._all_read = asyncio.Event()

    @property
    def link_is_busy(self) -> bool:
        """Whether pictures are known to be on their way still. Never true if nobody reports receipts."""
        return self._receipts_come and self.receipts_due > 0

    def receipt_question(self, size_bytes: int) -> str:
        """What to write after a picture to learn when the terminal has read it."""
        if size_bytes < RECEIPT_BYTES:
            return ""
        self.receipts_due += 1
        self._all_read.clear()
        return RECEIPT_QUESTION

    def receipt(self) -> None:
        """The terminal has read one more picture."""
        self._receipts_come = True
        self.receipts_due = max(0, self.receipts_due - 1)
        if not self.receipts_due:
            self._all_read.set()

    async def until_read(self) -> None:
        """Wait until the link is free. Without it, a held key would queue pictures for seconds on a slow link."""
        if self.link_is_busy:
            try:
                await asyncio.wait_for(self._all_read.wait(), RECEIPT_LIMIT_S)
            except TimeoutError:
                self.receipts_due = 0

    def encoded(self, encode_ms: float) -> None:
        """Count an encoding."""
        self.statistics = replace(self.statistics, last_encode_ms=encode_ms)

    def wrote(self, size_bytes: int, new_picture: bool) -> None:
        """Count what was written for a picture."""
        old = self.statistics
        self.statistics = replace(
            old,
            pictures=old.pictures + new_picture,
            bytes_sent=old.bytes_sent + size_bytes,
            last_bytes=size_bytes if new_picture else old.last_bytes + size_bytes,
        )

    def hand_over(self, picture: Encoded) -> tuple[int, str]:
        """The picture's number in the terminal, and what must be written first for the terminal to hold it."""
        placement = picture.placement
        key = picture.job.picture.key, placement.columns, placement.rows
        number = self.held.number(key)
        if number is not None:
            return number, ""
        tmux = picture.job.terminal.multiplexer.startswith("tmux")
        pixels = placement.width_px * placement.height_px
        number, evicted = self.held.add(key, pixels * 4, set(self.on_screen.values()))
        commands = [kitty.deletion(old, tmux) for old in evicted]
        commands.append(kitty.transmission(picture.data, number, placement.columns, placement.rows, tmux))
        return number, "".join(commands)


_sessions: WeakKeyDictionary[App[Any], Session] = WeakKeyDictionary()


def session_of(app: App[Any]) -> Session:
    """The app's session, begun on first use."""
    session = _sessions.get(app)
    if session is None:
        session = _sessions[app] = Session()
    return session


def terminal_of(app: object) -> Terminal:
    """The app's `terminal`, or plain half blocks if it has none."""
    terminal = getattr(app, "terminal", None)
    return terminal if isinstance(terminal, Terminal) else Terminal()


def statistics(app: App[Any]) -> PictureStatistics:
    """What the app's pictures have cost so far."""
    return session_of(app).statistics


def acknowledged(app: App[Any]) -> None:
    """Tell that the terminal reported its cursor's position. For an app's `on_cursor_position`.

    With it, views send the next picture only when the terminal has read the last one, and skip those in between.
    """
    session_of(app).receipt()


def settle(app: App[Any], timeout_s: float = 1.0) -> None:
    """After the app has ended, swallow reports that are still on their way, lest the shell takes them for input."""
    session = session_of(app)
    if session.link_is_busy:
        swallow(b"R", session.receipts_due, timeout_s)
        session.receipts_due = 0


def forget(app: App[Any]) -> None:
    """Take it that the terminal holds none of our pictures any more: after a reset, or when it was probed anew."""
    session = session_of(app)
    session.held.clear()


def farewell(app: App[Any]) -> str:
    """What to write to the terminal after the app has ended, so that none of its pictures stays in memory there."""
    session = session_of(app)
    numbers = session.held.clear()
    terminal = terminal_of(app)
    if terminal.protocol is not Protocol.KITTY or not numbers:
        return ""
    tmux = terminal.multiplexer.startswith("tmux")
    deletions = "".join(kitty.deletion(number, tmux) for number in numbers)
    # The pictures belong to the alternate screen that the app has left: go back there for a moment, unseen.
    return f"\x1b[?2026h\x1b[?1049h{deletions}\x1b[?1049l\x1b[?2026l"
