"""Activations of several levels (Quant): thresholds by running the float operations at every integer.

The layer's result must be a staircase: at most 256 values, evenly spaced on a power-of-two grid, rising or
falling throughout in each channel.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import reduce
from math import gcd, ldexp

import numpy as np

from export.datatypes import smallest_int
from export.graph import IntArray, Thresholds
from export.lowering import operations
from export.lowering.evaluate import evaluate
from export.lowering.operations import FloatArray
from export.lowering.refusal import refuse
from export.lowering.steps import LinearStep, PointwiseStep
from export.lowering.stream import (
    MAX_GRID_BITS,
    Stream,
    common_divisor,
    make_stream,
    on_grid,
    two_valued,
)
from export.lowering.thresholds import BoolArray, find_notes
from export.lowering.weights import Accumulators

MAX_LEVELS = 256

_HINT = "quantise activations to 8 bits or fewer with a power-of-two scale (Quant), or to ±1 (BipolarQuant)"
QUANTISERS = (
    operations.clip_as_quant,
    operations.floor,
    operations.ceil,
    operations.round_half_even,
    operations.round_up,
    operations.round_half_up,
    operations.round_half_down,
    operations.truncate,
)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Levels:
    """A layer's staircase.

    Attributes:
        thresholds: One row a neuron, not yet clipped to the layer's range.
        negated: bool ``(MH,)``: the neuron's weights are to be negated first.
        stream: What the codes mean.
        values: float32 ``(levels, 1)``: the float network's values.
        codes: int64 ``(levels, 1)``: the codes for them, of channels that are not inverted.
        notes: What executors may disagree about.
    """

    thresholds: Thresholds
    negated: BoolArray
    stream: Stream
    values: FloatArray
    codes: IntArray
    notes: tuple[str, ...]


def find_levels(
    name: str,
    linear: LinearStep,
    accumulators: Accumulators,
    steps: Sequence[PointwiseStep],
    inverted: BoolArray,
    *,
    keeps_step: bool = False,
) -> Levels:
    """Find the thresholds of a layer whose activation has several levels.

    Args:
        name: The graph's node that will write the stream.
        linear: The layer's matrix product, for messages.
        accumulators: What its integers mean.
        steps: All elementwise steps up to the next layer.
        inverted: bool ``(MH,)``: channels whose codes are to fall where the values rise.
        keeps_step: Whether codes count in the quantiser's own step, for a sum with another stream, where the
            levels that occur would allow a coarser one.

    Raises:
        LoweringError: The steps make no such staircase.
    """
    values = _distinct(linear, accumulators, steps)
    scale = _scale(name, steps[-1].node, values, inverted, _own_step(steps) if keeps_step else None)
    rows: list[IntArray] = []
    negated = np.zeros(len(accumulators.weights), np.bool_)
    for chunk in accumulators.chunks():
        floats = evaluate(steps, accumulators.floats(accumulators.integers, chunk), chunk)
        table = np.searchsorted(values, floats)
        table = np.where(inverted[chunk], len(values) - 1 - table, table)
        table = np.broadcast_to(table, (len(table), chunk.stop - chunk.start))
        moves = np.diff(table, axis=0)
        falling: BoolArray = np.asarray((moves < 0).any(axis=0), np.bool_)
        both = falling & (moves > 0).any(axis=0)
        if both.any():
            channel = chunk.start + int(np.flatnonzero(both)[0])
            raise refuse(
                steps[-1].node,
                f"gives channel {channel} an activation that both rises and falls with its accumulator",
                hint="use activations that rise or fall throughout, such as BatchNorm, ReLU or Quant",
                channel=channel,
            )
        negated[chunk] = falling
        rows.extend(_row(accumulators, column, scale.ranks) for column in _upright(table, falling).T)
    found = np.stack(rows)
    return Levels(
        thresholds=Thresholds(steps=found, out_type=scale.stream.type, out_bias=scale.bias),
        negated=negated,
        stream=scale.stream,
        values=values[:, None],
        codes=scale.codes[:, None],
        notes=find_notes(
            linear, accumulators, steps, _edges(accumulators, found, negated), lambda result: result
        ),
    )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Scale:
    """The codes of the levels; ``ranks`` holds for each threshold the rank of the first value past it."""

    stream: Stream
    codes: IntArray
    ranks: IntArray
    bias: int


def _distinct(linear: LinearStep, accumulators: Accumulators, steps: Sequence[PointwiseStep]) -> FloatArray:
    if not any(step.operation.function in QUANTISERS for step in steps):
        raise refuse(
            linear.node,
            "is followed by another layer without a sign (BipolarQuant) or a quantiser (Quant) between them",
            hint=_HINT,
        )
    found: list[FloatArray] = []
    for chunk in accumulators.chunks():
        floats = evaluate(steps, accumulators.floats(accumulators.integers, chunk), chunk)
        if not np.isfinite(floats).all():
            raise refuse(
                steps[-1].node,
                "gives activations that are infinite or not a number",
                hint="check scales and variances, and train the model again",
            )
        found.append(np.unique(floats))
        if len(found[-1]) > MAX_LEVELS:
            break
    values = reduce(np.union1d, found)
    if len(values) > MAX_LEVELS:
        raise refuse(
            steps[-1].node,
            f"gives activations of more than {MAX_LEVELS} different values",
            hint="use one power-of-two scale for all activations of a layer, and 8 bits at most",
        )
    if len(values) == 1:
        raise refuse(steps[-1].node, f"gives every activation the value {values[0]:g}", hint=_HINT)
    return values


def _own_step(steps: Sequence[PointwiseStep]) -> float | None:
    """Return the step of the last quantiser after what scales its integers, if one number says it."""
    last = max(index for index, step in enumerate(steps) if step.operation.function in QUANTISERS)
    found = 1.0
    for step in steps[last + 1 :]:
        function, values = step.operation.function, [np.unique(p) for p in step.operation.parameters]
        if function in (operations.add, operations.subtract):
            continue
        if function is not operations.multiply or len(values[0]) != 1:
            return None
        found *= abs(float(values[0][0]))
    return found


def _scale(
    name: str, where: tuple[str, str], values: FloatArray, inverted: BoolArray, step: float | None
) -> _Scale:
    signs = np.where(inverted, -1, 1).astype(np.int64) if inverted.any() else np.ones(1, np.int64)
    grid = on_grid(values)
    if grid is None:
        raise refuse(where, "gives activations too far apart for integers", hint=_HINT)
    integers, exponent = grid
    if step is not None and 0 < step < 1 << MAX_GRID_BITS:
        finer = max(0, Fraction(step).denominator.bit_length() - 1 - exponent)
        integers, exponent = integers << min(finer, MAX_GRID_BITS), exponent + min(finer, MAX_GRID_BITS)
    elif len(values) == 2:
        stream = two_valued(name, float(values[0]), float(values[1]), signs)
        if stream is None:
            raise refuse(where, "gives activations too far apart for integers", hint=_HINT)
        pair = np.asarray([-1, 1], np.int64)
        return _Scale(stream=stream, codes=pair, ranks=np.ones(1, np.int64), bias=0)
    divisor = common_divisor(np.diff(integers))
    if step is not None:
        divisor = gcd(divisor, int(ldexp(step, exponent)))
    offset = 0 if not np.any(integers % divisor) else int(integers[0])
    codes = (integers - offset) // divisor
    low, high = int(codes[0]), int(codes[-1])
    if high - low >= MAX_LEVELS:
        raise refuse(
            where,
            f"gives activations on a grid of {high - low + 1} levels; at most {MAX_LEVELS} are accepted",
            hint="give Quant a power-of-two scale",
        )
    # An inverted channel's code is low + high - code, so that its range is the same.
    offsets = np.where(signs > 0, offset, offset + divisor * (low + high)).astype(np.int64)
    stream = make_stream(name, smallest_int(low, high), exponent, divisor, offsets, signs)
    if inverted.any() and not np.array_equal(codes + codes[::-1], np.full(len(codes), low + high)):
        raise refuse(
            where,
            "leaves out levels in a layer whose maximum is taken before a falling step",
            hint="pool after the activation",
        )
    ranks = np.searchsorted(codes, np.arange(low + 1, high + 1))
    return _Scale(stream=stream, codes=codes, ranks=ranks, bias=low)


def _upright(table: IntArray, falling: BoolArray) -> IntArray:
    """Turn falling columns over: the accumulators of a negated neuron are the same, mirrored."""
    return np.where(falling, table[::-1], table)


def _row(accumulators: Accumulators, column: IntArray, ranks: IntArray) -> IntArray:
    """Return the first accumulator of each rank, ``bound + step`` for ranks that are never reached."""
    first = np.searchsorted(column, ranks)
    return -accumulators.bound + accumulators.step * first.astype(np.int64)


def _edges(accumulators: Accumulators, thresholds: IntArray, negated: BoolArray) -> IntArray:
    """Return the accumulators on both sides of every threshold, int64 ``(edges, MH)``, as summed."""
    above = np.clip(thresholds, -accumulators.bound, accumulators.bound)
    below = np.clip(thresholds - accumulators.step, -accumulators.bound, accumulators.bound)
    edges = np.concatenate([below, above], axis=1)
    return np.where(negated[:, None], -edges, edges).T
