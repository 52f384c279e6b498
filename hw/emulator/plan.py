"""From a `DataflowGraph` to the program of the native engine.

A stream exists in up to three forms: the images' own bytes; int64; and packed rows of bit planes, as
native/kernel.hpp describes them. Planning starts at the outputs and asks each node for the form that its
reader wants, so a node that nobody reads costs nothing, and a conversion appears only where two forms meet.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from export.datatypes import UINT8, DataType
from export.graph import (
    INPUT_TENSOR,
    DataflowGraph,
    Flatten,
    FmPadding,
    Mvau,
    Node,
    Pool,
    Swg,
    Thresholding,
    Thresholds,
)
from hw.emulator import constants
from hw.emulator.steps import IMAGES_BUFFER, Plan, PlanWriter


def plan_graph(graph: DataflowGraph, wanted: Sequence[str]) -> Plan:
    """Plan the int64 outputs of the nodes named in ``wanted``, in the order in which data flows."""
    planner = _Planner(graph)
    # The last node first: the others then find its streams as inference makes them.
    return planner.writer.finish({name: planner.integers(name) for name in reversed(wanted)})


class _Planner:
    def __init__(self, graph: DataflowGraph) -> None:
        self.graph = graph
        self.writer = PlanWriter(int(np.prod(graph.input_shape, dtype=np.int64)))
        self._nodes: dict[str, Node] = {node.name: node for node in graph.nodes}
        self._integer_forms: dict[str, int] = {}
        self._packed_forms: dict[tuple[str, int], int] = {}

    def integers(self, name: str) -> int:
        """Return the buffer that holds a stream as int64; plan it if need be."""
        if name not in self._integer_forms:
            self._integer_forms[name] = self._make_integers(name)
        return self._integer_forms[name]

    def packed(self, name: str, columns: int) -> int:
        """Return the buffer that holds a stream as packed rows of ``columns`` elements."""
        if (name, columns) not in self._packed_forms:
            self._packed_forms[name, columns] = self._make_packed(name, columns)
        return self._packed_forms[name, columns]

    def _make_integers(self, name: str) -> int:
        if name == INPUT_TENSOR:
            elements = self._elements(name)
            return self.writer.step("widen_bytes", IMAGES_BUFFER, 8 * elements, rows=1, columns=elements)
        node = self._nodes[name]
        if isinstance(node, Flatten):
            return self.integers(node.input)
        if isinstance(node, FmPadding | Swg | Pool):
            return self._move(node, self.integers(node.input), 8 * self.graph.shapes[node.input][-1])
        if self._makes_bits(node):
            return self._unpack(node)
        if isinstance(node, Thresholding):
            return self._threshold(node.name, node.thresholds, self.integers(node.input))
        return self._gemm_integers(node)

    def _make_packed(self, name: str, columns: int) -> int:
        if name == INPUT_TENSOR:
            return self._pack_image("pack_bytes", name, columns, planes=8)
        node = self._nodes[name]
        if isinstance(node, Flatten):
            # Bits that are packed where they are made need no way over integers.
            return self.packed(node.input, columns)
        if isinstance(node, FmPadding | Swg | Pool):
            return self._move_packed(node, columns)
        if not self._makes_bits(node):
            return self._pack_integers(name, columns)
        if isinstance(node, Thresholding):
            return self._pack_threshold(node, columns)
        return self._gemm_bits(node) if columns == node.mh else self._join(node.name, node.mh, columns)

    def _makes_bits(self, node: Mvau | Thresholding) -> bool:
        """Whether a node's output is packed where it is made."""
        if isinstance(node, Mvau):
            return node.weight_type.is_bipolar and node.thresholds is not None
        return node.out_type.is_bipolar and self._is_image(node.input)

    def _is_image(self, name: str) -> bool:
        if name == INPUT_TENSOR:
            return True
        node = self._nodes[name]
        return isinstance(node, Flatten) and self._is_image(node.input)

    def _pack_threshold(self, node: Thresholding, columns: int) -> int:
        channels = self.graph.shapes[node.name][-1]
        limits, mask, all_can_fire = constants.byte_limits(node.thresholds, columns, channels)
        return self._pack_image(
            "pack_threshold",
            node.name,
            columns,
            planes=1,
            limits=self.writer.constant(limits),
            mask=self.writer.constant(mask),
            levels=int(all_can_fire),
        )

    def _pack_image(self, kind: str, name: str, columns: int, *, planes: int, **fields: int) -> int:
        rows = self._elements(name) // columns
        size = _packed_bytes(rows, columns, planes)
        return self.writer.step(
            kind, IMAGES_BUFFER, size, rows=rows, columns=columns, planes=planes, **fields
        )

    def _pack_integers(self, name: str, columns: int) -> int:
        stream = self._type(name)
        rows, planes = self._elements(name) // columns, stream.width_bits
        return self.writer.step(
            "pack_integers",
            self.integers(name),
            _packed_bytes(rows, columns, planes),
            rows=rows,
            columns=columns,
            planes=planes,
            is_bipolar=int(stream.is_bipolar),
        )

    def _unpack(self, node: Mvau | Thresholding) -> int:
        """Show the bits that the next layer reads, in whatever rows they are packed."""
        made = [columns for name, columns in self._packed_forms if name == node.name]
        columns = (made or [node.mh if isinstance(node, Mvau) else self._elements(node.name)])[0]
        return self.writer.step(
            "unpack",
            self.packed(node.name, columns),
            8 * self._elements(node.name),
            rows=self._elements(node.name) // columns,
            columns=columns,
            planes=node.out_type.width_bits,
            is_signed=int(_has_sign_bit(node.out_type)),
            is_bipolar=int(node.out_type.is_bipolar),
        )

    def _join(self, name: str, channels: int, columns: int) -> int:
        rows, planes = self._elements(name) // channels, self._type(name).width_bits
        return self.writer.step(
            "join_rows",
            self.packed(name, channels),
            _packed_bytes(rows * channels // columns, columns, planes),
            rows=rows,
            columns=channels,
            planes=planes,
            joined=columns // channels,
        )

    def _move_packed(self, node: FmPadding | Swg | Pool, columns: int) -> int:
        """Move packed ±1 pixels where every pixel keeps whole words; any other stream goes by integers."""
        channels, out_channels = (self.graph.shapes[name][-1] for name in (node.input, node.name))
        whole_words = not isinstance(node, Swg) or channels % constants.WORD_BITS == 0
        if not (node.in_type.is_bipolar and node.out_type.is_bipolar and whole_words):
            return self._pack_integers(node.name, columns)
        if columns != out_channels:
            return self._join(node.name, out_channels, columns)
        return self._move(node, self.packed(node.input, channels), _packed_bytes(1, channels, 1), packed=True)

    def _move(
        self, node: FmPadding | Swg | Pool, source: int, pixel_bytes: int, *, packed: bool = False
    ) -> int:
        """Plan a step between feature maps, whose pixels take ``pixel_bytes`` in the source."""
        height, width, channels = self.graph.shapes[node.input]
        out_height, out_width = self.graph.shapes[node.name][:2]
        fields = {
            "height": height,
            "width": width,
            "out_height": out_height,
            "out_width": out_width,
            "pixel_bytes": pixel_bytes,
        }
        if isinstance(node, FmPadding):
            pixel = np.full(channels, node.value, np.int64)
            fill = constants.pack_words(pixel[None] > 0) if packed else pixel
            fields |= {"top": node.pads[0], "left": node.pads[1], "fill": self.writer.constant(fill)}
            return self.writer.step("pad", source, out_height * out_width * pixel_bytes, **fields)
        fields |= {
            "kernel_height": node.kernel[0],
            "kernel_width": node.kernel[1],
            "stride_height": node.stride[0],
            "stride_width": node.stride[1],
        }
        if isinstance(node, Pool):
            kind = "pool_bits" if packed else "pool_integers"
            return self.writer.step(kind, source, out_height * out_width * pixel_bytes, **fields)
        row_bytes = node.kernel[0] * node.kernel[1] * pixel_bytes
        return self.writer.step("windows", source, out_height * out_width * row_bytes, **fields)

    def _threshold(self, name: str, thresholds: Thresholds, source: int) -> int:
        columns = self.graph.shapes[name][-1]
        bipolar = thresholds.out_type.is_bipolar
        return self.writer.step(
            "threshold",
            source,
            8 * self._elements(name),
            rows=self._elements(name) // columns,
            columns=columns,
            levels=thresholds.steps.shape[1],
            first_value=-1 if bipolar else thresholds.out_bias,
            value_step=2 if bipolar else 1,
            limits=self.writer.constant(constants.threshold_rows(thresholds, columns)),
        )

    def _gemm_bits(self, node: Mvau) -> int:
        """Plan a ±1 product; with thresholds its output is packed, without it is int64."""
        bits = constants.BitProduct.of(node)
        rows = self._elements(node.name) // node.mh
        common = {
            "rows": rows,
            "columns": node.mw,
            "planes": node.in_type.width_bits,
            "is_signed": int(_has_sign_bit(node.in_type)),
            "neurons": node.mh,
            "weights": self.writer.constant(bits.weight_words),
        }
        source = self.packed(node.input, node.mw)
        if node.thresholds is None:
            offset, factor = constants.popcount_to_output(node, bits)
            own = {"offset": self.writer.constant(offset), "factor": self.writer.constant(factor)}
            return self.writer.step("gemm_bits", source, 8 * rows * node.mh, **common, **own)
        planes = node.out_type.width_bits
        return self.writer.step(
            "gemm_bits",
            source,
            _packed_bytes(rows, node.mh, planes),
            levels=node.thresholds.steps.shape[1],
            first_value=0 if node.out_type.is_bipolar else node.thresholds.out_bias,
            out_planes=planes,
            limits=self.writer.constant(constants.popcount_limits(node, bits, node.thresholds)),
            **common,
        )

    def _gemm_integers(self, node: Mvau) -> int:
        """Plan a product whose output is int64: raw accumulators, or weights of more than one bit."""
        if node.weight_type.is_bipolar:
            return self._gemm_bits(node)
        offset, factor = constants.sum_to_output(node)
        sums = self.writer.step(
            "gemm_integers",
            self.integers(node.input),
            8 * self._elements(node.name),
            rows=self._elements(node.name) // node.mh,
            columns=node.mw,
            neurons=node.mh,
            is_narrow=int(node.in_type.minimum >= -(1 << 15) and node.in_type.maximum < 1 << 15),
            weights=self.writer.constant(node.weights.astype(np.int16)),
            offset=self.writer.constant(offset),
            factor=self.writer.constant(factor),
        )
        return sums if node.thresholds is None else self._threshold(node.name, node.thresholds, sums)

    def _type(self, name: str) -> DataType:
        return UINT8 if name == INPUT_TENSOR else self._nodes[name].out_type

    def _elements(self, name: str) -> int:
        return int(np.prod(self.graph.shapes[name], dtype=np.int64))


def _has_sign_bit(stream: DataType) -> bool:
    return stream.is_signed and not stream.is_bipolar


def _packed_bytes(rows: int, columns: int, planes: int) -> int:
    return 8 * rows * planes * constants.words_for(columns)
