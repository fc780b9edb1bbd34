"""What a kitty terminal keeps for us: slices of pictures under numbers, within bounds."""

from __future__ import annotations

import secrets
from collections import OrderedDict, deque
from collections.abc import Hashable, Set

HELD_SLICES = 400
HELD_BYTES = 48 << 20


class TerminalImageCache:
    """The slices that the terminal keeps for us, by number. Bounded; the least recently shown go first.

    Args:
        most: Slices to keep there.
        most_bytes: Bytes of memory they may take there.
    """

    def __init__(self, most: int = HELD_SLICES, most_bytes: int = HELD_BYTES) -> None:
        self._most = most
        self._most_bytes = most_bytes
        self._held: OrderedDict[Hashable, tuple[int, int]] = OrderedDict()
        self._held_bytes = 0
        # High bytes drawn by lot keep apart the pictures of several programs in one terminal; of the low bytes 16 to
        # 255 are the fixed ones of the 256 colours.
        first = 1 + secrets.randbelow(252)
        self._free = deque((high << 24) | low for high in (first, first + 1) for low in range(16, 256))

    def number(self, key: Hashable) -> int | None:
        """The slice's number if the terminal holds it."""
        held = self._held.get(key)
        if held is None:
            return None
        self._held.move_to_end(key)
        return held[0]

    def add(self, key: Hashable, size_bytes: int, keep: Set[Hashable]) -> tuple[int, list[int]]:
        """Give a new slice a number.

        Args:
            key: What the slice is known by; not held yet.
            size_bytes: What it takes in the terminal.
            keep: Keys of slices on the screen, which must not go.

        Returns:
            The number, and those of the slices to delete.
        """
        evicted = []
        for old in list(self._held):
            if len(self._held) < self._most and self._held_bytes + size_bytes <= self._most_bytes:
                break
            if old not in keep:
                number, size = self._held.pop(old)
                self._held_bytes -= size
                evicted.append(number)
        number = self._free.popleft()
        # Freed numbers go to the far end: a late repaint of an old picture finds nothing rather than a wrong one.
        self._free.extend(evicted)
        self._held[key] = (number, size_bytes)
        self._held_bytes += size_bytes
        return number, evicted

    def clear(self) -> list[int]:
        """Forget all; the numbers to delete."""
        numbers = [number for number, _ in self._held.values()]
        self._held.clear()
        self._held_bytes = 0
        self._free.extend(numbers)
        return numbers

    @property
    def held_bytes(self) -> int:
        """What the slices take in the terminal."""
        return self._held_bytes

    def __len__(self) -> int:
        return len(self._held)
