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

from export.datatypes import DataType
from export.draws import MEAN_EXPONENT
from export.errors import InputError
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
    Thresholds,
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
        self._inputs = [(node.name, node.input) for node in graph.nodes]
        self._layers = nn.ModuleList(_layer(node, gate) for node in graph.nodes)
        self.logit_exponent = _logit_exponent(graph.nodes[-1])

    def forward(self, x: Tensor) -> Tensor:
        """Compute float logits."""
        streams = {INPUT_TENSOR: _snap(x).permute(0, 2, 3, 1)}
        for (name, source), layer in zip(self._inputs, self._layers, strict=True):
            streams[name] = layer(streams[source])
        return streams[self._inputs[-1][0]] * 2.0**-self.logit_exponent


class _Grid(torch.autograd.Function):
    """round(255 x) with the gradient of 255 x."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return (x * 255).round()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        return gradients[0] * 255


class _Count(torch.autograd.Function):
    """Number of thresholds reached, with the gradient of a ramp of ``2 * width`` around each of them."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, steps: Tensor, width: float) -> Tensor:
        ctx.save_for_backward(values, steps)
        ctx.width = width
        count = torch.zeros_like(values)
        for level in steps.T:
            count += values >= level
        return count

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        values, steps = ctx.saved_tensors
        slope = torch.zeros_like(values)
        for level in steps.T:
            slope += (values - level).abs() <= ctx.width
        return gradients[0] * slope / (2 * ctx.width), None, None


def _snap(x: Tensor) -> Tensor:
    snapped = _Grid.apply(x)
    if not isinstance(snapped, Tensor):
        raise TypeError("the images must be a tensor")
    return snapped


class _Activation(nn.Module):
    """Thresholds on ``(N, ..., channels)``."""

    emits_activation = True
    _steps: Tensor

    def __init__(self, thresholds: Thresholds, low: int, high: int, width: float) -> None:
        super().__init__()
        # A threshold past the range fires always or never, wherever past it it stands.
        steps = np.clip(thresholds.steps, low, high + 1)
        self.register_buffer("_steps", torch.from_numpy(steps).float())
        bipolar = thresholds.out_type.is_bipolar
        self._stride, self._offset = (2, -1) if bipolar else (1, thresholds.out_bias)
        self._width = width

    def forward(self, values: Tensor) -> Tensor:
        count: Any = _Count.apply(values, self._steps, self._width)
        return count * self._stride + self._offset


class _Dense(nn.Module):
    """A matrix product on the innermost dimension, then thresholds, or scale and bias.

    Attributes:
        draws_weights: Whether the weights are drawn; see `attacks.drawing`, also for the other three.
        seed: The run's seed.
        first_frame: Frame index of a batch's first image.
        one_draw: Whether all images of a batch get the same weights.
    """

    _weights: Tensor
    _scale: Tensor
    _bias: Tensor

    def __init__(self, node: Mvau, gate: float) -> None:
        super().__init__()
        self._node = node
        self.draws_weights = node.draw is not None
        self.seed, self.first_frame, self.one_draw = 0, 0, False
        self.register_buffer("_weights", torch.from_numpy(node.weights.astype(np.float32)))
        scale = np.ones(1, np.int64) if node.scale is None else node.scale
        bias = np.zeros(1, np.int64) if node.bias is None else node.bias
        self.register_buffer("_scale", torch.from_numpy(scale.astype(np.float32)))
        self.register_buffer("_bias", torch.from_numpy(bias.astype(np.float32)))
        self._activation: _Activation | None = None
        if node.thresholds is not None:
            width = max(1.0, gate * _accumulator_deviation(node))
            self._activation = _Activation(node.thresholds, *node.accumulator_range, width)

    def forward(self, values: Tensor) -> Tensor:
        accumulator = self._frames(values) if self.draws_weights else values @ self._weights.T
        if self._activation is not None:
            return self._activation(accumulator)
        return accumulator * self._scale + self._bias

    def _frames(self, values: Tensor) -> Tensor:
        if self.one_draw:
            chance = (self._weights + (1 << MEAN_EXPONENT)) / (2 << MEAN_EXPONENT)
            return values @ torch.where(torch.rand_like(chance) < chance, 1.0, -1.0).T
        sums = [
            frame
            @ torch.from_numpy(
                self._node.weights_of(self.first_frame + index, self.seed).astype(np.float32)
            ).T
            for index, frame in enumerate(values)
        ]
        return torch.stack(sums) if sums else values.new_zeros(*values.shape[:-1], len(self._weights))


class _Padding(nn.Module):
    """Pixels of one value around ``(N, height, width, channels)``."""

    def __init__(self, node: FmPadding) -> None:
        super().__init__()
        top, left, bottom, right = node.pads
        self._margins = (0, 0, left, right, top, bottom)
        self._value = float(node.value)

    def forward(self, values: Tensor) -> Tensor:
        return nn.functional.pad(values, self._margins, value=self._value)


class _Windows(nn.Module):
    """The windows of ``(N, height, width, channels)`` as ``(N, rows, columns, *kernel, channels)``."""

    def __init__(self, node: Swg | Pool) -> None:
        super().__init__()
        self._kernel, self._stride = node.kernel, node.stride

    def forward(self, values: Tensor) -> Tensor:
        down = values.unfold(1, self._kernel[0], self._stride[0])
        across = down.unfold(2, self._kernel[1], self._stride[1])
        return across.permute(0, 1, 2, 4, 5, 3)


class _Maximum(nn.Module):
    """The greatest value of each window; those that tie for it share the gradient."""

    def forward(self, values: Tensor) -> Tensor:
        return values.amax(dim=(3, 4))


def _layer(node: Node, gate: float) -> nn.Module:
    match node:
        case Flatten():
            return nn.Flatten()
        case FmPadding():
            return _Padding(node)
        case Swg():
            # A product of unfolded windows, because a convolution's algorithm may round.
            return nn.Sequential(_Windows(node), nn.Flatten(3))
        case Pool():
            return nn.Sequential(_Windows(node), _Maximum())
        case Thresholding():
            low, high = node.in_type.minimum, node.in_type.maximum
            _refuse_large(node, max(abs(low), abs(high)))
            return _Activation(node.thresholds, low, high, width=float(high - low))
        case Mvau():
            _refuse_large(node, _largest_magnitude(node))
            return _Dense(node, gate)


def _largest_magnitude(node: Mvau) -> int:
    """Bound every partial sum of the accumulator, in any order, and the scaled result."""
    largest_input = max(abs(node.in_type.minimum), abs(node.in_type.maximum))
    sums = [int(row) * largest_input for row in _magnitudes(node).sum(axis=1)]
    if node.scale is not None:
        sums = [total * max(1, abs(int(factor))) for total, factor in zip(sums, node.scale, strict=True)]
    if node.bias is not None:
        sums = [total + abs(int(offset)) for total, offset in zip(sums, node.bias, strict=True)]
    return max(sums)


def _magnitudes(node: Mvau) -> IntArray:
    """Return the weights' magnitudes, int64 ``(MH, MW)``: 1 where they are drawn, whatever their means."""
    return (
        np.abs(node.weights.astype(np.int64)) if node.draw is None else np.ones(node.weights.shape, np.int64)
    )


def _refuse_large(node: Node, magnitude: int) -> None:
    if magnitude >= _EXACT_LIMIT:
        raise InputError(
            f"{node.name}: values up to {magnitude:,} are not exact in float32, whose limit is 2**24",
            hint="attack the trained module instead",
            node=node.name,
        )


def _accumulator_deviation(node: Mvau) -> float:
    """Return the mean standard deviation of the accumulators for independent uniform inputs."""
    power = (_magnitudes(node).astype(np.float64) ** 2).sum(axis=1)
    return float(np.sqrt(power * _variance(node.in_type)).mean())


def _variance(data_type: DataType) -> float:
    if data_type.is_bipolar:
        return 1.0
    return ((data_type.maximum - data_type.minimum + 1) ** 2 - 1) / 12


def _logit_exponent(node: Node) -> int:
    if not isinstance(node, Mvau) or node.thresholds is not None:
        return 0
    scale = 1.0 if node.scale is None else float(np.abs(node.scale).mean())
    return max(0, round(math.log2(max(1.0, scale * _accumulator_deviation(node)))))
