"""The last layer: from the network's own logits to exact integers of the same order.

A tail that treats every class alike and rises throughout (a scale, an offset) does not
change the label, so the integers are the accumulators themselves. A tail with a scale or an offset for each
class is kept as fixed point, and only if the float network computes it without a rounding. So is every tail
of a file that says on which grid its logits are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import frexp, gcd

import numpy as np
import numpy.typing as npt

from export.graph import IntArray, Source
from export.lowering.evaluate import alternatives, evaluate, find_source, match_exponent
from export.lowering.operations import FloatArray, multiply
from export.lowering.refusal import refuse
from export.lowering.steps import LinearStep, PointwiseStep
from export.lowering.stream import MAX_GRID_BITS, common_divisor, on_grid
from export.lowering.thresholds import sums_are_exact
from export.lowering.weights import Accumulators

_MAX_TABLE_ELEMENTS = 1 << 25
_HINT = "let the model round scale and offset to multiples of a power of two, or use one for all classes"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Logits:
    """Integer logits ``scale * (weights @ x) + bias``.

    Attributes:
        negated: bool ``(MH,)``: the class's weights are to be negated first.
        scale: int64 ``(MH,)``, or None for 1.
        bias: int64 ``(MH,)``, or None for 0.
        source: The ONNX tensor that holds them.
        notes: What executors may disagree about.
    """

    negated: npt.NDArray[np.bool_]
    scale: IntArray | None
    bias: IntArray | None
    source: Source | None
    notes: tuple[str, ...] = ()


def lower_logits(
    linear: LinearStep,
    accumulators: Accumulators,
    steps: Sequence[PointwiseStep],
    exponent: int | None = None,
) -> Logits:
    """Lower what follows the last matrix product.

    Args:
        linear: The last matrix product.
        accumulators: What its integers mean.
        steps: What follows it.
        exponent: Integer logits are the outputs times ``2**exponent``; None for a grid of our choice.

    Raises:
        LoweringError: The logits' order can't be kept by integers.
    """
    if exponent is not None:
        shifted = _on_the_files_grid(linear, accumulators, steps, exponent)
        return shifted or _per_class(linear, accumulators, steps, exponent)
    uniform = bool(np.all(accumulators.units == accumulators.units[0])) and all(
        parameter.ndim == 0 or np.all(parameter == parameter[0])
        for step in steps
        for parameter in step.operation.parameters
    )
    return _uniform(linear, accumulators, steps) if uniform else _per_class(linear, accumulators, steps)


def _on_the_files_grid(
    linear: LinearStep, accumulators: Accumulators, steps: Sequence[PointwiseStep], exponent: int
) -> Logits | None:
    """Keep a tail that only multiplies by powers of two, which needs no look at each sum; else None."""
    factor = 2.0**exponent
    for step in steps:
        values = [np.unique(parameter) for parameter in step.operation.parameters]
        if step.operation.function is not multiply or len(values[0]) != 1 or values[0][0] <= 0:
            return None
        factor *= float(values[0][0])
        if frexp(float(values[0][0]))[0] != 0.5:
            return None
    scale = accumulators.multiplier * accumulators.units * factor
    bias = accumulators.offsets * accumulators.units * factor
    is_whole = np.all(scale == np.rint(scale)) and np.all(bias == np.rint(bias))
    if not is_whole or max(scale.max(), np.abs(bias).max()) >= 1 << MAX_GRID_BITS:
        return None
    uniform = bool(np.all(scale == 1))
    tensor = steps[-1].tensor if steps else linear.tensor
    return Logits(
        negated=np.zeros(len(scale), np.bool_),
        scale=None if uniform else scale.astype(np.int64),
        bias=bias.astype(np.int64) if np.any(bias) else None,
        source=None if tensor is None else Source(tensor=tensor, exponent=exponent),
        notes=_exactness_note(linear, accumulators, steps),
    )


def _uniform(linear: LinearStep, accumulators: Accumulators, steps: Sequence[PointwiseStep]) -> Logits:
    """Drop a tail that is one rising or falling function for all classes."""
    steps = [_scalar(step) for step in steps]
    classes = len(accumulators.weights)
    alike = bool(np.all(accumulators.offsets == accumulators.offsets[0]))
    whole = _reachable(linear, accumulators)
    floats = (whole * accumulators.units[0]).astype(np.float32)[:, None]
    values = _finite(linear, steps, evaluate(steps, floats))
    direction = 1 if values[-1, 0] >= values[0, 0] else -1
    if np.any(np.diff(values[:, 0]) * direction <= 0):
        where = steps[-1].node if steps else linear.node
        raise refuse(
            where, "does not keep the order of the logits", hint="end the network with scales and offsets"
        )
    if alike:
        whole = (whole - accumulators.offsets[0]) // accumulators.multiplier
    scaled = accumulators.multiplier != 1 and not alike
    return Logits(
        negated=np.full(classes, direction < 0),
        scale=np.full(classes, accumulators.multiplier, np.int64) if scaled else None,
        bias=None if alike else direction * accumulators.offsets,
        source=_source(linear, steps, floats, direction * whole[:, None]),
        notes=_exactness_note(linear, accumulators, steps),
    )


def _scalar(step: PointwiseStep) -> PointwiseStep:
    parameters = tuple(p if p.ndim == 0 else p[0] for p in step.operation.parameters)
    return replace(step, operation=replace(step.operation, parameters=parameters))


def _reachable(linear: LinearStep, accumulators: Accumulators) -> IntArray:
    """Return every value of ``multiplier * accumulator + offset`` of any class, and a few between."""
    offsets = accumulators.offsets
    stride = gcd(accumulators.multiplier * accumulators.step, common_divisor(offsets - offsets[0]))
    reach = accumulators.multiplier * accumulators.bound
    low, high = int(offsets.min()) - reach, int(offsets.max()) + reach
    if (high - low) // stride > _MAX_TABLE_ELEMENTS:
        raise refuse(linear.node, f"has logits from {low} to {high}, too many to check", hint=_HINT)
    return np.arange(low, high + 1, stride, dtype=np.int64)


def _per_class(
    linear: LinearStep,
    accumulators: Accumulators,
    steps: Sequence[PointwiseStep],
    exponent: int | None = None,
) -> Logits:
    """Keep a scale and an offset for each class as fixed point, if no logit is ever rounded."""
    where = steps[-1].node if steps else linear.node
    rows = slice(0, len(accumulators.weights))
    if (2 * accumulators.bound + 1) * rows.stop > _MAX_TABLE_ELEMENTS:
        raise refuse(where, "scales each class of a layer with too many sums to check", hint=_HINT)
    sums = np.arange(-accumulators.bound, accumulators.bound + 1, accumulators.step, dtype=np.int64)[:, None]
    floats = accumulators.floats(sums, rows)
    values = _finite(linear, steps, evaluate(steps, floats))
    grid = on_grid(values)
    if grid is None:
        raise refuse(where, "gives logits that are on no power-of-two grid", hint=_HINT)
    logits = grid[0] if exponent is None else _shifted(where, *grid, exponent)
    if exponent is None and np.any((logits[1] - logits[0]) % accumulators.step):
        logits = 2 * logits
    scale = (logits[1] - logits[0]) // accumulators.step
    bias = logits[0] - scale * sums[0]
    wrong = (logits != scale * sums + bias).any(axis=0)
    if wrong.any():
        channel = int(np.flatnonzero(wrong)[0])
        reason = (
            f"rounds the logit of class {channel}, so that no fixed-point scale and offset give it exactly"
        )
        raise refuse(where, reason, hint=_HINT, channel=channel)
    return Logits(
        negated=np.zeros(rows.stop, np.bool_),
        scale=None if np.all(scale == 1) else scale,
        bias=bias if np.any(bias) else None,
        source=_source(linear, steps, floats, logits),
        notes=(*_exactness_note(linear, accumulators, steps), *_order_note(steps, floats, values)),
    )


def _shifted(where: tuple[str, str], logits: IntArray, coarsest: int, exponent: int) -> IntArray:
    """Move integers from their coarsest grid ``2**-coarsest`` to the grid that the file asks for."""
    finer = exponent - coarsest
    if finer < 0 or finer + int(np.abs(logits).max()).bit_length() > MAX_GRID_BITS:
        raise refuse(where, f"gives logits that don't fit the file's own grid of 2**-{exponent}", hint=_HINT)
    return logits << finer


def _source(
    linear: LinearStep, steps: Sequence[PointwiseStep], floats: FloatArray, integers: IntArray
) -> Source | None:
    source = find_source(steps, floats, integers)
    if source is None and linear.tensor is not None:
        exponent = match_exponent(floats, integers)
        source = None if exponent is None else Source(tensor=linear.tensor, exponent=exponent)
    return source


def _finite(linear: LinearStep, steps: Sequence[PointwiseStep], values: FloatArray) -> FloatArray:
    if not np.isfinite(values).all():
        where = steps[-1].node if steps else linear.node
        raise refuse(where, "gives logits that are infinite or not a number", hint="train the model again")
    return values


def _exactness_note(
    linear: LinearStep, accumulators: Accumulators, steps: Sequence[PointwiseStep]
) -> tuple[str, ...]:
    if sums_are_exact(linear, accumulators, steps):
        return ()
    return (
        f"node {linear.node[0]!r}: float32 rounds these sums, because the scale is no power of two or"
        " the bias is off its grid; an executor may order equal logits differently",
    )


def _order_note(steps: Sequence[PointwiseStep], floats: FloatArray, values: FloatArray) -> tuple[str, ...]:
    if all(np.array_equal(evaluate(steps, floats, alternative=i), values) for i in alternatives(steps)):
        return ()
    return (
        f"node {steps[-1].node[0]!r}: logits depend on the order of operations in BatchNormalization;"
        " onnxruntime's order is taken",
    )
