"""The network that faulty memories hold: another `DataflowGraph`, for any target."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from attacks.faults.codes import (
    threshold_bits,
    threshold_codes,
    weight_bits,
    weight_codes,
    with_threshold_codes,
    with_weight_codes,
)
from attacks.faults.model import Fault, MemoryFault, ThresholdFault, WeightFault, check_range
from export.errors import InputError
from export.graph import DataflowGraph, Mvau, Node, Thresholding


def apply_faults(
    graph: DataflowGraph, faults: Iterable[Fault], *, wide_logits: bool = False
) -> DataflowGraph:
    """Return the network with faults in its weights and thresholds; the one given stays as it is.

    The faults strike in their order, so the same flip twice is none. Bits are changed in the number that
    hardware holds: a threshold between agreeing positions in their count, with as many bits as the
    accumulator has. Where a channel's thresholds no longer ascend they are sorted, which computes the same,
    because hardware counts those that are reached.

    Args:
        graph: The network.
        faults: What strikes.
        wide_logits: Whether the logits may need more bits than without faults; in hardware, which keeps their
            width, they then wrap around.

    Raises:
        InputError: A fault names a node, place or bit that there is not, or an activation, or changes the
            type of a stream without thresholds: hardware keeps its width, where the sum would wrap around.
    """
    by_node: dict[str, list[MemoryFault]] = {}
    for fault in faults:
        if not isinstance(fault, WeightFault | ThresholdFault):
            raise InputError(
                f"the fault in an activation of {fault.node} is in no memory",
                hint="a faulty target computes it; a graph can't say it",
                node=fault.node,
            )
        by_node.setdefault(fault.node, []).append(fault)
    nodes = {node.name: node for node in graph.nodes}
    if unknown := sorted(set(by_node) - set(nodes)):
        raise InputError(
            f"a fault names {unknown[0]!r}, which is no node of the network",
            hint=f"nodes: {', '.join(nodes)}",
            node=unknown[0],
        )
    changed = tuple(_changed(graph, node, by_node.get(node.name, ())) for node in graph.nodes)
    for node, faulty in zip(graph.nodes, changed, strict=True):
        _check_type(node, faulty, is_last=node is graph.nodes[-1], wide_logits=wide_logits)
    return replace(graph, nodes=changed)


def _changed(graph: DataflowGraph, node: Node, faults: Iterable[MemoryFault]) -> Node:
    weights = [fault for fault in faults if isinstance(fault, WeightFault)]
    thresholds = [fault for fault in faults if isinstance(fault, ThresholdFault)]
    faulty = node
    if weights:
        if not isinstance(faulty, Mvau):
            raise InputError(f"{node.name} is a {node.op_type}: it has no weights", node=node.name)
        faulty = _with_weights(faulty, weights)
    if thresholds:
        if not isinstance(faulty, Mvau | Thresholding):
            raise InputError(f"{node.name} is a {node.op_type}: it has no thresholds", node=node.name)
        faulty = _with_thresholds(faulty, graph.shapes[node.name][-1], thresholds)
    return faulty


def _with_weights(node: Mvau, faults: Iterable[WeightFault]) -> Mvau:
    codes = weight_codes(node)
    for fault in faults:
        check_range("neuron", fault.row, node.mh, node=node.name)
        check_range("input", fault.column, node.mw, node=node.name)
        check_range("bit of a weight", fault.bit, weight_bits(node), node=node.name)
        place = fault.row, fault.column
        codes[place] = fault.effect.on(codes[place], fault.bit)
    return with_weight_codes(node, codes)


def _with_thresholds(
    node: Mvau | Thresholding, channels: int, faults: Iterable[ThresholdFault]
) -> Mvau | Thresholding:
    codes = threshold_codes(node, channels)
    for fault in faults:
        check_range("channel", fault.channel, channels, node=node.name)
        check_range("threshold", fault.level, codes.shape[1], node=node.name)
        check_range("bit of a threshold", fault.bit, threshold_bits(node), node=node.name)
        place = fault.channel, fault.level
        codes[place] = fault.effect.on(codes[place], fault.bit)
    return with_threshold_codes(node, codes)


def _check_type(node: Node, faulty: Node, *, is_last: bool, wide_logits: bool) -> None:
    """Hardware's streams keep their width; a graph works out the width that its weights need."""
    narrower = faulty.out_type.width_bits < node.out_type.width_bits
    if faulty.out_type != node.out_type and not (is_last and (narrower or wide_logits)):
        raise InputError(
            f"{node.name}: with this fault its sums are {faulty.out_type}, hardware has {node.out_type}",
            hint="the sum could wrap around there, which a network of integers can't say",
            node=node.name,
        )
