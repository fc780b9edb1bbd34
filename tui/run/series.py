"""The per-step metrics of a run, in tables that grow without being copied."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain
from operator import attrgetter
from typing import TYPE_CHECKING

from facegender.runs.events import Steps

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Floats = npt.NDArray[np.float64]


_COLUMNS = tuple(attrgetter(name) for name in ("step", "seconds", "loss", "accuracy"))
BLOCK_STEPS = 1 << 17
"""Steps in a table, which has 4 MiB: for so much at once numpy asks Linux for large pages, which are faster to get."""


class StepColumns:
    """Per-step metrics in columns: step, seconds since 1970, loss, accuracy.

    Instances are immutable to their users. `extended` shares memory with the instance it extends, so appending to a
    run of a million steps copies nothing. One thread may append while another reads. numpy is imported with the first
    step, so that the first screen does not wait for it.

    Attributes:
        history: Two instances with the same list hold the same steps, as far as the shorter one goes. It holds the
            length of the longest one.
    """

    def __init__(self, blocks: list[Floats] | None = None, length: int = 0, history: list[int] | None = None) -> None:
        self._blocks = [] if blocks is None else blocks
        self._length = length
        self.history = [0] if history is None else history

    def __len__(self) -> int:
        return self._length

    def parts(self, begin: int = 0) -> Iterator[Floats]:
        """Yield the steps from an index on, in tables (4, N) with N of at most `BLOCK_STEPS`."""
        while begin < self._length:
            block, at = divmod(begin, BLOCK_STEPS)
            yield self._blocks[block][:, at : at + self._length - begin]
            begin += BLOCK_STEPS - at

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

    @property
    def latest(self) -> tuple[float, float]:
        """Loss and accuracy of the last step; there must be one."""
        loss, accuracy = next(self.parts(self._length - 1))[2:, 0].tolist()
        return loss, accuracy

    def _column(self, row: int) -> Floats:
        import numpy as np

        return np.concatenate([np.empty(0), *(part[row] for part in self.parts())])

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
        count = sum(map(len, columns[0]))
        new = np.empty((len(_COLUMNS), count))
        for number, column in enumerate(columns):
            if number == 0 and column[-1][-1] - column[0][0] == count - 1:  # one step after another, as nearly always
                new[0] = np.arange(column[0][0], column[0][0] + count)
            else:
                new[number] = np.fromiter(chain.from_iterable(column), float, count)
        blocks, history = self._blocks, self.history
        if history[0] != self._length:  # another instance was already extended from here
            full = self._length // BLOCK_STEPS
            blocks, history = [*blocks[:full], *(block.copy() for block in blocks[full : full + 1])], [0]
        extended = StepColumns(blocks, self._length + count, history)
        while len(blocks) * BLOCK_STEPS < len(extended):
            blocks.append(np.empty((len(_COLUMNS), BLOCK_STEPS)))
        done = 0
        for part in extended.parts(self._length):
            part[:] = new[:, done : done + part.shape[1]]
            done += part.shape[1]
        history[0] = len(extended)
        return extended

    def until(self, step: int) -> StepColumns:
        """Keep only the steps up to and including ``step``."""
        length = int(self.step.searchsorted(step, side="right"))
        return self if length == self._length else StepColumns(self._blocks, length, [self._length])
