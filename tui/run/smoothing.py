"""Smoothing of curves that grow."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


class Smoother:
    """Exponential moving average with bias correction, as TensorBoard's smoothing; NaNs stay and are passed over.

    It is called with one part of a curve after another. Within a block each value adds up what lies 1, 2, 4, 8 and 16
    places before it, which after these five turns is everything; what a block hands on to the next one is one number.
    (A product with a matrix would do as well, but BLAS would start threads for it on a machine that is busy training.)

    Args:
        weight: Of the past, in [0, 1); 0 changes nothing.
    """

    _BLOCK = 32

    def __init__(self, weight: float) -> None:
        self._weight = weight
        self._settled = math.ceil(-40 / math.log(weight)) if weight > 0 else 0
        self._average = 0.0
        self._count = 0
        self._decay = weight ** np.arange(1, self._BLOCK + 1)

    def __call__(self, y: Floats) -> Floats:
        """The (N,) smoothed values of the next (N,) values."""
        if self._weight <= 0:
            return y
        finite = np.isfinite(y)
        values = y[finite]
        out = np.full(len(y), np.nan)
        if len(values):
            averages = self._averages(values)
            # What the average lacks because it began at zero; after some hundred values that is nothing.
            lacking = self._weight ** np.arange(self._count + 1, min(self._count + len(values), self._settled) + 1)
            averages[: len(lacking)] /= 1 - lacking
            out[finite] = averages
            self._count += len(values)
        return out

    def _averages(self, values: Floats) -> Floats:
        blocks = -(-len(values) // self._BLOCK)
        within = np.zeros((blocks, self._BLOCK))
        within.ravel()[: len(values)] = (1 - self._weight) * values
        back = 1
        while back < self._BLOCK:
            within[:, back:] += self._weight**back * within[:, :-back]
            back *= 2
        carried = np.empty(blocks)
        average, decay = self._average, float(self._decay[-1])
        for block, last in enumerate(within[:, -1].tolist()):
            carried[block] = average
            average = average * decay + last
        averages: Floats = (within + carried[:, None] * self._decay).ravel()[: len(values)]
        self._average = float(averages[-1])
        return averages
