"""The streams of a graph while it is planned: which buffer holds each, in each form.

A stream exists in up to three forms: bytes, as the images are; int64; and packed rows of bit planes, as
native/kernel.hpp describes them. Each form is planned once, when a reader asks for it first.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from math import prod

from export.datatypes import UINT8, DataType
from export.graph import INPUT_TENSOR, DataflowGraph, Flatten, FmPadding, Mvau, Node, Thresholding
from hw.emulator import constants
from hw.emulator.steps import PlanWriter


class Streams(ABC):
    """The forms planned so far.

    Attributes:
        graph: The network.
        writer: Takes the steps.
    """

    def __init__(self, graph: DataflowGraph) -> None:
        self.graph = graph
        self.writer = PlanWriter(prod(graph.input_shape))
        self._nodes: dict[str, Node] = {node.name: node for node in graph.nodes}
        self._integers: dict[str, int] = {}
        self._packed: dict[tuple[str, int], int] = {}
        self._bytes: dict[str, int] = {}
        self._minus: dict[str, int] = {}

    def integers(self, name: str) -> int:
        """Return the buffer that holds a stream as int64; plan it if need be."""
        if name not in self._integers:
            self._integers[name] = self._make_integers(name)
        return self._integers[name]

    def packed(self, name: str, columns: int) -> int:
        """Return the buffer that holds a stream as packed rows of ``columns`` elements."""
        if (name, columns) not in self._packed:
            self._packed[name, columns] = self._make_packed(name, columns)
        return self._packed[name, columns]

    def bytes(self, name: str) -> int:
        """Return the buffer that holds a stream as bytes; signed values are shifted by 128."""
        if name not in self._bytes:
            self._bytes[name] = self._make_bytes(name)
        return self._bytes[name]

    def minus(self, padding: FmPadding) -> int:
        """Return the buffer with a packed ±1 map whose zeros around it are -1."""
        if padding.name not in self._minus:
            self._minus[padding.name] = self._make_minus(padding)
        return self._minus[padding.name]

    @abstractmethod
    def _make_integers(self, name: str) -> int: ...

    @abstractmethod
    def _make_packed(self, name: str, columns: int) -> int: ...

    @abstractmethod
    def _make_bytes(self, name: str) -> int: ...

    @abstractmethod
    def _make_minus(self, padding: FmPadding) -> int: ...

    def node(self, name: str) -> Node | None:
        """Return the node that writes a stream; None for the images."""
        return self._nodes.get(name)

    def type_of(self, name: str) -> DataType:
        """Return the type of a stream."""
        return UINT8 if name == INPUT_TENSOR else self._nodes[name].out_type

    def elements(self, name: str) -> int:
        """Return the number of elements of a stream in one frame."""
        return prod(self.graph.shapes[name])

    def is_image(self, name: str) -> bool:
        """Whether a stream holds the bytes of the image, in their order."""
        if name == INPUT_TENSOR:
            return True
        node = self._nodes[name]
        return isinstance(node, Flatten) and self.is_image(node.input)

    def packed_columns(self, node: Mvau | Thresholding) -> int:
        """Return columns of the rows in which a node's bits are packed: as a reader wants them, if any."""
        wanted = [columns for name, columns in self._packed if name == node.name]
        return (wanted or [own_columns(node, self.graph.shapes[node.name])])[0]

    def is_packed(self, name: str) -> bool:
        """Whether a packed form of a stream is planned."""
        return any(packed == name for packed, _ in self._packed)


def own_columns(node: Mvau | Thresholding, out_shape: tuple[int, ...]) -> int:
    """Return columns of the rows that a node packs itself: all neurons of one group, or a pixel."""
    return node.mh // node.groups if isinstance(node, Mvau) else out_shape[-1]


def makes_bits(node: Mvau | Thresholding) -> bool:
    """Whether a node's output is packed where it is made."""
    if isinstance(node, Mvau):
        by_bits_or_bytes = node.weight_type.is_bipolar or constants.fits_bytes(node)
        return by_bits_or_bytes and node.thresholds is not None
    return node.out_type.is_bipolar


def has_sign_bit(stream: DataType) -> bool:
    """Whether the top bit plane of a packed stream counts negative."""
    return stream.is_signed and not stream.is_bipolar


def packed_bytes(rows: int, columns: int, planes: int) -> int:
    """Return the size of packed rows."""
    return 8 * rows * planes * constants.words_for(columns)
