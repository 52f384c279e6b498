"""The golden model: NumPy integers, short and slow. Every other target is tested against it."""

from __future__ import annotations

import math

import numpy as np

from export.draws import check_seed
from export.graph import (
    INPUT_TENSOR,
    Add,
    DataflowGraph,
    Flatten,
    FmPadding,
    IntArray,
    Mvau,
    Node,
    Pool,
    Swg,
    Thresholding,
    WeightArray,
    inputs_of,
)
from hw.target import ImageArray, Inference, TargetKind, check_images


class ReferenceTarget:
    """Computes a graph node by node in int64."""

    name = "reference"
    kind = TargetKind.SIMULATION

    def __init__(self, graph: DataflowGraph, *, seed: int = 0) -> None:
        check_seed(seed)
        self.graph = graph
        self.seed = seed

    def infer(self, images: ImageArray, first_frame: int = 0) -> Inference:
        """Compute the integer logits of uint8 images ``(N, H, W, C)``, the frames from ``first_frame`` on."""
        return Inference(logits=self.trace(images, first_frame)[self.graph.nodes[-1].name])

    def trace(self, images: ImageArray, first_frame: int = 0) -> dict[str, IntArray]:
        """Return every node's output, int64 ``(N, ...)``, by name."""
        streams = {INPUT_TENSOR: check_images(images, self.graph).astype(np.int64)}
        for node in self.graph.nodes:
            inputs = [streams[name] for name, _ in inputs_of(node)]
            streams[node.name] = compute_node(node, *inputs, seed=self.seed, first_frame=first_frame)
        del streams[INPUT_TENSOR]
        return streams


def compute_node(node: Node, *inputs: IntArray, seed: int = 0, first_frame: int = 0) -> IntArray:
    """Compute one node on int64 ``(N, ...)``, one array for each stream that it reads."""
    values = inputs[0]
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
            parts = (node.groups, patches.shape[5] // node.groups)
            by_group = patches.reshape(*patches.shape[:5], *parts).transpose(0, 1, 2, 5, 3, 4, 6)
            return by_group.reshape(*patches.shape[:3], math.prod(patches.shape[3:]))
        case Pool():
            patches = windows(values, node.kernel, node.stride)
            return patches.max(axis=(3, 4)) if node.mode == "max" else patches.sum(axis=(3, 4))
        case Add():
            return values + inputs[1]
        case Mvau():
            accumulator = _accumulate(node, values, seed, first_frame)
            if node.thresholds is not None:
                return node.thresholds.apply(accumulator)
            scale = 1 if node.scale is None else node.scale
            bias = 0 if node.bias is None else node.bias
            return accumulator * scale + bias


def _accumulate(node: Mvau, values: IntArray, seed: int, first_frame: int) -> IntArray:
    """Return ``weights @ x`` of each vector, int64 ``(N, ..., MH)``."""
    if node.draw is None:
        return _product(values, node.weights, node.groups)
    frames = [
        _product(values[i : i + 1], node.weights_of(first_frame + i, seed), node.groups)
        for i in range(len(values))
    ]
    return np.concatenate(frames) if frames else np.zeros((*values.shape[:-1], node.mh), np.int64)


def _product(values: IntArray, weights: WeightArray, groups: int) -> IntArray:
    # Integers below 2**53 (the graph refuses more) add up exactly in float64, in any order; NumPy's own
    # integer product is a hundred times slower.
    parts = [
        part.astype(np.float64) @ rows.T.astype(np.float64)
        for part, rows in zip(np.split(values, groups, axis=-1), np.split(weights, groups), strict=True)
    ]
    return np.concatenate(parts, axis=-1).astype(np.int64)


def windows(values: IntArray, kernel: tuple[int, int], stride: tuple[int, int]) -> IntArray:
    """Return the windows of int64 ``(N, H, W, C)`` as ``(N, rows, columns, *kernel, C)``."""
    views = np.lib.stride_tricks.sliding_window_view(values, kernel, axis=(1, 2))
    return views[:, :: stride[0], :: stride[1]].transpose(0, 1, 2, 4, 5, 3)
