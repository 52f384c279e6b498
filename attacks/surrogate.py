"""A differentiable torch module that computes a dataflow graph exactly.

A network that comes as a QONNX file has no trained module to take gradients from; its integer graph does for
the forward pass, and straight-through gradients do for the backward one.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from attacks.surrogate_layers import (
    Activation,
    ByGroup,
    Dense,
    Padding,
    Sum,
    WindowMaximum,
    Windows,
    WindowSum,
    accumulator_deviation,
    magnitudes,
    variance,
)
from export.errors import InputError
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
    inputs_of,
)

# float32 holds every integer up to here, so sums below it are exact in any order.
_EXACT_LIMIT = 1 << 24


class Surrogate(nn.Module):
    """Takes float32 ``(N, C, H, W)`` in [0, 1] and returns logits ``(N, K)``, as a trained model does.

    The integer logits are the float ones times ``2**logit_exponent``, a power that brings them to order 1.
    A layer whose weights are drawn is drawn as `attacks.drawing` says, frame by frame or once for a batch.
    A threshold's gradient is that of a ramp around it: over the whole range at the input, so that every pixel
    has a direction, and over ``gate`` standard deviations of the accumulator in hidden layers.

    Args:
        graph: The network.
        gate: Half-width of the ramp, in standard deviations of the accumulator for random inputs.

    Raises:
        InputError: A node that torch can't compute exactly in float32.
    """

    channels_last = True

    def __init__(self, graph: DataflowGraph, *, gate: float = 1.0) -> None:
        super().__init__()
        if not (math.isfinite(gate) and gate > 0):
            raise ValueError(f"gate must be a positive number, not {gate}")
        self._inputs = [(node.name, [name for name, _ in inputs_of(node)]) for node in graph.nodes]
        self._snap = _Snap()
        self._layers = nn.ModuleList(_layer(node, gate) for node in graph.nodes)
        self.logit_exponent = _logit_exponent(graph.nodes[-1])

    def forward(self, x: Tensor) -> Tensor:
        """Compute float logits."""
        streams = {INPUT_TENSOR: self._snap(x).permute(0, 2, 3, 1)}
        for (name, sources), layer in zip(self._inputs, self._layers, strict=True):
            streams[name] = layer(*(streams[source] for source in sources))
        return streams[self._inputs[-1][0]] * 2.0**-self.logit_exponent


class _Grid(torch.autograd.Function):
    """round(255 x) with the gradient of 255 x."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return (x * 255).round()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        return gradients[0] * 255


class _Snap(nn.Module):
    """The 8-bit grid at the input; `attacks.landscape.unrounded` sets ``rounds``."""

    snaps_to_grid = True

    def __init__(self) -> None:
        super().__init__()
        self.rounds = True

    def forward(self, x: Tensor) -> Tensor:
        if not self.rounds:
            return x * 255
        snapped: Any = _Grid.apply(x)
        return snapped


def _layer(node: Node, gate: float) -> nn.Module:
    match node:
        case Flatten():
            return nn.Flatten()
        case FmPadding():
            return Padding(node)
        case Swg():
            # A product of unfolded windows, because a convolution's algorithm may round.
            return nn.Sequential(Windows(node), ByGroup(node.groups))
        case Pool():
            _refuse_large(node, max(-node.out_type.minimum, node.out_type.maximum))
            return nn.Sequential(Windows(node), WindowMaximum() if node.mode == "max" else WindowSum())
        case Add():
            _refuse_large(node, max(-node.out_type.minimum, node.out_type.maximum))
            return Sum()
        case Thresholding():
            low, high = node.in_type.minimum, node.in_type.maximum
            _refuse_large(node, max(abs(low), abs(high)))
            is_input = node.input == INPUT_TENSOR
            width = float(high - low) if is_input else max(1.0, gate * math.sqrt(variance(node.in_type)))
            return Activation(node.thresholds, low, high, width)
        case Mvau():
            _refuse_large(node, _largest_magnitude(node))
            return Dense(node, gate)


def _largest_magnitude(node: Mvau) -> int:
    """Bound every partial sum of the accumulator, in any order, and the scaled result."""
    largest_input = max(abs(node.in_type.minimum), abs(node.in_type.maximum))
    sums = [int(row) * largest_input for row in magnitudes(node).sum(axis=1)]
    if node.scale is not None:
        sums = [total * max(1, abs(int(factor))) for total, factor in zip(sums, node.scale, strict=True)]
    if node.bias is not None:
        sums = [total + abs(int(offset)) for total, offset in zip(sums, node.bias, strict=True)]
    return max(sums)


def _refuse_large(node: Node, magnitude: int) -> None:
    if magnitude >= _EXACT_LIMIT:
        raise InputError(
            f"{node.name}: values up to {magnitude:,} are not exact in float32, whose limit is 2**24",
            hint="attack the trained module instead",
            node=node.name,
        )


def _logit_exponent(node: Node) -> int:
    if not isinstance(node, Mvau) or node.thresholds is not None:
        return 0
    scale = 1.0 if node.scale is None else float(np.abs(node.scale).mean())
    return max(0, round(math.log2(max(1.0, scale * accumulator_deviation(node)))))
