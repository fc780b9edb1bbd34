"""A line with a mark for each epoch; a click selects one."""

from __future__ import annotations

from dataclasses import dataclass

from rich.text import Text
from textual import events
from textual.message import Message
from textual.widget import Widget


class EpochScrubber(Widget):
    """The epochs of a run from left to right, the shown one marked; those with pictures have a larger mark."""

    DEFAULT_CSS = """
    EpochScrubber { height: 1; width: 1fr; padding: 0 1; }
    """

    ALLOW_SELECT = False

    @dataclass
    class Clicked(Message):
        """An epoch was clicked, counted from 0."""

        epoch: int

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._epochs: tuple[int, ...] = ()
        self._with_pictures: frozenset[int] = frozenset()
        self._epoch: int | None = None
        self._playing = False

    def show(self, epochs: tuple[int, ...], with_pictures: tuple[int, ...], epoch: int | None, playing: bool) -> None:
        """Show epochs, counted from 0 and ascending, those that have pictures, and the selected one of them."""
        shown = epochs, frozenset(with_pictures), epoch, playing
        if shown != (self._epochs, self._with_pictures, self._epoch, self._playing):
            self._epochs, self._with_pictures, self._epoch, self._playing = shown
            self.refresh()

    def render(self) -> Text:
        """Draw the line."""
        if not self._epochs:
            return Text()
        marks: dict[int, str] = {}
        for index, epoch in enumerate(self._epochs):
            column = self._column(index)
            marks[column] = "•" if epoch in self._with_pictures else marks.get(column, "·")
        line = Text("".join(marks.get(column, "─") for column in range(self._columns)), "dim")
        if self._epoch in self._epochs:
            column = self._column(self._epochs.index(self._epoch))
            line = Text.assemble(line[:column], ("●", "bold $accent"), line[column + 1 :])
        left, right = self._ends()
        return Text.assemble((left, "dim"), line, (right, "$success" if self._playing else "dim"))

    def _ends(self) -> tuple[str, str]:
        first, last = f"{self._epochs[0] + 1} ", f" {self._epochs[-1] + 1}"
        return first, f"{last} {'▶' if self._playing else ' '}"

    @property
    def _columns(self) -> int:
        return max(1, self.size.width - sum(map(len, self._ends())))

    def _column(self, index: int) -> int:
        return round(index * (self._columns - 1) / max(1, len(self._epochs) - 1))

    def on_click(self, event: events.Click) -> None:
        """Select the nearest epoch."""
        event.stop()
        if (offset := event.get_content_offset(self)) is not None and self._epochs:
            at = offset.x - len(self._ends()[0])
            index = min(range(len(self._epochs)), key=lambda number: abs(self._column(number) - at))
            self.post_message(self.Clicked(self._epochs[index]))
