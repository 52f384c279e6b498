"""Cutting a network at a stream: what comes before it, and what comes after it as a network of its own.

The network behind the cut takes the codes of the stream as its image, so any target computes it: one stage of
thresholds turns codes back into the stream's values.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import prod

import numpy as np

from attacks.faults.codes import activation_codes
from export.datatypes import UINT8, DataType
from export.errors import InputError
from export.graph import (
    INPUT_TENSOR,
    Add,
    DataflowGraph,
    Flatten,
    IntArray,
    Node,
    Thresholding,
    Thresholds,
    inputs_of,
)
from hw.target import ImageArray

_BYTE = 8
# No node of a graph that hardware computes may have two underscores in its name.
CUT_NAME = "cut__values"
_JOINED_NAME = "cut__joined"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Cut:
    """A network in two parts.

    Attributes:
        node: The node whose output is cut.
        dtype: Type of the stream.
        head: Everything up to the node; its output flattened.
        tail: Everything behind it, on images of codes; None where the node is the last one.
    """

    node: str
    dtype: DataType
    head: DataflowGraph
    tail: DataflowGraph | None

    def images(self, values: IntArray) -> ImageArray:
        """Return values of the stream ``(N, ...)`` as images of the tail, uint8."""
        if self.tail is None:
            raise ValueError(f"nothing comes after {self.node}")
        return pixels_of(activation_codes(values, self.dtype), self.dtype).reshape(
            len(values), *self.tail.input_shape
        )


def pixels_of(codes: IntArray, dtype: DataType) -> ImageArray:
    """Return codes of a stream as the pixels that the network behind it takes for them."""
    # Thresholds count upwards, so the sign bit is turned: the least value becomes 0.
    signed = dtype.is_signed and not dtype.is_bipolar
    return (codes ^ (1 << (dtype.width_bits - 1)) if signed else codes).astype(np.uint8)


def cut_graph(graph: DataflowGraph, name: str) -> Cut:
    """Cut a network behind a node.

    Raises:
        InputError: No such node; a branch leads around it; or its stream has more than
            eight bits, or is TERNARY.
    """
    names = [node.name for node in graph.nodes]
    if name not in names:
        raise InputError(f"{name!r} is no node of the network", hint=f"nodes: {', '.join(names)}", node=name)
    index = names.index(name)
    before, after = graph.nodes[: index + 1], graph.nodes[index + 1 :]
    dtype, shape = before[-1].out_type, graph.shapes[name]
    flat = Flatten(name=_JOINED_NAME, input=name, in_type=dtype)
    head = DataflowGraph(input_shape=graph.input_shape, nodes=before if len(shape) == 1 else (*before, flat))
    if not after:
        return Cut(node=name, dtype=dtype, head=head, tail=None)
    behind = {name, *(node.name for node in after)}
    around = sorted({read for node in after for read, _ in inputs_of(node)} - behind)
    if around:
        raise InputError(f"{around[0]} is read behind {name}: a branch leads around the cut", node=name)
    if dtype.width_bits > _BYTE or dtype.is_ternary:
        raise InputError(f"{name} writes {dtype}: only one to eight bits become pixels", node=name)
    start, source = _entrance(dtype, shape)
    tail = DataflowGraph(
        input_shape=shape if len(shape) == 3 else (1, 1, prod(shape)),
        nodes=(*start, *(_rename(node, name, source) for node in after)),
    )
    return Cut(node=name, dtype=dtype, head=head, tail=tail)


def _entrance(dtype: DataType, shape: tuple[int, ...]) -> tuple[tuple[Node, ...], str]:
    """Return the nodes that turn codes into values of a stream, and the last one's name."""
    nodes: list[Node] = []
    source = INPUT_TENSOR
    if dtype != UINT8:
        steps = np.arange(1, 1 << dtype.width_bits, dtype=np.int64)[None]
        thresholds = Thresholds(steps=steps, out_type=dtype, out_bias=dtype.minimum)
        nodes.append(Thresholding(name=CUT_NAME, input=source, in_type=UINT8, thresholds=thresholds))
        source = CUT_NAME
    if len(shape) == 1:
        nodes.append(Flatten(name=_JOINED_NAME, input=source, in_type=dtype))
        source = _JOINED_NAME
    return tuple(nodes), source


def _rename(node: Node, old: str, new: str) -> Node:
    changes = {"input": new} if node.input == old else {}
    if isinstance(node, Add) and node.other == old:
        changes["other"] = new
    return replace(node, **changes) if changes else node
