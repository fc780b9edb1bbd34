"""The thread that writes frames: the numbers of an epoch's feature maps and filters, and the two pictures of them."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from queue import SimpleQueue

from facegender.rendering.pages import filters_page, maps_page, write_png
from facegender.runs.events import Event, FrameSaved, Notice
from facegender.runs.folder import INITIAL, RunFolder, frame_name
from facegender.runs.frames import Frame, write_frame
from facegender.support.errors import print_error
from facegender.support.files import exists
from facegender.training.failures import reason

MAX_WAITING = 3
"""Frames that may wait while one is being written."""


class FrameThread(threading.Thread):
    """Writes frames one after another, and announces each with `FrameSaved` once its files exist.

    Nothing is written once the run folder was removed.

    Args:
        announce: Reports an event; called on this thread and on the one that submits frames.
    """

    def __init__(self, folder: RunFolder, announce: Callable[[Event], None]) -> None:
        super().__init__(target=self._run, name="frames", daemon=True)
        self._folder = folder
        self._announce = announce
        self._queue: SimpleQueue[tuple[int, Callable[[], Frame]] | None] = SimpleQueue()
        self._printed_error = False

    def submit(self, epoch: int, make_frame: Callable[[], Frame], *, last: bool = False) -> bool:
        """Hand over a frame. If too many wait already because the disk is slow, a notice says that it is left out.

        Args:
            epoch: The epoch it is of, counted from 0, or `INITIAL`.
            make_frame: Waits for the device and copies the frame's tensors; called on this thread.
            last: It is the last frame of the run, which is written in any case.

        Returns:
            False if it is left out.
        """
        if last or self._queue.qsize() < MAX_WAITING:
            self._queue.put((epoch, make_frame))
            return True
        text = f"feature maps of {_weights_of(epoch)} are left out: the disk is too slow"
        self._announce(Notice(time=time.time(), level="warning", text=text))
        return False

    def close(self, timeout_s: float = 60.0) -> None:
        """Write what waits and end; gives up after ``timeout_s``."""
        if self.is_alive():
            self._queue.put(None)
            self.join(timeout_s)

    def _run(self) -> None:
        while (pending := self._queue.get()) is not None:
            epoch, make_frame = pending
            try:
                frame = make_frame()
                if not self._folder.lock.is_lost():
                    self._announce(self._save(frame))
            except Exception as error:  # the boundary of a thread: a lost frame must not end the run
                if self._folder.lock.is_lost():
                    continue
                text = f"feature maps of {_weights_of(epoch)} could not be saved: {reason(error)}"
                self._announce(Notice(time=time.time(), level="error", text=text))
                if not self._printed_error:
                    self._printed_error = True
                    print_error(f"{text}; training continues")

    def _save(self, frame: Frame) -> FrameSaved:
        folder = self._folder.visuals
        self._folder.make_visuals()
        path = self._folder.frame_path(frame.epoch)
        name = frame_name(frame.epoch)
        pictures = [f"{name}.png", f"{name}_filters.png"]
        with _all_or_none([path, *(folder / name for name in pictures)]):
            write_frame(path, frame)
            write_png(folder / pictures[0], maps_page(frame))
            write_png(folder / pictures[1], filters_page(frame))
        return FrameSaved(time=time.time(), epoch=frame.epoch, step=frame.step, file=path.name, pictures=pictures)


def _weights_of(epoch: int) -> str:
    return "the initial weights" if epoch == INITIAL else f"epoch {epoch + 1}"


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
