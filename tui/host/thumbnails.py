"""Thumbnails of the photographs of a run: the process that makes them, and the ones that are kept."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from collections import deque
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

import msgspec
from cachetools import LRUCache

from facegender.runs.protocol import Thumbnail, ThumbnailRequest
from facegender.support.text import printable_strings

LINE_LIMIT = 1 << 27
ANSWER_LIMIT_S = 30.0
CLOSE_S = 0.4
IN_FLIGHT = 4
"""Requests that wait for an answer: enough to keep the process busy, few enough that the shown page is never far back
in the queue."""
CACHE_BYTES = 48 << 20
"""Memory for thumbnails: several pages of a large terminal."""
ENDED = "the process that decodes photographs ended"


class ThumbnailProcess:
    """A process that decodes the photographs of runs. It starts with the first request, and again after it has ended.

    It ends when its standard input closes, so it never outlives the interface.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._process: asyncio.subprocess.Process | None = None
        self._reading: asyncio.Task[None] | None = None
        self._waiting: dict[int, asyncio.Future[Thumbnail | None]] = {}
        self._starting = asyncio.Lock()
        self._next_id = 0

    async def start(self) -> None:
        """Start the process, so that the first request need not wait for it; if that fails, the request says why."""
        with contextlib.suppress(OSError):
            await self._running_process()

    async def _running_process(self) -> asyncio.subprocess.Process:
        async with self._starting:
            if self._process is None or self._reading is None or self._reading.done():
                self._waiting = {}
                self._process = await asyncio.create_subprocess_exec(
                    sys.executable, "-m", "facegender.thumbnail_server", "--root", os.fspath(self._root),
                    stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL,
                    start_new_session=True, limit=LINE_LIMIT,
                )  # fmt: skip
                self._reading = asyncio.create_task(_read(self._process, self._waiting))
            return self._process

    async def make(self, run: str, name: str, size: tuple[int, int]) -> Thumbnail:
        """Make one thumbnail; several can be asked for at the same time. An error is part of the answer."""
        while (thumbnail := await self._ask(run, name, size)) is None:
            pass
        return thumbnail

    async def _ask(self, run: str, name: str, size: tuple[int, int]) -> Thumbnail | None:
        """Ask the process once; None if it ended before it began with this photograph."""
        future: asyncio.Future[Thumbnail | None] = asyncio.get_running_loop().create_future()
        self._next_id += 1
        waiting = self._waiting
        request = ThumbnailRequest(id=self._next_id, run=run, name=name, size=size)
        try:
            process = await self._running_process()
            assert process.stdin is not None
            waiting = self._waiting
            waiting[request.id] = future
            process.stdin.write(msgspec.json.encode(request) + b"\n")
            await process.stdin.drain()
            return await asyncio.wait_for(future, ANSWER_LIMIT_S)
        except TimeoutError:
            self._kill()
            return Thumbnail(error=f"not decoded within {ANSWER_LIMIT_S:.0f} s")
        except ConnectionError:
            return Thumbnail(error=ENDED)
        except OSError as error:
            return Thumbnail(error=f"cannot start the process that decodes photographs ({error.strerror})")
        finally:
            waiting.pop(request.id, None)

    def _kill(self) -> None:
        if self._process is not None and self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()

    async def close(self) -> None:
        """End the process, which has nothing to save."""
        for future in self._waiting.values():
            if not future.done():
                future.set_result(Thumbnail(error=ENDED))
        self._kill()
        if self._process is not None:
            # One that is blocked by a network disk does not end before the disk responds.
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._process.wait(), CLOSE_S)


async def _read(process: asyncio.subprocess.Process, waiting: dict[int, asyncio.Future[Thumbnail | None]]) -> None:
    """Hand each answer to whoever waits for it, until the process ends.

    It answers in order, so the oldest request that waits then is the one that it ended with.
    """
    assert process.stdout is not None
    with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
        while True:
            line = await process.stdout.readuntil(b"\n")
            with contextlib.suppress(msgspec.DecodeError):
                answer = msgspec.json.decode(line, type=Thumbnail)
                if (future := waiting.get(answer.id)) is not None and not future.done():
                    future.set_result(printable_strings(answer))
    failed: Thumbnail | None = Thumbnail(error=ENDED)
    for future in waiting.values():
        if not future.done():
            future.set_result(failed)
            failed = None


class Wanted(NamedTuple):
    """A photograph by its name in ``photographs.json``, and the box in pixels that it is to fit into."""

    name: str
    size: tuple[int, int]


class Thumbnails:
    """The thumbnails of one run. A new list replaces what has not begun; what has arrived is kept while there is room.

    Args:
        process: Makes them.
        run: Name of the run.
        arrived: Called with each thumbnail that has arrived.
    """

    def __init__(self, process: ThumbnailProcess, run: str, arrived: Callable[[Wanted], None]) -> None:
        self._process = process
        self._run = run
        self._arrived = arrived
        self._kept: LRUCache[Wanted, Thumbnail] = LRUCache(CACHE_BYTES, lambda one: len(one.pixels) + 200)
        self._queue: deque[Wanted] = deque()
        self._under_way: dict[Wanted, asyncio.Task[None]] = {}

    def get(self, wanted: Wanted) -> Thumbnail | None:
        """Return a thumbnail, or None if it has not arrived."""
        return self._kept.get(wanted)

    def want(self, wanted: Iterable[Wanted]) -> None:
        """Have thumbnails made, the most urgent first; those that were wanted before and not begun are dropped."""
        self._queue = deque(one for one in wanted if one not in self._kept and one not in self._under_way)
        self._begin()

    def close(self) -> None:
        """Cancel what has not arrived."""
        self._queue.clear()
        for task in self._under_way.values():
            task.cancel()

    def _begin(self) -> None:
        while self._queue and len(self._under_way) < IN_FLIGHT:
            wanted = self._queue.popleft()
            if wanted not in self._under_way:
                self._under_way[wanted] = asyncio.create_task(self._make(wanted))

    async def _make(self, wanted: Wanted) -> None:
        try:
            thumbnail = await self._process.make(self._run, *wanted)
        finally:
            del self._under_way[wanted]
        with contextlib.suppress(ValueError):  # larger than the cache
            self._kept[wanted] = thumbnail
        self._begin()
        self._arrived(wanted)
