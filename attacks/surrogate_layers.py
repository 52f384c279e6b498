"""The layers of `attacks.surrogate`: exact in float32, with gradients that are useful to an attack."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from export.datatypes import DataType
from export.draws import MEAN_EXPONENT
from export.graph import FmPadding, IntArray, Mvau, Pool, Swg, Thresholds


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


class Activation(nn.Module):
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
        """Threshold float32 ``(N, ..., channels)``."""
        count: Any = _Count.apply(values, self._steps, self._width)
        return count * self._stride + self._offset


class Dense(nn.Module):
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
        self._activation: Activation | None = None
        if node.thresholds is not None:
            width = max(1.0, gate * accumulator_deviation(node))
            self._activation = Activation(node.thresholds, *node.accumulator_range, width)

    def forward(self, values: Tensor) -> Tensor:
        """Multiply float32 ``(N, ..., groups * MW)``."""
        accumulator = self._frames(values) if self.draws_weights else self._product(values, self._weights)
        if self._activation is not None:
            return self._activation(accumulator)
        return accumulator * self._scale + self._bias

    def _product(self, values: Tensor, weights: Tensor) -> Tensor:
        """Multiply each group of inputs by its neurons' weights."""
        parts = zip(values.chunk(self._node.groups, dim=-1), weights.chunk(self._node.groups), strict=True)
        return torch.cat([part @ rows.T for part, rows in parts], dim=-1)

    def _frames(self, values: Tensor) -> Tensor:
        if self.one_draw:
            chance = (self._weights + (1 << MEAN_EXPONENT)) / (2 << MEAN_EXPONENT)
            return self._product(values, torch.where(torch.rand_like(chance) < chance, 1.0, -1.0))
        drawn = (
            torch.from_numpy(self._node.weights_of(self.first_frame + index, self.seed).astype(np.float32))
            for index in range(len(values))
        )
        sums = [self._product(frame, weights) for frame, weights in zip(values, drawn, strict=True)]
        return torch.stack(sums) if sums else values.new_zeros(*values.shape[:-1], len(self._weights))


class Padding(nn.Module):
    """Pixels of one value around ``(N, height, width, channels)``."""

    def __init__(self, node: FmPadding) -> None:
        super().__init__()
        top, left, bottom, right = node.pads
        self._margins = (0, 0, left, right, top, bottom)
        self._value = float(node.value)

    def forward(self, values: Tensor) -> Tensor:
        """Pad float32 ``(N, height, width, channels)``."""
        return nn.functional.pad(values, self._margins, value=self._value)


class Windows(nn.Module):
    """The windows of ``(N, height, width, channels)`` as ``(N, rows, columns, *kernel, channels)``."""

    def __init__(self, node: Swg | Pool) -> None:
        super().__init__()
        self._kernel, self._stride = node.kernel, node.stride

    def forward(self, values: Tensor) -> Tensor:
        """Gather the windows."""
        down = values.unfold(1, self._kernel[0], self._stride[0])
        across = down.unfold(2, self._kernel[1], self._stride[1])
        return across.permute(0, 1, 2, 4, 5, 3)


class ByGroup(nn.Module):
    """Windows as vectors in the order group, kernel row, kernel column, channel of the group."""

    def __init__(self, groups: int) -> None:
        super().__init__()
        self._groups = groups

    def forward(self, values: Tensor) -> Tensor:
        """Order and flatten the last three axes."""
        return values.unflatten(5, (self._groups, -1)).permute(0, 1, 2, 5, 3, 4, 6).flatten(3)


class WindowSum(nn.Module):
    """The sum of each window."""

    def forward(self, values: Tensor) -> Tensor:
        """Sum over both axes of the window."""
        return values.sum(dim=(3, 4))


class Sum(nn.Module):
    """The sum of two streams."""

    def forward(self, left: Tensor, right: Tensor) -> Tensor:
        """Add element by element."""
        return left + right


class WindowMaximum(nn.Module):
    """The greatest value of each window; those that tie for it share the gradient."""

    def forward(self, values: Tensor) -> Tensor:
        """Take the maximum over both axes of the window."""
        return values.amax(dim=(3, 4))


def magnitudes(node: Mvau) -> IntArray:
    """Return the weights' magnitudes, int64 ``(MH, MW)``: 1 where they are drawn, whatever their means."""
    return (
        np.abs(node.weights.astype(np.int64)) if node.draw is None else np.ones(node.weights.shape, np.int64)
    )


def accumulator_deviation(node: Mvau) -> float:
    """Return the mean standard deviation of the accumulators for independent uniform inputs."""
    power = (magnitudes(node).astype(np.float64) ** 2).sum(axis=1)
    return float(np.sqrt(power * variance(node.in_type)).mean())


def variance(data_type: DataType) -> float:
    """Return the variance of uniform integers of a type."""
    if data_type.is_bipolar:
        return 1.0
    return ((data_type.maximum - data_type.minimum + 1) ** 2 - 1) / 12
