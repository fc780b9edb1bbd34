"""The console output of a run, with progress bars on a terminal and plain lines elsewhere, and ``train.log``."""

from __future__ import annotations

import contextlib
import io
import logging
import os
import threading
import time
import traceback
from dataclasses import dataclass
from pathlib import Path
from queue import Empty, SimpleQueue

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from facegender.runs.events import EpochFinished, EpochStarted, Event, Notice, RunFinished, RunStarted, Steps
from facegender.support.files import open_regular
from facegender.support.text import printable

MAX_WAITING = 5000
PROGRESS_EVERY_S = 0.1


@dataclass(frozen=True)
class Preparing:
    """Progress of preparing the photographs.

    Attributes:
        stage: What is done with them, e.g. "decoding".
        done: Number of photographs done.
        count: Number of photographs in all.
    """

    stage: str
    done: int
    count: int


class TrainLog:
    """``train.log``: warnings, log records, tracebacks and what is printed.

    Attributes:
        is_output: The standard output is this file, as for a run that the interface started; what is printed is in it
            already.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        writer = io.BufferedWriter(open_regular(path, append=True))
        self._file = io.TextIOWrapper(writer, encoding="utf-8", errors="replace", line_buffering=True)
        self.is_output = _is_same_file(1, self._file.fileno())
        self._handler = logging.StreamHandler(self._file)
        self._handler.setLevel(logging.WARNING)
        self._handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))

    def __enter__(self) -> TrainLog:
        logging.captureWarnings(True)
        logging.getLogger().addHandler(self._handler)
        return self

    def __exit__(self, *exception: object) -> None:
        logging.getLogger().removeHandler(self._handler)
        logging.captureWarnings(False)
        self._file.close()

    def line(self, text: str) -> None:
        """Write one line."""
        with contextlib.suppress(OSError, ValueError):
            self._file.write(text + "\n")

    def trace(self, error: BaseException) -> None:
        """Write a traceback."""
        self.line("".join(traceback.format_exception(error)).rstrip())

    def adopt_output(self) -> None:
        """Redirect standard output and error here if they go to a terminal, which is gone: writing to it would fail."""
        for descriptor in (1, 2):
            with contextlib.suppress(OSError):
                if os.isatty(descriptor) or _is_dead(descriptor):
                    os.dup2(self._file.fileno(), descriptor)


def _is_same_file(first: int, second: int) -> bool:
    try:
        return os.path.sameopenfile(first, second)
    except OSError:
        return False


def _is_dead(descriptor: int) -> bool:
    """Whether writing fails, as on a terminal that was closed."""
    try:
        os.write(descriptor, b"")
    except OSError:
        return True
    return False


def epoch_line(event: EpochFinished, epochs: int) -> str:
    """Describe an epoch in one line."""
    rate = f"{event.images_per_second:,.0f}".replace(",", " ")
    return (
        f"epoch {event.epoch + 1} of {epochs}  "
        f"loss {event.train_loss:.3f}  accuracy {event.train_accuracy:.3f}  "
        f"validation loss {event.validation_loss:.3f}  validation accuracy {event.validation_accuracy:.3f}  "
        f"{rate} images/s"
    )


class ConsoleThread:
    """Shows events on the standard output from its own thread, so that a terminal that hangs does not stop training."""

    def __init__(self, log: TrainLog) -> None:
        self._log = log
        self._queue: SimpleQueue[Event | Preparing | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="console", daemon=True)
        self._lost = False
        self._console = Console(highlight=False, soft_wrap=True)
        self._progress: Progress | None = None
        self._task: TaskID | None = None
        self._preparing: TaskID | None = None
        self._progress_at = 0.0
        self._epochs = 0
        self._steps_per_epoch = 0

    def start(self) -> None:
        """Start showing."""
        self._thread.start()

    def show(self, event: Event) -> None:
        """Queue an event to be shown; drop it if thousands wait already."""
        if self._queue.qsize() < MAX_WAITING:
            self._queue.put(event)

    def progress(self, preparing: Preparing) -> None:
        """Queue the progress of the photographs to be shown, ten times a second at most."""
        now = time.monotonic()
        if preparing.done == preparing.count or now - self._progress_at >= PROGRESS_EVERY_S:
            self._progress_at = now
            if self._queue.qsize() < MAX_WAITING:
                self._queue.put(preparing)

    def hang_up(self) -> None:
        """Send what would be shown to the log, as the terminal is gone."""
        self._lost = True
        self._log.adopt_output()

    def close(self, timeout_s: float = 3.0) -> None:
        """Show what waits and end; gives up after ``timeout_s`` if the terminal hangs."""
        if self._thread.is_alive():
            self._queue.put(None)
            self._thread.join(timeout_s)

    def print(self, text: str) -> None:
        """Print one line now, and write it to the log."""
        try:
            if self._progress is None:
                print(printable(text), flush=True)
            else:  # above the progress bars
                self._console.print(printable(text), markup=False)
        except (OSError, ValueError):
            self.hang_up()
        if not self._log.is_output and not self._lost:
            self._log.line(printable(text))

    def _run(self) -> None:
        try:
            while True:
                try:
                    event = self._queue.get(timeout=60)
                except Empty:
                    continue
                if event is None:
                    break
                try:
                    self._show(event)
                except (OSError, ValueError):
                    self.hang_up()
        finally:
            self._end_bars()

    def _show(self, event: Event | Preparing) -> None:
        if isinstance(event, Preparing):
            self._show_preparing(event)
        elif isinstance(event, RunStarted):
            self._epochs, self._steps_per_epoch = event.epochs, event.steps_per_epoch
            photographs = sum(event.train_images.values()), sum(event.validation_images.values())
            self.print(
                f"run {event.run}: {event.device_name} ({event.device}), precision {event.precision}, "
                f"{event.parameters:,} parameters, {photographs[0]} + {photographs[1]} photographs"
                + (", DEMO faces" if event.demo else "")
            )
        elif isinstance(event, EpochStarted):
            self._begin_bar(event)
        elif isinstance(event, Steps):
            if self._progress is not None and self._task is not None and not self._lost:
                text = f"loss {event.loss[-1]:.3f}  {event.images_per_second:,.0f} images/s".replace(",", " ")
                self._progress.update(self._task, completed=event.batch[-1], text=text)
        elif isinstance(event, EpochFinished):
            self._end_bar(self._task)
            self._task = None
            self.print(epoch_line(event, self._epochs))
        elif isinstance(event, Notice):
            self.print(event.text if event.level == "info" else f"{event.level}: {event.text}")
        elif isinstance(event, RunFinished):
            self._end_bars()

    def _begin_bar(self, event: EpochStarted) -> None:
        self._end_bar(self._task)
        self._task = None
        if (progress := self._bars()) is not None:
            name = f"epoch {event.epoch + 1} of {self._epochs}"
            self._task = progress.add_task(name, total=self._steps_per_epoch, text="")

    def _show_preparing(self, event: Preparing) -> None:
        if event.done >= event.count:
            self._end_bar(self._preparing)
            self._preparing = None
        elif (progress := self._bars()) is not None:
            if self._preparing is None:
                self._preparing = progress.add_task("", text="photographs")
            progress.update(self._preparing, description=event.stage, completed=event.done, total=event.count)

    def _bars(self) -> Progress | None:
        """The display of the progress bars; None if the output is not a terminal."""
        if self._lost or not self._console.is_terminal:
            return None
        if self._progress is None:
            self._progress = Progress(
                TextColumn("{task.description}"),
                BarColumn(),
                TextColumn("{task.completed:.0f}/{task.total:.0f}"),
                TextColumn("{task.fields[text]}"),
                TimeRemainingColumn(),
                console=self._console,
                transient=True,
                refresh_per_second=4,
                redirect_stdout=False,
                redirect_stderr=False,
            )
            self._progress.start()
        return self._progress

    def _end_bar(self, task: TaskID | None) -> None:
        """Remove a bar, and the display with the last one."""
        if self._progress is None or task is None:
            return
        self._progress.remove_task(task)
        if not self._progress.task_ids:
            self._end_bars()

    def _end_bars(self) -> None:
        progress, self._progress, self._task, self._preparing = self._progress, None, None, None
        if progress is not None:
            with contextlib.suppress(OSError, ValueError):
                progress.stop()
