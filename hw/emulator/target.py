"""The emulator target: bit-packed native code on all cores."""

from __future__ import annotations

import os
from collections.abc import Generator, Iterable
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from export.draws import check_seed
from export.errors import InputError
from export.graph import DataflowGraph, IntArray
from hw.emulator.constants import weight_place
from hw.emulator.library import NativeEngine, NativeLibrary, load_library
from hw.emulator.plan import plan_graph
from hw.emulator.steps import Plan
from hw.target import ImageArray, Inference, TargetKind, check_images

# Drawn weights depend on a frame's index modulo this.
FRAME_COUNT = 1 << 32
# Constants are a multiple of this long.
_LINE_BYTES = 64


class EmulatorTarget:
    """Computes a graph in native code, compiled for this machine on first use.

    Args:
        graph: The network.
        threads: Threads that share a batch; None for one a core that this process may use.
        isa: Instruction set: ``avx512`` (with VPOPCNTDQ), ``avx2`` or ``portable``; None for the fastest one
            that this processor has.
        seed: Of drawn weights, below 2**32.
        cache_dir: Where compiled code is kept; None for the user's cache directory.
        library: A library that is loaded already, instead of the cached one.

    Raises:
        ToolError: There is no compiler, or it failed.
        InputError: The cache can't be written, or this processor lacks the instruction set,
            or the seed is out of range.
        ValueError: ``threads`` is less than 1, or ``isa`` is unknown.
    """

    name = "emulator"
    kind = TargetKind.SIMULATION

    def __init__(
        self,
        graph: DataflowGraph,
        *,
        threads: int | None = None,
        isa: str | None = None,
        seed: int = 0,
        cache_dir: Path | None = None,
        library: NativeLibrary | None = None,
    ) -> None:
        if threads is not None and threads < 1:
            raise ValueError(f"threads must be at least 1, not {threads}")
        check_seed(seed)
        self.graph = graph
        self.seed = seed
        self.threads = len(os.sched_getaffinity(0)) if threads is None else threads
        self._library = load_library(cache_dir) if library is None else library
        self.isa = self._library.choose_isa(isa)
        self._plan = plan_graph(graph, [graph.nodes[-1].name])
        self._engine = NativeEngine(self._library, self.isa, self._plan)
        self._tracer: tuple[Plan, NativeEngine] | None = None

    @property
    def block_images(self) -> int:
        """Images that a thread computes at a time."""
        return self._plan.block_images

    @property
    def memory_bytes(self) -> int:
        """Working memory of one thread, for `block_images` images; weights are shared and come on top."""
        return self._plan.arena_bytes + self._plan.scratch_bytes

    def load(self, graph: DataflowGraph) -> None:
        """Compute another network from now on: the bytes of weights and thresholds that differ are replaced.

        That is quick where the networks have the same layers, as a network and its faulty copies have; else
        the engine is made anew. No other thread may use the target meanwhile.
        """
        plan = plan_graph(graph, [graph.nodes[-1].name])
        if _same_program(self._plan, plan):
            for first, last in _differences(self._plan.constants, plan.constants):
                self._engine.patch(first, plan.constants[first:last])
        else:
            self._engine = NativeEngine(self._library, self.isa, plan)
        self.graph, self._plan, self._tracer = graph, plan, None

    def can_flip(self, name: str) -> bool:
        """Whether `flipped` can turn weights of a layer: ±1 weights on vectors of ±1, not drawn."""
        return name in self._plan.packed_weights

    @contextmanager
    def flipped(self, weights: Iterable[tuple[str, int, int]]) -> Generator[None]:
        """Compute with the signs of some weights turned, until the context ends; `trace` ignores it.

        Single bits change in native memory, which takes microseconds. No other thread may use the target
        meanwhile.

        Args:
            weights: Name of the layer, row and column of each; one that is named twice stays as it is.

        Raises:
            ValueError: A layer can't be turned so, see `can_flip`, or has no such weight.
        """
        nodes = {node.name: node for node in self.graph.mvaus}
        places: dict[int, int] = {}
        for name, row, column in weights:
            if not self.can_flip(name):
                raise ValueError(f"weights of {name} are not single bits in native memory")
            node = nodes[name]
            if not (0 <= row < node.mh and 0 <= column < node.mw):
                raise ValueError(f"{name} has no weight {row}, {column}")
            byte, bit = weight_place(node, row, column)
            place = self._plan.packed_weights[name] + byte
            places[place] = places.get(place, self._plan.constants[place]) ^ (1 << bit)
        for place, value in places.items():
            self._engine.patch(place, bytes([value]))
        try:
            yield
        finally:
            for place in places:
                self._engine.patch(place, self._plan.constants[place : place + 1])

    def infer(self, images: ImageArray, first_frame: int = 0) -> Inference:
        """Compute the integer logits of uint8 images ``(N, H, W, C)``, the frames from ``first_frame`` on."""
        outputs = self._run(self._engine, self._plan, images, first_frame)
        return Inference(logits=outputs[self.graph.nodes[-1].name])

    def trace(self, images: ImageArray, first_frame: int = 0) -> dict[str, IntArray]:
        """Return every node's output, int64 ``(N, ...)``, by name.

        They are read from the streams that the native layers hand to each other.
        """
        if self._tracer is None:
            plan = plan_graph(self.graph, [node.name for node in self.graph.nodes])
            self._tracer = plan, NativeEngine(self._library, self.isa, plan)
        plan, engine = self._tracer
        outputs = self._run(engine, plan, images, first_frame)
        return {node.name: outputs[node.name] for node in self.graph.nodes}

    def _run(
        self, engine: NativeEngine, plan: Plan, images: ImageArray, first_frame: int
    ) -> dict[str, IntArray]:
        array = check_images(images, self.graph)
        if first_frame < 0:
            raise InputError(f"the index of a frame is {first_frame}, it must not be negative")
        sizes = plan.image_bytes[1 : 1 + plan.outputs] // 8
        outputs = [np.empty((len(array), size), np.int64) for size in sizes]
        if len(array) > 0:
            engine.run(array, outputs, self.threads, seed=self.seed, first_frame=first_frame % FRAME_COUNT)
        return {
            name: outputs[index].reshape(len(array), *self.graph.shapes[name])
            for name, index in plan.output_index.items()
        }


def _same_program(plan: Plan, other: Plan) -> bool:
    """Whether two plans differ in their constants alone."""
    return (
        len(plan.constants) == len(other.constants)
        and plan.output_index == other.output_index
        and np.array_equal(plan.steps, other.steps)
        and np.array_equal(plan.image_bytes, other.image_bytes)
    )


def _differences(old: bytes, new: bytes) -> list[tuple[int, int]]:
    """Return where bytes differ, as ranges of whole cache lines."""
    differs = np.frombuffer(old, np.uint8) != np.frombuffer(new, np.uint8)
    lines = np.unique(np.flatnonzero(differs) // _LINE_BYTES)
    return [(int(line) * _LINE_BYTES, (int(line) + 1) * _LINE_BYTES) for line in lines]
