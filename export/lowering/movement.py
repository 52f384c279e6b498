"""Padding and pooling between two layers: how a maximum passes through activations, and the nodes.

A MaxPool may stand before the sign or the quantiser of its layer. What follows it there is applied to a
maximum; where that rises, the maximum of the results is the same, and the pool works on the quantised stream.
Where it falls (a BatchNorm with a negative factor), the result is a minimum, which is the maximum of inverted
codes: such channels are inverted, and the next layer's weights turn them back.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from export.graph import INPUT_TENSOR, FmPadding, IntArray, Node, Pool, Source
from export.lowering.evaluate import evaluate, match_exponent
from export.lowering.operations import FloatArray
from export.lowering.refusal import refuse
from export.lowering.steps import MoveStep, PadStep, PointwiseStep, PoolStep, Token
from export.lowering.stream import Stream
from export.lowering.thresholds import BoolArray
from export.lowering.weights import Accumulators


@dataclass(slots=True)
class NodeList:
    """Nodes so far; each kind is numbered from 0."""

    nodes: list[Node] = field(default_factory=list[Node])
    _counts: dict[str, int] = field(default_factory=dict[str, int])

    def name(self, kind: str) -> str:
        """Return the next name of a kind."""
        number = self._counts.get(kind, 0)
        self._counts[kind] = number + 1
        return f"{kind}_{number}"

    @property
    def last(self) -> str:
        """Name of the stream at the end."""
        return self.nodes[-1].name if self.nodes else INPUT_TENSOR


def pointwise(tokens: Sequence[Token]) -> list[PointwiseStep]:
    """Return the elementwise steps among tokens."""
    return [token for token in tokens if isinstance(token, PointwiseStep)]


Direction = tuple[tuple[str, str], BoolArray]
"""A node, and bool ``(MH,)``: the channels in which the answer falls where that node's value rises."""


def pool_direction(
    where: tuple[str, str],
    accumulators: Accumulators,
    before: Sequence[PointwiseStep],
    after: Sequence[PointwiseStep],
    answer: Callable[[FloatArray], FloatArray],
) -> BoolArray:
    """Find the channels whose answer falls where the pooled value rises.

    Args:
        where: The pool, for messages.
        accumulators: What the layer's integers mean.
        before: The elementwise steps between the accumulator and the pool.
        after: Those between the pool and the activation.
        answer: The activation.

    Returns:
        bool ``(MH,)``.

    Raises:
        LoweringError: A channel's answer does neither rise nor fall throughout.
    """
    falls = np.zeros(len(accumulators.weights), np.bool_)
    for chunk in accumulators.chunks():
        pooled = evaluate(before, accumulators.floats(accumulators.integers, chunk), chunk)
        answers = answer(evaluate(after, pooled, chunk))
        pooled, answers = np.broadcast_arrays(pooled, answers)
        if np.isnan(pooled).any() or np.isnan(answers).any():
            raise refuse(where, "pools values that are not numbers", hint="train the model again")
        order = np.argsort(pooled, axis=0, kind="stable")
        moves = np.diff(np.take_along_axis(answers, order, axis=0), axis=0)
        falling = (moves < 0).any(axis=0)
        both = falling & (moves > 0).any(axis=0)
        if both.any():
            channel = chunk.start + int(np.flatnonzero(both)[0])
            raise refuse(
                where,
                f"takes a maximum from which channel {channel}'s activation both rises and falls",
                hint="pool after the activation",
                channel=channel,
            )
        falls[chunk] = falling
    return falls


def one_direction(found: Sequence[Direction], channels: int) -> BoolArray:
    """Return the direction that all pools of a layer share."""
    for where, falls in found[1:]:
        if not np.array_equal(falls, found[0][1]):
            raise refuse(
                where,
                "takes a maximum where the pool before it takes a minimum",
                hint="pool after the activation",
            )
    return found[0][1] if found else np.zeros(channels, np.bool_)


def check_pad_values(tokens: Sequence[Token]) -> None:
    """Refuse a padding whose pixels go through elementwise steps and into a pool."""
    for index, token in enumerate(tokens):
        rest = tokens[index:]
        pads = isinstance(token, PadStep) and token.value is not None
        if pads and pointwise(rest) and any(isinstance(later, PoolStep) for later in rest):
            raise refuse(
                token.node, "pads before an activation that is pooled", hint="pad right before the Conv"
            )


def append_moves(
    line: NodeList,
    stream: Stream,
    tokens: Sequence[Token],
    sources: Callable[[int], Source | None],
) -> Stream:
    """Append the nodes of a layer's pads and pools.

    Args:
        line: The nodes so far.
        stream: What the codes mean after the last elementwise step.
        tokens: The layer's steps.
        sources: Where the result of the token at an index stands in the file.
    """
    for index, token in enumerate(tokens):
        if isinstance(token, PointwiseStep):
            continue
        node = _node(line, stream, token, pointwise(tokens[index:]), sources(index))
        line.nodes.append(node)
        stream = replace(stream, name=node.name, type=node.out_type)
    return stream


def _node(
    line: NodeList, stream: Stream, token: MoveStep, rest: Sequence[PointwiseStep], source: Source | None
) -> FmPadding | Pool:
    if isinstance(token, PoolStep):
        return Pool(
            name=line.name("pool"),
            input=stream.name,
            in_type=stream.type,
            kernel=token.kernel,
            stride=token.stride,
            source=source,
        )
    return FmPadding(
        name=line.name("fmpadding"),
        input=stream.name,
        in_type=stream.type,
        pads=token.pads,
        value=_padding_code(stream, token, rest),
        source=source,
    )


def _padding_code(stream: Stream, pad: PadStep, rest: Sequence[PointwiseStep]) -> int:
    if pad.value is None:
        return stream.type.minimum
    result = np.unique(evaluate(rest, np.full((1, 1), pad.value, np.float32)))
    code = stream.code(float(result[0])) if len(result) == 1 else None
    if code is None:
        raise refuse(
            pad.node,
            f"pads with {pad.value:g}, for which its {stream.type} input has no code",
            hint="use activations that can hold that value, such as ±1 or Quant with zero point 0",
        )
    return code


def token_source(
    tokens: Sequence[Token], index: int, values: FloatArray, integers: IntArray, first: int
) -> Source | None:
    """Find the last tensor that holds the stream written at a token, before the next pad or pool.

    Args:
        tokens: The layer's steps.
        index: The token that the node was made of.
        values: What the token ``first`` gives, float32 ``(samples, 1)``.
        integers: The node's integers for them.
        first: The end of the activation; only tensors from there on are looked at.
    """
    stop = next(
        (at for at in range(index + 1, len(tokens)) if not isinstance(tokens[at], PointwiseStep)), len(tokens)
    )
    for at in range(stop - 1, max(index, first) - 1, -1):
        tensor = tokens[at].tensor
        if tensor is not None:
            exponent = match_exponent(evaluate(pointwise(tokens[first + 1 : at + 1]), values), integers)
            if exponent is not None:
                return Source(tensor=tensor, exponent=exponent)
    return None
