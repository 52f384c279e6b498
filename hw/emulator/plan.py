"""From a `DataflowGraph` to the program of the native engine.

A stream exists in up to three forms: bytes, as the images are; int64; and packed rows of bit planes, as
native/kernel.hpp describes them. Planning starts at the outputs and asks each node for the form that its
reader wants, so a node that nobody reads costs nothing, and a conversion appears only where two forms meet.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
import numpy.typing as npt

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
from hw.emulator.windows import BitWindows, move_fields


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
        self._byte_forms: dict[str, int] = {}
        self._minus_forms: dict[str, int] = {}

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

    def bytes(self, name: str) -> int:
        """Return the buffer that holds a stream as bytes; signed values are shifted by 128."""
        if name not in self._byte_forms:
            self._byte_forms[name] = self._make_bytes(name)
        return self._byte_forms[name]

    def _make_bytes(self, name: str) -> int:
        if name == INPUT_TENSOR:
            return IMAGES_BUFFER
        node = self._nodes[name]
        if isinstance(node, Flatten):
            return self.bytes(node.input)
        if isinstance(node, FmPadding | Swg | Pool):
            return self._move(node, "bytes")
        stream, elements = node.out_type, self._elements(name)
        shift = constants.byte_shift(stream)
        if not self._makes_bits(node):
            return self.writer.step(
                "narrow", self.integers(name), elements, rows=1, columns=elements, first_value=shift
            )
        columns = self._packed_columns(node)
        return self.writer.step(
            "unpack_bytes",
            self.packed(name, columns),
            elements,
            rows=elements // columns,
            columns=columns,
            planes=stream.width_bits,
            is_signed=int(_has_sign_bit(stream)),
            is_bipolar=int(stream.is_bipolar),
            first_value=shift,
        )

    def _make_integers(self, name: str) -> int:
        if name == INPUT_TENSOR:
            elements = self._elements(name)
            return self.writer.step("widen_bytes", IMAGES_BUFFER, 8 * elements, rows=1, columns=elements)
        node = self._nodes[name]
        if isinstance(node, Flatten):
            return self.integers(node.input)
        if isinstance(node, FmPadding | Swg | Pool):
            return self._move(node, "integers")
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
        return self._gemm(node) if columns == node.mh else self._join(node.name, node.mh, columns)

    def _makes_bits(self, node: Mvau | Thresholding) -> bool:
        """Whether a node's output is packed where it is made."""
        if isinstance(node, Mvau):
            by_bits_or_bytes = node.weight_type.is_bipolar or constants.fits_bytes(node)
            return by_bits_or_bytes and node.thresholds is not None
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
        columns = self._packed_columns(node)
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

    def _packed_columns(self, node: Mvau | Thresholding) -> int:
        """Columns of the rows in which a node's bits are packed, as its readers want them."""
        made = [columns for name, columns in self._packed_forms if name == node.name]
        return (made or [node.mh if isinstance(node, Mvau) else self._elements(node.name)])[0]

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
        return self._move(node, "bits")

    def _move(self, node: FmPadding | Swg | Pool, form: Literal["integers", "bytes", "bits"]) -> int:
        """Plan a step between feature maps, both in one form."""
        in_shape, out_shape = self.graph.shapes[node.input], self.graph.shapes[node.name]
        channels = in_shape[2]
        source = self.packed(node.input, channels) if form == "bits" else getattr(self, form)(node.input)
        pixel_bytes = {"integers": 8 * channels, "bytes": channels, "bits": _packed_bytes(1, channels, 1)}[
            form
        ]
        fields = move_fields(node, in_shape, out_shape) | {"pixel_bytes": pixel_bytes}
        pixels = out_shape[0] * out_shape[1]
        match node:
            case FmPadding():
                pixel = np.full(channels, node.value, np.int64)
                if form == "bytes":
                    fill = (pixel + constants.byte_shift(node.in_type)).astype(np.uint8)
                else:
                    fill = pixel if form == "integers" else constants.pack_words(pixel[None] > 0)
                fields["fill"] = self.writer.constant(fill)
                return self.writer.step("pad", source, pixels * pixel_bytes, **fields)
            case Pool():
                return self.writer.step(f"pool_{form}", source, pixels * pixel_bytes, **fields)
            case Swg():
                row_bytes = node.kernel[0] * node.kernel[1] * pixel_bytes
                fields["row_bytes"] = row_bytes
                return self.writer.step("windows", source, pixels * row_bytes, **fields)

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

    def _gemm(self, node: Mvau) -> int:
        """Plan a product; with thresholds its output is packed, without it is int64."""
        swg = self._nodes.get(node.input)
        if not node.weight_type.is_bipolar:
            return self._gemm_bytes(node)
        if isinstance(swg, Swg):
            padding = self._nodes.get(swg.input)
            if node.in_type.is_bipolar:
                return self._gemm_windows(node, swg, None)
            if node.in_type.is_ternary and isinstance(padding, FmPadding) and padding.in_type.is_bipolar:
                return self._gemm_windows(node, swg, padding)
            if constants.fits_bytes(node):
                return self._gemm_bytes(node)
        bits = constants.BitProduct.of(node)
        source = self.packed(node.input, node.mw)
        return self._gemm_bits(node, source, [bits], columns=node.mw)

    def _gemm_windows(self, node: Mvau, swg: Swg, padding: FmPadding | None) -> int:
        """Plan a ±1 product on windows that are read where they lie in the packed feature map."""
        in_shape = self.graph.shapes[swg.input]
        if padding is None:
            source = self.packed(swg.input, in_shape[2])
        elif padding.name in self._minus_forms:
            source = self._minus_forms[padding.name]
        else:
            source = self._minus_forms[padding.name] = self._move(padding, "bits")
        windows = BitWindows.of(node, swg, in_shape, padding)
        levels = 1 if node.thresholds is None else node.thresholds.steps.shape[1]
        lanes = windows.products[0].weight_words.shape[0] * constants.LANES
        return self._gemm_bits(
            node,
            source,
            windows.products,
            columns=node.mw,
            pixels=len(windows.starts),
            image_words=windows.image_words,
            starts=self.writer.constant(windows.starts),
            segments=self.writer.constant(windows.segments),
            segment_count=len(windows.segments),
            segment_words=windows.segment_words,
            shifts=self.writer.constant(windows.classes * levels * lanes),
        )

    def _gemm_bits(
        self, node: Mvau, source: int, products: Sequence[constants.BitProduct], **fields: int
    ) -> int:
        """Plan a ±1 product, whose rows may belong to different classes with a base of their own."""
        rows = self._elements(node.name) // node.mh
        fields |= {
            "rows": rows,
            "planes": 1 if "pixels" in fields else node.in_type.width_bits,
            "is_signed": int(_has_sign_bit(node.in_type) and "pixels" not in fields),
            "neurons": node.mh,
            "weights": self.writer.constant(products[0].weight_words),
        }
        if node.thresholds is None:
            outputs = [constants.popcount_to_output(node, bits) for bits in products]
            fields["offset"] = self.writer.constant(np.concatenate([offset for offset, _ in outputs]))
            fields["factor"] = self.writer.constant(outputs[0][1])
            return self.writer.step("gemm_bits", source, 8 * rows * node.mh, **fields)
        limits = [constants.popcount_limits(node, bits, node.thresholds) for bits in products]
        fields |= self._threshold_fields(node.thresholds, np.concatenate(limits))
        size = _packed_bytes(rows, node.mh, node.out_type.width_bits)
        return self.writer.step("gemm_bits", source, size, **fields)

    def _threshold_fields(
        self, thresholds: Thresholds, limits: npt.NDArray[np.int64] | npt.NDArray[np.int32]
    ) -> dict[str, int]:
        return {
            "levels": thresholds.steps.shape[1],
            "first_value": 0 if thresholds.out_type.is_bipolar else thresholds.out_bias,
            "out_planes": thresholds.out_type.width_bits,
            "limits": self.writer.constant(limits),
        }

    def _gemm_bytes(self, node: Mvau) -> int:
        """Plan a product of bytes with int8 weights."""
        rows = self._elements(node.name) // node.mh
        row_bytes = -(-node.mw // 4) * 4
        fields = {
            "rows": rows,
            "columns": row_bytes,
            "neurons": node.mh,
            "weights": self.writer.constant(constants.pack_bytes_weights(node.weights)),
        }
        source = self._byte_rows(node, row_bytes)
        if node.thresholds is None:
            offset, factor = constants.byte_sum_to_output(node)
            fields |= {"offset": self.writer.constant(offset), "factor": self.writer.constant(factor)}
            return self.writer.step("gemm_bytes", source, 8 * rows * node.mh, **fields)
        fields |= self._threshold_fields(node.thresholds, constants.byte_sum_limits(node, node.thresholds))
        size = _packed_bytes(rows, node.mh, node.out_type.width_bits)
        return self.writer.step("gemm_bytes", source, size, **fields)

    def _byte_rows(self, node: Mvau, row_bytes: int) -> int:
        """Return the buffer with a node's inputs as rows of ``row_bytes`` bytes."""
        rows = self._elements(node.name) // node.mh
        swg = self._nodes.get(node.input)
        if isinstance(swg, Swg):
            in_shape = self.graph.shapes[swg.input]
            fields = move_fields(swg, in_shape, self.graph.shapes[swg.name])
            source, pixel_bytes = self.bytes(swg.input), in_shape[2]
        elif node.mw == row_bytes:
            return self.bytes(node.input)
        else:
            one_pixel = Swg(name="rows", input=node.input, in_type=node.in_type, kernel=(1, 1))
            fields = move_fields(one_pixel, (1, rows), (1, rows))
            source, pixel_bytes = self.bytes(node.input), node.mw
        fields |= {"pixel_bytes": pixel_bytes, "row_bytes": row_bytes}
        return self.writer.step("windows", source, rows * row_bytes, **fields)

    def _gemm_integers(self, node: Mvau) -> int:
        """Plan a product whose output is int64: raw accumulators, or weights of more than one bit."""
        if node.weight_type.is_bipolar or constants.fits_bytes(node):
            return self._gemm(node)
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
