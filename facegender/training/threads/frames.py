"""The thread that writes frames: the numbers of an epoch's feature maps and filters, and the two pictures of them."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from queue import SimpleQueue
from typing import Protocol

from facegender.rendering.pages import filters_page, maps_page, write_png
from facegender.runs.events import Event, FrameSaved, Notice
from facegender.runs.folder import RunFolder
from facegender.runs.frames import Frame, write_frame
from facegender.support.errors import print_error
from facegender.support.files import exists
from facegender.training.failures import reason

MAX_WAITING = 4


class PendingFrame(Protocol):
    """A frame whose tensors may still be on the device."""

    @property
    def epoch(self) -> int:
        """The epoch it is of, counted from 0."""

    def frame(self) -> Frame:
        """Wait for the tensors and copy them; called on the frame thread."""


class FrameThread:
    """Writes frames one after another, and announces each with `FrameSaved` once its files exist.

    Args:
        announce: Reports an event; called on this thread and on the one that submits frames.
        is_gone: Tells whether the run folder was removed; nothing is written then.
    """

    def __init__(
        self, folder: RunFolder, announce: Callable[[Event], None], is_gone: Callable[[], bool] = lambda: False
    ) -> None:
        self._folder = folder
        self._announce = announce
        self._is_gone = is_gone
        self._queue: SimpleQueue[PendingFrame | None] = SimpleQueue()
        self._waiting = 0
        self._lock = threading.Lock()
        self._printed_error = False
        self._thread = threading.Thread(target=self._run, name="frames", daemon=True)

    def start(self) -> None:
        """Start writing."""
        self._thread.start()

    def submit(self, frame: PendingFrame, *, last: bool = False) -> bool:
        """Hand over a frame, unless too many wait already because the disk is slow.

        Args:
            last: It is the last frame of the run, which is taken in any case.

        Returns:
            Whether it was taken; if not, a notice says so.
        """
        with self._lock:
            accepted = last or self._waiting < MAX_WAITING
            self._waiting += accepted
        if accepted:
            self._queue.put(frame)
        else:
            text = f"feature maps of epoch {frame.epoch + 1} are left out: the disk is too slow"
            self._announce(Notice(time=time.time(), level="warning", text=text))
        return accepted

    def close(self, timeout_s: float = 60.0) -> None:
        """Write what waits and end; gives up after ``timeout_s``."""
        if self._thread.is_alive():
            self._queue.put(None)
            self._thread.join(timeout_s)

    def _run(self) -> None:
        while (pending := self._queue.get()) is not None:
            try:
                if not self._is_gone():
                    self._announce(self._save(pending))
            except Exception as error:  # the boundary of a thread: a lost frame must not end the run
                if self._is_gone():
                    continue
                text = f"feature maps of epoch {pending.epoch + 1} could not be saved: {reason(error)}"
                self._announce(Notice(time=time.time(), level="error", text=text))
                if not self._printed_error:
                    self._printed_error = True
                    print_error(f"{text}; training goes on")
            finally:
                with self._lock:
                    self._waiting -= 1

    def _save(self, pending: PendingFrame) -> FrameSaved:
        frame = pending.frame()
        folder = self._folder.visuals
        self._folder.make_visuals()
        path = self._folder.frame_path(frame.epoch)
        pictures = [f"epoch_{frame.epoch}.png", f"epoch_{frame.epoch}_filters.png"]
        with _all_or_none([path, *(folder / name for name in pictures)]):
            write_frame(path, frame)
            write_png(folder / pictures[0], maps_page(frame))
            write_png(folder / pictures[1], filters_page(frame))
        return FrameSaved(time=time.time(), epoch=frame.epoch, step=frame.step, file=path.name, pictures=pictures)


@contextlib.contextmanager
def _all_or_none(files: Sequence[Path]) -> Iterator[None]:
    """Remove the files if the block fails, except those that existed before: each of them is complete."""
    created = [path for path in files if not exists(path)]
    try:
        yield
    except BaseException:
        for path in created:
            with contextlib.suppress(OSError):
                path.unlink(missing_ok=True)
        raise
