"""From a chain of float steps to the nodes of a dataflow graph."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from export.errors import LoweringError
from export.graph import DataflowGraph, Flatten, Mvau, Swg
from export.lowering.hidden import channel_tokens, lower_hidden, negate_rows
from export.lowering.logits import lower_logits
from export.lowering.movement import NodeList, append_moves, pointwise
from export.lowering.prefix import lower_prefix
from export.lowering.refusal import refuse
from export.lowering.steps import Chain, Frame, LinearStep, PointwiseStep, PoolStep, Token
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
    prefix, layers = _split(chain)
    line = NodeList()
    stream = _input(line, prefix, chain.input_shape)
    notes: list[str] = []
    flat = False
    for index, (linear, tokens) in enumerate(layers):
        last = index == len(layers) - 1
        if last:
            linear = _as_dense(linear)
        stream = _arrange(line, linear, stream, flat)
        flat = linear.kernel is None
        if last:
            layer_notes = _last(line, linear, tokens, stream, chain.logit_exponent)
        else:
            stream, layer_notes = lower_hidden(line, linear, tokens, stream)
        notes.extend(layer_notes)
    graph = DataflowGraph(input_shape=chain.input_shape, nodes=tuple(line.nodes))
    return Lowered(graph=graph, notes=tuple(notes))


_Layer = tuple[LinearStep, list[Token]]


def _split(chain: Chain) -> tuple[list[Token], list[_Layer]]:
    prefix: list[Token] = []
    layers: list[_Layer] = []
    for step in chain.steps:
        if isinstance(step, LinearStep):
            layers.append((step, []))
        else:
            (layers[-1][1] if layers else prefix).append(step)
    if not layers:
        raise LoweringError(
            "the network has no layer with weights (Conv, MatMul or Gemm)", hint="nothing to accelerate"
        )
    return prefix, layers


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
    if linear.kernel is None or linear.frame is None or linear.kernel != linear.frame[:2]:
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
            weights=negate_rows(sums.weights, logits.negated),
            weight_type=sums.type,
            scale=logits.scale,
            bias=logits.bias,
            source=logits.source,
        )
    )
    return logits.notes
