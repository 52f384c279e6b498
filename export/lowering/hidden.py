"""A hidden layer: the matrix product, its activation, and the pads and pools before the next layer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from export.datatypes import BIPOLAR
from export.graph import IntArray, Mvau, Source, Thresholds, WeightArray
from export.lowering.evaluate import evaluate
from export.lowering.levels import QUANTISERS, find_levels
from export.lowering.movement import (
    Direction,
    NodeList,
    append_moves,
    check_pad_values,
    one_direction,
    pointwise,
    pool_direction,
    token_source,
)
from export.lowering.operations import FloatArray, bipolar_sign
from export.lowering.prefix import per_channel
from export.lowering.refusal import refuse
from export.lowering.steps import LinearStep, PointwiseStep, PoolStep, Token
from export.lowering.stream import Stream, two_valued
from export.lowering.thresholds import BoolArray, find_thresholds
from export.lowering.weights import Accumulators, accumulators

_PM1: FloatArray = np.asarray([[-1], [1]], np.float32)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Activated:
    """What an activation became.

    Attributes:
        thresholds: One row a neuron, not yet clipped.
        negated: Neurons whose weights are negated first.
        stream: What the codes mean after all elementwise steps.
        values: The float network's values right after the activation, ``(samples, 1)``.
        codes: Codes for them, ``(samples, 1)``.
        first: The token after which the values are these.
        traceable: Whether no channel's codes are inverted.
        notes: What executors may disagree about.
    """

    thresholds: Thresholds
    negated: BoolArray
    stream: Stream
    values: FloatArray
    codes: IntArray
    first: int
    traceable: bool
    notes: tuple[str, ...]


def lower_hidden(
    line: NodeList,
    linear: LinearStep,
    tokens: Sequence[Token],
    stream: Stream,
    *,
    keeps_step: bool = False,
) -> tuple[Stream, tuple[str, ...]]:
    """Append the nodes of a layer that is not the last one.

    Args:
        line: The nodes so far, the layer's sliding window included.
        linear: The layer's matrix product.
        tokens: What stands between it and the next one.
        stream: What it reads.
        keeps_step: Whether integers count in the quantiser's own step, for a sum with another stream.

    Returns:
        What the next layer reads, and notes.

    Raises:
        LoweringError: The activation is none that integer hardware computes.
    """
    sums = accumulators(linear, stream)
    tokens = channel_tokens(tokens, len(sums.weights))
    check_pad_values(tokens)
    name = line.name("mvau")
    found = find_activation(name, linear, sums, tokens, negatable=linear.draw is None, keeps_step=keeps_step)
    line.nodes.append(_mvau(name, linear, sums, stream, found, source_at(found, tokens, -1)))
    following = append_moves(line, found.stream, tokens, lambda index: source_at(found, tokens, index))
    return following, found.notes


def is_quantised(steps: Sequence[PointwiseStep]) -> bool:
    """Whether a sign or a quantiser is among the steps."""
    return any(step.operation.function in (bipolar_sign, *QUANTISERS) for step in steps)


def find_activation(
    name: str,
    linear: LinearStep,
    sums: Accumulators,
    tokens: Sequence[Token],
    *,
    negatable: bool = True,
    keeps_step: bool = False,
) -> Activated:
    """Find what the steps after integers are: a sign, or levels.

    Args:
        name: The graph's node that will write the stream.
        linear: The layer, for messages.
        sums: What its integers mean.
        tokens: What stands between it and the next layer, constants reduced to one a channel.
        negatable: Whether the integers of a falling channel may be negated; else its codes are inverted.
        keeps_step: Whether integers count in the quantiser's own step, for a sum with another stream.

    Raises:
        LoweringError: The activation is none that integer hardware computes.
    """
    signs = [
        index
        for index, token in enumerate(tokens)
        if isinstance(token, PointwiseStep) and token.operation.function is bipolar_sign
    ]
    if signs:
        return _sign(name, linear, sums, tokens, signs[-1], negatable)
    return _levels(name, linear, sums, tokens, negatable, keeps_step)


def channel_tokens(tokens: Sequence[Token], channels: int) -> list[Token]:
    """Reduce constants given for every pixel to one a channel."""
    return [
        per_channel([token], channels)[0] if isinstance(token, PointwiseStep) else token for token in tokens
    ]


def negate_rows(linear: LinearStep, weights: IntArray, rows: BoolArray) -> WeightArray:
    """Negate the weights of some neurons.

    Raises:
        LoweringError: The weights are drawn, and what was drawn can't be negated.
    """
    if linear.draw is not None and rows.any():
        raise refuse(
            linear.node,
            f"draws the weights of channel {int(np.flatnonzero(rows)[0])}, whose result falls with its sum",
            hint="scale what a layer with drawn weights computes by positive factors only",
        )
    return np.where(rows[:, None], -weights, weights).astype(np.int8)


def source_at(found: Activated, tokens: Sequence[Token], index: int) -> Source | None:
    """Find the tensor that holds the stream after the token at an index, -1 for the activation's own."""
    if not found.traceable:
        return None
    return token_source(tokens, index, found.values, found.codes, found.first)


def _mvau(
    name: str,
    linear: LinearStep,
    sums: Accumulators,
    stream: Stream,
    found: Activated,
    source: Source | None,
) -> Mvau:
    plain = Mvau(
        name=name,
        input=stream.name,
        in_type=stream.type,
        weights=negate_rows(linear, sums.weights, found.negated),
        weight_type=sums.type,
        groups=linear.groups,
        draw=linear.draw,
    )
    low, high = plain.accumulator_range
    return replace(
        plain,
        thresholds=Thresholds(
            steps=np.clip(found.thresholds.steps, low, high + 1),
            out_type=found.thresholds.out_type,
            out_bias=found.thresholds.out_bias,
        ),
        source=source,
    )


def _sign(
    name: str,
    linear: LinearStep,
    sums: Accumulators,
    tokens: Sequence[Token],
    sign: int,
    negatable: bool,
) -> Activated:
    before, after = pointwise(tokens[:sign]), pointwise(tokens[sign:])
    pools: list[Direction] = []
    if not negatable:
        pools.append((linear.node, pool_direction(linear.node, sums, [], before, bipolar_sign)))
    for index, token in enumerate(tokens):
        if not isinstance(token, PoolStep):
            continue
        if index < sign:
            ahead, behind = pointwise(tokens[:index]), pointwise(tokens[index:sign])
            pools.append((token.node, pool_direction(token.node, sums, ahead, behind, bipolar_sign)))
        else:
            between = evaluate(pointwise(tokens[sign:index]), _PM1)
            pools.append((token.node, np.broadcast_to(between[1] < between[0], len(sums.weights))))
    inverted = one_direction(pools, len(sums.weights))
    found = find_thresholds(linear, sums, before, inverted)
    return Activated(
        thresholds=Thresholds(steps=found.steps[:, None], out_type=BIPOLAR),
        negated=found.negated,
        stream=_after_sign(name, after, inverted),
        values=_PM1,
        codes=_PM1.astype(np.int64),
        first=sign,
        traceable=not inverted.any(),
        notes=found.notes,
    )


def _after_sign(name: str, steps: Sequence[PointwiseStep], inverted: BoolArray) -> Stream:
    """Return what the ±1 of a sign mean to the next layer."""
    values = np.atleast_2d(evaluate(steps, _PM1))
    low, high = float(values[0, 0]), float(values[1, 0])
    where = steps[-1].node
    if not np.isfinite(values).all() or low == high:
        raise refuse(where, f"turns -1 and +1 into {low:g} and {high:g}", hint="check the activation's scale")
    if np.any(values != values[:, :1]):
        channel = int(np.flatnonzero((values != values[:, :1]).any(axis=0))[0])
        raise refuse(
            where,
            f"gives the activations of channel {channel} another scale than those of channel 0",
            hint="use one scale for all activations of a layer; weights may have one for each neuron",
            channel=channel,
        )
    direction = 1 if high > low else -1
    signs = np.where(inverted, -direction, direction) if inverted.any() else np.asarray([direction])
    stream = two_valued(name, min(low, high), max(low, high), signs.astype(np.int64))
    if stream is None:
        raise refuse(where, f"turns -1 and +1 into {low:g} and {high:g}, too far apart for integers")
    return stream


def _levels(
    name: str,
    linear: LinearStep,
    sums: Accumulators,
    tokens: Sequence[Token],
    negatable: bool,
    keeps_step: bool,
) -> Activated:
    steps = pointwise(tokens)

    def direction(where: tuple[str, str], index: int) -> Direction:
        before, after = pointwise(tokens[:index]), pointwise(tokens[index:])
        return where, pool_direction(where, sums, before, after, lambda result: result)

    pools = [] if negatable else [direction(linear.node, 0)]
    pools += [
        direction(token.node, index) for index, token in enumerate(tokens) if isinstance(token, PoolStep)
    ]
    inverted = one_direction(pools, len(sums.weights))
    found = find_levels(name, linear, sums, steps, inverted, keeps_step=keeps_step)
    last = max(index for index, token in enumerate(tokens) if isinstance(token, PointwiseStep))
    return Activated(
        thresholds=found.thresholds,
        negated=found.negated,
        stream=found.stream,
        values=found.values,
        codes=found.codes,
        first=last,
        traceable=not inverted.any(),
        notes=found.notes,
    )
