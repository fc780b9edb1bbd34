"""The per-step metrics of a run, in columns that grow without being copied."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from operator import attrgetter
from typing import TYPE_CHECKING

from facegender.runs.events import Steps

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Floats = npt.NDArray[np.float64]


_COLUMNS = tuple(attrgetter(name) for name in ("step", "seconds", "loss", "accuracy"))


class StepColumns:
    """Per-step metrics in columns: step, seconds since 1970, loss, accuracy.

    Instances are immutable to their users. `extended` shares memory with the instance it extends, so appending to a
    run of a million steps copies nothing. One thread may append while another reads. numpy is imported with the first
    step, so that the first screen does not wait for it.

    Attributes:
        history: Two instances with the same list hold the same steps, as far as the shorter one goes. It holds the
            length of the longest one.
    """

    def __init__(self, table: Floats | None = None, length: int = 0, history: list[int] | None = None) -> None:
        self._table = table
        self._length = length
        self.history = [0] if history is None else history

    def __len__(self) -> int:
        return self._length

    @property
    def step(self) -> Floats:
        """(N,) optimiser steps, ascending."""
        return self._column(0)

    @property
    def seconds(self) -> Floats:
        """(N,) seconds since 1970."""
        return self._column(1)

    @property
    def loss(self) -> Floats:
        """(N,) training loss of each batch; may hold NaN and infinities."""
        return self._column(2)

    @property
    def accuracy(self) -> Floats:
        """(N,) training accuracy of each batch in [0, 1]."""
        return self._column(3)

    def _column(self, row: int) -> Floats:
        import numpy as np

        return np.empty(0) if self._table is None else self._table[row, : self._length]

    def extended(self, *events: Steps) -> StepColumns:
        """Append the steps of events; columns of unequal length count as far as the shortest."""
        import numpy as np

        columns: list[list[Sequence[float]]] = [list(map(column, events)) for column in _COLUMNS]
        lengths = [list(map(len, column)) for column in columns]
        if 0 in lengths[0] or any(one != lengths[0] for one in lengths):
            rows = [tuple(zip(*zip(*row, strict=False), strict=True)) for row in zip(*columns, strict=True)]
            columns = [list(column) for column in zip(*filter(None, rows), strict=True)]
        if not columns:
            return self
        length = sum(map(len, columns[0]))
        end = self._length + length
        table, history = self._table, self.history
        if history[0] != self._length:  # another instance was already extended from here
            table, history = None, [self._length]
        if table is None or end > table.shape[1]:
            table = np.empty((len(_COLUMNS), max(1024, 2 * end)))
            if self._table is not None:
                table[:, : self._length] = self._table[:, : self._length]
        for number, column in enumerate(columns):
            new = table[number, self._length : end]
            if number == 0 and column[-1][-1] - column[0][0] == length - 1:  # one step after another, as nearly always
                new[:] = np.arange(column[0][0], column[0][0] + length)
            else:
                new[:] = np.fromiter(chain.from_iterable(column), float, length)
        history[0] = end
        return StepColumns(table, end, history)

    def until(self, step: int) -> StepColumns:
        """Keep only the steps up to and including ``step``."""
        length = int(self.step.searchsorted(step, side="right"))
        return self if length == self._length else StepColumns(self._table, length, [self._length])
