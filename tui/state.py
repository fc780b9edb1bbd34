"""What the interface knows of a run, and the pure step from one event to the next. Nothing here knows a screen."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal

from facegender.runs.events import (
    AnyEvent,
    CheckpointSaved,
    EpochFinished,
    EpochStarted,
    FrameSaved,
    Heartbeat,
    Notice,
    RunFinished,
    RunStarted,
    Steps,
    System,
)
from facegender.runs.folder import LIVE_STATES, State
from facegender.runs.text import one_line

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Floats = npt.NDArray[np.float64]

LOG_LINES = 500

Level = Literal["info", "warning", "error"]


class StepColumns:
    """Per-step figures in columns: step, seconds since 1970, loss, accuracy.

    Values behave as immutable; a longer value shares its memory with the shorter one it was made from, so that
    a run of a million steps is appended to without being copied. numpy is imported with the first step, which the
    first screen does not wait for.
    """

    _WIDTH = 4

    def __init__(self, table: Floats | None = None, length: int = 0, used: list[int] | None = None) -> None:
        self._table = table
        self._used = [0] if used is None else used
        self._length = length

    def __len__(self) -> int:
        return self._length

    @property
    def step(self) -> Floats:
        """(N,) optimiser steps, ascending."""
        return self._column(0)

    @property
    def seconds(self) -> Floats:
        """(N,) seconds since 1970."""
        return self._column(1)

    @property
    def loss(self) -> Floats:
        """(N,) training loss of each batch; may hold NaN and infinities."""
        return self._column(2)

    @property
    def accuracy(self) -> Floats:
        """(N,) training accuracy of each batch in [0, 1]."""
        return self._column(3)

    def _column(self, row: int) -> Floats:
        import numpy as np

        return np.empty(0) if self._table is None else self._table[row, : self._length]

    def extended(self, event: Steps) -> StepColumns:
        """With the steps of an event at the end; columns of unequal length count as far as the shortest."""
        count = min(len(event.step), len(event.seconds), len(event.loss), len(event.accuracy))
        end = self._length + count
        table, used = self._table, self._used
        if table is None or used[0] != self._length or end > table.shape[1]:
            import numpy as np

            table = np.empty((self._WIDTH, max(1024, 2 * end)))
            if self._table is not None:
                table[:, : self._length] = self._table[:, : self._length]
            used = [self._length]
        columns: tuple[Sequence[float], ...] = (event.step, event.seconds, event.loss, event.accuracy)
        for row, column in enumerate(columns):
            table[row, self._length : end] = column[:count]
        used[0] = end
        return StepColumns(table, end, used)

    def until(self, step: int) -> StepColumns:
        """Only the steps up to and including ``step``."""
        length = int(self.step.searchsorted(step, side="right"))
        return self if length == self._length else StepColumns(self._table, length, self._used)


@dataclass(frozen=True)
class LogLine:
    """A sentence of the log pane, safe for a terminal."""

    time: float
    level: Level
    text: str


@dataclass(frozen=True)
class RunState:
    """Everything that is shown of a run.

    Attributes:
        observed: How the run stands by its folder and process; the journal cannot tell that a process died.
        epoch: Epoch in training or last trained, counted from 0; -1 before the first.
        batch: Batches done in that epoch.
        frames: Epochs whose pictures were announced, ascending.
        log_tail: The end of ``train.log``, filled in where a run crashed or failed.
        since: When the process that trains now, or trained last, began.
        last_time: Time of the newest event.
    """

    name: str
    observed: State = "starting"
    started: RunStarted | None = None
    epoch: int = -1
    batch: int = 0
    learning_rate: float = math.nan
    images_per_second: float = 0.0
    steps: StepColumns = field(default_factory=StepColumns)
    epochs: tuple[EpochFinished, ...] = ()
    frames: tuple[int, ...] = ()
    checkpoint: CheckpointSaved | None = None
    system: System | None = None
    log: tuple[LogLine, ...] = ()
    log_tail: tuple[str, ...] = ()
    finished: RunFinished | None = None
    since: float = 0.0
    last_time: float = 0.0

    @property
    def state(self) -> State:
        """The one word for how the run stands."""
        return self.finished.status if self.finished else self.observed

    @property
    def live(self) -> bool:
        """Whether a trainer is at work."""
        return self.state in LIVE_STATES

    @property
    def best(self) -> EpochFinished | None:
        """The epoch with the highest validation accuracy, the first of several."""
        known = [epoch for epoch in self.epochs if not math.isnan(epoch.validation_accuracy)]
        return max(known, key=lambda epoch: epoch.validation_accuracy, default=None)

    @property
    def epochs_done(self) -> float:
        """Epochs trained, the running one as a fraction."""
        if self.started is None or self.epoch < 0:
            return 0.0
        if self.epochs and self.epochs[-1].epoch == self.epoch:
            return self.epoch + 1.0
        return self.epoch + min(1.0, self.batch / max(1, self.started.steps_per_epoch))

    def elapsed_s(self, now: float) -> float:
        """Seconds that the present or last process has trained, or did."""
        if not self.since:
            return 0.0
        return max(0.0, (now if self.live else self.last_time) - self.since)

    def left_s(self) -> float | None:
        """Seconds to the end as it looks now; None while unknown."""
        if self.started is None or not self.live:
            return None
        left = self.started.epochs - self.epochs_done
        own = [epoch.seconds for epoch in self.epochs if epoch.time >= self.since]
        if own:
            return left * sum(own) / len(own)
        if self.images_per_second > 0:
            images = self.started.steps_per_epoch * self.started.batch_size
            return left * images / self.images_per_second
        return None


def apply(state: RunState, event: AnyEvent) -> RunState:
    """The state after an event. Pure: neither argument changes."""
    state = replace(state, last_time=max(state.last_time, event.time))
    match event:
        case RunStarted():
            return _run_started(state, event)
        case EpochStarted():
            return replace(state, epoch=event.epoch, batch=0, learning_rate=event.learning_rate, finished=None)
        case Steps():
            batch = event.batch[-1] if event.batch else state.batch
            rate = event.images_per_second or state.images_per_second
            steps = state.steps.extended(event)
            return replace(state, epoch=event.epoch, batch=batch, images_per_second=rate, steps=steps)
        case EpochFinished():
            epochs = (*(epoch for epoch in state.epochs if epoch.epoch < event.epoch), event)
            text = (
                f"epoch {event.epoch}: loss {event.train_loss:.4f}, validation loss {event.validation_loss:.4f}, "
                f"accuracy {event.validation_accuracy:.3f}{', the best so far' if event.best else ''}"
            )
            state = replace(state, epochs=epochs, epoch=event.epoch, learning_rate=event.learning_rate)
            return _logged(state, event.time, "info", text)
        case FrameSaved():
            return replace(state, frames=tuple(sorted({*state.frames, event.epoch})))
        case CheckpointSaved():
            return replace(state, checkpoint=event)
        case System():
            return replace(state, system=event)
        case Notice():
            return _logged(replace(state, finished=None), event.time, event.level, event.text)
        case RunFinished():
            return _run_finished(state, event)
        case Heartbeat():
            return state


def apply_all(state: RunState, events: Iterable[AnyEvent]) -> RunState:
    """The state after several events."""
    for event in events:
        state = apply(state, event)
    return state


def _run_started(state: RunState, event: RunStarted) -> RunState:
    state = replace(
        state,
        started=event,
        finished=None,
        since=event.time,
        steps=state.steps.until(event.start_step),
        epochs=tuple(epoch for epoch in state.epochs if epoch.epoch < event.start_epoch),
        epoch=event.start_epoch - 1,
        batch=0,
        log_tail=(),
    )
    photographs = sum(event.train_images.values()), sum(event.validation_images.values())
    noun = "demo faces" if event.demo else "photographs"
    state = _logged(
        state,
        event.time,
        "info",
        f"{'goes on' if event.resumed else 'begins'} on {event.device} ({event.device_name}), "
        f"{photographs[0]} {noun} to train, {photographs[1]} to validate",
    )
    if event.skipped_files:
        plural = "file was" if event.skipped_files == 1 else "files were"
        state = _logged(state, event.time, "warning", f"{event.skipped_files} {plural} skipped, see run.json")
    return state


def _run_finished(state: RunState, event: RunFinished) -> RunState:
    texts: dict[str, tuple[Level, str]] = {
        "completed": ("info", "training is complete"),
        "stopped": ("warning", "training was stopped; `resume` goes on from here"),
        "failed": ("error", f"training failed: {event.error}"),
    }
    level, text = texts[event.status]
    return _logged(replace(state, finished=event), event.time, level, text)


def _logged(state: RunState, time: float, level: Level, text: str) -> RunState:
    return replace(state, log=(*state.log[-LOG_LINES + 1 :], LogLine(time, level, one_line(text))))


# What is looked at ---------------------------------------------------------------------------------------------------

Mode = Literal["maps", "filters", "average"]
MODES: tuple[Mode, ...] = ("maps", "filters", "average")


@dataclass(frozen=True)
class Selection:
    """What of a run's pictures is looked at.

    Attributes:
        epoch: The epoch, or None for the latest one, whichever that is.
        layer: Index in the network's order of layers.
        probe: Index of the probe photograph.
        channel: Index of the channel under the cursor, or None where there is no cursor yet.
        zoomed: Only that channel is shown.
    """

    epoch: int | None = None
    layer: int = 0
    probe: int = 0
    mode: Mode = "maps"
    channel: int | None = None
    zoomed: bool = False

    @property
    def follows_live(self) -> bool:
        """Whether the view moves on by itself when a newer epoch's pictures arrive."""
        return self.epoch is None

    def epoch_in(self, frames: tuple[int, ...]) -> int | None:
        """The epoch to show among those that have pictures: the nearest earlier one where the chosen one has none."""
        if not frames:
            return None
        if self.epoch is None:
            return frames[-1]
        return max((frame for frame in frames if frame <= self.epoch), default=frames[0])

    def moved_epoch(self, frames: tuple[int, ...], by: int) -> Selection:
        """So many pictures further; beyond the last one is the last one, which follows live again."""
        shown = self.epoch_in(frames)
        if shown is None:
            return self
        index = max(0, frames.index(shown) + by)
        return replace(self, epoch=None if index >= len(frames) - 1 and by > 0 else frames[min(index, len(frames) - 1)])

    def moved_layer(self, layers: int, by: int) -> Selection:
        """So many layers further, stopping at either end."""
        layer = min(max(0, self.layer + by), max(0, layers - 1))
        return self if layer == self.layer else replace(self, layer=layer, channel=None, zoomed=False)

    def moved_probe(self, probes: int, by: int) -> Selection:
        """So many probe photographs further, round and round."""
        return replace(self, probe=(self.probe + by) % max(1, probes))

    def moved_channel(self, channels: int, by: int) -> Selection:
        """So many channels further, stopping at either end; the first move only shows the cursor."""
        if self.channel is None:
            return replace(self, channel=0)
        return replace(self, channel=min(max(0, self.channel + by), max(0, channels - 1)))

    def next_mode(self) -> Selection:
        """Maps, filters, average, and round again."""
        return replace(self, mode=MODES[(MODES.index(self.mode) + 1) % len(MODES)], zoomed=False)
