"""A residual network of ImageNet size for the emulator's benchmark, with random weights.

Its layout is ResNet-18's: a 7x7 convolution of the 8-bit image with int8 weights, eight blocks of two ±1
convolutions around which the integer sums go, and an int8 classifier behind a summed window.
"""

from __future__ import annotations

from collections.abc import Callable

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

INT8 = DataType("INT8")


class _Network:
    """Appends nodes; `stream` is the name of the one that the next node reads."""

    def __init__(self, input_shape: tuple[int, int, int]) -> None:
        self._input_shape = input_shape
        self._shapes: dict[str, tuple[int, ...]] = {INPUT_TENSOR: input_shape}
        self._types = {INPUT_TENSOR: UINT8}
        self._nodes: list[Node] = []
        self._rng = np.random.default_rng(0)
        self.stream = INPUT_TENSOR

    def _append(self, make: Callable[[str, str, DataType], Node]) -> None:
        node = make(f"node_{len(self._nodes)}", self.stream, self._types[self.stream])
        self._shapes[node.name] = node.out_shape(self._shapes[self.stream])
        self._types[node.name] = node.out_type
        self._nodes.append(node)
        self.stream = node.name

    def pad(self, size: int) -> None:
        pads = (size, size, size, size)
        self._append(lambda name, source, kind: FmPadding(name=name, input=source, in_type=kind, pads=pads))

    def convolution(self, neurons: int, size: int, stride: int, weight_type: DataType = BIPOLAR) -> None:
        """Sums of a padded convolution."""
        if size > 1:
            self.pad(size // 2)
        kernel, steps = (size, size), (stride, stride)
        self._append(
            lambda name, source, kind: Swg(name=name, input=source, in_type=kind, kernel=kernel, stride=steps)
        )
        self.product(neurons, weight_type)

    def product(self, neurons: int, weight_type: DataType) -> None:
        shape = (neurons, self._shapes[self.stream][-1])
        weights = self._rng.integers(weight_type.minimum, weight_type.maximum + 1, shape).astype(np.int8)
        if weight_type.is_bipolar:
            weights = np.where(weights < 0, -1, 1).astype(np.int8)
        self._append(
            lambda name, source, kind: Mvau(
                name=name, input=source, in_type=kind, weights=weights, weight_type=weight_type
            )
        )

    def sign(self) -> None:
        steps = self._rng.integers(-9, 10, (self._shapes[self.stream][-1], 1))
        self._append(
            lambda name, source, kind: Thresholding(
                name=name, input=source, in_type=kind, thresholds=Thresholds(steps=steps)
            )
        )

    def add(self, other: str) -> None:
        other_type = self._types[other]
        self._append(
            lambda name, source, kind: Add(
                name=name, input=source, in_type=kind, other=other, other_type=other_type
            )
        )

    def pool(self, size: int, stride: int, *, summed: bool = False) -> None:
        kernel, steps = (size, size), (stride, stride)
        self._append(
            lambda name, source, kind: Pool(
                name=name,
                input=source,
                in_type=kind,
                kernel=kernel,
                stride=steps,
                mode="sum" if summed else "max",
            )
        )

    def block(self, channels: int, stride: int) -> None:
        """Two ±1 convolutions and what goes around them."""
        branch = self.stream
        self.sign()
        signs = self.stream
        self.convolution(channels, 3, stride)
        self.sign()
        self.convolution(channels, 3, 1)
        if stride > 1:
            main, self.stream = self.stream, signs
            self.convolution(channels, 1, stride)
            branch, self.stream = self.stream, main
        self.add(branch)

    def finish(self, classes: int) -> DataflowGraph:
        self.pool(self._shapes[self.stream][0], 1, summed=True)
        self._append(lambda name, source, kind: Flatten(name=name, input=source, in_type=kind))
        self.product(classes, INT8)
        return DataflowGraph(input_shape=self._input_shape, nodes=tuple(self._nodes))


def residual(
    size: int = 224, classes: int = 1000, widths: tuple[int, ...] = (64, 128, 256, 512)
) -> DataflowGraph:
    """Return the network for RGB images of ``size`` pixels a side.

    Args:
        size: A multiple of 32.
        classes: Logits.
        widths: Channels of the four pairs of blocks.
    """
    network = _Network((size, size, 3))
    network.convolution(widths[0], 7, 2, INT8)
    network.pad(1)
    network.pool(3, 2)
    for index, channels in enumerate(widths):
        network.block(channels, 1 if index == 0 else 2)
        network.block(channels, 1)
    return network.finish(classes)
