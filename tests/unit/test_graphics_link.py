"""The link to the terminal: what is measured of it, and how much may be on its way."""

from __future__ import annotations

import math

import pytest

from tui.graphics.link import FIRST_WINDOW_BYTES, LOST_AFTER_S, MIN_WINDOW_BYTES, QUEUE_S, Link

KIB = 1 << 10


class Wire:
    """A link of a rate and a delay, and the `Link` that measures it."""

    def __init__(self, rate: float, round_trip_s: float, *, probed: bool = True) -> None:
        self.now = 100.0
        self.rate, self.round_trip_s = rate, round_trip_s
        self.link = Link(round_trip_s if probed else None, lambda: self.now)
        self._free_at = 0.0
        self._answers: list[tuple[float, int]] = []

    def send(self, size_bytes: int) -> None:
        """Hand bytes over, with the question after them."""
        number = self.link.sent(size_bytes)
        self._free_at = max(self.now, self._free_at) + size_bytes / self.rate
        self._answers.append((self._free_at + self.round_trip_s, number))

    def answer(self) -> None:
        """Let time pass until the next answer."""
        at, number = self._answers.pop(0)
        self.now = max(self.now, at)
        self.link.acknowledged(number)

    def lose(self) -> None:
        """Have the next answer lost on its way."""
        self._answers.pop(0)

    def picture(self, pieces: int, size_bytes: int) -> float:
        """Send pieces as the window allows; the seconds until the last is acknowledged."""
        began = self.now
        while pieces:
            while pieces and self.link.may_send():
                self.send(size_bytes)
                pieces -= 1
            self.answer()
        while self._answers:
            self.answer()
        return self.now - began


def test_a_near_link_is_not_held_back_before_it_is_measured() -> None:
    link = Link(0.001)
    assert link.window_bytes == math.inf
    assert link.seconds_for(10**6) == 0.0


def test_a_far_link_begins_with_a_small_window() -> None:
    link = Link(0.25)
    assert link.window_bytes == FIRST_WINDOW_BYTES
    assert link.seconds_for(200 * KIB) > 0.5


@pytest.mark.parametrize(("rate", "round_trip_s"), [(125_000, 0.25), (125_000, 0.02), (1_250_000, 0.1), (10**7, 0.001)])
def test_the_rate_is_found_within_a_few_pictures(rate: float, round_trip_s: float) -> None:
    wire = Wire(rate, round_trip_s)
    for _ in range(3):
        wire.picture(10, 20 * KIB)
    assert wire.link.bytes_per_second == pytest.approx(rate, rel=0.35)


def test_the_window_of_a_fast_but_far_link_opens_within_seconds() -> None:
    wire = Wire(10**7, 0.25)
    for _ in range(3):
        wire.picture(10, 20 * KIB)
    assert wire.picture(10, 20 * KIB) < 0.6


def test_the_window_keeps_a_slow_link_busy_and_its_queue_short() -> None:
    wire = Wire(125_000, 0.25)
    wire.picture(10, 20 * KIB)
    assert wire.picture(10, 20 * KIB) == pytest.approx(200 * KIB / 125_000 + 0.25, rel=0.15)
    assert wire.link.window_bytes / 125_000 == pytest.approx(0.25 + QUEUE_S, rel=0.3)


def test_a_full_window_opens_with_the_next_answer() -> None:
    wire = Wire(2000, 0.25)
    wire.picture(1, 10 * KIB)
    assert wire.link.window_bytes == MIN_WINDOW_BYTES
    assert wire.link.may_send()
    wire.send(14_000)
    wire.send(14_000)
    assert not wire.link.may_send()
    wire.answer()
    assert wire.link.may_send()


def test_a_link_that_becomes_slower_is_noticed() -> None:
    wire = Wire(10**6, 0.05)
    wire.picture(10, 20 * KIB)
    wire.rate = 100_000
    for _ in range(3):
        wire.picture(10, 20 * KIB)
    assert wire.link.bytes_per_second == pytest.approx(100_000, rel=0.35)


def test_a_terminal_that_never_replies_does_not_limit_what_is_sent() -> None:
    now = [0.0]
    link = Link(None, lambda: now[0])
    link.sent(10**6)
    assert link.may_send()
    assert link.in_flight_bytes == 0


def test_lost_replies_are_given_up() -> None:
    now = [0.0]
    link = Link(0.25, lambda: now[0])
    link.sent(10**6)
    assert not link.may_send()
    now[0] = LOST_AFTER_S + 1
    assert link.may_send()
    assert link.waiting == 0


def test_late_replies_are_not_taken_for_replies_to_later_queries() -> None:
    now = [0.0]
    link = Link(0.2, lambda: now[0])
    late = [link.sent(12 * KIB) for _ in range(4)]
    now[0] = LOST_AFTER_S + 1
    later = [link.sent(12 * KIB) for _ in range(4)]
    now[0] += 0.01
    for number in late:
        link.acknowledged(number)
    assert link.in_flight_bytes == 48 * KIB
    assert link.round_trip_s == 0.2
    now[0] += 0.4
    for number in later:
        link.acknowledged(number)
    assert link.in_flight_bytes == 0


def test_a_lost_reply_does_not_affect_later_ones() -> None:
    wire = Wire(125_000, 0.25)
    wire.picture(10, 20 * KIB)
    wire.send(20 * KIB)
    wire.lose()
    wire.send(20 * KIB)
    wire.answer()
    assert wire.link.waiting == 0
    for _ in range(5):
        wire.now += 5
        wire.picture(10, 20 * KIB)
    assert wire.link.in_flight_bytes == 0
    assert wire.link.bytes_per_second == pytest.approx(125_000, rel=0.35)


def test_a_reply_without_a_number_answers_the_oldest_query() -> None:
    link = Link(0.1)
    link.sent(10 * KIB)
    link.sent(5 * KIB)
    link.acknowledged()
    assert link.in_flight_bytes == 5 * KIB


def test_a_terminal_that_never_replies_is_not_waited_for_at_the_end() -> None:
    now = [0.0]
    link = Link(None, lambda: now[0])
    link.sent(10 * KIB)
    now[0] = LOST_AFTER_S + 1
    assert link.waiting == 0


def test_a_terminal_that_replied_only_to_the_probe_limits_what_is_sent_only_for_a_while() -> None:
    now = [0.0]
    link = Link(0.25, lambda: now[0])
    link.sent(10**6)
    now[0] = LOST_AFTER_S + 1
    assert link.may_send()
    link.sent(10**6)
    assert link.may_send()


def test_an_unexpected_reply_changes_nothing() -> None:
    link = Link(0.1)
    link.acknowledged()
    assert link.bytes_per_second is None
    assert link.in_flight_bytes == 0


def test_the_first_reply_after_a_whole_picture_is_not_taken_for_the_round_trip() -> None:
    wire = Wire(125_000, 0.25, probed=False)
    wire.send(200 * KIB)
    wire.answer()
    assert wire.link.round_trip_s is None
    assert wire.link.bytes_per_second == pytest.approx(125_000, rel=0.35)
