"""How fast the way to the terminal is, measured from what the terminal acknowledges, and what may be sent just now.

After picture data the terminal is asked where its cursor is. It answers when it has read so far, so the answers tell
how many bytes arrive a second, ssh and the terminal's own drawing included; a multiplexer such as tmux answers by
itself, and what lies behind it is not seen. The window, what may be on its way unacknowledged, is the delay's worth of
bytes and a little more: enough to keep a slow link busy, and so little that what the next key brings has not long to
wait behind it.
"""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable
from typing import NamedTuple

QUEUE_S = 0.1
"""How long what is sent may wait for what was sent before it."""
MIN_WINDOW_BYTES = 24 << 10
FIRST_WINDOW_BYTES = 48 << 10
"""On a link of unknown rate that is known to be far away."""
NEAR_S = 0.03
"""A round trip below this is taken for a fast link until it is measured."""
MIN_SAMPLE_BYTES = 8 << 10
MIN_SAMPLE_S = 0.001
LOST_AFTER_S = 8.0
"""A question without an answer for so long is not waited for any more."""
NUMBERS = 16
"""Questions are numbered, again and again from 0, so that an answer tells which one it is to."""


class _Query(NamedTuple):
    number: int
    sent_at: float
    bytes_before: int
    """All bytes sent up to and including those that the question came after."""
    read_bytes: int
    read_at: float
    """What the terminal was known to have read when the question was sent, and since when; if nothing was on its way
    then, all before these bytes, and since the moment that they could begin to arrive."""
    alone: bool
    """Nothing was on its way."""


class Link:
    """One way to a terminal. Times are seconds of a monotonic clock.

    Args:
        round_trip_s: As the terminal's first answer took; None if that is not known.
        clock: For tests.
    """

    def __init__(self, round_trip_s: float | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._round_trip_s = round_trip_s
        self._queries: deque[_Query] = deque()
        self._sent_bytes = self._read_bytes = 0
        self._read_at = 0.0
        self._alone = True
        self._rate: float | None = None
        self._answers = self._gave_up = False
        self._asked = 0

    @property
    def round_trip_s(self) -> float | None:
        """The shortest round trip seen, or None."""
        return self._round_trip_s

    @property
    def bytes_per_second(self) -> float | None:
        """What arrives, or None as long as it was not measured."""
        return self._rate

    @property
    def waiting(self) -> int:
        """Questions that the terminal has not answered yet, and may still answer."""
        self._give_up()
        return len(self._queries)

    @property
    def in_flight_bytes(self) -> int:
        """What was sent and is not known to have been read. 0 on a terminal that does not answer."""
        self._give_up()
        return self._sent_bytes - self._read_bytes if self._queries and self._paces else 0

    @property
    def window_bytes(self) -> float:
        """What may be in flight; without bound on a near link of unknown rate."""
        delay = self._round_trip_s or 0.0
        if self._rate is None:
            return math.inf if delay < NEAR_S else FIRST_WINDOW_BYTES
        return max(MIN_WINDOW_BYTES, self._rate * (delay + QUEUE_S))

    @property
    def _paces(self) -> bool:
        """Whether answers come: to be known only after the first, and to be expected where the probe was answered."""
        return self._answers or (self._round_trip_s is not None and not self._gave_up)

    def may_send(self, planned_bytes: int = 0) -> bool:
        """Whether more should go out now: as long as the window is not full, or a slow link would run dry.

        Args:
            planned_bytes: What is about to be sent already.
        """
        return self.in_flight_bytes + planned_bytes < self.window_bytes

    def seconds_for(self, size_bytes: int) -> float:
        """How long so many bytes take once they are sent; 0 on a near link of unknown rate."""
        if self._rate is not None:
            return size_bytes / self._rate
        delay = self._round_trip_s or 0.0
        # A link of that length is as likely as not to be the slow one that the coarse pictures are for.
        return 0.0 if delay < NEAR_S else size_bytes * delay / FIRST_WINDOW_BYTES

    def sent(self, size_bytes: int) -> int:
        """Note that bytes were handed to the terminal's writer, a question right after them; returns its number."""
        now = self._clock()
        self._give_up()
        if not self._queries:
            self._read_bytes, self._read_at, self._alone = self._sent_bytes, now, True
        self._sent_bytes += size_bytes
        number = self._asked % NUMBERS
        self._asked += 1
        state = self._sent_bytes, self._read_bytes, self._read_at, self._alone
        self._queries.append(_Query(number, now, *state))
        return number

    def acknowledged(self, number: int | None = None) -> None:
        """Note that the terminal has answered.

        Args:
            number: Which question; None where the answer does not tell: the oldest one.
        """
        now = self._clock()
        self._answers = True
        self._give_up()
        waiting = [question.number for question in self._queries]
        if not waiting or (number is not None and number not in waiting):
            return  # it was given up
        # Answers come in the order of the questions: those to the ones before it were lost.
        for _ in range(0 if number is None else waiting.index(number)):
            self._queries.popleft()
        question = self._queries.popleft()
        self._read_bytes, self._read_at, self._alone = question.bytes_before, now, False
        took_s, arrived = now - question.sent_at, question.bytes_before - question.read_bytes
        # Only an answer to a few bytes tells the delay; the one to many bytes is no shorter, so it may correct it.
        if (self._round_trip_s is None and arrived < MIN_SAMPLE_BYTES) or took_s < (self._round_trip_s or 0.0):
            self._round_trip_s = took_s
        if arrived >= MIN_SAMPLE_BYTES:
            self._sample(arrived, now - question.read_at, question.alone)

    def _sample(self, arrived: int, elapsed_s: float, alone: bool) -> None:
        """Learn from bytes that were acknowledged: so many within so long, the way itself included if alone."""
        delay_s = (self._round_trip_s or 0.0) if alone else 0.0
        rate = arrived / max(MIN_SAMPLE_S, elapsed_s - delay_s, elapsed_s / 4)
        if elapsed_s >= 1.5 * delay_s:
            self._rate = rate if self._rate is None else (self._rate + rate) / 2
        elif self._rate is not None:
            # Mostly delay: the link is at least that fast.
            self._rate = max(self._rate, rate)

    def _give_up(self) -> None:
        """Wait no more for questions that the terminal has not answered for long."""
        now = self._clock()
        while self._queries and now - self._queries[0].sent_at > LOST_AFTER_S:
            self._read_bytes = self._queries.popleft().bytes_before
            self._gave_up = True
