"""Threads that never prevent the program from exiting."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

T = TypeVar("T")


class DaemonThreads(ThreadPoolExecutor):
    """An executor for asyncio that runs each call in a daemon thread of its own.

    At exit asyncio waits for the threads of its own executor, and Python for those of every thread pool. A thread that
    reads from a network disk that does not respond would block the exit for ever, and a handful of them would use up
    the pool. asyncio accepts only a `ThreadPoolExecutor`.
    """

    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> Future[T]:
        """Call a function in a new thread."""
        future: Future[T] = Future()

        def call() -> None:
            if future.set_running_or_notify_cancel():
                try:
                    future.set_result(fn(*args, **kwargs))
                except BaseException as error:  # goes to whoever waits for the future
                    future.set_exception(error)

        threading.Thread(target=call, name="daemon-call", daemon=True).start()
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False, **_: Any) -> None:
        """Do not wait for the threads."""
