"""Reduce a picture's colours by repeatedly merging the two whose merging costs least.

This is Equitz's pairwise-nearest-neighbour method (1989), applied to an existing palette: merging colours of n and m
pixels at distance d costs n * m / (n + m) * d squared. Gradients lose every other step; isolated colours stay.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from tui.graphics.picture import Picture, Pixels

COLOUR_STEPS = (128, 96, 64, 48, 40, 32, 28, 24, 20, 16, 12, 8)
"""The numbers of colours to try."""

_SAMPLE_ROWS = 6
_SAMPLE_STEP = 8


def within_budget(
    picture: Picture, size_bytes: Callable[[Picture], int], budget_bytes: int, registers: int = 256
) -> Picture:
    """Reduce a picture's colours, to no fewer than eight, until it fits a budget.

    Args:
        size_bytes: Returns the encoded size of a picture; called with samples of it.
        budget_bytes: The size that the result should not much exceed.
        registers: The most colours that the result may have.
    """

    def estimate(candidate: Picture) -> int:
        rows = candidate.pixels
        count = len(rows) // _SAMPLE_ROWS
        if count < 2 * _SAMPLE_STEP:
            return size_bytes(candidate)
        blocks = rows[: count * _SAMPLE_ROWS].reshape(count, _SAMPLE_ROWS, -1)
        sample = np.ascontiguousarray(blocks[_SAMPLE_STEP // 2 :: _SAMPLE_STEP])
        part = Picture(sample.reshape(-1, sample.shape[2]), candidate.palette)
        return size_bytes(part) * count // len(sample)

    if len(picture.palette) <= registers and estimate(picture) <= budget_bytes:
        return picture
    quantizer = PaletteQuantizer(picture)
    steps = sorted({*COLOUR_STEPS, registers}, reverse=True)
    choices = [count for count in steps if count < quantizer.colours and count <= registers]
    if not choices:
        return quantizer.reduced(registers)
    fitting = bisect_left(
        choices, True, hi=len(choices) - 1, key=lambda count: estimate(quantizer.reduced(count)) <= budget_bytes
    )
    return quantizer.reduced(choices[fitting])


class PaletteQuantizer:
    """The order in which a picture's colours are merged, computed once for any number of colours."""

    def __init__(self, picture: Picture) -> None:
        self._picture = picture
        size = len(picture.palette)
        counts = np.bincount(picture.pixels.ravel(), minlength=size).astype(np.float64)
        # The square root preserves the colours of small but important things, such as the frame of the cursor.
        self._weights = np.sqrt(counts)
        self._used = np.flatnonzero(counts)
        self._steps = self._merge_order()

    @property
    def colours(self) -> int:
        """The number of colours that the picture uses."""
        return len(self._used)

    def reduced(self, colours: int) -> Picture:
        """Return the picture with at most ``colours`` colours."""
        if colours >= len(self._picture.palette):
            return self._picture
        group = np.arange(len(self._picture.palette))
        for kept, merged in self._steps[: max(0, self.colours - colours)]:
            group[group == merged] = kept
        new_colours = np.flatnonzero(np.bincount(group[self._used]))
        index = new_colours.searchsorted(group[self._used])
        total = np.zeros((len(new_colours), 3))
        weight = np.zeros(len(new_colours))
        np.add.at(weight, index, self._weights[self._used])
        np.add.at(total, index, self._picture.palette[self._used] * self._weights[self._used, None])
        palette: Pixels = (total / weight[:, None]).round().astype(np.uint8)
        numbers = np.zeros(256, np.uint8)
        numbers[self._used] = index
        return Picture(numbers[self._picture.pixels], palette)

    def _merge_order(self) -> list[tuple[int, int]]:
        """Return pairs of colours in the order of their merging: the one that is kept and the one merged into it."""
        colours = self._picture.palette[self._used].astype(np.float64)
        weights = self._weights[self._used].copy()
        count = len(weights)
        cost = np.array([_costs(colours, weights, one) for one in range(count)])
        np.fill_diagonal(cost, np.inf)
        steps = []
        for _ in range(count - 1):
            kept, merged = divmod(int(cost.argmin()), count)
            steps.append((int(self._used[kept]), int(self._used[merged])))
            both = weights[kept] + weights[merged]
            colours[kept] = (colours[kept] * weights[kept] + colours[merged] * weights[merged]) / both
            weights[kept] = both
            # Nothing is close to a merged colour.
            colours[merged] = np.inf
            row = _costs(colours, weights, kept)
            row[kept] = np.inf
            cost[kept] = cost[:, kept] = row
            cost[merged] = cost[:, merged] = np.inf
        return steps


def _costs(colours: npt.NDArray[np.float64], weights: npt.NDArray[np.float64], one: int) -> npt.NDArray[np.float64]:
    """Return the costs of merging one colour with each other one."""
    distance = ((colours - colours[one]) ** 2).sum(axis=1)
    row: npt.NDArray[np.float64] = weights * weights[one] / (weights + weights[one]) * distance
    return row
