"""From a `DataflowGraph` to the program of the native engine.

Planning starts at the outputs and asks each node for the form that its reader wants (see
`hw.emulator.streams`), so a node that nobody reads costs nothing, and a conversion appears only where two
forms meet.
"""

from __future__ import annotations

from collections.abc import Sequence

from export.graph import (
    INPUT_TENSOR,
    Add,
    DataflowGraph,
    Flatten,
    FmPadding,
    Mvau,
    Pool,
    Swg,
    Thresholding,
)
from hw.emulator import constants, conversions, moves, products
from hw.emulator.steps import IMAGES_BUFFER, Plan
from hw.emulator.streams import Streams, makes_bits, own_columns


def plan_graph(graph: DataflowGraph, wanted: Sequence[str]) -> Plan:
    """Plan the int64 outputs of the nodes named in ``wanted``, in the order in which data flows."""
    planner = _Planner(graph)
    # The last node first: the others then find its streams as inference makes them.
    return planner.writer.finish({name: planner.integers(name) for name in reversed(wanted)})


class _Planner(Streams):
    def _make_integers(self, name: str) -> int:
        if name == INPUT_TENSOR:
            return conversions.widen_images(self)
        node = self._nodes[name]
        match node:
            case Flatten():
                return self.integers(node.input)
            case FmPadding() | Swg() | Pool():
                return moves.move(self, node, "integers")
            case Add():
                return moves.add(self, node)
            case Mvau() | Thresholding() if makes_bits(node) or self.is_packed(name):
                return conversions.unpack(self, node, "unpack", 8)
            case Thresholding():
                return conversions.threshold(self, node)
            case Mvau():
                return products.product(self, node)

    def _make_bytes(self, name: str) -> int:
        if name == INPUT_TENSOR:
            return IMAGES_BUFFER
        node = self._nodes[name]
        match node:
            case Flatten():
                return self.bytes(node.input)
            case FmPadding() | Swg():
                return moves.move(self, node, "bytes")
            case Pool() if node.mode == "max":
                return moves.move(self, node, "bytes")
            case Mvau() | Thresholding() if makes_bits(node) or self.is_packed(name):
                shift = constants.byte_shift(node.out_type)
                return conversions.unpack(self, node, "unpack_bytes", 1, shift)
            case _:
                return conversions.narrow(self, name)

    def _make_packed(self, name: str, columns: int) -> int:
        if name == INPUT_TENSOR:
            return conversions.pack_images(self, columns)
        node = self._nodes[name]
        match node:
            case Flatten():
                # Bits that are packed where they are made need no way over integers.
                return self.packed(node.input, columns)
            case FmPadding() | Swg() | Pool():
                return moves.move_packed(self, node, columns)
            case Thresholding() if node.out_type.is_bipolar and self._fits_image(node, columns):
                return conversions.pack_threshold(self, node, columns)
            case Mvau() | Thresholding() if makes_bits(node) or isinstance(node, Thresholding):
                return self._pack_made(node, columns)
            case _:
                return conversions.pack_integers(self, name, columns)

    def _pack_made(self, node: Mvau | Thresholding, columns: int) -> int:
        own = own_columns(node, self.graph.shapes[node.name])
        if columns != own:
            return conversions.regroup(self, node.name, own, columns)
        return products.product(self, node) if isinstance(node, Mvau) else conversions.pack_levels(self, node)

    def _fits_image(self, node: Thresholding, columns: int) -> bool:
        """Whether thresholds act on the image's bytes, in rows of whole pixels."""
        return self.is_image(node.input) and columns % self.graph.shapes[node.name][-1] == 0

    def _make_minus(self, padding: FmPadding) -> int:
        return moves.move(self, padding, "bits")
