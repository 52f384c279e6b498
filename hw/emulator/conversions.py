"""Steps from one form of a stream to another, and thresholds on their own."""

from __future__ import annotations

from export.graph import INPUT_TENSOR, Mvau, Thresholding
from hw.emulator import constants
from hw.emulator.steps import IMAGES_BUFFER
from hw.emulator.streams import Streams, has_sign_bit, packed_bytes


def widen_images(streams: Streams) -> int:
    """Plan the images as int64."""
    elements = streams.elements(INPUT_TENSOR)
    return streams.writer.step("widen_bytes", IMAGES_BUFFER, 8 * elements, rows=1, columns=elements)


def pack_images(streams: Streams, columns: int) -> int:
    """Plan the images as eight bit planes."""
    return _pack_image(streams, "pack_bytes", INPUT_TENSOR, columns, planes=8)


def narrow(streams: Streams, name: str) -> int:
    """Plan a stream's integers as bytes."""
    elements = streams.elements(name)
    return streams.writer.step(
        "narrow",
        streams.integers(name),
        elements,
        rows=1,
        columns=elements,
        first_value=constants.byte_shift(streams.type_of(name)),
    )


def pack_integers(streams: Streams, name: str, columns: int) -> int:
    """Plan a stream's integers as packed rows."""
    stream = streams.type_of(name)
    rows, planes = streams.elements(name) // columns, stream.width_bits
    return streams.writer.step(
        "pack_integers",
        streams.integers(name),
        packed_bytes(rows, columns, planes),
        rows=rows,
        columns=columns,
        planes=planes,
        is_bipolar=int(stream.is_bipolar),
    )


def unpack(streams: Streams, node: Mvau | Thresholding, kind: str, element_bytes: int, shift: int = 0) -> int:
    """Plan the bits of a node, in whatever rows they are packed, as integers or bytes.

    Args:
        streams: The forms planned so far.
        node: Makes the bits.
        kind: ``unpack`` or ``unpack_bytes``.
        element_bytes: Bytes of an element of the new form.
        shift: Added to each.
    """
    columns, elements = streams.packed_columns(node), streams.elements(node.name)
    return streams.writer.step(
        kind,
        streams.packed(node.name, columns),
        element_bytes * elements,
        rows=elements // columns,
        columns=columns,
        planes=node.out_type.width_bits,
        is_signed=int(has_sign_bit(node.out_type)),
        is_bipolar=int(node.out_type.is_bipolar),
        first_value=shift,
    )


def regroup(streams: Streams, name: str, columns: int, new_columns: int) -> int:
    """Plan packed rows of ``columns`` elements as rows of ``new_columns``."""
    elements, planes = streams.elements(name), streams.type_of(name).width_bits
    whole = new_columns % columns == 0
    return streams.writer.step(
        "join_rows" if whole else "split_rows",
        streams.packed(name, columns),
        packed_bytes(elements // new_columns, new_columns, planes),
        rows=elements // columns,
        columns=columns,
        planes=planes,
        joined=new_columns // columns if whole else new_columns,
    )


def threshold(streams: Streams, node: Thresholding) -> int:
    """Plan thresholds from integers to integers."""
    return threshold_integers(streams, node, streams.integers(node.input))


def threshold_integers(streams: Streams, node: Thresholding | Mvau, source: int) -> int:
    """Plan a node's thresholds on int64 sums; the output is int64."""
    thresholds = node.thresholds
    if thresholds is None:
        return source
    columns = streams.graph.shapes[node.name][-1]
    bipolar = thresholds.out_type.is_bipolar
    return streams.writer.step(
        "threshold",
        source,
        8 * streams.elements(node.name),
        rows=streams.elements(node.name) // columns,
        columns=columns,
        levels=thresholds.steps.shape[1],
        first_value=-1 if bipolar else thresholds.out_bias,
        value_step=2 if bipolar else 1,
        limits=streams.writer.constant(constants.threshold_rows(thresholds, columns)),
    )


def pack_threshold(streams: Streams, node: Thresholding, columns: int) -> int:
    """Plan ±1 thresholds on images, packed."""
    channels = streams.graph.shapes[node.name][-1]
    limits, mask, all_can_fire = constants.byte_limits(node.thresholds, columns, channels)
    return _pack_image(
        streams,
        "pack_threshold",
        node.name,
        columns,
        planes=1,
        limits=streams.writer.constant(limits),
        mask=streams.writer.constant(mask),
        levels=int(all_can_fire),
    )


def pack_levels(streams: Streams, node: Thresholding) -> int:
    """Plan thresholds from integers to packed rows, one a pixel."""
    columns, thresholds = streams.graph.shapes[node.name][-1], node.thresholds
    rows, planes = streams.elements(node.name) // columns, thresholds.out_type.width_bits
    return streams.writer.step(
        "pack_levels",
        streams.integers(node.input),
        packed_bytes(rows, columns, planes),
        rows=rows,
        columns=columns,
        levels=thresholds.steps.shape[1],
        first_value=0 if thresholds.out_type.is_bipolar else thresholds.out_bias,
        out_planes=planes,
        limits=streams.writer.constant(constants.negative_limits(thresholds, columns)),
    )


def _pack_image(streams: Streams, kind: str, name: str, columns: int, *, planes: int, **fields: int) -> int:
    rows = streams.elements(name) // columns
    size = packed_bytes(rows, columns, planes)
    return streams.writer.step(kind, IMAGES_BUFFER, size, rows=rows, columns=columns, planes=planes, **fields)
