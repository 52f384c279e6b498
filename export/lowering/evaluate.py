"""Running elementwise steps in float32, and finding the tensor that holds given integers."""

from __future__ import annotations

from collections.abc import Sequence
from math import frexp

import numpy as np

from export.graph import IntArray, Source
from export.lowering.operations import FloatArray
from export.lowering.steps import PointwiseStep


def evaluate(
    steps: Sequence[PointwiseStep],
    values: FloatArray,
    columns: slice = slice(None),
    *,
    alternative: int | None = None,
) -> FloatArray:
    """Apply steps to values.

    Args:
        steps: In order.
        values: float32 ``(samples, channels)``, or ``(samples, 1)`` for all channels at once.
        columns: Which channels of the steps' parameters ``values`` stands for.
        alternative: Which of the other orders of operation to use, where a step has one.

    Returns:
        float32 ``(samples, channels)``.
    """
    with np.errstate(all="ignore"):
        for step in steps:
            operation = step.operation
            function = operation.function
            if alternative is not None and alternative < len(operation.alternatives):
                function = operation.alternatives[alternative]
            parameters = (p if p.ndim == 0 else p[columns] for p in operation.parameters)
            values = function(values, *parameters)
    return values


def alternatives(steps: Sequence[PointwiseStep]) -> range:
    """Return the indices of the other orders of operation."""
    return range(max((len(step.operation.alternatives) for step in steps), default=0))


def find_source(steps: Sequence[PointwiseStep], values: FloatArray, integers: IntArray) -> Source | None:
    """Find the last tensor along the steps that holds given integers times a power of two.

    Args:
        steps: In order.
        values: What enters the first step, float32 ``(samples, channels or 1)``.
        integers: What is looked for, int64 ``(samples, channels or 1)``.
    """
    for count in range(len(steps), 0, -1):
        tensor = steps[count - 1].tensor
        if tensor is not None:
            exponent = match_exponent(evaluate(steps[:count], values), integers)
            if exponent is not None:
                return Source(tensor=tensor, exponent=exponent)
    return None


def match_exponent(values: FloatArray, integers: IntArray) -> int | None:
    """Return e where ``integers == values * 2**e`` exactly, else None."""
    wide, wanted = np.broadcast_arrays(values.astype(np.float64), integers.astype(np.float64))
    largest = np.unravel_index(np.abs(wanted).argmax(), wanted.shape)
    if not np.isfinite(wide).all() or wanted[largest] == 0 or wide[largest] == 0:
        return None
    exponent = frexp(wanted[largest])[1] - frexp(wide[largest])[1]
    return exponent if np.array_equal(np.ldexp(wide, exponent), wanted) else None
