"""Decodes the photographs of a set in the background; whoever needs some waits for those and not for all."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable

import numpy as np
import numpy.typing as npt

from facegender.data.cache.file import Bytes
from facegender.data.cache.places import Places
from facegender.data.image import UnreadableImage
from facegender.support.machine import available_processors

Indices = npt.NDArray[np.int64]

_LOOK_UP_S = 0.2
_SYNC_EVERY_S = 1.0
_MOST_THREADS = 32


class Building:
    """Threads that fill places, in an order that may be changed meanwhile.

    Attributes:
        places: What is filled.
        damaged: Why a photograph could not be decoded, by its place; grows.
        finished: All is decoded.
        over: The file is in its place in the cache too, if the cache takes it.
        stored: It is.
    """

    def __init__(
        self, places: Places, read: Callable[[int], Bytes], report: Callable[[int, int], None], threads: int | None
    ) -> None:
        """Begin.

        Args:
            places: Closed when all is done, or by `close`.
            read: The photograph of a place, (S, S, 3) uint8; raises `UnreadableImage`. Called by several threads.
            report: Is told (done, count) by one thread at a time.
            threads: How many; by default `decoding_threads`.
        """
        self.places = places
        self.damaged: dict[int, str] = {}
        self.finished = self.over = self.stored = False
        self._read = read
        self._report = report
        count = len(places.images)
        self._count = self._left = count
        self._begun = np.zeros(count, bool)
        self._settled = np.zeros(count, bool)
        self._readable = np.zeros(count, bool)
        self._order = deque(range(count))
        self._wanted: set[int] = set()
        self._ended = False
        self._failure: BaseException | None = None
        self._condition = threading.Condition()
        if not count:
            self.finished = True
            self._finish()
        self._threads = [
            threading.Thread(target=self._run, name=f"decode-{number}", daemon=True)
            for number in range(min(count, threads or decoding_threads()))
        ]
        self._threads.append(threading.Thread(target=self._sync, name="decode-sync", daemon=True))
        for thread in self._threads:
            thread.start()

    def prefer(self, places: Iterable[int]) -> None:
        """Decode these next, in this order, and the others afterwards."""
        with self._condition:
            # What is begun already is passed over when its turn comes.
            self._order = deque([*map(int, places), *range(self._count)])

    def wait(self, places: Indices) -> npt.NDArray[np.bool_]:
        """Wait until these are decoded.

        Returns:
            For each whether there is a photograph.

        Raises:
            UserError: There is no room for them.
        """
        if not self._settled[places].all():
            with self._condition:
                self._order.extendleft(places[~self._begun[places]][::-1].tolist())
                self._wanted.update(places[~self._settled[places]].tolist())
                self._wait(lambda: bool(self._settled[places].all()))
        return self._readable[places]

    def complete(self) -> None:
        """Wait until all is over.

        Raises:
            UserError: There is no room for it.
        """
        with self._condition:
            self._wait(lambda: self.over)

    def _wait(self, done: Callable[[], bool]) -> None:
        while not done():
            if self._failure is not None:
                raise self._failure
            if self._ended:
                raise RuntimeError("the photographs were closed")
            # With a limit, so that a signal to the main thread is answered.
            self._condition.wait(_LOOK_UP_S)

    def close(self) -> None:
        """End the threads after the photographs that they are at; what is done stays for another time."""
        with self._condition:
            self._ended = True
            self._condition.notify_all()
        for thread in self._threads:
            thread.join()
        self.places.close()

    def _run(self) -> None:
        try:
            while (place := self._next()) is not None:
                if self._settle(place, self._make(place)):
                    self._finish()
        except BaseException as error:  # the boundary of a thread: whoever waits is told
            with self._condition:
                self._failure, self._ended = self._failure or error, True
                self._condition.notify_all()

    def _next(self) -> int | None:
        with self._condition:
            while self._order and not self._ended:
                place = self._order.popleft()
                if not self._begun[place]:
                    self._begun[place] = True
                    return place
        return None

    def _make(self, place: int) -> str:
        """Fill a place; if that is not possible, say why."""
        if not self.places.held(place):
            try:
                pixels = self._read(place)
            except UnreadableImage as error:
                return error.reason
            self.places.put(place, pixels)
        return ""

    def _sync(self) -> None:
        while not (self._ended or self.finished):
            with self._condition:
                self._condition.wait_for(lambda: self._ended or self.finished, _SYNC_EVERY_S)
            self.places.sync()

    def _settle(self, place: int, damage: str) -> bool:
        """Let those who wait have it; tell whether it was the last one."""
        with self._condition:
            if damage:
                self.damaged[place] = damage
            self._readable[place] = not damage
            self._settled[place] = True
            self._left -= 1
            self.finished = not self._left
            self._report(self._count - self._left, self._count)
            if place in self._wanted:
                self._wanted.discard(place)
                # Waking somebody for each photograph would take a tenth of the time that decoding takes.
                if not self._wanted:
                    self._condition.notify_all()
            return self.finished

    def _finish(self) -> None:
        stored = False
        if self._readable.any():
            stored = self.places.finish(self.damaged)
        else:
            self.places.discard()
        self.places.close()
        with self._condition:
            self.stored, self.over = stored, True
            self._condition.notify_all()


def decoding_threads() -> int:
    """One a processor; more than some dozens only wait for each other."""
    return min(_MOST_THREADS, available_processors())
