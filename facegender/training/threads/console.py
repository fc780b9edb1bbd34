"""The console output of a run, with a progress bar on a terminal and plain lines elsewhere, and ``train.log``."""

from __future__ import annotations

import contextlib
import io
import logging
import os
import threading
import traceback
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from facegender.runs.events import EpochFinished, EpochStarted, Event, Notice, RequestDone, RunStarted, Steps
from facegender.support.files import open_regular
from facegender.support.text import figure, printable, thousands

MAX_WAITING = 5000


@dataclass(frozen=True)
class Preparing:
    """Progress of preparing the photographs; the stage is what is done with them, e.g. "decoding"."""

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
        writer = io.BufferedWriter(open_regular(path, append=True))
        self._file = io.TextIOWrapper(writer, encoding="utf-8", errors="replace", line_buffering=True)
        self.is_output = False
        with contextlib.suppress(OSError):
            self.is_output = os.path.sameopenfile(1, self._file.fileno())
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
        self.is_output = True
        for descriptor in (1, 2):
            is_terminal = os.isatty(descriptor)
            try:
                os.write(descriptor, b"")
            except OSError:
                is_terminal = True  # one that was closed
            if is_terminal:
                with contextlib.suppress(OSError):
                    os.dup2(self._file.fileno(), descriptor)


class ConsoleThread(threading.Thread):
    """Shows events on the standard output from its own thread, so that a terminal that hangs does not stop training."""

    def __init__(self, log: TrainLog) -> None:
        super().__init__(target=self._run, name="console", daemon=True)
        self._log = log
        self._queue: SimpleQueue[Event | Preparing | None] = SimpleQueue()
        self._epochs = self._steps_per_epoch = 0
        self._console = Console(highlight=False, markup=False, emoji=False, soft_wrap=True)
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
        self._bar = self._progress.add_task("", visible=False, text="")

    def show(self, event: Event | Preparing) -> None:
        """Queue an event to be shown; drop it if thousands wait already."""
        if self._queue.qsize() < MAX_WAITING:
            self._queue.put(event)

    def close(self, timeout_s: float = 3.0) -> None:
        """Show what waits and end; gives up after ``timeout_s`` if the terminal hangs."""
        if self.is_alive():
            self._queue.put(None)
            self.join(timeout_s)

    def print(self, text: str) -> None:
        """Print one line now, and write it to the log."""
        try:
            if self._console.is_terminal:  # above the progress bar
                self._console.print(printable(text))
            else:
                print(printable(text), flush=True)
        except (OSError, ValueError):
            self._log.adopt_output()
        if not self._log.is_output:
            self._log.line(printable(text))

    def _run(self) -> None:
        while (event := self._queue.get()) is not None:
            try:
                if self._console.is_terminal:
                    self._progress.start()  # later calls do nothing
                self._show(event)
            except (OSError, ValueError):
                self._log.adopt_output()
        if self._progress.live.is_started:
            with contextlib.suppress(OSError, ValueError):
                self._progress.stop()

    def _show(self, event: Event | Preparing) -> None:
        progress, bar = self._progress, self._bar
        if isinstance(event, Preparing):
            if progress.tasks[0].description != event.stage:
                progress.reset(bar, description=event.stage, total=event.count, text="photographs")
            progress.update(bar, completed=event.done, visible=event.done < event.count)
        elif isinstance(event, RunStarted):
            self._epochs, self._steps_per_epoch = event.epochs, event.steps_per_epoch
            photographs = sum(event.train_images.values()), sum(event.validation_images.values())
            self.print(
                f"run {event.run}: {event.device_text}, precision {event.precision}, "
                f"{thousands(event.parameters)} parameters, {photographs[0]} + {photographs[1]} photographs"
                + (", DEMO faces" if event.demo else "")
            )
        elif isinstance(event, EpochStarted):
            name = f"epoch {event.epoch + 1} of {self._epochs}"
            progress.reset(bar, description=name, total=self._steps_per_epoch, text="", visible=True)
        elif isinstance(event, Steps):
            text = f"loss {figure(event.loss[-1])}  {_rate(event.images_per_second)}"
            progress.update(bar, completed=event.batch[-1], text=text)
        elif isinstance(event, EpochFinished):
            progress.update(bar, visible=False)
            self.print(
                f"epoch {event.epoch + 1} of {self._epochs}  "
                f"loss {figure(event.train_loss)}  accuracy {figure(event.train_accuracy)}  "
                f"validation loss {figure(event.validation_loss)}  "
                f"validation accuracy {figure(event.validation_accuracy)}  "
                f"{_rate(event.images_per_second)}"
            )
        elif isinstance(event, RequestDone):
            self._epochs = self._epochs if event.epochs is None else event.epochs
            self.print(event.outcome if event.done else f"warning: {event.outcome}")
        elif isinstance(event, Notice):
            self.print(event.text if event.level == "info" else f"{event.level}: {event.text}")


def _rate(images_per_second: float) -> str:
    return f"{thousands(images_per_second)} images/s"
