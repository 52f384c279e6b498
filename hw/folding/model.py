"""Folding: how many processing elements and lanes each layer gets, and so how many cycles a frame costs.

A matrix-vector-activation unit with PE processing elements of SIMD lanes needs SF = MW / SIMD cycles for one
group of PE neurons, and NF = MH / PE groups: SF * NF cycles for each vector, or with a grouped convolution
for the vectors of all its groups. The slowest layer sets the rate
of the whole pipeline. A window generator before it moves one beat of a pixel a cycle, so a convolution also
needs as many cycles as its windows and its feature map have beats.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from export.draws import BLOCK_BYTES
from export.errors import InputError
from export.graph import INPUT_TENSOR, DataflowGraph, FmPadding, Mvau, Node, Pool, Swg, inputs_of

RAM_STYLES = ("auto", "block", "distributed")


@dataclass(frozen=True, slots=True)
class LayerFolding:
    """The parallelism of one layer.

    Attributes:
        pe: Neurons computed at once; a divisor of MH.
        simd: Inputs of a neuron taken at once; a divisor of MW.
        ram_style: Where the weights lie, one of `RAM_STYLES`: ``block`` RAM, ``distributed`` in LUTs, or
            ``auto``, as the synthesis tool likes.
    """

    pe: int
    simd: int
    ram_style: str = "auto"


@dataclass(frozen=True, slots=True)
class Folding:
    """The parallelism of every layer, by the name of its Mvau node.

    Attributes:
        layers: One entry for each Mvau of the graph.
    """

    layers: Mapping[str, LayerFolding]

    def __getitem__(self, name: str) -> LayerFolding:
        return self.layers[name]

    def synapse_fold(self, node: Mvau) -> int:
        """SF = MW / SIMD: input beats of one vector."""
        return node.mw // self.layers[node.name].simd

    def neuron_fold(self, node: Mvau) -> int:
        """NF = MH / PE: output beats of one vector."""
        return node.mh // self.layers[node.name].pe

    def cycles(self, node: Mvau, vectors: int = 1) -> int:
        """Cycles that a layer is busy with one frame: SF * NF, times the vectors that a frame has there.

        Args:
            node: The layer.
            vectors: Vectors in a frame: 1 in a dense layer, output positions in a convolution.
        """
        return self.synapse_fold(node) * self.neuron_fold(node) * vectors

    def layer_cycles(self, graph: DataflowGraph) -> dict[str, int]:
        """Busy cycles of every layer for one frame, by node name."""
        return {node.name: self.cycles(node, vectors_per_frame(graph, node)) for node in graph.mvaus}

    def ii_cycles(self, graph: DataflowGraph) -> int:
        """Cycles from one frame to the next in steady state: the slowest layer's or window generator's."""
        return max(*self.layer_cycles(graph).values(), self._window_cycles(graph))

    def _window_cycles(self, graph: DataflowGraph) -> int:
        """Beats a frame of the widest traffic into or out of a node that looks at neighbourhoods."""
        first = self.layers[next(graph.mvaus).name].simd
        lanes, most = {INPUT_TENSOR: first}, 0
        for node in graph.nodes:
            here = min(lanes[name] for name, _ in inputs_of(node))
            if isinstance(node, Mvau):
                here = self.layers[node.name].pe
            elif isinstance(node, FmPadding | Swg | Pool):
                shape = graph.shapes[node.input]
                channels = shape[2]
                if isinstance(node, Swg):
                    channels //= node.groups
                    here = self.layers[layer_after(graph, node).name].simd
                here = window_lanes(channels, here)
                out = math.prod(node.out_shape(shape)) * (
                    math.prod(node.kernel) if isinstance(node, Pool) else 1
                )
                most = max(most, math.prod(shape) // here, out // here)
            lanes[node.name] = here
        return most

    @property
    def lanes(self) -> int:
        """The sum of PE * SIMD: multiply-accumulates a cycle, and a measure of the hardware."""
        return sum(layer.pe * layer.simd for layer in self.layers.values())

    def validate(self, graph: DataflowGraph) -> None:
        """Check that every Mvau has an entry, and that PE divides MH and SIMD is legal.

        SIMD divides MW; behind a window generator it also divides the channels of a group, or is a
        multiple of them; where weights are drawn it divides 8 or is a multiple of 8.

        Raises:
            InputError: Naming the layer, and the values that it could have.
        """
        names = [node.name for node in graph.mvaus]
        if unknown := sorted(set(self.layers) - set(names)):
            raise InputError(
                f"the folding names {unknown[0]!r}, which is no Mvau of the graph",
                hint=f"layers: {', '.join(names)}",
                node=unknown[0],
            )
        for node in graph.mvaus:
            if node.name not in self.layers:
                raise InputError(f"the folding has no entry for {node.name}", node=node.name)
            layer = self.layers[node.name]
            of_label = "MH" if node.groups == 1 else f"MH / {node.groups} groups ="
            _check_divides(node.name, "PE", layer.pe, of_label, node.mh // node.groups)
            _check_divides(node.name, "SIMD", layer.simd, "MW", node.mw)
            if layer.ram_style not in RAM_STYLES:
                raise InputError(
                    f"{node.name}: the ram_style {layer.ram_style!r} is unknown",
                    hint=f"known: {', '.join(RAM_STYLES)}",
                    node=node.name,
                )
            legal = simd_values(graph, node)
            if layer.simd not in legal and node.draw is not None:
                raise InputError(
                    f"{node.name}: SIMD {layer.simd} does not fit weights that are drawn {BLOCK_BYTES} at a "
                    "time from a row's blocks",
                    hint=f"legal: {', '.join(map(str, legal))}",
                    node=node.name,
                )
            if layer.simd not in legal:
                raise InputError(
                    f"{node.name}: SIMD {layer.simd} neither divides the channels of a pixel nor is a "
                    "multiple of them",
                    hint=f"legal: {', '.join(map(str, legal))}",
                    node=node.name,
                )


def vectors_per_frame(graph: DataflowGraph, node: Mvau) -> int:
    """Vectors that a layer takes for one frame: 1 in a dense layer, output positions in a convolution."""
    return int(np.prod(graph.shapes[node.input][:-1], dtype=np.int64))


def window_lanes(channels: int, simd: int) -> int:
    """Elements a beat of a window generator before a layer of that SIMD; channels are those of one group.

    A beat holds elements of one pixel, so it is SIMD where that divides the channels, and a whole pixel where
    SIMD is a multiple of them; a width converter makes the rest of the way.
    """
    return math.gcd(channels, simd)


def window_generator(graph: DataflowGraph, node: Mvau) -> Swg | None:
    """The window generator that a layer reads, if it is a convolution."""
    before = next((n for n in graph.nodes if n.name == node.input), None)
    return before if isinstance(before, Swg) else None


def layer_after(graph: DataflowGraph, node: Swg) -> Mvau:
    """The layer that reads a window generator's windows; the first of several."""
    reader: Node = node
    while not isinstance(reader, Mvau):
        reader = graph.readers(reader.name)[0]
    return reader


def simd_values(graph: DataflowGraph, node: Mvau) -> list[int]:
    """The legal values of a layer's SIMD, ascending."""
    generator = window_generator(graph, node)
    values = divisors(node.mw)
    if generator is not None:
        channels = graph.shapes[generator.input][2] // generator.groups
        values = [simd for simd in values if channels % simd == 0 or simd % channels == 0]
    if node.draw is not None:
        values = [simd for simd in values if BLOCK_BYTES % simd == 0 or simd % BLOCK_BYTES == 0]
    return values


def divisors(number: int) -> list[int]:
    """Return the divisors of a positive integer, ascending."""
    small = [d for d in range(1, math.isqrt(number) + 1) if number % d == 0]
    return small + [number // d for d in reversed(small) if d * d != number]


def _check_divides(name: str, label: str, value: object, of_label: str, of: int) -> None:
    legal = isinstance(value, int) and not isinstance(value, bool) and value > 0 and of % value == 0
    if not legal:
        raise InputError(
            f"{name}: {label} {value} does not divide {of_label} {of}",
            hint=f"legal: {', '.join(map(str, divisors(of)))}",
            node=name,
        )
