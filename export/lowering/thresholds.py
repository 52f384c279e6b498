"""Thresholds by running the network's own float operations at every integer an accumulator can take.

No formula: BatchNorm, scales and clips are evaluated in float32 as an executor evaluates them, and the
threshold is where the sign flips. Three things can make executors disagree with each other at the flip, and
each is told in a note, because the integer network has to choose one:

- a fused BatchNormalization, whose order of operations ONNX leaves open: onnxruntime's order is taken;
- sums that float32 rounds, because the weights' scale is no power of two, or because Gemm adds a bias that
  is off the sums' grid, at a moment of the executor's choice: the exact sum is taken, and an executor's own
  may be off by about 1e-5 of the sum of magnitudes;
- nothing else: all other operators are single IEEE 754 operations.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from export.graph import IntArray
from export.lowering.evaluate import alternatives, evaluate
from export.lowering.operations import FloatArray
from export.lowering.refusal import refuse
from export.lowering.steps import LinearStep, PointwiseStep
from export.lowering.stream import EXACT_FLOAT32, is_exact, on_grid
from export.lowering.weights import Accumulators

_RELATIVE_SUM_ERROR = 1e-5

BoolArray = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SignThresholds:
    """Where a layer's neurons fire.

    Attributes:
        steps: int64 ``(MH,)``: neuron r fires where its accumulator is >= this, after `negated`.
        negated: bool ``(MH,)``: the neuron's weights are to be negated first.
        notes: What executors may disagree about.
    """

    steps: IntArray
    negated: BoolArray
    notes: tuple[str, ...]


def find_thresholds(
    linear: LinearStep,
    accumulators: Accumulators,
    steps: Sequence[PointwiseStep],
    inverted: BoolArray | None = None,
) -> SignThresholds:
    """Find the threshold of every neuron.

    Args:
        linear: The layer's matrix product, for messages.
        accumulators: What its integers mean.
        steps: The elementwise steps between the accumulator and the sign, without the sign.
        inverted: bool ``(MH,)``, which neurons fire for the other sign; None for none.

    Returns:
        Thresholds on the grid of possible accumulators. A neuron that always fires has ``-bound``, one that
        never fires ``bound + step``; the caller clips them to the layer's range.

    Raises:
        LoweringError: A neuron's decision is not monotone in its accumulator, or not a number.
    """
    integers = accumulators.integers
    neurons = len(accumulators.weights)
    flips, rising, moving = (np.zeros(neurons, np.int64) for _ in range(3))
    for rows in accumulators.chunks():
        start = rows.start
        fires = _fires(linear, steps, evaluate(steps, accumulators.floats(integers, rows), rows), start)
        if inverted is not None:
            fires = fires != inverted[rows]
        changes = fires[1:] != fires[:-1]
        counts = changes.sum(axis=0)
        if np.any(counts > 1):
            channel = start + int(np.flatnonzero(counts > 1)[0])
            where = steps[-1].node if steps else linear.node
            raise refuse(
                where,
                f"makes channel {channel} fire in more than one range of its accumulator",
                hint="use activations that rise or fall throughout, such as BatchNorm, ReLU or a hard tanh",
                channel=channel,
            )
        moving[rows] = counts
        flips[rows] = changes.argmax(axis=0) + 1 if len(changes) else 0
        rising[rows] = fires[-1]
    return _result(linear, accumulators, steps, integers, flips, rising != 0, moving != 0)


def _result(
    linear: LinearStep,
    accumulators: Accumulators,
    steps: Sequence[PointwiseStep],
    integers: IntArray,
    flips: IntArray,
    ends_firing: BoolArray,
    moving: BoolArray,
) -> SignThresholds:
    """Turn flips (indices of the first integer after the flip) into thresholds and notes."""
    last = len(integers) - 1
    # A neuron that never flips is looked at where it comes nearest: at both ends of its range.
    below: IntArray = integers[np.where(moving, np.clip(flips - 1, 0, last), 0), 0]
    above: IntArray = integers[np.where(moving, np.clip(flips, 0, last), last), 0]
    constant = np.where(ends_firing, -accumulators.bound, accumulators.bound + accumulators.step)
    thresholds: IntArray = np.where(moving, np.where(ends_firing, above, -below), constant)
    notes = find_notes(linear, accumulators, steps, np.stack([below, above]), _is_positive)
    return SignThresholds(steps=thresholds, negated=moving & ~ends_firing, notes=notes)


def _fires(
    linear: LinearStep, steps: Sequence[PointwiseStep], values: FloatArray, start: int = 0
) -> BoolArray:
    if np.isnan(values).any():
        channel = start + int(np.flatnonzero(np.isnan(values).any(axis=0))[0])
        raise refuse(
            steps[-1].node if steps else linear.node,
            f"gives channel {channel} a value that is not a number",
            hint="check its scale and variance, and train the model again",
            channel=channel,
        )
    return values >= 0


def _is_positive(values: FloatArray) -> npt.NDArray[np.generic]:
    return values >= 0


def find_notes(
    linear: LinearStep,
    accumulators: Accumulators,
    steps: Sequence[PointwiseStep],
    edges: IntArray,
    answer: Callable[[FloatArray], npt.NDArray[np.generic]],
) -> tuple[str, ...]:
    """Evaluate both sides of each flip in the other ways that executors may take.

    Args:
        linear: The layer's matrix product, for messages.
        accumulators: What its integers mean.
        steps: The elementwise steps after it.
        edges: Accumulators next to each flip, int64 ``(edges, MH)``.
        answer: What of the steps' result counts.
    """
    rows = slice(0, len(accumulators.weights))
    floats = accumulators.floats(edges, rows)
    chosen = answer(evaluate(steps, floats))
    notes: list[str] = []
    reordered = np.zeros(rows.stop, np.bool_)
    for index in alternatives(steps):
        reordered |= (answer(evaluate(steps, floats, alternative=index)) != chosen).any(axis=0)
    if reordered.any():
        notes.append(
            f"node {steps[-1].node[0]!r}: {_channels(reordered)} at one accumulator value the answer depends"
            " on the order of operations in BatchNormalization; onnxruntime's order is taken"
        )
    if not sums_are_exact(linear, accumulators, steps):
        slack = (_RELATIVE_SUM_ERROR * accumulators.float_bound * accumulators.units).astype(np.float32)
        near = np.zeros(rows.stop, np.bool_)
        for moved in (floats - slack, floats + slack):
            near |= (answer(evaluate(steps, moved)) != chosen).any(axis=0)
        if near.any():
            notes.append(
                f"node {linear.node[0]!r}: {_channels(near)} the answer at one accumulator value lies within"
                " float32's rounding of the sum, because the scale is no power of two or the bias is off its"
                " grid; the exact sum is taken"
            )
    return tuple(notes)


def sums_are_exact(linear: LinearStep, accumulators: Accumulators, steps: Sequence[PointwiseStep]) -> bool:
    """Tell whether float32 sums the layer without a rounding, Gemm's bias included, in whatever order."""
    if not all(is_exact(float(unit), accumulators.float_bound) for unit in np.unique(accumulators.units)):
        return False
    reach = accumulators.float_bound * float(np.abs(accumulators.units).max())
    for step in steps:
        # A step of the product's own node is Gemm's alpha or bias.
        if step.node != linear.node:
            break
        for parameter in step.operation.parameters:
            values = np.append(np.atleast_1d(parameter), accumulators.units).astype(np.float32)
            grid = on_grid(values)
            if grid is None or np.ldexp(reach + float(np.abs(parameter).max()), grid[1]) > EXACT_FLOAT32:
                return False
    return True


def _channels(which: BoolArray) -> str:
    indices = np.flatnonzero(which)
    listed = ", ".join(map(str, indices[:5])) + (", ..." if len(indices) > 5 else "")
    return f"in {len(indices)} of {len(which)} channels ({listed})"
