"""What the interface knows of a run, and the pure step from one event to the next. Nothing here knows a screen.

Decoded events hold no character that could control a terminal, so nothing here has to be escaped.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby

from facegender.runs.events import (
    AnyEvent,
    CheckpointSaved,
    EpochFinished,
    EpochStarted,
    FrameSaved,
    Heartbeat,
    Level,
    Notice,
    RunFinished,
    RunStarted,
    Steps,
    System,
)
from facegender.runs.folder import LIVE_STATES, State
from tui.run.step_columns import StepColumns

LOG_LINES = 500


@dataclass(frozen=True)
class LogLine:
    """A sentence of the log pane."""

    time: float
    level: Level
    text: str


@dataclass(frozen=True)
class Part:
    """The time that one process trained of a run, which a later one may go on with.

    Attributes:
        since: When it began, in seconds since 1970.
        before_s: Seconds that the parts before it trained.
    """

    since: float
    before_s: float


@dataclass(frozen=True)
class RunState:
    """Everything that is shown of a run.

    Attributes:
        observed: How the run stands by its folder and process; the journal cannot tell that a process died.
        read: The journal was read to its end, if only once; before that little of the rest means anything.
        epoch: Epoch in training or last trained, counted from 0; -1 before the first.
        batch: Batches done in that epoch.
        frames: Epochs whose pictures were announced, ascending.
        frame_times: When the pictures of an epoch were last announced; a run that goes on may make some again.
        log_tail: The end of ``train.log``, filled in where a run crashed or failed.
        parts: One for each process that trained, the last one of the process that trains now, or trained last.
        trained_until: Time of the newest event that only a trainer at work writes: one that is still starting says how
            busy the machine is, perhaps days after the one before it died.
    """

    name: str
    observed: State = "starting"
    read: bool = False
    started: RunStarted | None = None
    epoch: int = -1
    batch: int = 0
    learning_rate: float = math.nan
    images_per_second: float = 0.0
    steps: StepColumns = field(default_factory=StepColumns)
    epochs: tuple[EpochFinished, ...] = ()
    frames: tuple[int, ...] = ()
    frame_times: Mapping[int, float] = field(default_factory=dict)
    checkpoint: CheckpointSaved | None = None
    system: System | None = None
    log: tuple[LogLine, ...] = ()
    log_tail: tuple[str, ...] = ()
    finished: RunFinished | None = None
    parts: tuple[Part, ...] = ()
    trained_until: float = 0.0

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
    def patience(self) -> int:
        """Epochs without a better one after which the run ends; 0 for never."""
        return self.started.patience if self.started else 0

    @property
    def epochs_since_best(self) -> int:
        """How many of these are over."""
        return self.epochs[-1].epochs_since_best if self.epochs else 0

    @property
    def ended_early(self) -> bool:
        """Whether the run has ended before its last epoch because its patience was over."""
        if self.started is None or self.state != "completed":
            return False
        return 0 < self.patience <= self.epochs_since_best and self.epochs_done < self.started.epochs

    @property
    def epochs_done(self) -> float:
        """Epochs trained, the running one as a fraction."""
        if self.started is None or self.epoch < 0:
            return 0.0
        if self.epochs and self.epochs[-1].epoch == self.epoch:
            return self.epoch + 1.0
        return self.epoch + min(1.0, self.batch / max(1, self.started.steps_per_epoch))

    @property
    def epoch_progress(self) -> tuple[int, float]:
        """The epoch at hand and the share of it that is trained; one that is over is at hand until the next begins."""
        whole, share = divmod(self.epochs_done, 1.0)
        if self.batch and whole > self.epoch:
            return self.epoch, 1.0
        return int(whole), share

    @property
    def since(self) -> float:
        """When the present or last part of the run began; 0 before the first."""
        return self.parts[-1].since if self.parts else 0.0

    def elapsed_s(self, now: float) -> float:
        """Seconds that the run has trained, or did: all its parts together, without the time between them."""
        if not self.parts:
            return 0.0
        return self.parts[-1].before_s + max(0.0, (now if self.live else self.trained_until) - self.since)

    def left_s(self) -> float | None:
        """Seconds to the end as it looks now; None while unknown."""
        if self.started is None or not self.live:
            return None
        left = self.started.epochs - self.epochs_done
        own = [epoch.seconds for epoch in self.epochs if epoch.time >= self.since]
        if own:
            return left * sum(own) / len(own)
        if self.images_per_second > 0:
            return left * sum(self.started.train_images.values()) / self.images_per_second
        return None


def apply(state: RunState, event: AnyEvent) -> RunState:
    """The state after an event. Pure: neither argument changes."""
    if isinstance(event, Steps):
        return _stepped(state, [event])
    if not isinstance(event, RunStarted | Notice | System | Heartbeat):
        state = replace(state, trained_until=max(state.trained_until, event.time))
    match event:
        case RunStarted():
            return _run_started(state, event)
        case EpochStarted():
            return replace(state, epoch=event.epoch, batch=0, learning_rate=event.learning_rate, finished=None)
        case EpochFinished():
            epochs = (*(epoch for epoch in state.epochs if epoch.epoch < event.epoch), event)
            text = (
                f"epoch {event.epoch}: loss {event.train_loss:.4f}, validation loss {event.validation_loss:.4f}, "
                f"accuracy {event.validation_accuracy:.3f}{', the best so far' if event.best else ''}"
            )
            state = replace(state, epochs=epochs, epoch=event.epoch, learning_rate=event.learning_rate)
            return _logged(state, event.time, "info", text)
        case FrameSaved():
            times = {**state.frame_times, event.epoch: event.time}
            return replace(state, frames=tuple(sorted({*state.frames, event.epoch})), frame_times=times)
        case CheckpointSaved():
            return replace(state, checkpoint=event)
        case System():
            return replace(state, system=event)
        case Notice():
            if state.finished is not None:
                # A process that goes on with the run has begun; the time until now is not its own.
                parts = _with_part(state, event.time)
                state = replace(state, finished=None, parts=parts, batch=0, images_per_second=0.0)
            return _logged(state, event.time, event.level, event.text)
        case RunFinished():
            return _run_finished(state, event)
        case Heartbeat():
            return state


def apply_all(state: RunState, events: Iterable[AnyEvent]) -> RunState:
    """The state after several events; lines of steps that follow each other are taken in one go."""
    for kind, group in groupby(events, type):
        if kind is Steps:
            state = _stepped(state, [event for event in group if isinstance(event, Steps)])
            continue
        for event in group:
            state = apply(state, event)
    return state


def _stepped(state: RunState, events: Sequence[Steps]) -> RunState:
    return replace(
        state,
        epoch=events[-1].epoch,
        batch=next((event.batch[-1] for event in reversed(events) if event.batch), state.batch),
        images_per_second=next(
            (event.images_per_second for event in reversed(events) if event.images_per_second), state.images_per_second
        ),
        steps=state.steps.extended(*events),
        trained_until=max(state.trained_until, *(event.time for event in events)),
    )


def _with_part(state: RunState, since: float) -> tuple[Part, ...]:
    """The parts of a run of which another one begins; it takes the place of one in which nothing was trained."""
    if not state.parts:
        return (Part(since, 0.0),)
    last = state.parts[-1]
    trained_s = max(0.0, state.trained_until - last.since)
    kept = state.parts if trained_s else state.parts[:-1]
    return (*kept, Part(since, last.before_s + trained_s))


def _run_started(state: RunState, event: RunStarted) -> RunState:
    state = replace(
        state,
        started=event,
        finished=None,
        parts=_with_part(state, event.time),
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
        f"{'resumed' if event.resumed else 'begins'} on {event.device} ({event.device_name}), "
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
    return replace(state, log=(*state.log[-LOG_LINES + 1 :], LogLine(time, level, text)))
