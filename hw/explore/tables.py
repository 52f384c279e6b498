"""Costs of a network's layers at every folding, and of what stands between two of them.

A matrix-vector unit costs what its own PE, SIMD and weight memory say. What stands between two units (width
converters, FIFOs, window generators, pools) depends on PE of the one and SIMD of the other. So a plan of the
whole network at one folding tells the cost of all its layers and of all the joints at once, and the tables of
all combinations take as many plans as the longest list of PEs times the longest list of SIMDs.

Where a network branches a joint has more than two ends. There the tables have no joints: a layer takes along
its FIFO and window generator, and the rest is left out.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise, product

from export.graph import DataflowGraph, Mvau, Swg, inputs_of
from hw.folding import Folding, LayerFolding, divisors, simd_values, vectors_per_frame
from hw.resources import ResourceModel
from hw.rtlgen import Instance, plan_rtl

# `auto` is what synthesis likes: it says nothing that the model could count on.
STYLES = ("distributed", "block")
# A layer's own instances, and those before it.
_Parts = tuple[list[Instance], list[Instance]]


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
    return [
        LayerFolding(pe, simd, style)
        for pe, simd in product(pe_values(node), simd_values(graph, node))
        for style in _styles(node, pe, simd)
    ]


def pe_values(node: Mvau) -> list[int]:
    """Return the values that PE of a layer can have, ascending."""
    return divisors(node.mh // node.groups)


def _styles(node: Mvau, pe: int, simd: int) -> tuple[str, ...]:
    if node.draw is not None:
        return ("auto",)
    # One word is no memory: its weights are constants.
    return STYLES[:1] if pe * simd == node.mh * node.mw else STYLES


def is_chain(graph: DataflowGraph) -> bool:
    """Tell whether each node reads the one before it alone, and is read by the one after it alone."""
    return all(
        [name for name, _ in inputs_of(node)] == [before.name] for before, node in pairwise(graph.nodes)
    )


def make_tables(graph: DataflowGraph, model: ResourceModel) -> Tables:
    """Plan the network often enough to know the cost of each layer and joint.

    Args:
        graph: The network.
        model: The resource model.
    """
    nodes = list(graph.mvaus)
    names = [node.name for node in nodes]
    layers: list[dict[LayerFolding, Part]] = [{} for _ in nodes]
    joints: list[dict[tuple[int, int], Part]] = [{} for _ in range(len(nodes) + 1)]
    chain = is_chain(graph)
    for folding in _covering_foldings(graph):
        instances = plan_rtl(graph, folding, with_contents=False).instances
        parts = _split(instances, names) if chain else _alone(graph, instances, nodes)
        pes = [0, *(folding[name].pe for name in names)]
        simds = [*(folding[name].simd for name in names), 0]
        for index, (unit, between) in enumerate(parts):
            joints[index].setdefault((pes[index], simds[index]), _cost(between, model))
            if index < len(nodes):
                node = nodes[index]
                pe, simd = folding[node.name].pe, folding[node.name].simd
                cycles = folding.cycles(node, vectors_per_frame(graph, node))
                for style in _styles(node, pe, simd):
                    own = _cost([_styled(i, style) for i in unit], model)
                    part = Part(max(cycles, own.cycles), own.lut, own.bram36)
                    layers[index].setdefault(LayerFolding(pe, simd, style), part)
    return Tables(names=tuple(names), layers=tuple(layers), joints=tuple(joints))


def _covering_foldings(graph: DataflowGraph) -> Iterator[Folding]:
    """Foldings among which each layer has all of its own, and each pair of layers all its PEs and SIMDs."""
    nodes = list(graph.mvaus)
    pes = [pe_values(node) for node in nodes]
    simds = [simd_values(graph, node) for node in nodes]
    for a, b in product(range(max(map(len, pes))), range(max(map(len, simds)))):
        yield Folding(
            {
                node.name: LayerFolding(pe_list[a % len(pe_list)], simd_list[b % len(simd_list)])
                for node, pe_list, simd_list in zip(nodes, pes, simds, strict=True)
            }
        )


def _split(instances: Sequence[Instance], names: Sequence[str]) -> list[_Parts]:
    """Split a chain: for each layer its unit and what stands before it, and at the end what follows the last.

    A FIFO before a border is as deep as the layer before it is slow, so it belongs to that layer.
    """
    parts: list[_Parts] = []
    between: list[Instance] = []
    for instance in instances:
        if len(parts) < len(names) and _is_unit(instance, names[len(parts)]):
            parts.append(([instance], between))
            between = []
        elif parts and instance.module == "bnn_fifo" and instance.node not in names:
            parts[-1][0].append(instance)
        else:
            between.append(instance)
    return [*parts, ([], between)]


def _alone(graph: DataflowGraph, instances: Sequence[Instance], nodes: Sequence[Mvau]) -> list[_Parts]:
    """For each layer of a network with branches its unit, its FIFO and its window generator; no joints."""
    generators = {node.name for node in graph.nodes if isinstance(node, Swg)}
    parts: list[_Parts] = []
    for node in nodes:
        own = [i for i in instances if i.node == node.name and i.module != "bnn_dwc"]
        if node.input in generators:
            own += [i for i in instances if i.node == node.input and i.module == "bnn_swg"]
        parts.append((own, []))
    return [*parts, ([], [])]


def _styled(instance: Instance, style: str) -> Instance:
    """Put a unit's weights elsewhere, as a plan with that style would; all else stays as it is."""
    if not instance.module.startswith("bnn_mvau") or style == "auto":
        return instance
    return replace(instance, parameters={**instance.parameters, "RAM_STYLE": style})


def _is_unit(instance: Instance, name: str) -> bool:
    return instance.node == name and instance.module.startswith("bnn_mvau")


def _cost(instances: Sequence[Instance], model: ResourceModel) -> Part:
    beats = [stream.beats for i in instances for stream in (*i.sources, *i.sinks)]
    return Part(max(beats, default=0), model.luts(instances), model.bram36(instances))
