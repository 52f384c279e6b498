"""Steps between feature maps: padding, windows, pools and sums of two streams."""

from __future__ import annotations

from typing import Literal

import numpy as np

from export.graph import Add, FmPadding, Pool, Swg
from hw.emulator import constants
from hw.emulator.conversions import pack_integers, regroup
from hw.emulator.streams import Streams, packed_bytes
from hw.emulator.windows import move_fields

Form = Literal["integers", "bytes", "bits"]


def move(streams: Streams, node: FmPadding | Swg | Pool, form: Form) -> int:
    """Plan a step between feature maps, both in one form; a sum of a window is always integers."""
    in_shape, out_shape = streams.graph.shapes[node.input], streams.graph.shapes[node.name]
    channels = in_shape[2]
    pixel_bytes = {"integers": 8 * channels, "bytes": channels, "bits": packed_bytes(1, channels, 1)}[form]
    fields = move_fields(node, in_shape, out_shape) | {"pixel_bytes": pixel_bytes}
    pixels = out_shape[0] * out_shape[1]
    match node:
        case FmPadding():
            return _pad(streams, node, form, pixels * pixel_bytes, fields)
        case Pool():
            kind = "pool_sum" if node.mode == "sum" else f"pool_{form}"
            return streams.writer.step(kind, _source(streams, node, form), pixels * pixel_bytes, **fields)
        case Swg():
            row_bytes = node.kernel[0] * node.kernel[1] * pixel_bytes // node.groups
            fields["row_bytes"] = row_bytes
            source = _source(streams, node, form)
            return streams.writer.step("windows", source, pixels * node.groups * row_bytes, **fields)


def _source(streams: Streams, node: FmPadding | Swg | Pool, form: Form) -> int:
    match form:
        case "integers":
            return streams.integers(node.input)
        case "bytes":
            return streams.bytes(node.input)
        case "bits":
            return streams.packed(node.input, streams.graph.shapes[node.input][2])


def _pad(streams: Streams, node: FmPadding, form: Form, size: int, fields: dict[str, int]) -> int:
    pixel = np.full(streams.graph.shapes[node.input][2], node.value, np.int64)
    match form:
        case "integers":
            fill = streams.writer.constant(pixel)
        case "bytes":
            fill = streams.writer.constant((pixel + constants.byte_shift(node.in_type)).astype(np.uint8))
        case "bits":
            fill = streams.writer.constant(constants.pack_words(pixel[None] > 0))
    return streams.writer.step("pad", _source(streams, node, form), size, fill=fill, **fields)


def move_packed(streams: Streams, node: FmPadding | Swg | Pool, columns: int) -> int:
    """Plan moved ±1 pixels that stay packed where every one keeps whole words; others go by integers."""
    channels = streams.graph.shapes[node.input][-1]
    groups = node.groups if isinstance(node, Swg) else 1
    is_whole = not isinstance(node, Swg) or channels // groups % constants.WORD_BITS == 0
    if not (node.in_type.is_bipolar and node.out_type.is_bipolar and is_whole):
        return pack_integers(streams, node.name, columns)
    row = streams.graph.shapes[node.name][-1] // groups
    return move(streams, node, "bits") if columns == row else regroup(streams, node.name, row, columns)


def add(streams: Streams, node: Add) -> int:
    """Plan the sum of two streams of integers."""
    elements = streams.elements(node.name)
    return streams.writer.step(
        "add",
        streams.integers(node.input),
        8 * elements,
        other=streams.integers(node.other),
        rows=1,
        columns=elements,
    )
