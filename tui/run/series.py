"""The per-step metrics of a run, in columns that grow without being copied."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import TYPE_CHECKING

from facegender.runs.events import Steps

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Floats = npt.NDArray[np.float64]


class StepColumns:
    """Per-step metrics in columns: step, seconds since 1970, loss, accuracy.

    Instances are immutable to their users. `extended` shares memory with the instance it extends, so appending to a
    run of a million steps copies nothing. One thread may append while another reads. numpy is imported with the first
    step, so that the first screen does not wait for it.

    Attributes:
        history: Two instances with the same object hold the same steps, as far as the shorter one goes.
    """

    _WIDTH = 4

    def __init__(
        self,
        table: Floats | None = None,
        length: int = 0,
        used: list[int] | None = None,
        history: object | None = None,
    ) -> None:
        self._table = table
        self._used = [0] if used is None else used
        self._length = length
        self.history = object() if history is None else history

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

        columns: list[tuple[Sequence[float], ...]]
        columns = [(event.step, event.seconds, event.loss, event.accuracy) for event in events]
        counts = [min(map(len, each)) for each in columns]
        end = self._length + sum(counts)
        table, used, history = self._table, self._used, self.history
        if table is None or used[0] != self._length or end > table.shape[1]:
            if used[0] != self._length:  # another instance was already extended from here
                history = object()
            table = np.empty((self._WIDTH, max(1024, 2 * end)))
            if self._table is not None:
                table[:, : self._length] = self._table[:, : self._length]
            used = [self._length]
        for row in range(self._WIDTH):
            values = chain.from_iterable(_cut(each[row], count) for each, count in zip(columns, counts, strict=True))
            table[row, self._length : end] = np.fromiter(values, float, end - self._length)
        used[0] = end
        return StepColumns(table, end, used, history)

    def until(self, step: int) -> StepColumns:
        """Keep only the steps up to and including ``step``."""
        length = int(self.step.searchsorted(step, side="right"))
        return self if length == self._length else StepColumns(self._table, length, self._used)


def _cut(values: Sequence[float], count: int) -> Sequence[float]:
    return values if len(values) == count else values[:count]
