"""From the float steps of a network, segment by segment, to the nodes of a dataflow graph."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from export.errors import LoweringError
from export.graph import DataflowGraph, Flatten, Mvau, Swg
from export.lowering.heads import lower_head
from export.lowering.hidden import channel_tokens, lower_hidden, negate_rows
from export.lowering.joins import append_add, append_average
from export.lowering.logits import lower_logits
from export.lowering.movement import NodeList, append_moves, pointwise
from export.lowering.prefix import lower_prefix
from export.lowering.refusal import refuse
from export.lowering.segments import Segment, cut, split_layers
from export.lowering.steps import (
    AverageStep,
    Chain,
    Frame,
    JoinStep,
    LinearStep,
    PointwiseStep,
    PoolStep,
    Token,
)
from export.lowering.stream import Stream
from export.lowering.weights import accumulators


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Lowered:
    """A lowered network.

    Attributes:
        graph: The integer network.
        notes: Where executors of the float network may disagree with each other, one sentence each; empty for
            a network whose float arithmetic has one meaning.
    """

    graph: DataflowGraph
    notes: tuple[str, ...]


def lower_chain(chain: Chain) -> Lowered:
    """Lower every layer.

    Raises:
        LoweringError: A step that integer hardware can't compute.
    """
    segments = cut(chain)
    if not any(isinstance(point.step, LinearStep) for point in chain.points):
        raise LoweringError(
            "the network has no layer with weights (Conv, MatMul or Gemm)", hint="nothing to accelerate"
        )
    line = NodeList()
    notes: list[str] = []
    states: list[_State | None] = []
    added = {source for s in segments if isinstance(s.start, JoinStep) for source in s.sources}
    for index, segment in enumerate(segments):
        last = segment is segments[-1]
        state = _segment(line, segment, states, chain, notes, last=last, is_added=index in added)
        states.append(state)
    graph = DataflowGraph(input_shape=chain.input_shape, nodes=tuple(line.nodes))
    return Lowered(graph=graph, notes=tuple(notes))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _State:
    """The stream at the end of a segment, its channels, and whether it is a vector."""

    stream: Stream
    channels: int
    flat: bool


def _segment(
    line: NodeList,
    segment: Segment,
    states: Sequence[_State | None],
    chain: Chain,
    notes: list[str],
    *,
    last: bool,
    is_added: bool,
) -> _State | None:
    """Append the nodes of a segment; returns its end, or None where that is the image as it came."""
    head, layers = split_layers(segment)
    state = _start(line, segment, states, notes)
    if state is None:
        if not segment.steps:
            return None
        stream = _input(line, head, chain.input_shape)
        state = _State(stream=stream, channels=chain.input_shape[2], flat=False)
    else:
        keeps_step = is_added and not layers
        stream, head_notes = lower_head(line, head, state.stream, state.channels, keeps_step=keeps_step)
        notes.extend(head_notes)
        state = replace(state, stream=stream)
    if last and not layers:
        where = segment.start.node if segment.start else head[-1].node
        raise refuse(where, "is not followed by a layer with weights", hint="end the network with one")
    for index, (linear, tokens) in enumerate(layers):
        ends = last and index == len(layers) - 1
        if ends:
            linear = _as_dense(linear)
        stream = _arrange(line, linear, state.stream, state.flat)
        if ends:
            notes.extend(_last(line, linear, tokens, stream, chain.logit_exponent))
        else:
            keeps_step = is_added and index == len(layers) - 1
            stream, layer_notes = lower_hidden(line, linear, tokens, stream, keeps_step=keeps_step)
            notes.extend(layer_notes)
        state = _State(stream=stream, channels=len(linear.weights), flat=linear.kernel is None)
    return state


def _start(
    line: NodeList, segment: Segment, states: Sequence[_State | None], notes: list[str]
) -> _State | None:
    """Return what a segment begins with: its source's end, or a join or an average of it."""
    sources = [states[index] for index in segment.sources]
    if segment.start is None:
        return sources[0] if sources else None
    given = [state for state in sources if state is not None]
    if len(given) < len(sources):
        raise refuse(
            segment.start.node, "takes the image itself", hint="begin with a layer or a quantiser (Quant)"
        )
    match segment.start:
        case JoinStep():
            stream, found = append_add(line, segment.start, given[0].stream, given[1].stream)
        case AverageStep():
            stream, found = append_average(line, segment.start, given[0].stream)
    notes.extend(found)
    return replace(given[0], stream=stream)


def _input(line: NodeList, tokens: Sequence[Token], shape: Frame) -> Stream:
    """Lower what stands before the first layer."""
    steps = pointwise(tokens)
    moves = [token for token in tokens if not isinstance(token, PointwiseStep)]
    for token in tokens[: len(steps)]:
        if not isinstance(token, PointwiseStep):
            raise refuse(
                token.node, "stands before elementwise steps on the image", hint="move it behind them"
            )
    prefix = lower_prefix(steps, shape)
    if prefix.node is not None:
        line.nodes.append(replace(prefix.node, name=line.name("thresholding")))
    for token in moves:
        if isinstance(token, PoolStep) and np.any(prefix.stream.signs < 0):
            raise refuse(
                token.node, "takes the maximum of pixels that were inverted", hint="pool after a layer"
            )
    return append_moves(line, prefix.stream, moves, lambda index: None)


def _as_dense(linear: LinearStep) -> LinearStep:
    """Turn a convolution that sees the whole feature map at once into a dense layer, which it is."""
    is_whole = linear.frame is not None and linear.kernel == linear.frame[:2]
    if not is_whole or linear.groups > 1:
        return linear
    return replace(linear, kernel=None, frame=None)


def _arrange(line: NodeList, linear: LinearStep, stream: Stream, flat: bool) -> Stream:
    """Append what brings a stream into the form that a layer reads: windows, or one vector."""
    if linear.kernel is not None:
        node = Swg(
            name=line.name("swg"),
            input=stream.name,
            in_type=stream.type,
            kernel=linear.kernel,
            stride=linear.stride,
            groups=linear.groups,
        )
    elif not flat:
        node = Flatten(name=line.name("flatten"), input=stream.name, in_type=stream.type)
    else:
        return stream
    line.nodes.append(node)
    return stream.renamed(node.name)


def _last(
    line: NodeList, linear: LinearStep, tokens: Sequence[Token], stream: Stream, exponent: int | None
) -> tuple[str, ...]:
    if linear.kernel is not None:
        raise refuse(
            linear.node,
            "is the last layer and leaves a feature map",
            hint="end the network with a dense layer, or a convolution over the whole feature map",
        )
    for token in tokens:
        if not isinstance(token, PointwiseStep):
            raise refuse(token.node, "stands after the last layer", hint="end the network before it")
    sums = accumulators(linear, stream)
    steps = pointwise(channel_tokens(tokens, len(sums.weights)))
    logits = lower_logits(linear, sums, steps, exponent)
    line.nodes.append(
        Mvau(
            name=line.name("mvau"),
            input=stream.name,
            in_type=stream.type,
            weights=negate_rows(linear, sums.weights, logits.negated),
            weight_type=sums.type,
            draw=linear.draw,
            scale=logits.scale,
            bias=logits.bias,
            source=logits.source,
        )
    )
    return logits.notes
