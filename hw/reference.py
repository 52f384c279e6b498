"""The golden model: NumPy integers, short and slow. Every other target is tested against it."""

from __future__ import annotations

import math

import numpy as np

from export.graph import INPUT_TENSOR, DataflowGraph, Flatten, IntArray, Mvau, Node, Thresholding
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
