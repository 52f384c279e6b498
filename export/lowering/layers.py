"""From a chain of float steps to the nodes of a dataflow graph."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from export.datatypes import BIPOLAR
from export.errors import LoweringError
from export.graph import (
    INPUT_TENSOR,
    DataflowGraph,
    Flatten,
    IntArray,
    Mvau,
    Node,
    Thresholds,
    WeightArray,
)
from export.lowering.chain import Chain, LinearStep, PointwiseStep
from export.lowering.evaluate import evaluate, find_source
from export.lowering.logits import lower_logits
from export.lowering.operations import FloatArray, bipolar_sign
from export.lowering.prefix import lower_prefix
from export.lowering.refusal import refuse
from export.lowering.stream import Stream, two_valued
from export.lowering.thresholds import find_thresholds
from export.lowering.weights import accumulators

_PM1: FloatArray = np.asarray([[-1], [1]], np.float32)


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
    prefix_steps, layers = _split(chain)
    prefix = lower_prefix(prefix_steps, chain.input_shape)
    stream = prefix.stream
    nodes: list[Node] = [] if prefix.node is None else [prefix.node]
    nodes.append(
        Flatten(name="flatten_0", input=nodes[-1].name if nodes else INPUT_TENSOR, in_type=stream.type)
    )
    stream = stream.renamed("flatten_0")
    notes: list[str] = []
    for index, (linear, steps) in enumerate(layers[:-1]):
        node, stream, layer_notes = _hidden(f"mvau_{index}", linear, steps, stream)
        nodes.append(node)
        notes.extend(layer_notes)
    node, layer_notes = _last(f"mvau_{len(layers) - 1}", *layers[-1], stream, chain.logit_exponent)
    nodes.append(node)
    notes.extend(layer_notes)
    return Lowered(graph=DataflowGraph(input_shape=chain.input_shape, nodes=tuple(nodes)), notes=tuple(notes))


_Layer = tuple[LinearStep, list[PointwiseStep]]


def _split(chain: Chain) -> tuple[list[PointwiseStep], list[_Layer]]:
    prefix: list[PointwiseStep] = []
    layers: list[_Layer] = []
    for step in chain.steps:
        if isinstance(step, LinearStep):
            layers.append((step, []))
        else:
            (layers[-1][1] if layers else prefix).append(step)
    if not layers:
        raise LoweringError(
            "the network has no layer with weights (MatMul or Gemm)", hint="nothing to accelerate"
        )
    return prefix, layers


def _hidden(
    name: str, linear: LinearStep, steps: Sequence[PointwiseStep], stream: Stream
) -> tuple[Mvau, Stream, tuple[str, ...]]:
    """Lower a layer whose result is a sign."""
    signs = [index for index, step in enumerate(steps) if step.operation.function is bipolar_sign]
    if not signs:
        raise refuse(
            linear.node,
            "is followed by another matrix product without a sign (BipolarQuant) between them",
            hint="hidden activations must be ±1",
        )
    before, after = steps[: signs[-1]], steps[signs[-1] :]
    sums = accumulators(linear, stream)
    found = find_thresholds(linear, sums, before)
    weights = _negated(linear, sums.weights, found.negated)
    plain = Mvau(name=name, input=stream.name, in_type=stream.type, weights=weights, weight_type=sums.type)
    low, high = plain.accumulator_range
    mvau = Mvau(
        name=name,
        input=stream.name,
        in_type=stream.type,
        weights=weights,
        weight_type=sums.type,
        thresholds=Thresholds(steps=np.clip(found.steps, low, high + 1)[:, None], out_type=BIPOLAR),
        source=find_source(after, _PM1, _PM1.astype(np.int64)),
    )
    return mvau, _after_sign(name, after), found.notes


def _after_sign(name: str, steps: Sequence[PointwiseStep]) -> Stream:
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
    sign = np.asarray([1 if high > low else -1], np.int64)
    stream = two_valued(name, min(low, high), max(low, high), sign)
    if stream is None:
        raise refuse(where, f"turns -1 and +1 into {low:g} and {high:g}, too far apart for integers")
    return stream


def _last(
    name: str, linear: LinearStep, steps: Sequence[PointwiseStep], stream: Stream, exponent: int | None
) -> tuple[Mvau, tuple[str, ...]]:
    sums = accumulators(linear, stream)
    logits = lower_logits(linear, sums, steps, exponent)
    mvau = Mvau(
        name=name,
        input=stream.name,
        in_type=stream.type,
        weights=_negated(linear, sums.weights, logits.negated),
        weight_type=sums.type,
        scale=logits.scale,
        bias=logits.bias,
        source=logits.source,
    )
    return mvau, logits.notes


def _negated(
    linear: LinearStep, weights: IntArray, rows: np.ndarray[tuple[int, ...], np.dtype[np.bool_]]
) -> WeightArray:
    return np.where(rows[:, None], -weights, weights).astype(np.int8)
