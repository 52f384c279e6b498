"""Steps of matrix products: bits in rows, bits in windows, bytes, and wider integers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from export.draws import BLOCK_BYTES
from export.graph import FmPadding, Mvau, Swg, Thresholds
from hw.emulator import constants
from hw.emulator.conversions import threshold_integers
from hw.emulator.drawn import DrawnWeights, drawn_product
from hw.emulator.streams import Streams, has_sign_bit, packed_bytes
from hw.emulator.windows import BitWindows, move_fields


def product(streams: Streams, node: Mvau) -> int:
    """Plan a product, in one of three ways.

    Returns:
        Where the output is: packed rows of one group of neurons each where `makes_bits` says so, else int64.
    """
    if not node.weight_type.is_bipolar:
        return _by_bytes(streams, node) if constants.fits_bytes(node) else _by_integers(streams, node)
    swg = streams.node(node.input)
    if isinstance(swg, Swg) and node.groups == swg.groups == 1 and _fits_windows(streams, node, swg):
        padding = streams.node(swg.input)
        if node.in_type.is_bipolar:
            return _by_windows(streams, node, swg, None)
        if node.in_type.is_ternary and isinstance(padding, FmPadding) and padding.in_type.is_bipolar:
            return _by_windows(streams, node, swg, padding)
    if (
        isinstance(swg, Swg)
        and constants.fits_bytes(node)
        and not node.in_type.is_bipolar
        and node.draw is None
    ):
        return _by_bytes(streams, node)
    parts = _parts(node)
    source = streams.packed(node.input, node.mw)
    if node.draw is not None:
        drawn = [DrawnWeights.of(part) for part in parts]
        return _by_bits(
            streams, node, parts, source, [[drawn_product(part) for part in parts]], drawn, columns=node.mw
        )
    products = [[constants.BitProduct.of(part) for part in parts]]
    return _by_bits(streams, node, parts, source, products, columns=node.mw)


def _fits_windows(streams: Streams, node: Mvau, swg: Swg) -> bool:
    """Whether the weights of each pixel of a window can begin with a word of their own."""
    return node.draw is None or streams.graph.shapes[swg.input][2] % BLOCK_BYTES == 0


def _parts(node: Mvau) -> list[Mvau]:
    """Split a node into nodes of one group each."""
    if node.groups == 1:
        return [node]
    size = node.mh // node.groups
    return [_rows(node, slice(first, first + size)) for first in range(0, node.mh, size)]


def _rows(node: Mvau, rows: slice) -> Mvau:
    thresholds = node.thresholds
    if thresholds is not None and len(thresholds.steps) > 1:
        thresholds = replace(thresholds, steps=thresholds.steps[rows])
    return replace(
        node,
        groups=1,
        weights=node.weights[rows],
        thresholds=thresholds,
        scale=None if node.scale is None else node.scale[rows],
        bias=None if node.bias is None else node.bias[rows],
    )


def _by_windows(streams: Streams, node: Mvau, swg: Swg, padding: FmPadding | None) -> int:
    """Plan a ±1 product on windows that are read where they lie in the packed feature map."""
    in_shape = streams.graph.shapes[swg.input]
    source = streams.packed(swg.input, in_shape[2]) if padding is None else streams.minus(padding)
    windows = BitWindows.of(node, swg, in_shape, padding)
    levels = 1 if node.thresholds is None else node.thresholds.steps.shape[1]
    lanes = -(-node.mh // constants.LANES) * constants.LANES
    drawn = [] if node.draw is None else [DrawnWeights.of_windows(node, windows.outside)]
    return _by_bits(
        streams,
        node,
        [node],
        source,
        [[bits] for bits in windows.products],
        drawn,
        columns=node.mw,
        pixels=len(windows.starts),
        image_words=windows.image_words,
        starts=streams.writer.constant(windows.starts),
        segments=streams.writer.constant(windows.segments),
        segment_count=len(windows.segments),
        segment_words=windows.segment_words,
        shifts=streams.writer.constant(windows.classes * levels * lanes),
    )


def _by_bits(
    streams: Streams,
    node: Mvau,
    parts: Sequence[Mvau],
    source: int,
    classes: Sequence[Sequence[constants.BitProduct]],
    drawn: Sequence[DrawnWeights] = (),
    **fields: int,
) -> int:
    """Plan a ±1 product.

    Args:
        streams: The forms planned so far.
        node: The product.
        parts: Its groups.
        source: Packed rows or, with ``pixels``, a packed map.
        classes: By class of rows with a base of their own: the product of each part.
        drawn: How the weights of each part are drawn, if they are.
        fields: More fields of the step.
    """
    writer, thresholds = streams.writer, node.thresholds
    in_windows = "pixels" in fields
    rows = streams.elements(node.name) // node.mh
    fields |= {
        "rows": rows,
        "groups": len(parts),
        "planes": 1 if in_windows else node.in_type.width_bits,
        "is_signed": int(has_sign_bit(node.in_type) and not in_windows),
        "neurons": node.mh // len(parts),
    }
    if drawn:
        fields |= drawn[0].fields(writer, node)
        fields["draw_limits"] = writer.constant(np.concatenate([part.limits for part in drawn]))
    else:
        fields["weights"] = writer.constant(np.concatenate([bits.weight_words for bits in classes[0]]))
        if node.in_type.is_bipolar and not in_windows:
            writer.note_weights(node.name, fields["weights"])
    pairs = [(part, bits) for products in classes for part, bits in zip(parts, products, strict=True)]
    if thresholds is None:
        outputs = [constants.popcount_to_output(part, bits) for part, bits in pairs]
        fields["offset"] = writer.constant(np.concatenate([offset for offset, _ in outputs]))
        fields["factor"] = writer.constant(np.concatenate([factor for _, factor in outputs[: len(parts)]]))
        return writer.step("gemm_bits", source, 8 * rows * node.mh, **fields)
    limits = [
        constants.popcount_limits(part, bits, part.thresholds)
        for part, bits in pairs
        if part.thresholds is not None
    ]
    fields |= _threshold_fields(streams, thresholds, np.concatenate(limits))
    return writer.step("gemm_bits", source, _output_bytes(node, rows), **fields)


def _threshold_fields(
    streams: Streams, thresholds: Thresholds, limits: npt.NDArray[np.int64] | npt.NDArray[np.int32]
) -> dict[str, int]:
    return {
        "levels": thresholds.steps.shape[1],
        "first_value": 0 if thresholds.out_type.is_bipolar else thresholds.out_bias,
        "out_planes": thresholds.out_type.width_bits,
        "limits": streams.writer.constant(limits),
    }


def _output_bytes(node: Mvau, rows: int) -> int:
    return packed_bytes(rows * node.groups, node.mh // node.groups, node.out_type.width_bits)


def _by_bytes(streams: Streams, node: Mvau) -> int:
    """Plan a product of bytes with int8 weights."""
    writer, parts = streams.writer, _parts(node)
    rows = streams.elements(node.name) // node.mh
    row_bytes = -(-node.mw // 4) * 4
    fields = {
        "rows": rows,
        "groups": node.groups,
        "columns": row_bytes,
        "neurons": node.mh // node.groups,
        "weights": writer.constant(
            np.concatenate([constants.pack_bytes_weights(part.weights) for part in parts])
        ),
    }
    source = _byte_rows(streams, node, row_bytes)
    if node.thresholds is None:
        offset, factor = constants.byte_sum_to_output(node)
        fields |= {"offset": writer.constant(offset), "factor": writer.constant(factor)}
        return writer.step("gemm_bytes", source, 8 * rows * node.mh, **fields)
    limits = [
        constants.byte_sum_limits(part, part.thresholds) for part in parts if part.thresholds is not None
    ]
    fields |= _threshold_fields(streams, node.thresholds, np.concatenate(limits))
    return writer.step("gemm_bytes", source, _output_bytes(node, rows), **fields)


def _byte_rows(streams: Streams, node: Mvau, row_bytes: int) -> int:
    """Return the buffer with a node's inputs as rows of ``row_bytes`` bytes, one a group."""
    rows = streams.elements(node.input) // node.mw
    swg = streams.node(node.input)
    if isinstance(swg, Swg) and swg.groups == node.groups:
        in_shape = streams.graph.shapes[swg.input]
        fields = move_fields(swg, in_shape, streams.graph.shapes[swg.name])
        source, pixel_bytes = streams.bytes(swg.input), in_shape[2]
    elif node.mw == row_bytes:
        return streams.bytes(node.input)
    else:
        one_pixel = Swg(name="rows", input=node.input, in_type=node.in_type, kernel=(1, 1))
        fields = move_fields(one_pixel, (1, rows), (1, rows))
        source, pixel_bytes = streams.bytes(node.input), node.mw
    fields |= {"pixel_bytes": pixel_bytes, "row_bytes": row_bytes}
    return streams.writer.step("windows", source, rows * row_bytes, **fields)


def _by_integers(streams: Streams, node: Mvau) -> int:
    """Plan a product of any integers; its output is int64."""
    offset, factor = constants.sum_to_output(node)
    sums = streams.writer.step(
        "gemm_integers",
        streams.integers(node.input),
        8 * streams.elements(node.name),
        rows=streams.elements(node.name) // node.mh,
        groups=node.groups,
        columns=node.mw,
        neurons=node.mh // node.groups,
        is_narrow=int(node.in_type.minimum >= -(1 << 15) and node.in_type.maximum < 1 << 15),
        weights=streams.writer.constant(node.weights.astype(np.int16)),
        offset=streams.writer.constant(offset),
        factor=streams.writer.constant(factor),
    )
    return threshold_integers(streams, node, sums)
