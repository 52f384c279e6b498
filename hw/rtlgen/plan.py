"""From a graph and a folding to module instances and the contents of their memories."""

from __future__ import annotations

import re
from collections.abc import Mapping

import numpy as np

from export.datatypes import UINT8, DataType
from export.errors import InputError
from export.graph import (
    Add,
    DataflowGraph,
    Flatten,
    FmPadding,
    IntArray,
    Mvau,
    Node,
    Pool,
    Swg,
    Thresholding,
    inputs_of,
)
from hw.folding import Folding, layer_after, window_lanes
from hw.rtlgen.builder import DesignBuilder, count_readers
from hw.rtlgen.design import LABEL_W, Stream
from hw.rtlgen.joins import add_sum
from hw.rtlgen.memory import (
    MEAN_W,
    accumulator_width,
    offset_words,
    stream_threshold_words,
    threshold_words,
    weight_width,
    weight_words,
)
from hw.rtlgen.windows import add_padding, add_pool, add_windows

_BYTE = 8
_MAX_IN_W = 32
_MAX_WEIGHT_W = 8


def build_design(
    graph: DataflowGraph,
    folding: Folding,
    fifo_depths: Mapping[str, int] | None = None,
    *,
    with_contents: bool = True,
) -> DesignBuilder:
    """Plan the modules of a network.

    Args:
        graph: The network: any graph whose last node is an Mvau without thresholds.
        folding: PE and SIMD of every Mvau; checked against the graph.
        fifo_depths: Depth of a FIFO by its key, where not the default: the name of the Mvau or FmPadding
            after it; before an Add the Add's name and ``.input`` or ``.other``.
        with_contents: Whether to fill the memory files.

    Raises:
        InputError: The folding does not fit, or the hardware can't compute a node; it names the node.
    """
    folding.validate(graph)
    _check_nodes(graph)
    last = graph.nodes[-1]
    if not isinstance(last, Mvau) or last.thresholds is not None:
        raise InputError(
            f"{last.name}: the last node must be an Mvau without thresholds",
            hint="its accumulators are the logits",
            node=last.name,
        )
    pixels = int(np.prod(graph.input_shape))
    lanes = _input_lanes(graph, folding)
    builder = DesignBuilder(graph=graph, fifo_depths=fifo_depths or {}, with_contents=with_contents)
    builder.start(Stream(name="s_axis", dtype=UINT8, lanes=lanes, beats=pixels // lanes))
    for node in graph.nodes:
        if not isinstance(node, Flatten):
            _add_node(builder, node, folding)
    builder.open(last.name)
    _add_label_select(builder, last)
    return builder


def _add_node(builder: DesignBuilder, node: Node, folding: Folding) -> None:
    graph = builder.graph
    if isinstance(node, Add):
        add_sum(builder, node)
        builder.close(node)
        return
    builder.open(node.input)
    match node:
        case Thresholding():
            _add_thresholding(builder, node)
        case Mvau():
            _add_mvau(builder, node, folding)
        case FmPadding():
            interval = _interval_before(graph, folding, node)
            add_padding(builder, node, graph.shapes[node.input], interval)
        case Swg():
            simd = folding[layer_after(graph, node).name].simd
            add_windows(builder, node, graph.shapes[node.input], simd)
        case Pool():
            add_pool(builder, node, graph.shapes[node.input])
        case Flatten():
            raise ValueError(f"{node.name}: a Flatten is no hardware")
    builder.close(node)


def _check_nodes(graph: DataflowGraph) -> None:
    """Check that hardware can compute each node, and that its name can name files and wires."""
    for node in graph.nodes:
        if (
            not re.fullmatch(r"[A-Za-z][A-Za-z0-9_]{0,99}", node.name)
            or "__" in node.name
            or "axis" in node.name
        ):
            raise InputError(
                f"the node name {node.name!r} can't name a module instance",
                hint="names are letters, digits and single underscores, without 'axis'",
                node=node.name,
            )
        if node is not graph.nodes[-1] and not count_readers(graph, node.name):
            raise InputError(
                f"nothing reads {node.name}", hint="its stream would stand still in hardware", node=node.name
            )
        if isinstance(node, Mvau):
            _check_weights(node)
        if any(kind.width_bits > _MAX_IN_W for _, kind in inputs_of(node)):
            raise InputError(f"{node.name}: {node.in_type} inputs have more than 32 bits", node=node.name)


def _check_weights(node: Mvau) -> None:
    kind = node.weight_type
    if not kind.is_bipolar and not (kind.is_signed and 2 <= kind.width_bits <= _MAX_WEIGHT_W):
        raise InputError(
            f"{node.name}: weights are {kind}, hardware is generated for BIPOLAR and INT2 to INT8",
            node=node.name,
        )


def _input_lanes(graph: DataflowGraph, folding: Folding) -> int:
    """Elements of an input beat: what the first layer takes, or the window generator before it."""
    first = next(graph.mvaus)
    before = graph.nodes[: graph.nodes.index(first)]
    simd = folding[first.name].simd
    windows = [node for node in before if isinstance(node, FmPadding | Swg | Pool)]
    if windows:
        groups = max(node.groups if isinstance(node, Swg) else 1 for node in windows)
        return window_lanes(graph.input_shape[2] // groups, simd)
    return simd


def _interval_before(graph: DataflowGraph, folding: Folding, node: Node) -> int | None:
    """Cycles from beat to beat of the layer whose outputs a node reads one for one; None where it reads none.

    Of several layers, which an Add joins, those of the quickest.
    """
    nodes = {before.name: before for before in graph.nodes}
    intervals: list[int] = []
    names = [node.input]
    while names:
        before = nodes.pop(names.pop(), None)
        if isinstance(before, Mvau):
            intervals.append(folding.synapse_fold(before))
        elif isinstance(before, Thresholding | Add):
            names += [name for name, _ in inputs_of(before)]
    return min(intervals, default=None)


def _add_thresholding(builder: DesignBuilder, node: Thresholding) -> None:
    source, thresholds = builder.head, node.thresholds
    words = stream_threshold_words(thresholds, node.in_type, source.lanes)
    sink = Stream(name=node.name, dtype=node.out_type, lanes=source.lanes, beats=source.beats, node=node.name)
    builder.append(
        "bnn_thresholding",
        "",
        node,
        sink,
        LANES=source.lanes,
        IN_W=source.element_w,
        IN_SIGNED=int(node.in_type.is_signed and not node.in_type.is_bipolar),
        LEVELS=thresholds.steps.shape[1],
        OUT_BIAS=0 if node.out_type.is_bipolar else thresholds.out_bias,
        OUT_W=sink.element_w,
        DEPTH=len(words),
        THRESHOLD_FILE=builder.memory(node, "thresholds", words, node.in_type.width_bits + 1),
    )


def _add_mvau(builder: DesignBuilder, node: Mvau, folding: Folding) -> None:
    layer = folding[node.name]
    _add_input_buffer(builder, node, layer.simd, folding.synapse_fold(node))
    vectors = builder.head.beats // folding.synapse_fold(node)
    beats = vectors // node.groups * folding.neuron_fold(node)
    weights = builder.memory(
        node,
        "weights" if node.draw is None else "means",
        lambda: weight_words(node, layer.pe, layer.simd),
        weight_width(node) if node.draw is None else MEAN_W,
    )
    acc_w = accumulator_width(node)
    if node.thresholds is not None:
        words, field_w = threshold_words(node, node.thresholds, layer.pe), acc_w
        levels, bias = node.thresholds.steps.shape[1], node.thresholds.out_bias
        dtype, name = node.out_type, node.name
    else:
        dtype = node.out_type if node.scale is None else DataType(f"INT{acc_w + 1}")
        words, field_w = offset_words(node, layer.pe, with_bias=node.scale is None), dtype.width_bits
        levels, bias = 1, 0
        name = node.name if node.scale is None else f"{node.name}__acc"
    sink = Stream(
        name=name, dtype=dtype, lanes=layer.pe, beats=beats, node=node.name if name == node.name else None
    )
    builder.append(
        "bnn_mvau",
        "",
        node,
        sink,
        MW=node.mw,
        MH=node.mh,
        GROUPS=node.groups,
        SIMD=layer.simd,
        PE=layer.pe,
        IN_W=node.in_type.width_bits,
        IN_BIPOLAR=int(node.in_type.is_bipolar),
        IN_SIGNED=int(node.in_type.is_signed and not node.in_type.is_bipolar),
        WEIGHT_W=weight_width(node),
        THRESHOLD_EN=int(node.thresholds is not None),
        LEVELS=levels,
        OUT_BIAS=0 if dtype.is_bipolar else bias,
        ACC_W=acc_w,
        OUT_W=sink.element_w,
        **({} if node.draw is None else {"DRAW": 1, "LAYER": node.draw, "VECTORS": vectors // node.groups}),
        **({} if layer.ram_style == "auto" else {"RAM_STYLE": layer.ram_style}),
        WEIGHT_FILE=weights,
        PARAM_FILE=builder.memory(node, "params", words, field_w),
    )
    if node.scale is not None:
        _add_scale_bias(builder, node, node.scale, layer.pe)


def _add_input_buffer(builder: DesignBuilder, node: Mvau, simd: int, synapse_fold: int) -> None:
    builder.convert(node, simd)
    # One vector is enough for full rate: a consumer reads it in one burst and leaves the stream alone for the
    # rest of its cycles, in which the next vector comes in.
    builder.buffer(node, synapse_fold)


def _add_scale_bias(builder: DesignBuilder, node: Mvau, scale: IntArray, pe: int) -> None:
    source = builder.head
    bias = np.zeros_like(scale) if node.bias is None else node.bias
    scale_w = max(int(s).bit_length() for s in scale) + 1
    sink = Stream(name=node.name, dtype=node.out_type, lanes=pe, beats=source.beats, node=node.name)
    builder.append(
        "bnn_scale_bias",
        "__scale_bias",
        node,
        sink,
        PE=pe,
        DEPTH=node.mh // pe,
        IN_W=source.element_w,
        SCALE_W=scale_w,
        OUT_W=sink.element_w,
        SCALE_FILE=builder.memory(node, "scale", scale.reshape(-1, pe), scale_w),
        BIAS_FILE=builder.memory(node, "bias", bias.reshape(-1, pe), sink.element_w),
    )


def _add_label_select(builder: DesignBuilder, node: Mvau) -> None:
    source = builder.head
    logit_w = -(-source.element_w // _BYTE) * _BYTE
    sink = Stream(name="m_axis", dtype=DataType(f"INT{logit_w}"), lanes=source.lanes, beats=source.beats)
    builder.append(
        "bnn_label_select",
        "__label_select",
        node,
        sink,
        PE=source.lanes,
        DEPTH=source.beats,
        IN_W=source.element_w,
        LOGIT_W=logit_w,
        LABEL_W=LABEL_W,
        LOGITS_EN=1,
    )
