"""Random small networks, foldings and FIFO depths for the timing model: dense, convolutional, residual."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from export.datatypes import BIPOLAR, UINT8, DataType
from export.graph import (
    INPUT_TENSOR,
    Add,
    DataflowGraph,
    Flatten,
    FmPadding,
    Mvau,
    Node,
    Pool,
    Swg,
    Thresholding,
    Thresholds,
)
from hw.folding import Folding, LayerFolding, divisors
from hw.folding.model import window_generator

KINDS = ("dense", "convolutional", "residual")
_WIDTHS = (1, 2, 3, 4, 5, 6, 8, 9, 12, 16, 24)
_HIDDEN = (BIPOLAR, DataType("INT2"), DataType("UINT2"))


def random_network(rng: np.random.Generator, kind: str) -> tuple[DataflowGraph, Folding, Mapping[str, int]]:
    """Return a small network of a kind, a folding that fits it, and FIFO depths of 2 to 9 for some layers."""
    builder = _Builder(rng, _input_shape(rng, kind))
    if rng.integers(2):
        builder.threshold(BIPOLAR)
    if kind == "dense":
        builder.flatten()
        for _ in range(rng.integers(0, 4)):
            builder.product(int(rng.choice(_WIDTHS)))
    else:
        for _ in range(rng.integers(1, 3)):
            builder.convolution()
            if kind == "residual":
                builder.residual()
            if rng.integers(2):
                builder.pool()
        builder.flatten()
    builder.product(int(rng.integers(1, 7)), last=True)
    graph = DataflowGraph(input_shape=builder.input_shape, nodes=tuple(builder.nodes))
    layers = {
        node.name: LayerFolding(
            int(rng.choice(divisors(node.mh // node.groups))), int(rng.choice(_legal_simd(graph, node)))
        )
        for node in graph.mvaus
    }
    depths = {name: int(rng.integers(2, 10)) for name in layers if rng.integers(2)}
    depths |= {f"{n.name}.{s}": int(rng.integers(2, 40)) for n in graph.nodes for s in _sides(n, rng)}
    return graph, Folding(layers), depths


def _input_shape(rng: np.random.Generator, kind: str) -> tuple[int, int, int]:
    if kind == "dense":
        return int(rng.choice(_WIDTHS)), 1, 1
    return int(rng.integers(2, 7)), int(rng.integers(2, 7)), int(rng.integers(1, 4))


def _legal_simd(graph: DataflowGraph, node: Mvau) -> list[int]:
    windows = window_generator(graph, node)
    if windows is None:
        return list(divisors(node.mw))
    channels = graph.shapes[windows.input][2] // windows.groups
    return [simd for simd in divisors(node.mw) if channels % simd == 0 or simd % channels == 0]


def _sides(node: Node, rng: np.random.Generator) -> tuple[str, ...]:
    return ("input", "other") if isinstance(node, Add) and rng.integers(3) == 0 else ()


class _Builder:
    """Appends random nodes; `stream` is what the next one reads."""

    def __init__(self, rng: np.random.Generator, input_shape: tuple[int, int, int]) -> None:
        self.input_shape = input_shape
        self.nodes: list[Node] = []
        self._rng = rng
        self._stream: tuple[str, DataType, tuple[int, ...]] = (INPUT_TENSOR, UINT8, input_shape)

    def _append(self, node: Node) -> None:
        self.nodes.append(node)
        self._stream = (node.name, node.out_type, node.out_shape(self._stream[2]))

    def _name(self, what: str) -> str:
        return f"{what}_{len(self.nodes)}"

    def threshold(self, out_type: DataType) -> None:
        """Add a Thresholding with the same thresholds for all channels."""
        source, in_type, _ = self._stream
        self._append(
            Thresholding(
                name=self._name("sign"),
                input=source,
                in_type=in_type,
                thresholds=self._thresholds(1, out_type, in_type.minimum, in_type.maximum),
            )
        )

    def flatten(self) -> None:
        """Add a Flatten."""
        source, in_type, _ = self._stream
        self._append(Flatten(name=self._name("flatten"), input=source, in_type=in_type))

    def product(
        self, neurons: int, *, last: bool = False, out_type: DataType | None = None, groups: int = 1
    ) -> None:
        """Add an Mvau."""
        source, in_type, shape = self._stream
        inputs = int(shape[-1]) // groups
        out_type = out_type or _HIDDEN[self._rng.integers(3)]
        weights = self._rng.choice(np.array([-1, 1], np.int8), (neurons, inputs))
        scale = self._rng.integers(-9, 10, neurons) if last and self._rng.integers(2) else None
        self._append(
            Mvau(
                name=self._name("mvau"),
                input=source,
                in_type=in_type,
                weights=weights,
                groups=groups,
                thresholds=None if last else self._thresholds(neurons, out_type, -inputs, inputs),
                scale=scale,
            )
        )

    def windows(self, kernel: tuple[int, int], stride: tuple[int, int], groups: int = 1) -> None:
        """Add an Swg."""
        source, in_type, _ = self._stream
        self._append(Swg(name=self._name("swg"), input=source, in_type=in_type, kernel=kernel, stride=stride))

    def pad(self, pads: tuple[int, int, int, int]) -> None:
        """Add an FmPadding."""
        source, in_type, _ = self._stream
        value = int(self._rng.choice([0, -1])) if in_type.is_bipolar else 0
        self._append(FmPadding(name=self._name("pad"), input=source, in_type=in_type, pads=pads, value=value))

    def convolution(self) -> None:
        """Add a convolution, padded or not."""
        if self._rng.integers(2):
            top, left, bottom, right = (int(n) for n in self._rng.integers(0, 3, 4))
            self.pad((top, left, bottom, right))
        neurons = int(self._rng.integers(1, 5))
        common = math.gcd(neurons, self._stream[2][2])
        groups = int(self._rng.choice(divisors(common)))
        self.windows(self._window(3), self._stride(), groups)
        self.product(neurons, groups=groups)

    def pool(self) -> None:
        """Add a Pool."""
        source, in_type, _ = self._stream
        self._append(
            Pool(
                name=self._name("pool"),
                input=source,
                in_type=in_type,
                kernel=self._window(2),
                stride=self._stride(),
                mode=("max", "sum")[self._rng.integers(2)],
            )
        )

    def residual(self) -> None:
        """Add a branch of one or two layers, and the sum of it and what it reads."""
        start = self._stream
        if self._rng.integers(2):
            self.product(int(self._rng.integers(1, 5)))
        if self._rng.integers(3):
            self.pad((1, 1, 1, 1))
            self.windows((3, 3), (1, 1))
        self.product(start[2][-1], out_type=_HIDDEN[1])
        branch = self._stream
        first, second = (start, branch) if self._rng.integers(2) else (branch, start)
        self._append(
            Add(
                name=self._name("add"),
                input=first[0],
                in_type=first[1],
                other=second[0],
                other_type=second[1],
            )
        )
        if self._rng.integers(2):
            self.threshold(_HIDDEN[self._rng.integers(3)])

    def _window(self, size: int) -> tuple[int, int]:
        height, width, _ = self._stream[2]
        return int(self._rng.integers(1, min(size, height) + 1)), int(
            self._rng.integers(1, min(size, width) + 1)
        )

    def _stride(self) -> tuple[int, int]:
        down, across = (int(n) for n in self._rng.integers(1, 3, 2))
        return down, across

    def _thresholds(self, rows: int, out_type: DataType, low: int, high: int) -> Thresholds:
        levels = 1 if out_type.is_bipolar else out_type.maximum - out_type.minimum
        steps = np.sort(self._rng.integers(low, high + 1, (rows, levels)), axis=1)
        return Thresholds(
            steps=steps, out_type=out_type, out_bias=0 if out_type.is_bipolar else out_type.minimum
        )
