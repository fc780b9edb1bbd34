"""The two lines at the top: the run with its state, its progress and its speed."""

from __future__ import annotations

from collections.abc import Sequence

from rich.text import Text
from textual.reactive import reactive
from textual.widget import Widget

from tui import format as fmt
from tui.run.state import RunState

Field = tuple[str, str]
"""Text and Rich style."""
ELAPSED_FROM = 70
"""Columns from which the time that a live run has taken stands beside the time left."""
NO_RUN = "no run is open: t starts one, r lists runs"
MIN_BAR, MAX_BAR = 10, 40
"""Columns of the progress bar."""


def fitted(left: Sequence[Field], right: Sequence[Field], width: int) -> Text:
    """Lay out fields on both sides of a line, leaving out those that do not fit.

    Args:
        left: The most important first; the last ones are left out first.
        right: Left out only if they do not fit beside the first of the left.
        width: The line's width in cells.
    """
    right_text = Text("  ").join(Text(text, style) for text, style in right)
    if left and right_text.cell_len + Text(left[0][0]).cell_len + 3 > width:
        right, right_text = (), Text()
    room = width - right_text.cell_len - (3 if right else 0)
    line = Text()
    for text, style in left:
        field = Text(("  " if line else " ") + text, style)
        if line.cell_len + field.cell_len > room:
            break
        line.append_text(field)
    if right_text.cell_len < width:
        line.append(" " * max(0, width - line.cell_len - right_text.cell_len - 1))
        line.append_text(right_text)
    line.truncate(width)
    return line


def _condition(state: RunState) -> Field:
    sign, colour = fmt.SIGNS[state.state]
    return ("◌ no sign of life", "$warning") if state.silent and state.live else (f"{sign} {state.state}", colour)


class StatusLines(Widget):
    """The two lines at the top of the dashboard, or one in their place.

    Every size shows run, state, epoch, loss, accuracy and the time left; the rest is left out first where it is narrow.
    """

    DEFAULT_CSS = """
    StatusLines { height: 2; width: 1fr; background: $panel; }
    """

    one_row: reactive[bool] = reactive(False)
    """Say the most important in one line."""

    read_only: reactive[bool] = reactive(False)
    """Say that the run may not be changed."""

    def __init__(self, state: RunState | None = None, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._state = state
        self._now = 0.0

    def show(self, state: RunState | None, now: float) -> None:
        """Show a run at a time in seconds since 1970."""
        self._state, self._now = state, now
        self.refresh()

    def render(self) -> Text:
        """Return both lines, laid out for the current width."""
        width = self.size.width
        if self._state is None:
            return fitted([("facegender-tui", "bold"), (NO_RUN, "dim")], [], width)
        if self.one_row:
            return self._only(self._state, width)
        return Text("\n").join([self._first(self._state, width), self._second(self._state, width)])

    def watch_one_row(self, one_row: bool) -> None:
        """Take one row or two."""
        self.styles.height = 1 if one_row else 2

    def _only(self, state: RunState, width: int) -> Text:
        """Return what is most important in one line; the epoch goes first, because the pictures name it as well."""
        left: list[Field] = [(state.name, "bold"), _condition(state), *latest_figures(state, short=True)]
        right: list[Field] = [(f"{fmt.duration(state.left_s())} left", "")] if state.live else []
        epoch: Field = (fmt.epoch_of(state.epoch + 1, state.started.epochs), "") if state.started else ("", "")
        taken = sum(Text(text).cell_len + 2 for text, _ in (*left, epoch, *right))
        if state.started and taken + 2 <= width:
            left.insert(2, epoch)
        if self.read_only:
            left.append(("read-only", "$warning"))
        return fitted(left, right, width)

    def _first(self, state: RunState, width: int) -> Text:
        """Return name, state and epoch of the run, and its time; then the rest, as far as it fits."""
        left: list[Field] = [(state.name, "bold"), _condition(state)]
        started = state.started
        if started is not None:
            left.append((fmt.epoch_of(state.epoch + 1, started.epochs), ""))
            if self.read_only:
                left.append(("read-only", "$warning"))
            if started.demo:
                left.append(("demo faces", "$warning"))
            name = started.device_name.removeprefix("NVIDIA ")
            precision = started.precision if started.precision.startswith("bf") else f"fp{started.precision}"
            left.append((f"{started.device} {name} {precision}" if name != "CPU" else f"CPU {precision}", ""))
            if started.network:
                left.append((started.network, "dim"))
            if started.recipe:
                left.append((f"{started.recipe} recipe", "dim"))
            if started.image_size > 0:
                left.append((f"{started.image_size} px", "dim"))
        elif self.read_only:
            left.append(("read-only", "$warning"))
        right: list[Field] = []
        if state.since:
            if not state.live or width >= ELAPSED_FROM:
                right.append((fmt.duration(state.elapsed_s(self._now)), "dim" if state.live else ""))
            if state.live:
                right.append((f"{fmt.duration(state.left_s())} left", ""))
        return fitted(left, right, width)

    def _second(self, state: RunState, width: int) -> Text:
        """Return the bar, loss and accuracy; then how far the epoch is, speed and load, as far as they fit."""
        started = state.started
        if started is None:
            text = "reading the run"
            if state.read:
                starting = "the trainer is starting: importing torch and reading the photographs"
                text = starting if state.live else "never started"
            return fitted([(text, "dim")], [], width)
        _, share = state.epoch_progress
        fields: list[Field] = list(latest_figures(state))
        if state.live:
            if started.steps_per_epoch > 0:
                fields.insert(0, (fmt.percent(share, 0), ""))
                fields.append((f"batch {fmt.thousands(state.batch)} of {fmt.thousands(started.steps_per_epoch)}", ""))
            else:
                fields.append((f"batch {fmt.thousands(state.batch)}", ""))
        if state.images_per_second:
            fields.append((f"{fmt.thousands(state.images_per_second)} images/s", "" if state.live else "dim"))
        if state.system is not None and state.live:
            for gpu in state.system.gpus[:1]:
                used, total = fmt.gib(gpu.memory_used_bytes), fmt.gib(gpu.memory_total_bytes)
                fields.append((f"GPU {fmt.load(gpu.utilisation_percent)} {used} of {total} GiB", "dim"))
            if not state.system.gpus:
                fields.append((f"CPU {fmt.load(state.system.cpu_percent)}", "dim"))
        words = fitted([("", ""), *fields], [], max(0, width - MIN_BAR - 2))
        words.rstrip()
        bar_width = max(0, min(MAX_BAR, width - words.cell_len - 3)) if state.live else MIN_BAR
        line = Text(" ")
        done = share if state.live else state.epochs_done / started.epochs if started.epochs > 0 else 1.0
        line.append_text(bar(done, bar_width))
        line.append_text(words)
        line.truncate(width)
        return line


def latest_figures(state: RunState, *, short: bool = False) -> Sequence[Field]:
    """Return validation loss and accuracy of the last epoch; before the first validation, those of the last batch."""
    if state.epochs:
        loss, accuracy = state.epochs[-1].validation_loss, state.epochs[-1].validation_accuracy
        of, style = "val. ", "bold"
    elif len(state.steps):
        loss, accuracy = state.steps.latest
        of, style = "train ", ""
    else:
        return ()
    of = "" if short else of
    return (f"{of}loss {fmt.measured(loss)}", style), (f"{of}acc. {fmt.measured(accuracy)}", style)


def bar(share: float, width: int, colour: str = "$train") -> Text:
    """Return a progress bar, accurate to half a cell."""
    halves = round(min(1.0, max(0.0, share)) * 2 * width)
    full, half = divmod(halves, 2)
    text = Text("━" * full + ("╸" if half else ""), colour)
    text.append("━" * max(0, width - full - half), "$track")
    return text
