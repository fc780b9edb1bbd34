"""The threads in which the interface reads files and makes pictures."""

from __future__ import annotations

import threading

import pytest

from tui.host.threads import DaemonThreads


def test_a_thread_is_used_again_once_its_call_has_ended() -> None:
    threads = DaemonThreads()
    first = threads.submit(threading.current_thread).result(10)
    assert first.daemon
    assert threads._idle.acquire(timeout=10)  # it waits for another call
    threads._idle.release()
    assert threads.submit(threading.current_thread).result(10) is first


def test_a_call_that_does_not_return_holds_up_no_other() -> None:
    threads, blocked = DaemonThreads(), threading.Event()
    stuck = [threads.submit(blocked.wait) for _ in range(40)]
    assert threads.submit(lambda: "answered").result(10) == "answered"
    blocked.set()
    assert all(future.result(10) for future in stuck)


def test_what_a_call_raises_reaches_who_waits_for_it() -> None:
    threads = DaemonThreads()
    with pytest.raises(ZeroDivisionError):
        threads.submit(lambda: 1 // 0).result(10)
    assert threads.submit(lambda: 1).result(10) == 1
