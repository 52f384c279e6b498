"""Many points of a problem at once: the integer network that is left, in exact float arithmetic."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from attacks.verify.problem import Problem
from export.graph import IntArray

# Sums of integers below this are exact in float32, in any order.
_EXACT_IN_FLOAT32 = 1 << 24

FloatArray = npt.NDArray[Any]


class Evaluator:
    """Computes margins of a problem.

    Attributes:
        dtype: float32 where every sum is exact in it, else float64.
    """

    def __init__(self, problem: Problem) -> None:
        largest = 0
        limits = problem.limits
        for rows in (*problem.layers, problem.margins):
            totals = np.abs(rows.weights) @ limits + np.abs(rows.need)
            largest = max(largest, int(totals.max(initial=0)))
            limits = np.ones(len(rows.need), np.int64)
        self.dtype = np.float32 if largest < _EXACT_IN_FLOAT32 else np.float64
        self._layers = [
            (np.ascontiguousarray(rows.weights.T, self.dtype), rows.need.astype(self.dtype))
            for rows in (*problem.layers, problem.margins)
        ]

    @property
    def first(self) -> FloatArray:
        """Weights of the first layer, ``(variables, rows)``."""
        return self._layers[0][0]

    def margins(self, counts: IntArray) -> FloatArray:
        """Return how far each target is over its need, ``(N, targets)``, for counts ``(N, pixels)``.

        At least 0 in one column means that the class changes.
        """
        return self.after_first(counts.astype(self.dtype) @ self.first)

    def after_first(self, sums: FloatArray) -> FloatArray:
        """Return the margins for given sums of the first layer, ``(N, rows)``."""
        for (_, need), (weights, _) in zip(self._layers[:-1], self._layers[1:], strict=True):
            sums = (sums >= need).astype(self.dtype) @ weights
        return sums - self._layers[-1][1]

    def slopes(self) -> FloatArray:
        """Return the product of all weights, ``(pixels, targets)``: where each margin tends to rise."""
        product = self._layers[0][0]
        for weights, _ in self._layers[1:]:
            product = product @ weights
        return product
