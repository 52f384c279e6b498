"""Costs of a network's layers at every folding, and of what stands between two of them.

A matrix-vector unit costs what its own PE, SIMD and weight memory say. What stands between two units (width
converters, FIFOs, window generators, pools) depends on PE of the one and SIMD of the other. So a plan of the
whole network at one folding tells the cost of all its layers and of all the joints at once, and the tables of
all combinations take as many plans as the longest list of PEs times the longest list of SIMDs.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product

from export.graph import DataflowGraph, Mvau
from hw.folding import Folding, LayerFolding, divisors, simd_values, vectors_per_frame
from hw.resources import ResourceModel
from hw.rtlgen import Instance, plan_rtl

# `auto` is what synthesis likes: it says nothing that the model could count on.
STYLES = ("distributed", "block")


@dataclass(frozen=True, slots=True)
class Part:
    """Cost of a layer or of a joint.

    Attributes:
        cycles: Cycles that it is busy with a frame.
        lut: LUT sites, memory included.
        bram36: Block RAMs of 36 kbit.
    """

    cycles: int
    lut: float
    bram36: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Tables:
    """Costs of a chain of layers.

    Attributes:
        names: Names of the layers, in order.
        layers: For each layer, the cost of every folding of it.
        joints: For each layer, by PE of the layer before it (0 before the first) and its own SIMD, what
            stands between them costs; one more for what follows the last layer, by its PE and 0.
    """

    names: tuple[str, ...]
    layers: tuple[Mapping[LayerFolding, Part], ...]
    joints: tuple[Mapping[tuple[int, int], Part], ...]


def layer_choices(graph: DataflowGraph, node: Mvau) -> list[LayerFolding]:
    """Return every folding of one layer."""
    choices: list[LayerFolding] = []
    for pe, simd in product(pe_values(node), simd_values(graph, node)):
        for style in _styles(node, pe, simd):
            choices.append(LayerFolding(pe, simd, style))
    return choices


def pe_values(node: Mvau) -> list[int]:
    """Return the values that PE of a layer can have, ascending."""
    return divisors(node.mh // node.groups)


def _styles(node: Mvau, pe: int, simd: int) -> tuple[str, ...]:
    if node.draw is not None:
        return ("auto",)
    # One word is no memory: its weights are constants.
    return STYLES[:1] if pe * simd * node.groups == node.mh * node.mw else STYLES


def is_chain(graph: DataflowGraph) -> bool:
    """Tell whether each node reads the one before it."""
    return all(
        node.input == before.name for before, node in zip(graph.nodes, graph.nodes[1:], strict=False)
    ) and all(len(graph.readers(node.name)) == 1 for node in graph.nodes[:-1])


def make_tables(graph: DataflowGraph, model: ResourceModel) -> Tables:
    """Plan the network often enough to know the cost of each layer and joint.

    Args:
        graph: A chain of nodes.
        model: The resource model.
    """
    nodes = list(graph.mvaus)
    layers: list[dict[LayerFolding, Part]] = [{} for _ in nodes]
    joints: list[dict[tuple[int, int], Part]] = [{} for _ in range(len(nodes) + 1)]
    for folding in _covering_foldings(graph):
        chain = plan_rtl(graph, folding, with_contents=False).instances
        parts = _split(chain, [node.name for node in nodes])
        pes = [0, *(folding[node.name].pe for node in nodes)]
        simds = [*(folding[node.name].simd for node in nodes), 0]
        for index, (unit, between) in enumerate(parts):
            joints[index].setdefault((pes[index], simds[index]), _cost(between, model))
            if index < len(nodes):
                node = nodes[index]
                own = _cost(unit, model)
                cycles = folding.cycles(node, vectors_per_frame(graph, node))
                layers[index].setdefault(
                    folding[node.name], Part(max(cycles, own.cycles), own.lut, own.bram36)
                )
    return Tables(names=tuple(n.name for n in nodes), layers=tuple(layers), joints=tuple(joints))


def _covering_foldings(graph: DataflowGraph) -> Iterator[Folding]:
    """Foldings among which each layer has all of its own, and each pair of layers all its PEs and SIMDs."""
    nodes = list(graph.mvaus)
    pes = [pe_values(node) for node in nodes]
    simds = [simd_values(graph, node) for node in nodes]
    for style, a, b in product(range(len(STYLES)), range(max(map(len, pes))), range(max(map(len, simds)))):
        layers: dict[str, LayerFolding] = {}
        for node, pe_list, simd_list in zip(nodes, pes, simds, strict=True):
            pe, simd = pe_list[a % len(pe_list)], simd_list[b % len(simd_list)]
            styles = _styles(node, pe, simd)
            layers[node.name] = LayerFolding(pe, simd, styles[style % len(styles)])
        yield Folding(layers)


def _split(chain: Sequence[Instance], names: Sequence[str]) -> list[tuple[list[Instance], list[Instance]]]:
    """Split a chain: for each layer its unit and what stands before it, and at the end what follows the last.

    A FIFO before a border is as deep as the layer before it is slow, so it belongs to that layer.
    """
    parts: list[tuple[list[Instance], list[Instance]]] = []
    between: list[Instance] = []
    for instance in chain:
        is_unit = len(parts) < len(names) and instance.node == names[len(parts)]
        if is_unit and instance.module.startswith("bnn_mvau"):
            parts.append(([instance], between))
            between = []
        elif parts and instance.module == "bnn_fifo" and instance.node not in names:
            parts[-1][0].append(instance)
        else:
            between.append(instance)
    return [*parts, ([], between)]


def _cost(instances: Sequence[Instance], model: ResourceModel) -> Part:
    beats = [stream.beats for i in instances for stream in (*i.sources, *i.sinks)]
    return Part(max(beats, default=0), model.luts(instances), model.bram36(instances))
