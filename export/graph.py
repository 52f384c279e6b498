"""`DataflowGraph`: a network after lowering, as integer layers joined by named streams.

No floats and no framework: a node is a frozen description that every target computes in the same way. Node
kinds carry FINN's names. A stream holds ``(..., channels)`` integers of one `DataType`; images enter as
UINT8 in NHWC order, and a dense layer sees the flattened NHWC image.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from math import prod

from export.datatypes import UINT8, DataType
from export.errors import GraphFileError
from export.nodes import Add, Flatten, IntArray, Mvau, Source, Thresholding, Thresholds, WeightArray
from export.windows import FmPadding, Pool, Swg

__all__ = [
    "INPUT_TENSOR",
    "Add",
    "DataflowGraph",
    "Flatten",
    "FmPadding",
    "IntArray",
    "Mvau",
    "Node",
    "Pool",
    "Source",
    "Swg",
    "Thresholding",
    "Thresholds",
    "WeightArray",
    "inputs_of",
]

INPUT_TENSOR = "images"

Node = Thresholding | Flatten | Mvau | FmPadding | Swg | Pool | Add


def inputs_of(node: Node) -> tuple[tuple[str, DataType], ...]:
    """Return name and type of every stream that a node reads."""
    first = (node.input, node.in_type)
    return (first, (node.other, node.other_type)) if isinstance(node, Add) else (first,)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class DataflowGraph:
    """A whole network: nodes in the order in which data flows.

    The last node's output are the integer logits, ``(classes,)`` for a frame; the label is the index of the
    largest logit, the lowest one on a tie.

    Attributes:
        input_shape: ``(height, width, channels)`` of a uint8 image.
        nodes: Every node reads the images or a node before it.
    """

    input_shape: tuple[int, int, int]
    nodes: tuple[Node, ...]
    shapes: dict[str, tuple[int, ...]] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        if len(self.input_shape) != 3 or min(self.input_shape) < 1:
            raise GraphFileError("the input shape must be (height, width, channels)")
        if not self.nodes:
            raise GraphFileError("the graph has no nodes")
        shapes: dict[str, tuple[int, ...]] = {INPUT_TENSOR: self.input_shape}
        types: dict[str, DataType] = {INPUT_TENSOR: UINT8}
        for node in self.nodes:
            if node.name in shapes:
                raise GraphFileError(f"two nodes are named {node.name!r}", node=node.name)
            for name, kind in inputs_of(node):
                if name not in shapes:
                    raise GraphFileError(f"{node.name} reads {name!r}, which no node before it writes")
                if types[name] != kind:
                    raise GraphFileError(f"{node.name} expects {kind}, {name} is {types[name]}")
                if shapes[name] != shapes[node.input]:
                    raise GraphFileError(
                        f"{node.name} adds streams of shape {shapes[node.input]} and {shapes[name]}"
                    )
            shapes[node.name] = node.out_shape(shapes[node.input])
            types[node.name] = node.out_type
        if len(shapes[self.nodes[-1].name]) != 1:
            raise GraphFileError("the last node must return one vector of logits")
        object.__setattr__(self, "shapes", shapes)

    @property
    def classes(self) -> int:
        """Number of logits."""
        return self.shapes[self.nodes[-1].name][0]

    @property
    def mvaus(self) -> Iterator[Mvau]:
        """The matrix-vector-activation units, in order."""
        return (node for node in self.nodes if isinstance(node, Mvau))

    def readers(self, name: str) -> tuple[Node, ...]:
        """Return the nodes that read a stream, in order; a residual branch starts where there are two."""
        return tuple(node for node in self.nodes if name in [read for read, _ in inputs_of(node)])

    @property
    def is_stochastic(self) -> bool:
        """Whether a layer draws its weights anew for each frame."""
        return any(node.draw is not None for node in self.mvaus)

    @property
    def macs(self) -> int:
        """Multiply-accumulates of one frame."""
        return sum(self._node_macs(node) for node in self.nodes)

    def _node_macs(self, node: Node) -> int:
        if not isinstance(node, Mvau):
            return 0
        return node.mw * node.mh * prod(self.shapes[node.input][:-1])

    def summary(self) -> str:
        """Return a table of the nodes: name, operator, shapes, types, multiply-accumulates."""
        rows = [f"{'node':<16} {'operator':<14} {'input':<18} {'output':<18} {'MACs':>12}"]
        for node in self.nodes:
            shape_in = "x".join(map(str, self.shapes[node.input]))
            shape_out = "x".join(map(str, self.shapes[node.name]))
            macs = self._node_macs(node)
            rows.append(
                f"{node.name:<16} {node.op_type:<14} {shape_in + ' ' + node.in_type.name:<18} "
                f"{shape_out + ' ' + node.out_type.name:<18} {macs:>12,}"
            )
        return "\n".join(rows)
