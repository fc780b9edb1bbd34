"""The state of a run as the interface shows it, and the pure fold of journal events into it.

Decoded events hold no character that could control a terminal, so nothing here has to be escaped.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from itertools import groupby
from operator import attrgetter
from typing import cast

import msgspec
from msgspec.structs import replace

from facegender.runs.events import (
    AnyEvent,
    CheckpointSaved,
    EpochFinished,
    EpochStarted,
    FrameSaved,
    HealthMeasured,
    Heartbeat,
    Level,
    Notice,
    PredictionsSaved,
    RequestDone,
    RunFinished,
    RunStarted,
    Steps,
    System,
    changes_until,
)
from facegender.runs.folder import LIVE_STATES, State
from facegender.support.text import figure, thousands
from tui.run.series import StepColumns

LOG_LINES = 500
ACCURACY, F1, LEARNING_RATE = "accuracy", "F1", "learning rate"


@dataclass(frozen=True)
class TrainingSegment:
    """The time during which one process trained the run; a resumed run has several.

    Attributes:
        since: When the process began, in seconds since 1970.
        before_s: Seconds of training in all earlier segments.
    """

    since: float
    before_s: float


class RunState(msgspec.Struct, frozen=True):
    """Everything that the interface shows of a run.

    Attributes:
        exists: The run folder is still there.
        process_state: The state by the run folder and the process; the journal cannot tell that a process died.
        silent: The trainer is there, but has not written to the journal for a minute; it writes every few seconds.
        read: The journal has been read to its end at least once; before that most other fields are incomplete.
        epoch: The epoch in training or trained last, counted from 0; -1 before the first.
        batch: Batches done in that epoch.
        frames: Epochs with a frame file, ascending.
        predicted: Epochs with a file of predictions, ascending.
        frame_times: When an epoch's frame file was last written; a resumed run may write some again.
        frames_within: For each epoch whose frame was made before its end, the optimiser step after which it was.
        health: The state of the layers after each epoch, ascending.
        changes: Requests that changed how the run is trained, in the order of their steps.
        log_tail: The last lines of ``train.log`` of a run that crashed or failed.
        segments: One for each process that has trained the run, the latest last.
        trained_until: Time of the newest event that a trainer writes only while it trains. System events do not count:
            a resuming trainer writes them while it starts, perhaps days after the last one died.
    """

    name: str
    exists: bool = True
    process_state: State = "starting"
    silent: bool = False
    read: bool = False
    started: RunStarted | None = None
    epoch: int = -1
    batch: int = 0
    learning_rate: float = math.nan
    images_per_second: float = 0.0
    steps: StepColumns = msgspec.field(default_factory=StepColumns)
    epochs: tuple[EpochFinished, ...] = ()
    frames: tuple[int, ...] = ()
    predicted: tuple[int, ...] = ()
    frame_times: Mapping[int, float] = msgspec.field(default_factory=dict)
    frames_within: Mapping[int, int] = msgspec.field(default_factory=dict)
    health: tuple[HealthMeasured, ...] = ()
    changes: tuple[RequestDone, ...] = ()
    system: System | None = None
    log: tuple[Notice, ...] = ()
    log_tail: tuple[str, ...] = ()
    finished: RunFinished | None = None
    segments: tuple[TrainingSegment, ...] = ()
    trained_until: float = 0.0

    @property
    def state(self) -> State:
        """The state in one word."""
        return self.finished.status if self.finished else self.process_state

    @property
    def live(self) -> bool:
        """Whether a trainer is running."""
        return self.state in LIVE_STATES

    @property
    def best(self) -> EpochFinished | None:
        """The epoch with the highest validation accuracy, the first of several."""
        known = [epoch for epoch in self.epochs if not math.isnan(epoch.validation_accuracy)]
        return max(known, key=lambda epoch: epoch.validation_accuracy, default=None)

    @property
    def classes(self) -> list[str]:
        """The names of the classes in the order of the labels; empty if unknown."""
        if self.started is not None and self.started.classes:
            return self.started.classes
        return self.epochs[-1].classes if self.epochs else []

    def epoch_at(self, epoch: int | None) -> EpochFinished | None:
        """Return what is known of an epoch, None for the latest; None if it is not finished."""
        if epoch is None:
            return self.epochs[-1] if self.epochs else None
        return next((finished for finished in self.epochs if finished.epoch == epoch), None)

    @property
    def metrics(self) -> tuple[str, ...]:
        """What the second chart can show: accuracy, F1, the learning rate, and by name what the module logged."""
        f1 = (F1,) if any(not math.isnan(epoch.macro_f1) for epoch in self.epochs) else ()
        logged = {name for epoch in self.epochs for name in epoch.metrics} - {ACCURACY, F1, LEARNING_RATE}
        return (ACCURACY, *f1, LEARNING_RATE, *sorted(logged))

    @property
    def patience(self) -> int:
        """Early stopping: the run ends after this many epochs without improvement; 0 for never."""
        return self.started.patience if self.started else 0

    @property
    def epochs_since_best(self) -> int:
        """Epochs since the last improvement."""
        return self.epochs[-1].epochs_since_best if self.epochs else 0

    @property
    def ended_early(self) -> bool:
        """Whether early stopping has ended the run before its last epoch."""
        if self.started is None or self.state != "completed":
            return False
        return 0 < self.patience <= self.epochs_since_best and self.epochs_done < self.started.epochs

    @property
    def epochs_done(self) -> float:
        """Epochs trained, with the running one as a fraction."""
        if self.started is None or self.epoch < 0:
            return 0.0
        if self.epochs and self.epochs[-1].epoch == self.epoch:
            return self.epoch + 1.0
        if self.started.steps_per_epoch <= 0:  # unknown, as for a stream of data
            return float(self.epoch)
        return self.epoch + min(1.0, self.batch / self.started.steps_per_epoch)

    @property
    def epoch_progress(self) -> tuple[int, float]:
        """The current epoch, counted from 0, and the share of it that is trained; 1.0 until the next one begins."""
        whole, share = divmod(self.epochs_done, 1.0)
        if self.batch and whole > self.epoch:
            return self.epoch, 1.0
        return int(whole), share

    @property
    def since(self) -> float:
        """When the current or last segment began; 0 before the first."""
        return self.segments[-1].since if self.segments else 0.0

    def elapsed_s(self, now: float) -> float:
        """Seconds of training in all segments, without the time between them."""
        if not self.segments:
            return 0.0
        return self.segments[-1].before_s + max(0.0, (now if self.live else self.trained_until) - self.since)

    def left_s(self) -> float | None:
        """Estimated seconds to the end; None while unknown."""
        if self.started is None or not self.live or self.started.epochs <= 0:
            return None
        left = self.started.epochs - self.epochs_done
        own = [epoch.seconds for epoch in self.epochs if epoch.time >= self.since]
        if own:
            return left * sum(own) / len(own)
        if self.images_per_second > 0:
            return left * sum(self.started.train_images.values()) / self.images_per_second
        return None


def apply(state: RunState, event: AnyEvent) -> RunState:
    """Fold an event into a state. Neither argument is changed."""
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
            epochs = state.epochs
            while epochs and epochs[-1].epoch >= event.epoch:
                epochs = epochs[:-1]
            state = replace(state, epochs=(*epochs, event), epoch=event.epoch, learning_rate=event.learning_rate)
            return _logged(state, event.time, "info", _summary(event))
        case FrameSaved():
            return replace(
                state,
                frames=tuple(sorted({*state.frames, event.epoch})),
                frame_times={**state.frame_times, event.epoch: event.time},
                frames_within=_with_frame(state, event),
            )
        case PredictionsSaved():
            return replace(state, predicted=tuple(sorted({*state.predicted, event.epoch})))
        case System():
            return replace(state, system=event)
        case Notice():
            if state.finished is not None:
                # A resuming process has started: the time until now is not training time.
                segments = _with_segment(state, event.time)
                state = replace(state, finished=None, segments=segments, batch=0, images_per_second=0.0)
            return _logged(state, event.time, event.level, event.text)
        case RunFinished():
            resumable = state.started is None or state.started.recipe  # not a run of somebody's own script
            texts: dict[str, tuple[Level, str]] = {
                "completed": ("info", "training is complete"),
                "stopped": ("warning", "training was stopped" + ("; resume continues from here" if resumable else "")),
                "failed": ("error", f"training failed: {event.error}"),
            }
            return _logged(replace(state, finished=event), event.time, *texts[event.status])
        case RequestDone():
            if event.change:
                state = replace(state, changes=(*state.changes, event))
                if event.epochs is not None and state.started is not None:
                    state = replace(state, started=replace(state.started, epochs=event.epochs))
                if event.learning_rate is not None:
                    state = replace(state, learning_rate=event.learning_rate)
            return _logged(state, event.time, "info" if event.done else "warning", event.outcome)
        case HealthMeasured():
            health = state.health
            while health and health[-1].epoch >= event.epoch:
                health = health[:-1]
            return replace(state, health=(*health, event))
        case CheckpointSaved() | Heartbeat():
            return state


def apply_all(state: RunState, events: Sequence[AnyEvent]) -> RunState:
    """Fold several events into a state; consecutive lines of steps are folded at once."""
    if set(map(type, events)) == {Steps}:  # most of a long journal
        return _stepped(state, cast(Sequence[Steps], events))
    for kind, group in groupby(events, type):
        some = list(group)
        state = _stepped(state, cast(list[Steps], some)) if kind is Steps else reduce(apply, some, state)
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
        trained_until=max(state.trained_until, max(map(attrgetter("time"), events))),
    )


def _with_segment(state: RunState, since: float) -> tuple[TrainingSegment, ...]:
    """The segments with one more that begins now; a last segment without any training is replaced."""
    if not state.segments:
        return (TrainingSegment(since, 0.0),)
    last = state.segments[-1]
    trained_s = max(0.0, state.trained_until - last.since)
    kept = state.segments if trained_s else state.segments[:-1]
    return (*kept, TrainingSegment(since, last.before_s + trained_s))


def _run_started(state: RunState, event: RunStarted) -> RunState:
    state = replace(
        state,
        started=event,
        finished=None,
        segments=_with_segment(state, event.time),
        steps=state.steps.until(event.start_step),
        epochs=tuple(epoch for epoch in state.epochs if epoch.epoch < event.start_epoch),
        health=tuple(health for health in state.health if health.epoch < event.start_epoch),
        changes=changes_until(state.changes, event.start_step),
        epoch=event.start_epoch - 1,
        batch=0,
        log_tail=(),
    )
    photographs = sum(event.train_images.values()), sum(event.validation_images.values())
    noun = "demo faces" if event.demo else "photographs"
    text = (
        f"{'resumed' if event.resumed else 'started'} on {event.device_text}, "
        f"{thousands(photographs[0])} {noun} to train, {thousands(photographs[1])} to validate"
    )
    return _logged(state, event.time, "info", text)


def _with_frame(state: RunState, event: FrameSaved) -> dict[int, int]:
    """Return `RunState.frames_within` with another frame."""
    within = {epoch: step for epoch, step in state.frames_within.items() if epoch != event.epoch}
    finished = next((epoch for epoch in reversed(state.epochs) if epoch.epoch == event.epoch), None)
    if event.epoch >= 0 and (finished is None or event.step < finished.step):
        within[event.epoch] = event.step
    return within


def _summary(event: EpochFinished) -> str:
    """Return the figures of an epoch in one line, without those that were not measured."""
    parts = [f"loss {figure(event.train_loss)}"]
    if not math.isnan(event.validation_loss) or math.isnan(event.train_loss):
        parts.append(f"validation loss {figure(event.validation_loss)}")
    if not math.isnan(event.validation_accuracy):
        parts.append(f"accuracy {figure(event.validation_accuracy)}")
    return f"epoch {event.epoch + 1}: {', '.join(parts)}{', best so far' if event.best else ''}"


def _logged(state: RunState, time: float, level: Level, text: str) -> RunState:
    return replace(state, log=(*state.log[-LOG_LINES + 1 :], Notice(time=time, level=level, text=text)))
