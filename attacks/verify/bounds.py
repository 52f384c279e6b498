"""What a layer's sums can reach: intervals, and lines that are substituted back to the inputs.

Every variable is an integer from 0 to a known limit, and a neuron is 1 where ``weights @ variables >= need``.
A neuron's step lies between two lines of its own sum; a sum of such neurons is bounded by putting the lines
in place of the neurons, layer after layer, until only inputs are left (Singh et al., DeepPoly, POPL 2019;
for a step function the lines run through its integer corners).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from export.graph import IntArray

FloatArray = npt.NDArray[np.float64]

# Far above what float64 loses in sums of this size, far below the distance of two integers.
_SLACK = 1e-9


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Relaxation:
    """Lines around the neurons of one layer: ``low_slope * a + low_at_0 <= z <= high_slope * a + high_at_0``.

    Attributes:
        weights: float64 ``(neurons, variables)``; ``a = weights @ variables`` of the layer before.
        low_slope: float64 ``(neurons,)``, not negative.
        low_at_0: float64 ``(neurons,)``.
        high_slope: float64 ``(neurons,)``, not negative.
        high_at_0: float64 ``(neurons,)``.
    """

    weights: FloatArray
    low_slope: FloatArray
    low_at_0: FloatArray
    high_slope: FloatArray
    high_at_0: FloatArray


def interval(weights: IntArray, limits: IntArray) -> tuple[IntArray, IntArray]:
    """Return least and greatest ``weights @ x`` for ``0 <= x <= limits``, exact for independent x.

    Args:
        weights: int64 ``(rows, variables)``.
        limits: int64 ``(variables,)``.
    """
    return np.minimum(weights, 0) @ limits, np.maximum(weights, 0) @ limits


def reach(
    weights: IntArray, limits: IntArray, layers: Sequence[Relaxation], inputs: IntArray
) -> tuple[IntArray, IntArray]:
    """Bound ``weights @ x`` from below and above by intervals and by substitution, whichever is tighter.

    Args:
        weights: int64 ``(rows, variables)``.
        limits: int64 ``(variables,)``, of those variables.
        layers: The layers that compute them, first to last; none where they are the inputs.
        inputs: Limits of the inputs, int64.
    """
    low, high = interval(weights, limits)
    if not layers:
        return low, high
    rows = weights.astype(np.float64)
    return np.maximum(low, -_upper(-rows, layers, inputs)), np.minimum(high, _upper(rows, layers, inputs))


def relax(weights: IntArray, need: IntArray, low: IntArray, high: IntArray) -> Relaxation:
    """Return lines around neurons whose sums reach from below ``need`` to at least ``need``.

    Args:
        weights: int64 ``(neurons, variables)``.
        need: int64 ``(neurons,)``; ``low < need <= high``.
        low: Least sum.
        high: Greatest sum.
    """
    # A line or a constant: the one that leaves less room between it and the step.
    rising = np.where(high - low < 2 * (need - low), 1.0 / (need - low), 0.0)
    falling = np.where(high - low < 2 * (high - need + 1), 1.0 / (high - need + 1), 0.0)
    return Relaxation(
        weights=weights.astype(np.float64),
        low_slope=falling,
        low_at_0=(1 - need.astype(np.float64)) * falling,
        high_slope=rising,
        high_at_0=np.where(rising > 0, -low * rising, 1.0),
    )


def _upper(rows: FloatArray, layers: Sequence[Relaxation], inputs: IntArray) -> IntArray:
    constant = np.zeros(len(rows))
    size = np.zeros(len(rows))
    for layer in reversed(layers):
        above, below = np.maximum(rows, 0), np.minimum(rows, 0)
        constant += above @ layer.high_at_0 + below @ layer.low_at_0
        size += above @ np.abs(layer.high_at_0) - below @ np.abs(layer.low_at_0)
        rows = (above * layer.high_slope + below * layer.low_slope) @ layer.weights
    size += np.abs(rows) @ inputs
    return np.floor(constant + np.maximum(rows, 0) @ inputs + _SLACK * (1 + size)).astype(np.int64)
