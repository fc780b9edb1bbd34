"""The two lines at the top: which run, how it stands, how far it is and how fast."""

from __future__ import annotations

from collections.abc import Sequence

from rich.text import Text
from textual.widget import Widget

from tui import format as fmt
from tui.run.state import RunState

Part = tuple[str, str]


def fitted(left: Sequence[Part], right: Sequence[Part], width: int) -> Text:
    """Parts on the left and on the right of a line; where they do not fit, the later ones of the left go first.

    Args:
        left: Text and Rich style of each part, the most important first.
        right: The same, kept as long as there is room for the first of the left beside it.
    """
    right_text = Text("  ").join(Text(text, style) for text, style in right)
    if left and right_text.cell_len + Text(left[0][0]).cell_len + 3 > width:
        right, right_text = (), Text()
    room = width - right_text.cell_len - (2 if right else 0)
    line = Text()
    for text, style in left:
        part = Text(("  " if line else " ") + text, style)
        if line.cell_len + part.cell_len > room:
            break
        line.append_text(part)
    if right_text.cell_len < width:
        line.append(" " * max(0, width - line.cell_len - right_text.cell_len - 1))
        line.append_text(right_text)
    line.truncate(width)
    return line


class StatusLines(Widget):
    """Two lines that are always there."""

    DEFAULT_CSS = """
    StatusLines { height: 2; width: 1fr; background: $panel; }
    """

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._state: RunState | None = None
        self._now = 0.0

    def show(self, state: RunState | None, now: float) -> None:
        """Show a run at a time in seconds since 1970."""
        self._state, self._now = state, now
        self.refresh()

    def render(self) -> Text:
        """Both lines for the width there is."""
        width = self.size.width
        if self._state is None:
            return fitted(
                [("facegender-tui", "bold"), ("no run is open: t starts one, r lists runs", "dim")], [], width
            )
        return Text("\n").join([self._first(self._state, width), self._second(self._state, width)])

    def _first(self, state: RunState, width: int) -> Text:
        sign, colour = fmt.SIGNS[state.state]
        left: list[Part] = [(state.name, "bold"), (f"{sign} {state.state}", colour)]
        started = state.started
        if started is not None:
            left.append((f"{int(state.epochs_done)}/{started.epochs} epochs", ""))
            name = started.device_name.removeprefix("NVIDIA ")
            precision = started.precision if started.precision.startswith("bf") else f"fp{started.precision}"
            left.append((f"{started.device} {name} {precision}" if name != "CPU" else f"CPU {precision}", ""))
            left.append((f"{started.recipe} recipe", "dim"))
            left.append((f"{started.image_size} px", "dim"))
            if started.demo:
                left.insert(2, ("demo faces", "#e5c07b"))
        right: list[Part] = []
        if state.since:
            right.append((fmt.duration(state.elapsed_s(self._now)), ""))
            if state.live:
                right.append((f"left {fmt.duration(state.left_s())}", ""))
        return fitted(left, right, width)

    def _second(self, state: RunState, width: int) -> Text:
        started = state.started
        if started is None:
            text = "reading the run"
            if state.read:
                starting = "the trainer is starting: importing torch and reading the photographs"
                text = starting if state.live else "never began"
            return fitted([(text, "dim")], [], width)
        epoch, share = state.epoch_progress
        parts: list[Part] = []
        if state.live:
            parts.append((f"{100 * share:.0f} % of epoch {epoch}", ""))
            parts.append((f"batch {state.batch}/{started.steps_per_epoch}", ""))
        if state.images_per_second:
            parts.append((f"{fmt.thousands(state.images_per_second)} images/s", ""))
        if state.system is not None and state.live:
            for gpu in state.system.gpus[:1]:
                used, total = fmt.gib(gpu.memory_used_bytes), fmt.gib(gpu.memory_total_bytes)
                parts.append((f"GPU {fmt.load(gpu.utilisation_percent)} {used}/{total} GiB", "dim"))
            if not state.system.gpus:
                parts.append((f"CPU {state.system.cpu_percent:.0f} %", "dim"))
        words = fitted([("", ""), *parts], [], max(0, width - 12))
        bar_width = max(0, min(60, width - words.cell_len - 3))
        line = Text(" ")
        line.append_text(bar(share if state.live else state.epochs_done / max(1, started.epochs), bar_width))
        line.append_text(words)
        line.truncate(width)
        return line


def bar(share: float, width: int, colour: str = fmt.TRAIN_COLOUR) -> Text:
    """A progress bar in half cells."""
    halves = round(min(1.0, max(0.0, share)) * 2 * width)
    full, half = divmod(halves, 2)
    text = Text("━" * full + ("╸" if half else ""), colour)
    text.append("━" * max(0, width - full - half), "#3e4451")
    return text
