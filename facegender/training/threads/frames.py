"""The thread that writes ``visuals/<run>/``: frames with the two pictures of each, and the predictions of an epoch."""

from __future__ import annotations

import contextlib
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from queue import SimpleQueue

from facegender.rendering.pages import filters_page, maps_page, write_png
from facegender.runs.events import Event, FrameSaved, Notice, PredictionsSaved
from facegender.runs.folder import INITIAL, RunFolder, frame_name
from facegender.runs.frames import Frame, write_frame
from facegender.runs.predictions import Predictions, write_predictions
from facegender.support.errors import print_error
from facegender.support.files import exists
from facegender.training.failures import reason

MAX_WAITING = 3
"""Frames that may wait while one is being written."""

MAX_PREDICTIONS_WAITING = 64
"""The same for predictions, which are small."""

Job = tuple[str, Callable[[], Event | None]]
"""What is written, e.g. "feature maps of epoch 1"; writes it and makes the event, None if the run folder is gone."""


class FrameThread(threading.Thread):
    """Writes one file after another, predictions first, and announces each once it exists.

    Nothing is written once the run folder was removed.

    Args:
        announce: Reports an event; called on this thread and on the one that submits frames.
    """

    def __init__(self, folder: RunFolder, announce: Callable[[Event], None]) -> None:
        super().__init__(target=self._run, name="frames", daemon=True)
        self._folder = folder
        self._announce = announce
        self._frames: deque[Job] = deque()
        self._predictions: deque[Job] = deque()
        self._wake: SimpleQueue[bool] = SimpleQueue()
        """True for each job that was put into one of the two; False ends the thread."""
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
        room = last or len(self._frames) < MAX_WAITING
        return self._add(self._frames, room, f"feature maps of {_weights_of(epoch)}", lambda: self._save(make_frame()))

    def submit_predictions(self, epoch: int, make_predictions: Callable[[], Predictions]) -> None:
        """Hand over the predictions of an epoch. They are written before the frames that wait.

        Args:
            make_predictions: Waits for the device; called on this thread.
        """
        what, room = f"predictions of epoch {epoch + 1}", len(self._predictions) < MAX_PREDICTIONS_WAITING
        self._add(self._predictions, room, what, lambda: self._save_predictions(make_predictions()))

    def _add(self, jobs: deque[Job], room: bool, what: str, write: Callable[[], Event | None]) -> bool:
        if room:
            jobs.append((what, write))
            self._wake.put(True)
        else:
            text = f"{what} are left out: the disk is too slow"
            self._announce(Notice(time=time.time(), level="warning", text=text))
        return room

    def close(self, timeout_s: float = 60.0) -> None:
        """Write what waits and end; gives up after ``timeout_s``."""
        if self.is_alive():
            self._wake.put(False)
            self.join(timeout_s)

    def _run(self) -> None:
        while self._wake.get():
            what, write = (self._predictions or self._frames).popleft()
            try:
                if event := write():
                    self._announce(event)
            except Exception as error:  # the boundary of a thread: a lost file must not end the run
                if self._folder.lock.is_lost():
                    continue
                text = f"{what} could not be saved: {reason(error)}"
                self._announce(Notice(time=time.time(), level="error", text=text))
                if not self._printed_error:
                    self._printed_error = True
                    print_error(f"{text}; training continues")

    def _save_predictions(self, predictions: Predictions) -> PredictionsSaved | None:
        if self._folder.lock.is_lost():
            return None
        self._folder.make_visuals()
        path = self._folder.predictions_path(predictions.epoch)
        write_predictions(path, predictions)
        return PredictionsSaved(time=time.time(), epoch=predictions.epoch, file=path.name)

    def _save(self, frame: Frame) -> FrameSaved | None:
        if self._folder.lock.is_lost():
            return None
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
