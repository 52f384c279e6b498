"""Targets of a network with faults: the definition in NumPy, and the emulator."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from math import prod
from pathlib import Path

import numpy as np

from attacks.faults.apply import apply_faults
from attacks.faults.codes import activation_codes, activation_values, wrap
from attacks.faults.model import ActivationFault, Fault, MemoryFault, check_range
from attacks.faults.segments import Cut, cut_graph
from export.draws import check_seed
from export.errors import InputError
from export.graph import INPUT_TENSOR, DataflowGraph, Flatten, IntArray, Node, inputs_of
from hw.emulator import EmulatorTarget
from hw.reference import compute_node
from hw.target import ImageArray, Inference, TargetKind, check_images

Strike = Callable[[IntArray], IntArray]


def split_faults(faults: Iterable[Fault]) -> tuple[tuple[MemoryFault, ...], tuple[ActivationFault, ...]]:
    """Return the faults of memories and those of streams, each in their order."""
    memory: list[MemoryFault] = []
    streams: list[ActivationFault] = []
    for fault in faults:
        if isinstance(fault, ActivationFault):
            streams.append(fault)
        else:
            memory.append(fault)
    return tuple(memory), tuple(streams)


def strike(values: IntArray, node: Node, faults: Iterable[ActivationFault]) -> IntArray:
    """Return a node's output, int64 ``(N, ...)``, with faults in it, in the type of the faultless node."""
    codes = activation_codes(values, node.out_type).reshape(len(values), -1)
    for fault in faults:
        codes[:, fault.element] = fault.effect.on(codes[:, fault.element], fault.bit)
    return activation_values(codes, node.out_type).reshape(values.shape)


def faults_by_node(
    graph: DataflowGraph, faults: Iterable[ActivationFault]
) -> dict[str, list[ActivationFault]]:
    """Sort faults in streams by their node, in the order of the network.

    Raises:
        InputError: A stream, element or bit does not exist, or is none in hardware.
    """
    faults = list(faults)
    nodes = {node.name: node for node in graph.nodes}
    for fault in faults:
        node = nodes.get(fault.node)
        if node is None or isinstance(node, Flatten):
            raise InputError(
                f"a fault names {fault.node!r}, which writes no stream in hardware",
                hint=f"streams: {', '.join(n.name for n in graph.nodes if not isinstance(n, Flatten))}",
                node=fault.node,
            )
        if node.out_type.is_ternary:
            raise InputError(f"{node.name} writes TERNARY: -1, 0 and +1 leave a code unused", node=node.name)
        check_range("element", fault.element, prod(graph.shapes[node.name]), node=node.name)
        check_range("bit of an element", fault.bit, node.out_type.width_bits, node=node.name)
    return {name: found for name in nodes if (found := [fault for fault in faults if fault.node == name])}


class FaultyReference:
    """The definition: computes a network node by node in int64, with faults in memories and streams.

    Args:
        graph: The network without faults.
        faults: What strikes, in this order.
        seed: Of drawn weights.

    Raises:
        InputError: A fault's place does not exist.
    """

    name = "reference"
    kind = TargetKind.SIMULATION

    def __init__(self, graph: DataflowGraph, faults: Sequence[Fault], *, seed: int = 0) -> None:
        check_seed(seed)
        memory, streams = split_faults(faults)
        self.graph = apply_faults(graph, memory, wide_logits=True)
        self._clean = {node.name: node for node in graph.nodes}
        self._strikes = faults_by_node(graph, streams)
        self.seed = seed

    def infer(self, images: ImageArray, first_frame: int = 0) -> Inference:
        """Compute the integer logits of uint8 images ``(N, H, W, C)``."""
        return Inference(logits=self.trace(images, first_frame)[self.graph.nodes[-1].name])

    def trace(self, images: ImageArray, first_frame: int = 0) -> dict[str, IntArray]:
        """Return every node's output with its faults, int64 ``(N, ...)``, by name."""
        streams = {INPUT_TENSOR: check_images(images, self.graph).astype(np.int64)}
        for node in self.graph.nodes:
            inputs = [streams[name] for name, _ in inputs_of(node)]
            values = compute_node(node, *inputs, seed=self.seed, first_frame=first_frame)
            clean = self._clean[node.name]
            # Only logits can be too large: `apply_faults` refuses what changes another stream's type.
            held = wrap(values, clean.out_type) if node is self.graph.nodes[-1] else values
            streams[node.name] = strike(held, clean, self._strikes.get(node.name, ()))
        del streams[INPUT_TENSOR]
        return streams


class FaultyEmulator:
    """The emulator with faults: the faulty memories' network, cut where a stream has a fault.

    Args:
        graph: The network without faults.
        faults: What strikes, in this order.
        threads: Threads that share a batch; None for one a core.
        seed: Of drawn weights.
        cache_dir: Where compiled code is kept.

    Raises:
        InputError: A fault's place does not exist, or a stream with a fault can't be cut.
        ToolError: There is no compiler.
    """

    name = "emulator"
    kind = TargetKind.SIMULATION

    def __init__(
        self,
        graph: DataflowGraph,
        faults: Sequence[Fault],
        *,
        threads: int | None = None,
        seed: int = 0,
        cache_dir: Path | None = None,
    ) -> None:
        memory, streams = split_faults(faults)
        strikes = faults_by_node(graph, streams)
        rest: DataflowGraph | None = apply_faults(graph, memory, wide_logits=True)
        self.graph = rest
        self._clean = {node.name: node for node in graph.nodes}
        self._logits = graph.nodes[-1]
        self._parts: list[tuple[EmulatorTarget, Cut, list[ActivationFault]]] = []
        for name, struck in strikes.items():
            if rest is None:
                raise ValueError(f"nothing computes {name}")
            cut = cut_graph(rest, name)
            head = EmulatorTarget(cut.head, threads=threads, seed=seed, cache_dir=cache_dir)
            self._parts.append((head, cut, struck))
            rest = cut.tail
        self._rest = (
            None if rest is None else EmulatorTarget(rest, threads=threads, seed=seed, cache_dir=cache_dir)
        )

    def infer(self, images: ImageArray, first_frame: int = 0) -> Inference:
        """Compute the integer logits of uint8 images ``(N, H, W, C)``, the frames from ``first_frame`` on."""
        values = np.zeros((0, 0), np.int64)
        for head, cut, faults in self._parts:
            values = strike(head.infer(images, first_frame).logits, self._clean[cut.node], faults)
            if cut.tail is not None:
                images = cut.images(values)
        if self._rest is None:
            return Inference(logits=values)
        return Inference(logits=wrap(self._rest.infer(images, first_frame).logits, self._logits.out_type))

    def trace(self, images: ImageArray, first_frame: int = 0) -> dict[str, IntArray]:
        """Return the nodes' outputs with their faults, int64 ``(N, ...)``, by name."""
        found: dict[str, IntArray] = {}
        for head, cut, faults in self._parts:
            found |= head.trace(images, first_frame)
            found[cut.node] = strike(found[cut.node], self._clean[cut.node], faults)
            if cut.tail is not None:
                images = cut.images(found[cut.node])
        if self._rest is not None:
            found |= self._rest.trace(images, first_frame)
        found[self._logits.name] = wrap(found[self._logits.name], self._logits.out_type)
        return {node.name: found[node.name] for node in self.graph.nodes if node.name in found}
