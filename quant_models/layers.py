"""Layers whose eval-mode float32 arithmetic is exactly an integer machine's.

Every value that enters a sum is an integer times a power of two, small enough that float32 holds the sum
exactly in any order. The only inexact float operations are BatchNorm's multiplication and addition, each
rounded once as IEEE 754 says, and they meet a sign at once.
"""

from __future__ import annotations

import torch
from brevitas.core.function_wrapper import InplaceTensorClampSte, TensorClamp
from brevitas.function.ops_ste import round_ste
from brevitas.nn import QuantIdentity, QuantLinear
from brevitas.quant.binary import SignedBinaryActPerTensorConst, SignedBinaryWeightPerTensorConst
from torch import Tensor, nn
from torch.nn import functional


class _UnitActQuant(SignedBinaryActPerTensorConst):
    """±1 with scale 1; the gradient passes where the input lies in [-1, 1]."""

    tensor_clamp_impl = TensorClamp
    min_val = -1.0
    max_val = 1.0


class _UnitWeightQuant(SignedBinaryWeightPerTensorConst):
    """±1 with scale 1; latent weights are clipped to [-1, 1] in place, and the gradient always passes."""

    tensor_clamp_impl = InplaceTensorClampSte
    scaling_const = 1.0


class InputGrid(nn.Module):
    """Snaps floats in [0, 1] to the 8-bit grid and centres them: ``(round(255 x) - 128) / 128``.

    The result is a multiple of 2**-7 in [-1, 127/128], so it is exact. The gradient is that of the line
    without rounding, 255/128 everywhere: a perturbation smaller than one grey level still has a direction.
    """

    exponent = 7

    def forward(self, x: Tensor) -> Tensor:
        """Map float ``(N, C, H, W)`` in [0, 1] to the centred grid; the same shape."""
        return round_ste(x * 255.0) * 2.0**-self.exponent - 1.0


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


class BatchNorm(nn.Module):
    """Batch normalisation over ``(N, channels)`` whose eval mode is ``x * scale + shift``, two roundings.

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
        """Normalise float32 ``(N, channels)``."""
        if self.training:
            return functional.batch_norm(
                x, self.running_mean, self.running_var, self.weight, self.bias, True, self.momentum, self.eps
            )
        scale, shift = self.affine()
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
