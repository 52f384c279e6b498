"""The layers of `attacks.surrogate`: exact in float32, with gradients that are useful to an attack.

Each layer has its backward pass written out. It is about half the time of what torch's own engine needs,
and a layer can choose a gradient that is not the derivative, which for a threshold is 0 almost everywhere.
Feature maps are ``(N, C, H, W)`` with the channels innermost in memory.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from export.draws import MEAN_EXPONENT
from export.graph import Mvau, Swg

_ONE = torch.ones(())


class Layer(nn.Module):
    """One step of the network, with its backward pass."""

    def run(self, *values: Tensor) -> tuple[Tensor, Any]:
        """Return the output, and what `back` needs."""
        raise NotImplementedError

    def back(self, gradient: Tensor, memory: Any) -> tuple[Tensor, ...]:
        """Return the gradient of each input, given the output's."""
        raise NotImplementedError

    def forward(self, *values: Tensor) -> Tensor:
        """Return the output, differentiable by torch's engine."""
        output: Any = _Step.apply(self, *values)
        return output


class _Step(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, layer: Layer, *values: Tensor) -> Tensor:
        output, ctx.memory = layer.run(*values)
        ctx.layer = layer
        return output

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        return None, *ctx.layer.back(gradients[0], ctx.memory)


class Plain(Layer):
    """A function that torch can differentiate.

    Args:
        function: Of the inputs.
        slope: Factor of the gradient at each channel of the output; None for 1.
    """

    def __init__(self, function: Callable[..., Tensor], slope: Tensor | None = None) -> None:
        super().__init__()
        self._function, self._factor = function, slope

    def run(self, *values: Tensor) -> tuple[Tensor, Any]:
        """Apply the function, and keep its graph."""
        with torch.enable_grad():
            leaves = [value.detach().requires_grad_() for value in values]
            output = self._function(*leaves)
        return output.detach(), (leaves, output)

    def back(self, gradient: Tensor, memory: Any) -> tuple[Tensor, ...]:
        """Differentiate by torch."""
        leaves, output = memory
        if self._factor is not None:
            gradient = gradient * by_channel(self._factor, gradient)
        return torch.autograd.grad(output, leaves, gradient, retain_graph=True)


class Flat(Layer):
    """Feature maps as vectors in the order row, column, channel."""

    def run(self, *values: Tensor) -> tuple[Tensor, Any]:
        """Flatten."""
        (images,) = values
        return rows_of(images).reshape(len(images), -1), images.shape

    def back(self, gradient: Tensor, memory: Any) -> tuple[Tensor, ...]:
        """Restore the shape."""
        return (maps_of(gradient, memory),)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Gate:
    """A threshold's ramp.

    Attributes:
        centre: Accumulators in its middle, float32 ``(channels,)`` or ``(1,)``.
        half_width: Half its width, the same shape, positive.
        slope: What the output gains for each unit of the accumulator, the same shape.
    """

    centre: Tensor
    half_width: Tensor
    slope: Tensor


class Thresholds(Layer):
    """±1, or a count of thresholds reached; the gradient passes inside the gate (a hard tanh).

    Args:
        steps: Ascending thresholds, float32 ``(channels or 1, levels)``.
        gate: The ramp for the gradient.
        output: Stride and offset of the count in the output.
        subtracted: Whether the values come less the threshold, plus one half; for ±1 only.
        sloped: Whether `back` multiplies by the slope; else the layer before does.
        open_gate: Whether the gradient passes everywhere.
    """

    _steps: Tensor
    _inverse: Tensor
    _centre: Tensor
    _slope: Tensor

    def __init__(
        self,
        steps: Tensor,
        gate: Gate,
        *,
        output: tuple[int, int],
        subtracted: bool = False,
        sloped: bool = True,
        open_gate: bool = False,
    ) -> None:
        super().__init__()
        self.register_buffer("_steps", steps)
        self.register_buffer("_inverse", 1 / gate.half_width)
        self.register_buffer("_centre", gate.centre)
        self.register_buffer("_slope", gate.slope)
        self._subtracted, self._sloped, self._open = subtracted, sloped, open_gate
        widths = gate.half_width.unique()
        # One width for all channels saves a pass over the accumulators.
        self._bound = float(widths) if subtracted and len(widths) == 1 else None
        self._stride, self._offset = output
        # The pixels' usual threshold: one for all, ±1.
        plain = open_gate and output == (2, -1) and steps.numel() == 1 and bool(steps > 0)
        self._first = float(steps) if plain else None
        self.emission = _Emission(self)

    def run(self, *values: Tensor) -> tuple[Tensor, Any]:
        """Threshold ``(N, channels, ...)``; what is kept says who is inside the gate."""
        (accumulators,) = values
        if self._subtracted:
            # Never 0: whole numbers less a half.
            output = torch.copysign(_ONE, accumulators)
        elif self._first is not None:
            # Equal values differ by +0; with a threshold above 0 no difference is -0.
            output = torch.copysign(_ONE, accumulators - self._first)
        else:
            count = torch.zeros_like(accumulators)
            for level in self._steps.T:
                count += accumulators >= by_channel(level, accumulators)
            output = count.mul_(self._stride).add_(self._offset)
        return output, None if self._open else self._distance(accumulators)

    def back(self, gradient: Tensor, memory: Any) -> tuple[Tensor, ...]:
        """Pass the gradient through the gate."""
        if not self._open:
            bound = 1.0 if self._bound is None else self._bound
            gradient = torch.ops.aten.hardtanh_backward(gradient, memory, -bound, bound)
        return (gradient * by_channel(self._slope, gradient) if self._sloped else gradient,)

    def forward(self, *values: Tensor) -> Tensor:
        """Threshold where a hook may look on, or put another gradient into the place of this one."""
        rows = self.emission(rows_of(values[0]))
        return rows if rows.ndim == 2 else rows.permute(0, 3, 1, 2)

    def nearest_alike(self, values: Tensor, wanted: Tensor) -> Tensor:
        """Return the whole numbers nearest to ``wanted`` that reach the same thresholds as ``values``."""
        low, high = torch.full_like(values, -torch.inf), torch.full_like(values, torch.inf)
        for level in self._steps.T.flip(0):
            threshold = by_channel(level, values)
            # From the highest threshold down: the first one that is reached bounds from below.
            reached = values >= threshold
            low = torch.where(reached, torch.maximum(low, threshold), low)
            high = torch.where(reached, high, threshold - 1)
        return torch.minimum(torch.maximum(wanted, low), high)

    @property
    def line(self) -> tuple[Tensor, Tensor, Tensor]:
        """Offset and factor of the distance from the gate's centre, and the slope that `back` applies."""
        centre = torch.zeros_like(self._centre) if self._subtracted else self._centre
        return centre, self._inverse, self._slope if self._sloped else torch.ones_like(self._slope)

    def _distance(self, accumulators: Tensor) -> Tensor:
        """Return the distance from the gate's centre, the bound at its ends."""
        inverse = by_channel(self._inverse, accumulators)
        if self._subtracted:
            return accumulators if self._bound is not None else accumulators * inverse
        return (accumulators - by_channel(self._centre, accumulators)) * inverse


class _Emission(nn.Module):
    """A threshold as `attacks.torch_target` and `attacks.estimators` know it, on ``(N, ..., channels)``."""

    emits_activation = True

    def __init__(self, thresholds: Thresholds) -> None:
        super().__init__()
        # A list, because a module would hold its owner as a part.
        self._owner = [thresholds]

    def forward(self, rows: Tensor) -> Tensor:
        """Threshold."""
        values = rows if rows.ndim == 2 else rows.permute(0, 3, 1, 2)
        output: Any = _Step.apply(self._owner[0], values)
        return rows_of(output)

    def margin(self, rows: Tensor) -> Tensor:
        """Return the distance from the gate's centre in half-widths."""
        margins: Any = _Margin.apply(rows, *self._owner[0].line)
        return margins


class _Margin(torch.autograd.Function):
    """A line with a slope of its own."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor, centre: Tensor, inverse: Tensor, slope: Tensor) -> Tensor:
        ctx.save_for_backward(slope)
        return (rows - centre) * inverse

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None, None]:
        return gradients[0] * ctx.saved_tensors[0], None, None, None


class Dense(Layer):
    """A matrix product on the channels.

    Args:
        weights: Whole numbers, float32 ``(outputs, inputs)``.
        offset: Is added, ``(outputs,)``.
        slope: Factor of the gradient at each output.
        whole: Whether the inputs are all values of a feature map, in the order row, column, channel.
    """

    _weights: Tensor
    _offset: Tensor
    _transposed: Tensor

    def __init__(self, weights: Tensor, offset: Tensor, slope: Tensor, *, whole: bool) -> None:
        super().__init__()
        self.register_buffer("_weights", weights)
        self.register_buffer("_offset", offset)
        self.register_buffer("_transposed", weights * slope[:, None])
        self._whole = whole

    def run(self, *values: Tensor) -> tuple[Tensor, Any]:
        """Multiply."""
        (inputs,) = values
        shape = inputs.shape
        if inputs.ndim == 2:
            return torch.addmm(self._offset, inputs, self._weights.T), shape
        rows = rows_of(inputs).reshape(-1, self._weights.shape[1])
        sums = torch.addmm(self._offset, rows, self._weights.T)
        height, width = (1, 1) if self._whole else shape[2:]
        return sums.reshape(len(inputs), height, width, -1).permute(0, 3, 1, 2), shape

    def back(self, gradient: Tensor, memory: Any) -> tuple[Tensor, ...]:
        """Multiply by the transposed weights."""
        if gradient.ndim == 2:
            return (gradient @ self._transposed,)
        rows = rows_of(gradient).reshape(-1, len(self._transposed))
        return (maps_of(rows @ self._transposed, memory),)


class Convolution(Layer):
    """A convolution whose sums are whole numbers.

    Args:
        weights: float32 ``(outputs, inputs of a group, height, width)``.
        offset: Is added, ``(outputs,)``.
        slope: Factor of the gradient at each output.
        stride: Down and across.
        padding: Zeros above and below, left and right.
        groups: Of channels.
    """

    _weights: Tensor
    _offset: Tensor
    _backward: Tensor

    def __init__(
        self,
        weights: Tensor,
        offset: Tensor,
        slope: Tensor,
        *,
        stride: tuple[int, int],
        padding: tuple[int, int],
        groups: int,
    ) -> None:
        super().__init__()
        self.register_buffer("_weights", laid_out(weights))
        self.register_buffer("_offset", offset)
        scaled = weights * slope[:, None, None, None]
        self.register_buffer("_backward", laid_out(scaled))
        self._stride, self._padding, self._groups = stride, padding, groups

    def run(self, *values: Tensor) -> tuple[Tensor, Any]:
        """Convolve."""
        images = laid_out(values[0])
        sums = functional.conv2d(
            images, self._weights, self._offset, self._stride, self._padding, groups=self._groups
        )
        return laid_out(sums), images

    def back(self, gradient: Tensor, memory: Any) -> tuple[Tensor, ...]:
        """Convolve back."""
        images = cast("Tensor", memory)
        found = torch.ops.aten.convolution_backward(
            laid_out(gradient),
            images,
            self._backward,
            None,
            self._stride,
            self._padding,
            [1, 1],
            False,
            [0, 0],
            self._groups,
            [True, False, False],
        )
        return (found[0],)


class ImageConvolution(Convolution):
    """A convolution of few channels without groups; its way back is one matrix product, then shifted sums.

    torch's own takes about seven times as long for one channel.
    """

    _columns: Tensor

    def __init__(
        self,
        weights: Tensor,
        offset: Tensor,
        slope: Tensor,
        *,
        stride: tuple[int, int],
        padding: tuple[int, int],
        groups: int,
    ) -> None:
        super().__init__(weights, offset, slope, stride=stride, padding=padding, groups=groups)
        outputs, channels, height, width = weights.shape
        down, across = stride
        self._blocks = -(-height // down), -(-width // across)
        rows, columns = self._blocks
        scaled = weights * slope[:, None, None, None]
        whole = functional.pad(scaled, (0, columns * across - width, 0, rows * down - height))
        # In the order block row, block column, then row, column and channel inside the block.
        parts = whole.reshape(outputs, channels, rows, down, columns, across).permute(2, 4, 3, 5, 1, 0)
        self.register_buffer("_columns", parts.reshape(-1, outputs).contiguous())

    def back(self, gradient: Tensor, memory: Any) -> tuple[Tensor, ...]:
        """Multiply each position by the kernels, and add what falls on the same pixel."""
        count, channels, height, width = memory.shape
        high, wide = gradient.shape[2:]
        (rows, columns), (down, across) = self._blocks, self._stride
        products = self._columns @ rows_of(gradient).reshape(count * high * wide, -1).T
        parts = products.view(rows, columns, -1, count, high, wide)
        sums = gradient.new_zeros(parts.shape[2], count, high + rows - 1, wide + columns - 1)
        for row in range(rows):
            for column in range(columns):
                sums[:, :, row : row + high, column : column + wide] += parts[row, column]
        pixels = sums.view(down, across, channels, count, *sums.shape[2:]).permute(3, 2, 4, 0, 5, 1)
        image = pixels.reshape(count, channels, sums.shape[2] * down, sums.shape[3] * across)
        top, left = self._padding
        # A negative margin cuts; pixels that no window reaches get 0.
        bottom, right = height + top - image.shape[2], width + left - image.shape[3]
        return (functional.pad(image, (-left, right, -top, bottom)),)


class Drawn(Plain):
    """A product whose ±1 weights are drawn; see `attacks.drawing` for the four attributes.

    Args:
        node: Holds the weights' means.
        windows: What gathers its inputs from a feature map; None where the stream holds them already.
    """

    draws_weights = True
    _chance: Tensor

    def __init__(self, node: Mvau, windows: Swg | None) -> None:
        super().__init__(self._product)
        self._node, self._windows = node, windows
        self.seed, self.first_frame, self.one_draw = 0, 0, False
        means = torch.from_numpy(node.weights).float()
        self.register_buffer("_chance", (means + (1 << MEAN_EXPONENT)) / (2 << MEAN_EXPONENT))

    def _product(self, values: Tensor) -> Tensor:
        node, windows = self._node, self._windows
        if self.one_draw:
            drawn = torch.where(torch.rand_like(self._chance) < self._chance, 1.0, -1.0)
            if windows is not None:
                kernels = kernels_of(drawn, windows)
                return functional.conv2d(values, kernels, stride=windows.stride, groups=windows.groups)
            return product_by_group(values, drawn, node.groups)
        rows = rows_of(values) if windows is None else gather(values, windows, node.groups)
        frames = (
            torch.from_numpy(node.weights_of(self.first_frame + index, self.seed)).float()
            for index in range(len(rows))
        )
        sums = [_by_group(frame, weights, node.groups) for frame, weights in zip(rows, frames, strict=True)]
        joined = torch.stack(sums) if sums else rows.new_zeros(*rows.shape[:-1], node.mh)
        return joined if joined.ndim == 2 else joined.permute(0, 3, 1, 2)


def laid_out(maps: Tensor) -> Tensor:
    """Return ``(N, C, H, W)`` with the channels innermost in memory.

    One channel gets the strides of the usual order: torch 2.13 convolves wrongly (a last row of zeros) where
    that one channel's stride says that it is innermost, which for one channel is the same memory.
    """
    if maps.shape[1] == 1:
        return maps.squeeze(1).contiguous().unsqueeze(1)
    return maps.contiguous(memory_format=torch.channels_last)


def rows_of(values: Tensor) -> Tensor:
    """Return ``(N, C, ...)`` as ``(N, ..., C)``."""
    return values if values.ndim == 2 else values.permute(0, 2, 3, 1)


def maps_of(rows: Tensor, shape: Sequence[int]) -> Tensor:
    """Return values in the order row, column, channel in the shape ``(N, C)`` or ``(N, C, H, W)``."""
    if len(shape) == 2:
        return rows
    count, channels, height, width = shape
    return rows.reshape(count, height, width, channels).permute(0, 3, 1, 2)


def kernels_of(weights: Tensor, windows: Swg) -> Tensor:
    """Return a matrix ``(MH, MW)`` over windows as kernels ``(MH, channels of a group, height, width)``."""
    return weights.reshape(len(weights), *windows.kernel, -1).permute(0, 3, 1, 2)


def gather(values: Tensor, windows: Swg, groups: int) -> Tensor:
    """Return the windows ``(N, rows, columns, MW * groups)`` of feature maps."""
    down = values.unfold(2, windows.kernel[0], windows.stride[0])
    across = down.unfold(3, windows.kernel[1], windows.stride[1])
    parts = across.unflatten(1, (groups, -1))
    return parts.permute(0, 3, 4, 1, 5, 6, 2).flatten(3)


def product_by_group(values: Tensor, weights: Tensor, groups: int) -> Tensor:
    """Multiply the channels of ``(N, C, ...)``, each group by its neurons' weights."""
    sums = _by_group(rows_of(values), weights, groups)
    return sums if values.ndim == 2 else sums.permute(0, 3, 1, 2)


def _by_group(rows: Tensor, weights: Tensor, groups: int) -> Tensor:
    """Multiply each group of inputs by its neurons' weights."""
    parts = zip(rows.chunk(groups, dim=-1), weights.chunk(groups), strict=True)
    return torch.cat([part @ group.T for part, group in parts], dim=-1)


def by_channel(numbers: Tensor, values: Tensor) -> Tensor:
    """Shape a number a channel so that it meets ``(N, channels, ...)``."""
    return numbers.reshape(-1, *(1,) * (values.ndim - 2))
