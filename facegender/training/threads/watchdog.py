"""Warnings about a run that nobody is watching. The journal thread feeds it; it does no input or output itself.

Each warning is reported once when its cause begins, and again when it is over.
"""

from __future__ import annotations

import itertools
import math
import statistics
from collections import Counter, deque
from collections.abc import Callable

from facegender.runs.events import EpochFinished, EpochStarted, Event, Level, RunFinished, RunStarted, Steps, System
from facegender.support.text import age_in_words, one_line, size_in_words

MEDIAN_OF = 16
"""Steps over which the median loss is taken, so that single outliers do not matter."""
EXPLODED = 10.0
"""The loss has exploded if its median exceeds this many times the lowest median so far, or the loss of guessing."""

NOT_FINITE_STEPS = 8
"""Steps in a row without a finite loss that cause a warning; a single one may be unknown, as of an empty batch."""

MIN_SILENCE_S = 60.0
USUAL_STEPS = 20
"""A run makes no progress if no step ends within this many usual steps, and within `MIN_SILENCE_S`."""
SUSPENDED_S = 20.0
"""If `Watchdog.poll` was not called for this long, the whole process was suspended, not only the training."""
MIN_PAUSE_S = 600.0
USUAL_PAUSES = 5
"""The same between two epochs, when a run validates: this many of the longest pauses, and `MIN_PAUSE_S`."""

WAITS_OF = 64
"""Steps over which the share of the time that is spent waiting for data is measured."""
MIN_WAITS_S = 5.0
"""If these steps take less time than this, no warning is worth it."""
STALLED, FLOWING = 0.5, 0.25
"""Shares of a step: waiting for data causes a warning above the first one, and it is over below the second."""

MEMORY_FULL, MEMORY_FREE = 0.97, 0.92
SPARE_BYTES = 64 << 20
"""Room on the disk for everything that a run writes besides its checkpoints."""
BYTES_PER_PARAMETER = 12
"""Estimates the size of the first checkpoint: the weight and two moments of Adam, 4 bytes each."""
MAX_EPISODES = 3
"""How often the same warning is reported in a run; it is over in between."""


class LossWatch:
    """Tells when losses explode.

    Args:
        guessing: Loss of a network that gives all classes the same probability, in nats.
        lowest: The lowest median before the first loss; infinite if any first loss is to be expected.
    """

    def __init__(self, guessing: float, lowest: float = math.inf) -> None:
        self._guessing, self._lowest = guessing, lowest
        self._recent: deque[float] = deque(maxlen=MEDIAN_OF)

    def exploded(self, step: int, loss: float) -> float | None:
        """Take a finite loss; return the median of the last ones if they have exploded."""
        self._recent.append(loss)
        if len(self._recent) < MEDIAN_OF or step % MEDIAN_OF:
            return None
        median = statistics.median(self._recent)
        has_exploded = median > EXPLODED * max(self._lowest, self._guessing)
        self._lowest = min(self._lowest, median)
        return median if has_exploded else None


class Watchdog:
    """Watches a run. All methods are called from one thread.

    Args:
        report: Takes a sentence and its level.
    """

    def __init__(self, report: Callable[[str, Level], None]) -> None:
        self._report = report
        self._raised: set[str] = set()
        self._episodes: Counter[str] = Counter()
        self._started: RunStarted | None = None
        self._losses: LossWatch | None = None
        self._not_finite: int | None = None
        self._step_at: float | None = None
        self._pauses_s: deque[float] = deque(maxlen=16)
        self._steps_s: deque[float] = deque(maxlen=32)
        self._is_between = False
        self._longest_s = 0.0
        self._last_end: tuple[float, ...] = ()
        self._polled_at = math.inf
        self._waits: deque[tuple[float, float]] = deque(maxlen=WAITS_OF)

    @property
    def _is_script(self) -> bool:
        """Whether the training is somebody's own."""
        return self._started is not None and not self._started.recipe

    def observe(self, event: Event, now: float) -> None:
        """Take an event that was written.

        Args:
            now: In seconds, by a clock that only goes forward, as in `poll`.
        """
        match event:
            case RunStarted():
                self._started = event
                # The program's own training examines its losses itself, and knows more of them.
                self._losses = LossWatch(math.log(max(2, len(event.classes)))) if self._is_script else None
            case EpochStarted():
                self._progress(now)
                self._last_end = ()
            case Steps():
                self._take_steps(event, now)
            case EpochFinished():
                self._is_between = True
                self._progress(now)
            case System():
                self._take_load(event)
            case RunFinished():
                self._step_at = None

    def add_step(self, waited_s: float, took_s: float) -> None:
        """Take how long a step waited for its data, and how long it took in all.

        Call it before `observe` gets the `Steps` with this step.
        """
        self._waits.append((waited_s, took_s))

    def _look_for_stall(self) -> None:
        waited, took = (sum(column) for column in zip(*self._waits, strict=True)) if self._waits else (0.0, 0.0)
        if len(self._waits) < WAITS_OF or took < MIN_WAITS_S:
            return
        share = waited / took
        remedy = "raise num_workers of its DataLoader" if self._is_script else "use --cache memory, or more --workers"
        self._set(
            "data",
            True if share > STALLED else False if share < FLOWING else None,
            f"waiting for data takes {share:.0%} of a step: {remedy}",
            f"waiting for data takes {share:.0%} of a step now",
        )

    def poll(self, now: float, free_bytes: int | None = None, checkpoint_bytes: int = 0) -> None:
        """Look at the clock and at the disk.

        Args:
            free_bytes: Room on the disk of the run folder; None if unknown.
            checkpoint_bytes: Size of the last checkpoint; 0 if there is none.
        """
        if self._step_at is not None:
            if now - self._polled_at > SUSPENDED_S:  # the whole process was suspended
                self._step_at += now - self._polled_at
            silent_s = now - self._step_at
            self._set("progress", True if silent_s > self._patience_s() else None, self._silence(silent_s))
        self._polled_at = now
        if free_bytes is not None:
            self._take_room(free_bytes, checkpoint_bytes)

    # Progress -----------------------------------------------------------------------------------------------------

    def _progress(self, now: float) -> None:
        if self._step_at is not None:
            paused_s = now - self._step_at
            if self._is_between:
                self._pauses_s.append(paused_s)
            elif self._is_script:  # which may validate within an epoch
                self._longest_s = max(self._longest_s, paused_s)
            self._set("progress", False, over=f"training continues after {age_in_words(paused_s)} without a step")
        self._step_at = now

    def _take_steps(self, event: Steps, now: float) -> None:
        self._progress(now)
        self._look_for_stall()
        ends = (*self._last_end, *event.seconds)
        self._steps_s.extend(end - begin for begin, end in itertools.pairwise(ends))
        self._last_end = ends[-1:]
        per_epoch = self._started.steps_per_epoch if self._started is not None else 0
        self._is_between = bool(event.batch) and event.batch[-1] == per_epoch
        for step, loss in zip(event.step, event.loss, strict=True) if self._losses is not None else ():
            self._take_loss(step, loss, event.epoch)

    def _usual_s(self) -> float:
        return statistics.median(self._steps_s) if self._steps_s else 0.0

    def _patience_s(self) -> float:
        if self._is_between or (self._started is not None and not self._started.steps_per_epoch):
            return max(MIN_PAUSE_S, USUAL_PAUSES * max(self._pauses_s, default=0.0))
        return max(MIN_SILENCE_S, USUAL_STEPS * self._usual_s(), USUAL_PAUSES * self._longest_s)

    def _silence(self, silent_s: float) -> str:
        what = "validation has not ended" if self._is_between else "no step"
        usual = f", and a step usually takes {self._usual_s():.2g} s" if self._steps_s and not self._is_between else ""
        return f"{what} for {age_in_words(silent_s)}{usual}: check the disk that has the photographs, and the GPU"

    # Losses -------------------------------------------------------------------------------------------------------

    def _take_loss(self, step: int, loss: float, epoch: int) -> None:
        assert self._losses is not None
        remedy = "a lower learning rate may help"
        if math.isfinite(loss):
            self._not_finite = 0
            if (median := self._losses.exploded(step, loss)) is not None:
                text = f"the loss has exploded: its median over {MEDIAN_OF} steps is {median:.3g} at step {step}"
                self._set("explosion", True, f"{text} (epoch {epoch + 1}): {remedy}")
        elif self._not_finite is not None:  # else it is not known
            self._not_finite += 1
            if self._not_finite == NOT_FINITE_STEPS:
                since = f"since step {step - NOT_FINITE_STEPS + 1} (epoch {epoch + 1})"
                self._set("nan", True, f"the loss has not been finite {since}: {remedy}")

    # The machine --------------------------------------------------------------------------------------------------

    def _take_load(self, event: System) -> None:
        for gpu in event.gpus:
            self._take_memory(
                f"GPU {gpu.index} ({one_line(gpu.name)})", gpu.memory_used_bytes, gpu.memory_total_bytes,
                "a smaller batch or image size needs less",
            )  # fmt: skip
        self._take_memory(
            "the machine", event.memory_used_bytes, event.memory_total_bytes, "the system may end the training"
        )

    def _take_memory(self, what: str, used: int, total: int, consequence: str) -> None:
        if total <= 0:
            return
        share = used / total
        left = f"{what} has {size_in_words(max(0, total - used))} of {size_in_words(total)} of its memory left"
        self._set(what, True if share > MEMORY_FULL else False if share < MEMORY_FREE else None,
                  f"{left}: {consequence}", f"{left} now")  # fmt: skip

    def _take_room(self, free: int, checkpoint_bytes: int) -> None:
        parameters = 0 if self._started is None or self._is_script else self._started.parameters
        size = checkpoint_bytes or BYTES_PER_PARAMETER * parameters
        # A checkpoint is written beside the one that it replaces.
        left, need = f"{size_in_words(free)} left on the disk of the run", size + SPARE_BYTES
        takes = f", and a checkpoint takes {size_in_words(size)}" if size else ""
        self._set(
            "disk",
            True if free < need else False if free > 2 * need else None,
            f"{left}{takes}: make room, or what is saved next may be lost",
            left,
        )

    def _set(self, name: str, is_on: bool | None, text: str = "", over: str = "") -> None:
        """Report that a state has begun or is over; None leaves it as it is."""
        if is_on and name not in self._raised:
            self._raised.add(name)
            self._episodes[name] += 1
            if self._episodes[name] <= MAX_EPISODES:
                self._report(text, "warning")
        elif is_on is False and name in self._raised:
            self._raised.remove(name)
            if over and self._episodes[name] <= MAX_EPISODES:
                self._report(over, "info")
