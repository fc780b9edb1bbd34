"""The run and machine panes: metrics of the run, and the load of the machine."""

from __future__ import annotations

import time
from collections.abc import Callable

from rich.text import Text
from textual.widgets import Static

from facegender.support.text import counted
from tui import format as fmt
from tui.run.state import RunState
from tui.widgets.status import bar

_PAST = "#7f848e"


class Facts(Static):
    """Lines of text that a function makes from a run's state."""

    DEFAULT_CSS = """
    Facts { height: auto; width: 1fr; }
    """

    def __init__(self, lines: Callable[[RunState], Text]) -> None:
        super().__init__()
        self._lines = lines

    def show(self, state: RunState) -> None:
        """Show a run."""
        if (text := self._lines(state)) != self.content:
            self.update(text)


def run_facts(state: RunState) -> Text:
    """Return best epoch, learning rate, patience, and the validation metrics of each class."""
    out = Text()
    best = state.best
    if best is not None:
        out.append("best ").append(fmt.figure(best.validation_accuracy), "bold").append(f" at epoch {best.epoch + 1}")
    else:
        words = "known after the first validation" if state.read else "reading the run"
        out.append(f"best epoch: {words}", "dim")
    rate = state.learning_rate
    if rate == rate:
        out.append(f"   learning rate {fmt.significant(rate)}", "" if best else "dim")
    if state.ended_early:
        out.append(f"\nended early: {counted(state.epochs_since_best, 'epoch')} without improvement", "#e5c07b")
    elif state.patience > 0:
        waited = state.epochs_since_best
        since = f", no improvement for {counted(waited, 'epoch')}" if waited else ""
        out.append(f"\npatience {state.patience}{since}", "" if waited else "dim")
    if state.epochs:
        last = state.epochs[-1]
        width = max([7, *map(len, last.classes)])
        out.append(f"\n{'':<{width}} correct wrong  precision recall   F1", "dim")
        rows = zip(last.classes, last.confusion, last.precision, last.recall, last.f1, strict=False)
        for number, (name, row, precision, recall, f1) in enumerate(rows):
            correct = row[number] if number < len(row) else 0
            out.append("\n").append(name.ljust(width), fmt.CLASS_COLOURS[number % 2])
            out.append(f" {correct:>7} {sum(row) - correct:>5}")
            out.append(f"  {fmt.figure(precision):>9} {fmt.figure(recall):>6} {fmt.figure(f1):>5}")
        out.append(f"\nmacro F1 {fmt.figure(last.macro_f1)}").append(
            f"   loss {fmt.figure(last.validation_loss)}   of epoch {last.epoch + 1}", "dim"
        )
    if state.started is not None:
        train, validation = sum(state.started.train_images.values()), sum(state.started.validation_images.values())
        out.append(f"\n{fmt.thousands(train)} to train, {fmt.thousands(validation)} to validate", "dim")
        if state.started.skipped_files:
            out.append(f", {state.started.skipped_files} skipped", "#e5c07b")
    return out


def machine_facts(state: RunState) -> Text:
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
        ("CPU", system.cpu_percent / 100, f"{system.cpu_percent:.0f} %"),
        ("RAM", share, f"{text}, trainer {fmt.gib(system.process_memory_bytes)}"),
    ]
    for gpu in system.gpus:
        rows.append((f"GPU{gpu.index}", gpu.utilisation_percent / 100, fmt.load(gpu.utilisation_percent)))
        rows.append(("", *_memory(gpu.memory_used_bytes, gpu.memory_total_bytes)))
    for number, (name, share, text) in enumerate(rows):
        out.append("\n" if number else "").append(f"{name:<5}", style)
        colour = _PAST if style else "#e5c07b" if share >= 0.9 else "#98c379"  # an unknown share is NaN
        out.append_text(bar(share, 12, colour)).append(f" {text}", style)
    return out


def _memory(used_bytes: int, total_bytes: int) -> tuple[float, str]:
    return used_bytes / max(1, total_bytes), f"{fmt.gib(used_bytes)}/{fmt.gib(total_bytes)} GiB"
