"""The golden model: NumPy integers, short and slow. Every other target is tested against it."""

from __future__ import annotations

import math

import numpy as np

from export.graph import (
    INPUT_TENSOR,
    DataflowGraph,
    Flatten,
    FmPadding,
    IntArray,
    Mvau,
    Node,
    Pool,
    Swg,
    Thresholding,
)
from hw.target import ImageArray, Inference, TargetKind, check_images


class ReferenceTarget:
    """Computes a graph node by node in int64."""

    name = "reference"
    kind = TargetKind.SIMULATION

    def __init__(self, graph: DataflowGraph) -> None:
        self.graph = graph

    def infer(self, images: ImageArray) -> Inference:
        """Compute the integer logits of uint8 images ``(N, H, W, C)``."""
        return Inference(logits=self.trace(images)[self.graph.nodes[-1].name])

    def trace(self, images: ImageArray) -> dict[str, IntArray]:
        """Return every node's output, int64 ``(N, ...)``, by name."""
        streams = {INPUT_TENSOR: check_images(images, self.graph).astype(np.int64)}
        for node in self.graph.nodes:
            streams[node.name] = compute_node(node, streams[node.input])
        del streams[INPUT_TENSOR]
        return streams


def compute_node(node: Node, values: IntArray) -> IntArray:
    """Compute one node on int64 ``(N, ...)``."""
    match node:
        case Thresholding():
            return node.thresholds.apply(values)
        case Flatten():
            return values.reshape(len(values), math.prod(values.shape[1:]))
        case FmPadding():
            top, left, bottom, right = node.pads
            margins = ((0, 0), (top, bottom), (left, right), (0, 0))
            return np.pad(values, margins, constant_values=node.value)
        case Swg():
            patches = windows(values, node.kernel, node.stride)
            return patches.reshape(*patches.shape[:3], math.prod(patches.shape[3:]))
        case Pool():
            return windows(values, node.kernel, node.stride).max(axis=(3, 4))
        case Mvau():
            # Integers below 2**53 (the graph refuses more) add up exactly in float64, in any order; NumPy's
            # own integer product is a hundred times slower.
            product = values.astype(np.float64) @ node.weights.T.astype(np.float64)
            accumulator = product.astype(np.int64)
            if node.thresholds is not None:
                return node.thresholds.apply(accumulator)
            scale = 1 if node.scale is None else node.scale
            bias = 0 if node.bias is None else node.bias
            return accumulator * scale + bias


def windows(values: IntArray, kernel: tuple[int, int], stride: tuple[int, int]) -> IntArray:
    """Return the windows of int64 ``(N, H, W, C)`` as ``(N, rows, columns, *kernel, C)``."""
    views = np.lib.stride_tricks.sliding_window_view(values, kernel, axis=(1, 2))
    return views[:, :: stride[0], :: stride[1]].transpose(0, 1, 2, 4, 5, 3)
