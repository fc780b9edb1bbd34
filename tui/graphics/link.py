"""Flow control for the link to the terminal: measures its rate and limits the bytes in flight.

After picture data the terminal is asked for its cursor position. It replies when it has read that far, so the replies
tell how many bytes arrive per second, including ssh and the terminal's drawing. A multiplexer such as tmux replies by
itself, so the link behind it is not measured. The window, the most bytes in flight, is the round trip's worth of bytes
and a little more: enough to keep a slow link busy, and so few that the next key does not wait long behind them.
"""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable
from typing import NamedTuple

QUEUE_S = 0.1
"""How long new data may wait behind data sent before it."""
MIN_WINDOW_BYTES = 24 << 10
FIRST_WINDOW_BYTES = 48 << 10
"""The window on a link of unknown rate with a long round trip."""
NEAR_S = 0.03
"""A link with a shorter round trip is assumed to be fast until its rate is measured."""
MIN_SAMPLE_BYTES = 8 << 10
MIN_SAMPLE_S = 0.001
LOST_AFTER_S = 8.0
"""A query without a reply for this long is given up."""
NUMBERS = 16
"""Queries are numbered modulo this, so that a reply tells which one it answers."""


class _Query(NamedTuple):
    number: int
    sent_at: float
    bytes_before: int
    """All bytes sent before the query."""
    read_bytes: int
    read_at: float
    """The bytes known to have been read when the query was sent, and when that became known; if nothing was in flight,
    everything sent before, and the time of sending."""
    alone: bool
    """Nothing else was in flight."""


class Link:
    """The link to a terminal. Times are seconds of a monotonic clock.

    Args:
        round_trip_s: How long the probe's reply took; None if unknown.
        clock: For tests.

    Attributes:
        round_trip_s: The shortest round trip seen; None if unknown.
        bytes_per_second: The measured rate; None before the first measurement.
    """

    def __init__(self, round_trip_s: float | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self.round_trip_s = round_trip_s
        self._queries: deque[_Query] = deque()
        self._sent_bytes = self._read_bytes = 0
        self._read_at = 0.0
        self._alone = True
        self.bytes_per_second: float | None = None
        self._replies = self._gave_up = False
        self._asked = 0

    @property
    def waiting(self) -> int:
        """The number of queries that may still be answered."""
        self._give_up()
        return len(self._queries)

    @property
    def in_flight_bytes(self) -> int:
        """Bytes sent and not known to have been read; 0 if the terminal does not reply."""
        self._give_up()
        return self._sent_bytes - self._read_bytes if self._queries and self._paces else 0

    @property
    def window_bytes(self) -> float:
        """The most bytes in flight; unlimited on a near link of unknown rate."""
        delay = self.round_trip_s or 0.0
        if self.bytes_per_second is None:
            return math.inf if delay < NEAR_S else FIRST_WINDOW_BYTES
        return max(MIN_WINDOW_BYTES, self.bytes_per_second * (delay + QUEUE_S))

    @property
    def _paces(self) -> bool:
        """Whether replies are expected: after the first one, or if the probe was answered."""
        return self._replies or (self.round_trip_s is not None and not self._gave_up)

    def may_send(self, planned_bytes: int = 0) -> bool:
        """Return whether the window has room beyond the bytes in flight and those that are planned."""
        return self.in_flight_bytes + planned_bytes < self.window_bytes

    def seconds_for(self, size_bytes: int) -> float:
        """Return how long sending bytes takes; 0 on a near link of unknown rate."""
        if self.bytes_per_second is not None:
            return size_bytes / self.bytes_per_second
        delay = self.round_trip_s or 0.0
        # A link with such a round trip may well be one of the slow ones that coarse pictures are for.
        return 0.0 if delay < NEAR_S else size_bytes * delay / FIRST_WINDOW_BYTES

    def sent(self, size_bytes: int) -> int:
        """Record that bytes were sent with a query after them; returns the query's number."""
        now = self._clock()
        self._give_up()
        if not self._queries:
            self._read_bytes, self._read_at, self._alone = self._sent_bytes, now, True
        self._sent_bytes += size_bytes
        number = self._asked % NUMBERS
        self._asked += 1
        self._queries.append(_Query(number, now, self._sent_bytes, self._read_bytes, self._read_at, self._alone))
        return number

    def acknowledged(self, number: int | None = None) -> None:
        """Record that the terminal has replied to a query; None, if the reply does not tell, means the oldest one."""
        now = self._clock()
        self._replies = True
        self._give_up()
        pending = [query.number for query in self._queries]
        if not pending or (number is not None and number not in pending):
            return  # it was given up
        # Replies come in order: those to earlier queries were lost.
        for _ in range(0 if number is None else pending.index(number)):
            self._queries.popleft()
        query = self._queries.popleft()
        self._read_bytes, self._read_at, self._alone = query.bytes_before, now, False
        took_s, arrived = now - query.sent_at, query.bytes_before - query.read_bytes
        # Only the reply to a few bytes measures the round trip; one to many bytes takes longer, but bounds it.
        if (self.round_trip_s is None and arrived < MIN_SAMPLE_BYTES) or took_s < (self.round_trip_s or 0.0):
            self.round_trip_s = took_s
        if arrived >= MIN_SAMPLE_BYTES:
            self._sample(arrived, now - query.read_at, query.alone)

    def _sample(self, arrived: int, elapsed_s: float, alone: bool) -> None:
        """Update the rate from acknowledged bytes; if ``alone``, the time includes the round trip."""
        delay_s = (self.round_trip_s or 0.0) if alone else 0.0
        rate = arrived / max(MIN_SAMPLE_S, elapsed_s - delay_s, elapsed_s / 4)
        if elapsed_s >= 1.5 * delay_s:
            self.bytes_per_second = rate if self.bytes_per_second is None else (self.bytes_per_second + rate) / 2
        elif self.bytes_per_second is not None:
            # Mostly round trip: the link is at least this fast.
            self.bytes_per_second = max(self.bytes_per_second, rate)

    def _give_up(self) -> None:
        """Give up old queries."""
        now = self._clock()
        while self._queries and now - self._queries[0].sent_at > LOST_AFTER_S:
            self._read_bytes = self._queries.popleft().bytes_before
            self._gave_up = True
