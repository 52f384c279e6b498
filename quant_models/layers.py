"""Layers whose eval-mode float32 arithmetic is exactly an integer machine's.

Every value that enters a sum is an integer times a power of two, small enough that float32 holds the sum
exactly in any order. The only inexact float operations are BatchNorm's multiplication and addition, each
rounded once as IEEE 754 says, and they meet a sign at once.
"""

from __future__ import annotations

from typing import Any, cast

import torch
from brevitas.core.function_wrapper import InplaceTensorClampSte, TensorClamp
from brevitas.function.ops_ste import round_ste
from brevitas.inject.enum import RestrictValueType, ScalingImplType
from brevitas.nn import QuantConv2d, QuantIdentity, QuantLinear
from brevitas.quant.binary import SignedBinaryActPerTensorConst, SignedBinaryWeightPerTensorConst
from brevitas.quant.fixed_point import Int8WeightPerTensorFixedPoint, Uint8ActPerTensorFixedPoint
from torch import Tensor, nn
from torch.nn import functional

from quant_models.stochastic import StochasticConv2d


class _UnitActQuant(SignedBinaryActPerTensorConst):
    """±1 with scale 1; the gradient passes where the input lies in [-1, 1]."""

    tensor_clamp_impl = TensorClamp
    min_val = -1.0
    max_val = 1.0


class _UnitWeightQuant(SignedBinaryWeightPerTensorConst):
    """±1 with scale 1; latent weights are clipped to [-1, 1] in place, and the gradient always passes."""

    tensor_clamp_impl = InplaceTensorClampSte
    scaling_const = 1.0


WEIGHT_EXPONENT = 7
"""The 8-bit weights are integers from -127 to 127 times ``2**-WEIGHT_EXPONENT``."""

# Latent 8-bit weights start this much larger than torch's own, to use more of their levels.
_INT8_GAIN = 4.0


class _Int8WeightQuant(Int8WeightPerTensorFixedPoint):
    """-127 to 127 on a fixed power-of-two step, which does not depend on the largest weight."""

    scaling_impl_type = ScalingImplType.CONST
    restrict_scaling_type = RestrictValueType.FP
    # Brevitas divides it by 127, which gives the step exactly.
    scaling_const = 127 * 2.0**-WEIGHT_EXPONENT


class _UnsignedActQuant(Uint8ActPerTensorFixedPoint):
    """Unsigned integers on a fixed power-of-two step; `UnsignedActivation` sets bits and step."""

    scaling_impl_type = ScalingImplType.CONST
    restrict_scaling_type = RestrictValueType.FP


class InputGrid(nn.Module):
    """Snaps floats in [0, 1] to the 8-bit grid, centred (``(round(255 x) - 128) / 128``) or not (``/ 256``).

    The result is a multiple of ``2**-exponent`` in [-1, 1), so it is exact. The gradient is that of the line
    without rounding, the same everywhere: a perturbation smaller than one grey level still has a direction.

    Attributes:
        snaps_to_grid: Marks the module for tools that set ``rounds``.
        rounds: Whether it snaps; without, a float image enters as it is, and sums are no longer exact.
        centred: Whether 128 becomes 0.
        exponent: See above.
    """

    snaps_to_grid = True
    exponent = 7

    def __init__(self, *, centred: bool = True) -> None:
        super().__init__()
        self.rounds = True
        self.centred = centred
        if not centred:
            self.exponent = 8

    def forward(self, x: Tensor) -> Tensor:
        """Map float ``(N, C, H, W)`` in [0, 1] to the grid; the same shape."""
        steps = x * 255.0
        on_grid = (round_ste(steps) if self.rounds else steps) * 2.0**-self.exponent
        return on_grid - 1.0 if self.centred else on_grid


class BinaryActivation(QuantIdentity):
    """sign(x) as ±1 in float32, with sign(0) = +1.

    The straight-through gradient is 1 where -1 <= x <= 1 and 0 elsewhere (the derivative of the hard tanh),
    in training and in eval mode alike. At the input every pixel lies in that interval, so an attack's
    gradient reaches all of them.

    Attributes:
        emits_activation: Marks the module for tools that trace activations without knowing this class.
    """

    emits_activation = True

    def __init__(self) -> None:
        super().__init__(act_quant=_UnitActQuant, return_quant_tensor=False)


class BinaryLinear(QuantLinear):
    """Dense layer without bias whose weights are the signs (±1, scale exactly 1) of latent floats."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(inputs, outputs, bias=False, weight_quant=_UnitWeightQuant)


class Int8Linear(QuantLinear):
    """Dense layer without bias and with 8-bit weights on the step ``2**-WEIGHT_EXPONENT``."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(inputs, outputs, bias=False, weight_quant=_Int8WeightQuant)
        _enlarge(self.weight)


class BinaryConv2d(QuantConv2d):
    """Convolution without bias, square kernel, whose weights are the signs (±1, scale exactly 1)."""

    def __init__(self, inputs: int, outputs: int, kernel: int, *, stride: int = 1, padding: int = 0) -> None:
        super().__init__(
            inputs,
            outputs,
            kernel,
            stride=stride,
            padding=padding,
            bias=False,
            weight_quant=_UnitWeightQuant,
        )


class Int8Conv2d(QuantConv2d):
    """Convolution without bias, square kernel, 8-bit weights on the step ``2**-WEIGHT_EXPONENT``."""

    def __init__(self, inputs: int, outputs: int, kernel: int, *, stride: int = 1, padding: int = 0) -> None:
        super().__init__(
            inputs,
            outputs,
            kernel,
            stride=stride,
            padding=padding,
            bias=False,
            weight_quant=_Int8WeightQuant,
        )
        _enlarge(self.weight)


@torch.no_grad()
def _enlarge(weight: Tensor) -> None:
    weight.mul_(_INT8_GAIN).clamp_(-1.0, 1.0)


BINARY_LAYERS = (BinaryLinear, BinaryConv2d)
INT8_LAYERS = (Int8Linear, Int8Conv2d)
WEIGHT_LAYERS = (*BINARY_LAYERS, *INT8_LAYERS, StochasticConv2d)
"""Layers with latent weights, which training keeps in [-1, 1]."""


def quantise_weights(model: nn.Module, enabled: bool) -> None:
    """Let ±1 layers multiply by the signs of their latent weights, or by the latent weights themselves."""
    for layer in model.modules():
        if isinstance(layer, BINARY_LAYERS):
            cast("Any", layer.weight_quant).disable_quant = not enabled


class UnsignedActivation(QuantIdentity):
    """``clamp(round(x / step), 0, 2**bits - 1) * step``, halves to even, gradient inside the range.

    Attributes:
        emits_activation: Marks the module for tools that trace activations without knowing this class.
        bits: Bits of the integer.
        exponent: The step is ``2**-exponent``.
    """

    emits_activation = True

    def __init__(self, *, bits: int, exponent: int) -> None:
        super().__init__(
            act_quant=_UnsignedActQuant,
            bit_width=bits,
            min_val=0.0,
            # Brevitas divides it by the largest integer, which gives the step exactly.
            max_val=(2**bits - 1) * 2.0**-exponent,
            return_quant_tensor=False,
        )
        self.bits = bits
        self.exponent = exponent


class Scale(nn.Module):
    """One learnt positive scalar that multiplies everything.

    Attributes:
        weight: float32 ``()``.
    """

    lowest = 2.0**-10

    def __init__(self, initial: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(initial))

    def forward(self, x: Tensor) -> Tensor:
        """Multiply float32 of any shape; each product is rounded once."""
        return x * self.weight


class BatchNorm(nn.Module):
    """Batch normalisation over axis 1 whose eval mode is ``x * scale + shift``, two roundings.

    torch's own kernel may fuse the two into one rounding, which moves values across zero; ONNX Mul and Add,
    NumPy and this class agree bit for bit.

    Attributes:
        weight: gamma, float32 ``(channels,)``.
        bias: beta.
        running_mean: Mean seen in training.
        running_var: Unbiased variance seen in training.
    """

    running_mean: Tensor
    running_var: Tensor

    def __init__(self, channels: int, *, eps: float = 1e-5, momentum: float = 0.1) -> None:
        super().__init__()
        self.eps = eps
        self.momentum = momentum
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.register_buffer("running_mean", torch.zeros(channels))
        self.register_buffer("running_var", torch.ones(channels))

    def affine(self) -> tuple[Tensor, Tensor]:
        """Return eval mode's scale and shift, float32 ``(channels,)``, each operation rounded correctly.

        torch's float32 square root is off by one unit in about one value of a hundred, depending on the
        processor. Rounding a float64 root once gives the correctly rounded one everywhere.
        """
        deviation = torch.sqrt((self.running_var + self.eps).double()).float()
        scale = self.weight / deviation
        return scale, self.bias - self.running_mean * scale

    def forward(self, x: Tensor) -> Tensor:
        """Normalise float32 ``(N, channels)`` or ``(N, channels, H, W)``."""
        if self.training:
            return functional.batch_norm(
                x, self.running_mean, self.running_var, self.weight, self.bias, True, self.momentum, self.eps
            )
        scale, shift = self.affine()
        if x.dim() == 4:
            scale, shift = scale.reshape(-1, 1, 1), shift.reshape(-1, 1, 1)
        return x * scale + shift


class FixedPointAffine(nn.Module):
    """Per-class scale and offset for integer accumulators, multiples of ``2**-exponent``.

    Training rounds the latent values with a straight-through gradient; switching to eval mode freezes the
    rounded values into buffers, which are what an export sees.

    Attributes:
        exponent: Fraction bits of scale, offset and result.
        weight: Latent scale, float32 ``(classes,)``; its rounded value is at least one step of the grid.
        bias: Latent offset.
        scale: Frozen scale of eval mode.
        offset: Frozen offset of eval mode.
    """

    scale: Tensor
    offset: Tensor

    def __init__(self, inputs: int, classes: int, *, exponent: int, scale: float) -> None:
        super().__init__()
        self.exponent = exponent
        # |accumulator| * steps + |offset| stays at or under 2**24, float32's last exact integer.
        self._limits = (1, (1 << 23) // inputs), (-(1 << 23), 1 << 23)
        self.weight = nn.Parameter(torch.full((classes,), scale))
        self.bias = nn.Parameter(torch.zeros(classes))
        self.register_buffer("scale", self.weight.detach().clone())
        self.register_buffer("offset", self.bias.detach().clone())

    def rounded(self) -> tuple[Tensor, Tensor]:
        """Return the latent scale and bias on the grid, float32 ``(classes,)``, with gradients."""
        steps = 2.0**self.exponent
        on_grid = [
            round_ste(latent * steps).clamp(low, high) / steps
            for latent, (low, high) in zip((self.weight, self.bias), self._limits, strict=True)
        ]
        return on_grid[0], on_grid[1]

    def train(self, mode: bool = True) -> FixedPointAffine:
        """Switch between training and eval mode; the latter freezes the rounded values."""
        super().train(mode)
        if not mode:
            with torch.no_grad():
                scale, offset = self.rounded()
                self.scale.copy_(scale)
                self.offset.copy_(offset)
        return self

    def forward(self, x: Tensor) -> Tensor:
        """Scale whole float32 accumulators ``(N, classes)``; the result is exact."""
        scale, offset = self.rounded() if self.training else (self.scale, self.offset)
        return x * scale + offset
