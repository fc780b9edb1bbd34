"""Threads that never prevent the program from exiting."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from queue import SimpleQueue
from typing import Any, TypeVar

T = TypeVar("T")


class DaemonThreads(ThreadPoolExecutor):
    """An executor for asyncio that runs each call at once in a daemon thread, an idle one if there is one.

    At exit asyncio waits for the threads of its own executor, and Python for those of every thread pool. A thread that
    reads from a network disk that does not respond would block the exit for ever, and a handful of them would use up
    the pool. asyncio accepts only a `ThreadPoolExecutor`. Threads are reused, because the event loop waits until a new
    one runs, 2 ms on average.
    """

    def __init__(self) -> None:
        super().__init__()
        self._calls: SimpleQueue[Callable[[], None]] = SimpleQueue()
        self._idle = threading.Semaphore(0)

    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> Future[T]:
        """Call a function in a thread that has nothing else to do."""
        future: Future[T] = Future()

        def call() -> None:
            if future.set_running_or_notify_cancel():
                try:
                    future.set_result(fn(*args, **kwargs))
                except BaseException as error:  # goes to whoever waits for the future
                    future.set_exception(error)

        self._calls.put(call)
        if not self._idle.acquire(blocking=False):
            threading.Thread(target=self._work, name="daemon-calls", daemon=True).start()
        return future

    def _work(self) -> None:
        while True:
            self._calls.get()()
            self._idle.release()

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False, **_: Any) -> None:
        """Do not wait for the threads."""
