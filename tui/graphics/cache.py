"""A cache bounded by the bytes of its values."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from threading import Lock
from typing import Generic, TypeVar

Value = TypeVar("Value")


class ByteCache(Generic[Value]):
    """A thread-safe mapping that evicts the least recently used values.

    Args:
        limit_bytes: The limit for all values together; a value that is larger by itself is not kept.
    """

    def __init__(self, limit_bytes: int) -> None:
        self._limit_bytes = limit_bytes
        self._entries: OrderedDict[Hashable, tuple[Value, int]] = OrderedDict()
        self._held_bytes = 0
        self._lock = Lock()

    def get(self, key: Hashable) -> Value | None:
        """Return a value and make it the most recently used; None if there is none."""
        with self._lock:
            entry = self._entries.get(key)
            if entry is None:
                return None
            self._entries.move_to_end(key)
            return entry[0]

    def put(self, key: Hashable, value: Value, size_bytes: int) -> None:
        """Keep a value, evicting others to make room."""
        with self._lock:
            if key in self._entries:
                self._held_bytes -= self._entries.pop(key)[1]
            if size_bytes > self._limit_bytes:
                return
            self._entries[key] = (value, size_bytes)
            self._held_bytes += size_bytes
            while self._held_bytes > self._limit_bytes:
                _, (_, dropped_bytes) = self._entries.popitem(last=False)
                self._held_bytes -= dropped_bytes

    def clear(self) -> None:
        """Remove all values."""
        with self._lock:
            self._entries.clear()
            self._held_bytes = 0
