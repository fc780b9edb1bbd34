"""A signal during imports is handled after them."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator

import pytest

from facegender.support.signals import ENDING_SIGNALS, defer_signals


@pytest.fixture(autouse=True)
def _handlers() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in ENDING_SIGNALS}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def test_a_signal_is_handled_at_the_end_of_the_block() -> None:
    handled: list[str] = []
    signal.signal(signal.SIGTERM, lambda *_: handled.append("handled"))
    with defer_signals():
        signal.raise_signal(signal.SIGTERM)
        handled.append("block has ended")
    assert handled == ["block has ended", "handled"]


def interrupt(times: int, reached: list[str]) -> None:
    with defer_signals():
        for _ in range(times):
            signal.raise_signal(signal.SIGINT)
        reached.append("the end")


def test_ctrl_c_raises_at_the_end_of_the_block() -> None:
    signal.signal(signal.SIGINT, signal.default_int_handler)
    reached: list[str] = []
    with pytest.raises(KeyboardInterrupt):
        interrupt(1, reached)
    assert reached == ["the end"]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_second_signal_is_handled_at_once() -> None:
    signal.signal(signal.SIGINT, signal.default_int_handler)
    reached: list[str] = []
    with pytest.raises(KeyboardInterrupt):
        interrupt(2, reached)
    assert reached == []


def test_ignored_signals_stay_ignored() -> None:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    with defer_signals():
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN


def test_other_threads_may_use_it_but_defer_nothing() -> None:
    before = signal.getsignal(signal.SIGINT)
    seen: list[object] = []

    def work() -> None:
        with defer_signals():
            seen.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [before]
