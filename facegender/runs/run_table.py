"""The table of runs: its columns, in which order they are dropped where there is no room, and sorting."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from facegender.runs.events import LATEST_TIME
from facegender.runs.summary import RunSummary
from facegender.support.errors import UserError
from facegender.support.text import age_in_words, duration, end_of, figure, one_line, significant

Value = str | float
"""What is compared when runs are sorted and filtered."""

MIN_WIDTH = 12
"""Cells that a long text is shortened to at most, to make room for more columns."""


@dataclass(frozen=True)
class Column:
    """One column of the table.

    Attributes:
        name: What it is called in filters and for sorting.
        title: Its header; the name where empty.
        value: Takes a summary and the seconds since 1970 that it is now; NaN and "" if unknown.
        text: Takes the value and the summary.
        is_text: The values are texts; else numbers.
        rank: The columns with the highest ranks are dropped first.
        shrinks: A long cell is shortened, if need be to `MIN_WIDTH`, to make room for other columns.
    """

    name: str
    value: Callable[[RunSummary, float], Value]
    text: Callable[[float, RunSummary], str] = lambda value, run: figure(value)
    title: str = ""
    is_text: bool = False
    rank: int = 0
    shrinks: bool = False

    @property
    def header(self) -> str:
        """The title."""
        return self.title or self.name

    def cell(self, run: RunSummary, now: float) -> str:
        """What the table shows of a run; empty if unknown."""
        value = self.value(run, now)
        if isinstance(value, str):
            return value
        return "" if math.isnan(value) else self.text(value, run)


def _or_nan(value: float, known: bool) -> float:
    return value if known else math.nan


def _whole(value: float, run: RunSummary) -> str:
    return str(int(value))


def _text_column(name: str, value: Callable[[RunSummary], str], rank: int, shrinks: bool = False) -> Column:
    return Column(name, lambda run, now: value(run), is_text=True, rank=rank, shrinks=shrinks)


COLUMNS: dict[str, Column] = {
    column.name: column
    for column in (
        _text_column("run", lambda run: run.run, 0, shrinks=True),
        _text_column("state", lambda run: run.state, 1),
        Column("epochs", lambda run, now: run.epochs_done, lambda value, run: f"{int(value)}/{run.epochs}", rank=3),
        Column("best", lambda run, now: run.best_accuracy, rank=2),
        Column("at", lambda run, now: _or_nan(run.best_epoch + 1, run.best_epoch >= 0), _whole, "at epoch", rank=10),
        Column("loss", lambda run, now: run.validation_loss, rank=9),
        Column("lowest", lambda run, now: run.lowest_loss, title="lowest loss", rank=14),
        Column("train", lambda run, now: run.train_loss, title="train loss", rank=15),
        Column("lr", lambda run, now: run.learning_rate, lambda value, run: significant(value), rank=4),
        Column("batch", lambda run, now: _or_nan(run.batch_size, run.batch_size > 0), _whole, rank=12),
        Column("size", lambda run, now: _or_nan(run.image_size, run.image_size > 0), _whole, rank=11),
        _text_column("recipe", lambda run: run.recipe, 7),
        _text_column("network", lambda run: run.network, 8),
        Column(
            "duration", lambda run, now: _or_nan(run.duration_s, 0 < run.duration_s < LATEST_TIME),
            lambda value, run: duration(value), rank=13,
        ),
        Column(
            "age", lambda run, now: _or_nan(max(0.0, now - run.created), run.created > 0),
            lambda value, run: age_in_words(value), rank=5,
        ),
        Column("seed", lambda run, now: _or_nan(run.seed, run.seed >= 0), _whole, rank=17),
        _text_column("note", lambda run: run.note, 6, shrinks=True),
        _text_column("data", lambda run: "demo faces" if run.demo else run.data, 16, shrinks=True),
    )
}  # fmt: skip
"""In the order of the table, by name."""

_ALIASES = {"name": "run", "learning_rate": "lr", "accuracy": "best"}


def find_column(name: str) -> Column:
    """Return a column by its name.

    Raises:
        UserError: There is none; the message lists all.
    """
    key = name.lower().replace("-", "_")
    if column := COLUMNS.get(_ALIASES.get(key, key)):
        return column
    raise UserError(f"there is no column {one_line(name)[:64]!r}: the columns are {', '.join(COLUMNS)}")


def sort_runs(runs: Iterable[RunSummary], column: Column, now: float, *, descending: bool = False) -> list[RunSummary]:
    """Sort runs by a column. Unknown values come last in both directions; equal ones keep their order."""

    def is_known(run: RunSummary) -> bool:
        value = column.value(run, now)
        return value != "" if isinstance(value, str) else not math.isnan(value)

    def key(run: RunSummary) -> Value:
        value = column.value(run, now)
        return value.casefold() if isinstance(value, str) else value

    runs = list(runs)
    known = sorted(filter(is_known, runs), key=key, reverse=descending)
    return known + [run for run in runs if not is_known(run)]


def natural_widths(cells: Mapping[str, Sequence[str]]) -> dict[str, int]:
    """Measure the columns, in terminal cells; a column whose cells are all empty is left out.

    Args:
        cells: The cells of each column, by its name.
    """
    from rich.cells import cell_len

    widths = {name: max(map(cell_len, texts)) for name, texts in cells.items() if any(texts)}
    return {name: max(width, len(COLUMNS[name].header)) for name, width in widths.items()}


def fit_columns(wanted: Mapping[str, int], room: int, gap: int = 2) -> dict[str, int]:
    """Choose the columns that fit into a line, and their widths.

    The columns are taken by their rank as long as there is room for them, those that shrink at their least width; what
    is left of the room goes to the latter.

    Args:
        wanted: The `natural_widths` of the columns.
        room: Width of the line in terminal cells.
        gap: Terminal cells between two columns.

    Returns:
        Names of the columns in the order of the table, with their widths in terminal cells.
    """
    least = {name: min(width, MIN_WIDTH) if COLUMNS[name].shrinks else width for name, width in wanted.items()}
    if "run" in least:  # it is what people type and paste
        least["run"] = min(wanted["run"], max(MIN_WIDTH, room // 4))
    widths: dict[str, int] = {}
    for name in sorted(wanted, key=lambda name: COLUMNS[name].rank):
        if sum(widths.values()) + gap * len(widths) + least[name] <= room or not widths:
            widths[name] = least[name]
    for name in ("run", "note", "data"):
        if name in widths:
            left = room - sum(widths.values()) - gap * (len(widths) - 1)
            widths[name] += max(0, min(left, wanted[name] - widths[name]))
    return {name: widths[name] for name in COLUMNS if name in widths}


def fit_cell(name: str, text: str, width: int) -> str:
    """Return a cell, or the header, of a column as exactly ``width`` terminal cells; numbers stand at the right.

    A text that is too long is shortened at its end, a path at its beginning.
    """
    column = COLUMNS.get(name)
    if column and not column.is_text:
        text = text.rjust(width)
    if len(text) <= width and text.isascii():
        return text.ljust(width)
    from rich.text import Text

    cell = Text(end_of(text, width) if name == "data" else text)
    cell.truncate(width, overflow="ellipsis", pad=True)
    return cell.plain
