"""Instances for the nodes that look at a neighbourhood of pixels."""

from __future__ import annotations

import math

from export.datatypes import BIPOLAR
from export.graph import FmPadding, Pool, Swg
from hw.folding import window_lanes
from hw.rtlgen.builder import DesignBuilder
from hw.rtlgen.design import Stream


def add_padding(
    builder: DesignBuilder, node: FmPadding, shape: tuple[int, ...], interval_cycles: int | None
) -> None:
    """Add a border, at the lanes of the stream that comes in.

    While the border between two frames is written, nothing is taken; a FIFO before it keeps the layer before
    from standing still meanwhile.

    Args:
        builder: Grows by the instance, and a width converter where a beat would cross a pixel's end.
        node: The node.
        shape: ``(height, width, channels)`` of its input.
        interval_cycles: Cycles from beat to beat of the layer before, or None where no layer is directly
            before.
    """
    lanes = _pixel_lanes(builder, node, shape[2])
    rows, columns, channels = node.out_shape(shape)
    beats = rows * columns * channels // lanes
    top, left, bottom, right = node.pads
    if interval_cycles is not None:
        border = ((top + bottom) * columns + left + right) * channels // lanes
        builder.buffer(node, -(-border // interval_cycles) + 1)
    out_type = node.out_type
    builder.append(
        "bnn_fmpadding",
        "",
        node,
        Stream(name=node.name, dtype=out_type, lanes=lanes, beats=beats, node=node.name),
        ELEMENT_W=node.in_type.width_bits,
        TERNARY=int(out_type != node.in_type),
        CHANNELS=channels,
        LANES=lanes,
        HEIGHT=shape[0],
        WIDTH=shape[1],
        TOP=top,
        LEFT=left,
        BOTTOM=bottom,
        RIGHT=right,
        VALUE=int(node.value > 0) if out_type == BIPOLAR else node.value,
    )


def add_windows(builder: DesignBuilder, node: Swg, shape: tuple[int, ...], simd: int) -> None:
    """Add a window generator for a layer of that SIMD.

    Args:
        builder: Grows by the instance, and a width converter where the lanes differ.
        node: The node.
        shape: ``(height, width, channels)`` of its input.
        simd: Inputs that the layer after it takes at once.
    """
    builder.convert(node, window_lanes(shape[2] // node.groups, simd))
    _append_generator(builder, node, "", shape, node.name)


def add_pool(builder: DesignBuilder, node: Pool, shape: tuple[int, ...]) -> None:
    """Add a window generator and the unit that reduces its windows, at the lanes that come in.

    Windows as wide as the feature map that do not overlap, such as one over all of it, hold the pixels in the
    order in which they come, and need no generator.

    Args:
        builder: Grows by the instances.
        node: The node.
        shape: ``(height, width, channels)`` of its input.
    """
    lanes = _pixel_lanes(builder, node, shape[2])
    if not _in_order(node, shape):
        _append_generator(builder, node, "__swg", shape, None)
    rows, columns, channels = node.out_shape(shape)
    beats = rows * columns * channels // lanes
    builder.append(
        "bnn_pool",
        "",
        node,
        Stream(name=node.name, dtype=node.out_type, lanes=lanes, beats=beats, node=node.name),
        ELEMENT_W=node.in_type.width_bits,
        SIGNED=int(node.in_type.is_signed and node.in_type != BIPOLAR),
        BIPOLAR=int(node.in_type == BIPOLAR),
        SUM=int(node.mode == "sum"),
        OUT_W=node.out_type.width_bits,
        CHANNELS=channels,
        LANES=lanes,
        PIXELS=math.prod(node.kernel),
    )


def _in_order(node: Pool, shape: tuple[int, ...]) -> bool:
    """Whether the windows one after the other are the feature map, pixel by pixel."""
    high, width = node.kernel
    return width == shape[1] and (high == shape[0] or (high == node.stride[0] and shape[0] % high == 0))


def _pixel_lanes(builder: DesignBuilder, node: FmPadding | Pool, channels: int) -> int:
    """Make sure that a beat holds elements of one pixel; returns its elements."""
    builder.convert(node, math.gcd(channels, builder.head.lanes))
    return builder.head.lanes


def _append_generator(
    builder: DesignBuilder, node: Swg | Pool, role: str, shape: tuple[int, ...], stream: str | None
) -> None:
    source = builder.head
    height, width, channels = shape
    rows, columns, _ = node.out_shape(shape)
    beats = rows * columns * math.prod(node.kernel) * channels // source.lanes
    builder.append(
        "bnn_swg",
        role,
        node,
        Stream(name=f"{node.name}{role}", dtype=source.dtype, lanes=source.lanes, beats=beats, node=stream),
        ELEMENT_W=source.element_w,
        CHANNELS=channels,
        GROUPS=node.groups if isinstance(node, Swg) else 1,
        LANES=source.lanes,
        HEIGHT=height,
        WIDTH=width,
        KERNEL_H=node.kernel[0],
        KERNEL_W=node.kernel[1],
        STRIDE_H=node.stride[0],
        STRIDE_W=node.stride[1],
        DEPTH=buffer_beats(node, shape, source.lanes),
    )


def buffer_beats(node: Swg | Pool, shape: tuple[int, ...], lanes: int) -> int:
    """Beats in a window generator's buffer: enough to take the next row or frame while windows leave.

    Args:
        node: The node.
        shape: ``(height, width, channels)`` of its input.
        lanes: Elements of a beat.
    """
    (kernel_h, kernel_w), beats = node.kernel, shape[2] // lanes
    extent = (kernel_h - 1) * shape[1] + kernel_w
    return (extent + max(extent, node.stride[0] * shape[1]) + kernel_h * kernel_w) * beats
