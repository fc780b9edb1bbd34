"""Threads that never keep the program from ending."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


class DaemonThreads(ThreadPoolExecutor):
    """An executor for asyncio that runs each call in a daemon thread of its own.

    asyncio's own executor waits for its threads at the end, and Python for those of any thread pool. One that reads
    from a network disk that does not answer would hold up the end for ever, and a handful of them would be the whole
    pool: nothing else that runs in threads would get its turn. asyncio takes nothing but a `ThreadPoolExecutor`.
    """

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Call a function in a thread."""
        future: Future[T] = Future()

        def call() -> None:
            if not future.set_running_or_notify_cancel():
                return
            try:
                result = fn(*args, **kwargs)
            except BaseException as error:  # whoever waits for the future is told
                future.set_exception(error)
            else:
                future.set_result(result)

        threading.Thread(target=call, name="daemon-call", daemon=True).start()
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False, **_: Any) -> None:
        """Leave the threads to themselves."""
