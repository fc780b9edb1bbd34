"""A confusion matrix with a cursor, for any number of classes: what has no room is scrolled."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from rich.cells import cell_len
from rich.style import Style
from rich.text import Text
from textual import events
from textual.color import Color
from textual.message import Message
from textual.widget import Widget

from facegender.evaluation.metrics import class_scores
from tui import format as fmt
from tui.colours import mix

Counts = npt.NDArray[np.int64]

_SCORES = "  precision recall    F1"
HEADING_ROWS = 2
UNNUMBERED_CLASSES = 10
"""Of more classes the column of names has room for their numbers as well."""
MIN_HEADING_COLUMNS = 4
"""Narrower columns have a number as heading, which stands before the names of the rows as well."""
MAX_CELL_COLUMNS = 14
MIN_NAME_COLUMNS = 7


class ConfusionMatrix(Widget, can_focus=True):
    """Rows are labels, columns are predictions. Behind each row are the figures of its class, where there is room."""

    class Moved(Message):
        """Another cell is selected."""

    class Chosen(Message):
        """The selected cell was clicked again."""

    DEFAULT_CSS = """
    ConfusionMatrix { width: 1fr; height: auto; padding: 0 1; }
    """
    ALLOW_SELECT = False

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._counts: Counts = np.zeros((0, 0), np.int64)
        self._class_names: Sequence[str] = ()
        self.cell = (0, 1)
        """The selected (label, prediction)."""

    def show(self, counts: Counts, classes: Sequence[str]) -> None:
        """Show (K, K) counts of K classes."""
        lay_out = len(counts) != len(self._counts)
        self._counts, self._class_names = counts, classes
        self.cell = min(self.cell[0], max(0, len(counts) - 1)), min(self.cell[1], max(0, len(counts) - 1))
        self.refresh(layout=lay_out)
        self.post_message(self.Moved())

    def move(self, rows: int, columns: int) -> None:
        """Select another cell."""
        if len(self._counts):
            last = len(self._counts) - 1
            cell = min(max(0, self.cell[0] + rows), last), min(max(0, self.cell[1] + columns), last)
            if cell != self.cell:
                self.cell = cell
                self.refresh()
                self.post_message(self.Moved())

    def get_content_height(self, container: object, viewport: object, width: int) -> int:
        """Return the rows of the whole matrix with its heading."""
        return len(self._counts) + HEADING_ROWS

    def render(self) -> Text:
        """Draw the rows and columns around the cursor."""
        return self._drawn() if len(self._counts) else Text()

    def _columns(self) -> tuple[int, int, int, int]:
        """Width of the names and of a cell, the first column that is drawn, and how many are."""
        longest = max(cell_len(self._class_name(number)) for number in range(len(self._counts)))
        number = len(f"{len(self._counts)} ") if len(self._counts) > UNNUMBERED_CLASSES else 0
        names = max(MIN_NAME_COLUMNS, min(longest + number, self.size.width // 4)) + 1
        count = len(fmt.thousands(int(self._counts.max()))) + 2
        room = max(1, self.size.width - names)
        cell = max(count, min(longest + 2, MAX_CELL_COLUMNS, room // len(self._counts)))
        shown = max(1, min(len(self._counts), room // cell))
        return names, cell, _first(self.cell[1], shown, len(self._counts)), shown

    def _rows(self) -> tuple[int, int]:
        """The first row that is drawn, and how many are."""
        shown = max(1, min(len(self._counts), self.size.height - HEADING_ROWS))
        return _first(self.cell[0], shown, len(self._counts)), shown

    def _class_name(self, number: int) -> str:
        return self._class_names[number] if number < len(self._class_names) else f"class {number + 1}"

    def _drawn(self) -> Text:
        names, cell, left, across = self._columns()
        top, down = self._rows()
        numbered = cell - 2 < MIN_HEADING_COLUMNS < max(map(cell_len, self._class_names), default=0)
        scores = class_scores(self._counts, [self._class_name(number) for number in range(len(self._counts))])
        with_scores = left == 0 and across == len(self._counts)
        with_scores = with_scores and names + cell * across + len(_SCORES) <= self.size.width
        out = fmt.cut("rows are labels, columns are predictions", self.size.width)
        out.stylize("dim")
        out.append("\n" + " " * names)
        for column in range(left, left + across):
            name = str(column + 1) if numbered else fmt.cut(self._class_name(column), cell - 2).plain.strip()
            out.append(f"{name:>{cell - 1}} ", "bold" if column == self.cell[1] else "dim")
        out.append(_SCORES if with_scores else "", "dim")
        totals = np.maximum(self._counts.sum(1), 1)
        names_of_colours = ("gap", "correct-cell", "wrong-cell")
        background, correct, wrong = (Color.parse(self.app.theme_variables[name]) for name in names_of_colours)
        for row in range(top, top + down):
            name_text = fmt.cut(f"{row + 1} {self._class_name(row)}" if numbered else self._class_name(row), names)
            name_text.stylize("bold" if row == self.cell[0] else "")
            out.append("\n").append_text(name_text)
            for column in range(left, left + across):
                count = int(self._counts[row, column])
                share = count / int(totals[row])
                text = f"{fmt.thousands(count):>{cell - 1}} "
                # Cells with all photographs of a label have the full colour; the root keeps a few of them visible.
                shade = mix(background, correct if row == column else wrong, share**0.5).rich_color
                out.append(text, Style(bgcolor=shade, reverse=(row, column) == self.cell))
            if with_scores:
                one = scores[row]
                out.append(
                    f"  {fmt.figure(one.precision):>9} {fmt.figure(one.recall):>6} {fmt.figure(one.f1):>5}", "dim"
                )
        return out

    def on_click(self, event: events.Click) -> None:
        """Select the cell; a second click chooses it."""
        if (offset := event.get_content_offset(self)) is None or not len(self._counts):
            return
        names, cell, left, across = self._columns()
        top, down = self._rows()
        column, row = (offset.x - names) // cell, offset.y - HEADING_ROWS
        if 0 <= column < across and 0 <= row < down:
            if (chosen := (top + row, left + column)) == self.cell:
                self.post_message(self.Chosen())
            else:
                self.move(chosen[0] - self.cell[0], chosen[1] - self.cell[1])


def _first(cursor: int, shown: int, count: int) -> int:
    """The first of ``shown`` rows or columns, with the cursor in the middle where that is possible."""
    return min(max(0, cursor - shown // 2), count - shown)
