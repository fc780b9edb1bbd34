"""The run and machine panes: metrics of the run, and the load of the machine."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence

from rich.cells import cell_len
from rich.style import Style
from rich.text import Text

from facegender.runs.events import EpochFinished
from facegender.support.text import counted
from tui import format as fmt
from tui.run.state import RunState
from tui.widgets.lines import Lines
from tui.widgets.status import bar

CELL = "confusion-cell"
"""The name in a style's meta data of the cell (label, prediction) that a click is to show, or None."""
MAX_CLASS_ROWS = 5
"""Rows of the table of classes, which has one more for the headings."""
_CLASS_HEADINGS = " correct wrong  precision recall    F1"


class Facts(Lines):
    """Lines of text that a function makes from a run's state, the shown epoch and the width in cells."""

    DEFAULT_CSS = """
    Facts { height: auto; width: 1fr; }
    """

    def __init__(self, lines: Callable[[RunState, int | None, int], Text]) -> None:
        super().__init__()
        self._lines = lines
        self._shown: tuple[RunState, int | None] | None = None

    def show(self, state: RunState, epoch: int | None = None) -> None:
        """Show a run, with the figures of one epoch, counted from 0; None for the latest."""
        self._shown = state, epoch
        self._update()

    def on_resize(self) -> None:
        """Fit the lines into the new width."""
        self._update()

    def _update(self) -> None:
        if self._shown is not None:
            self.write(self._lines(*self._shown, self.size.width))


def run_facts(state: RunState, epoch: int | None, width: int) -> Text:
    """Return best epoch, learning rate, patience, and the validation metrics of each class in an epoch."""
    out = Text()
    best = state.best
    if best is not None:
        out.append("best ").append(fmt.figure(best.validation_accuracy), "bold").append(f" at epoch {best.epoch + 1}")
    else:
        words = "known after the first validation" if state.read else "reading the run"
        if state.epochs:
            words = "unknown, as no validation accuracy was recorded"
        out.append(f"best epoch: {words}", "dim")
    rate = state.learning_rate
    if rate == rate:
        out.append(f"   learning rate {fmt.significant(rate)}", "" if best else "dim")
    if state.ended_early:
        out.append(f"\nended early: {counted(state.epochs_since_best, 'epoch')} without improvement", "$warning")
    elif state.patience > 0:
        waited = state.epochs_since_best
        since = f", no improvement for {counted(waited, 'epoch')}" if waited else ""
        out.append(f"\npatience {state.patience}{since}", "" if waited else "dim")
    shown = state.epoch_at(epoch)
    if shown is not None:
        out.append_text(_class_table(shown, width))
        out.append(f"\nmacro F1 {fmt.measured(shown.macro_f1)}")
        out.append(f"   loss {fmt.measured(shown.validation_loss)}   of epoch {shown.epoch + 1}", "dim")
    elif epoch is not None and state.epochs:
        out.append(f"\n{fmt.epoch_name(epoch)}: not validated", "$warning")
    if state.started is not None and (state.started.train_images or state.started.validation_images):
        train, validation = sum(state.started.train_images.values()), sum(state.started.validation_images.values())
        out.append(f"\n{fmt.thousands(train)} to train, {fmt.thousands(validation)} to validate", "dim")
        if state.started.skipped_files:
            out.append(f", {fmt.thousands(state.started.skipped_files)} skipped", "$warning")
    return out


def _class_table(epoch: EpochFinished, width: int) -> Text:
    """Return a line for each class; of many classes those with the lowest F1, and how many others there are."""
    out = Text()
    count = min(len(epoch.classes), len(epoch.f1))
    if not count:
        return out
    shown = list(range(count))
    if count > MAX_CLASS_ROWS:
        # NaN, of a class without photographs, comes last.
        shown.sort(key=lambda number: (math.isnan(epoch.f1[number]), epoch.f1[number]))
        shown = shown[: MAX_CLASS_ROWS - 1]
    names = [fmt.class_name(number, epoch.classes) for number in range(count)]
    columns = max(7, min(max(cell_len(names[number]) for number in shown), width - len(_CLASS_HEADINGS)))
    out.append(f"\n{'':<{columns}}{_CLASS_HEADINGS}", "dim")
    for number in shown:
        row = epoch.confusion[number] if number < len(epoch.confusion) else []
        correct = row[number] if number < len(row) else 0
        counts = Text(f" {correct:>7} " if row else f" {'-':>7} {'-':>5}")
        if row:
            counts.append(f"{sum(row) - correct:>5}", Style(meta={CELL: _most_frequent_mistake(row, number)}))
        name = fmt.cut(names[number], columns)
        name.stylize(fmt.class_colour(number))
        out.append("\n").append_text(name).append_text(counts)
        precision, recall, f1 = (
            fmt.measured(values[number]) if number < len(values) else fmt.UNKNOWN
            for values in (epoch.precision, epoch.recall, epoch.f1)
        )
        out.append(f"  {precision:>9} {recall:>6} {f1:>5}")
    if len(shown) < count:
        out.append(f"\nthe lowest F1; and {count - len(shown)} more classes", "dim")
    return out


def _most_frequent_mistake(row: Sequence[int], label: int) -> tuple[int, int] | None:
    """Return the cell (label, prediction) of the confusion matrix with the most wrong predictions of a label."""
    wrong = [(count, answer) for answer, count in enumerate(row) if answer != label and count]
    return (label, max(wrong)[1]) if wrong else None


def machine_facts(state: RunState, _epoch: int | None, _width: int) -> Text:
    """Return the load of CPU, memory and GPUs of the machine that trains."""
    system = state.system
    if system is None:
        return Text("load of the machine: shown when the trainer reports it", "dim")
    # The last measurement of a run that has ended is not the current load.
    style = "" if state.live else "dim"
    out = Text()
    if not state.live:
        measured = time.strftime("%H:%M:%S on %d %b", time.localtime(system.time))
        out.append(f"at the end of the run, {measured}\n")
    share, text = _memory(system.memory_used_bytes, system.memory_total_bytes)
    rows = [
        ("CPU", system.cpu_percent / 100, fmt.load(system.cpu_percent)),
        ("RAM", share, f"{text}, trainer {fmt.gib(system.process_memory_bytes)}"),
    ]
    for gpu in system.gpus:
        rows.append((f"GPU{gpu.index}", gpu.utilisation_percent / 100, fmt.load(gpu.utilisation_percent)))
        rows.append(("", *_memory(gpu.memory_used_bytes, gpu.memory_total_bytes)))
    for number, (name, share, text) in enumerate(rows):
        out.append("\n" if number else "").append(f"{name:<5}", style)
        colour = "$past" if style else "$warning" if share >= 0.9 else "$success"  # an unknown share is NaN
        out.append_text(bar(share, 12, colour)).append(f" {text}", style)
    return out


def _memory(used_bytes: int, total_bytes: int) -> tuple[float, str]:
    return used_bytes / max(1, total_bytes), f"{fmt.gib(used_bytes)} of {fmt.gib(total_bytes)} GiB"
