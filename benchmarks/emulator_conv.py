"""Convolutional networks for the emulator's benchmark, with random weights: speed doesn't depend on them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from math import prod

import numpy as np

from benchmarks.emulator_residual import residual
from export.datatypes import BIPOLAR, UINT8, DataType
from export.graph import (
    INPUT_TENSOR,
    DataflowGraph,
    Flatten,
    FmPadding,
    Mvau,
    Node,
    Pool,
    Swg,
    Thresholds,
)

INT8 = DataType("INT8")
UINT4 = DataType("UINT4")


class _Chain:
    """Appends nodes to a chain; thresholds split each neuron's sums near their middle."""

    def __init__(self, input_shape: tuple[int, int, int]) -> None:
        self._input_shape = input_shape
        self._shape: tuple[int, ...] = input_shape
        self._nodes: list[Node] = []
        self._source, self._stream = INPUT_TENSOR, UINT8
        self._rng = np.random.default_rng(0)

    def _append(self, node: Node) -> None:
        self._nodes.append(node)
        self._source, self._stream = node.name, node.out_type
        self._shape = node.out_shape(self._shape)

    @property
    def _place(self) -> tuple[str, str, DataType]:
        return f"node_{len(self._nodes)}", self._source, self._stream

    def pad(self, size: int) -> None:
        name, source, stream = self._place
        self._append(FmPadding(name=name, input=source, in_type=stream, pads=(size, size, size, size)))

    def windows(self, size: int, stride: int = 1) -> None:
        name, source, stream = self._place
        kernel, steps = (size, size), (stride, stride)
        self._append(Swg(name=name, input=source, in_type=stream, kernel=kernel, stride=steps))

    def pool(self) -> None:
        name, source, stream = self._place
        self._append(Pool(name=name, input=source, in_type=stream, kernel=(2, 2), stride=(2, 2)))

    def flatten(self) -> None:
        name, source, stream = self._place
        self._append(Flatten(name=name, input=source, in_type=stream))

    def product(
        self, neurons: int, weight_type: DataType = BIPOLAR, out_type: DataType | None = BIPOLAR
    ) -> None:
        name, source, stream = self._place
        low, high = weight_type.minimum, weight_type.maximum
        weights = self._rng.integers(low, high + 1, (neurons, self._shape[-1])).astype(np.int8)
        if weight_type.is_bipolar:
            weights = np.where(weights < 0, -1, 1).astype(np.int8)
        thresholds = None
        if out_type is not None:
            middle = (stream.minimum + stream.maximum) * weights.sum(axis=1, dtype=np.int64) // 2
            levels = out_type.maximum if not out_type.is_bipolar else 1
            spread = max(1, self._shape[-1] * high // 64)
            steps = middle[:, None] + spread * (np.arange(levels, dtype=np.int64) - levels // 2)
            thresholds = Thresholds(steps=steps, out_type=out_type)
        self._append(
            Mvau(
                name=name,
                input=source,
                in_type=stream,
                weights=weights,
                weight_type=weight_type,
                thresholds=thresholds,
            )
        )

    def finish(self) -> DataflowGraph:
        return DataflowGraph(input_shape=self._input_shape, nodes=tuple(self._nodes))


def cnv() -> DataflowGraph:
    """FINN's CNV: six unpadded 3x3 convolutions and three dense layers, all ±1, on 32x32 RGB."""
    chain = _Chain((32, 32, 3))
    for channels in (64, 128, 256):
        for _ in range(2):
            chain.windows(3)
            chain.product(channels)
        if channels < 256:
            chain.pool()
    chain.flatten()
    chain.product(512)
    chain.product(512)
    chain.product(10, out_type=None)
    return chain.finish()


def mnist_cnn() -> DataflowGraph:
    """Three convolutions on 28x28, the outer layers with int8 weights, the inner ones ±1."""
    chain = _Chain((28, 28, 1))
    chain.pad(3)
    chain.windows(8, 2)
    chain.product(64, INT8)
    chain.windows(6, 2)
    chain.product(128)
    chain.windows(5)
    chain.product(128, out_type=UINT4)
    chain.flatten()
    chain.product(10, INT8, out_type=None)
    return chain.finish()


def mnist_cnn_stochastic() -> DataflowGraph:
    """The same with the third convolution's weights drawn for each image."""
    graph, rng = mnist_cnn(), np.random.default_rng(0)
    drawn = [
        replace(node, draw=0, weights=rng.integers(-128, 128, node.weights.shape).astype(np.int8))
        if isinstance(node, Mvau) and node.out_type == UINT4
        else node
        for node in graph.nodes
    ]
    return DataflowGraph(input_shape=graph.input_shape, nodes=tuple(drawn))


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """A network to measure.

    Attributes:
        make: Makes the graph.
        images: Images of one run.
        checked_images: How many of them are compared with the golden model.
        has_twin: Whether `benchmarks.conv_twin` can write it.
    """

    make: Callable[[], DataflowGraph]
    images: int
    checked_images: int = 64
    has_twin: bool = True


NETWORKS = {
    "cnv": Network(make=cnv, images=64),
    "mnist-cnn": Network(make=mnist_cnn, images=256),
    "mnist-cnn-stochastic": Network(make=mnist_cnn_stochastic, images=256, has_twin=False),
    "residual": Network(make=residual, images=4, checked_images=1, has_twin=False),
}


def binary_macs(graph: DataflowGraph) -> int:
    """Return the multiply-accumulates of one image that popcounts could do: one a bit of a ±1 layer's input.

    Layers with int8 weights don't count, and ±1 pixels between zeros are one bit.
    """
    total = 0
    for node in graph.mvaus:
        if node.weight_type.is_bipolar:
            bits = 1 if node.in_type.is_ternary else node.in_type.width_bits
            total += node.mw * node.mh * prod(graph.shapes[node.name][:-1]) * bits
    return total
