"""The networks of Galloway et al. (ICLR 2018) as torch modules: float ends, ±1 convolutions between.

Where the paper's code left something open or was wrong: signs are of the quantised activations (its first
releases convolved the real ones), and sign(0) is +1. With the gated gradient latent weights are kept in
[-1, 1], as Hubara et al. have it; with the clipped one they aren't, as in the paper's code.
"""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from quant_models.layers import BatchNorm, Scale
from quant_models.paperspec import PaperSpec, SignGradient
from quant_models.stochastic import StochasticConv2d

_INITIAL_SCALE = 0.05
_FIRST_DEVIATION = 0.1
_LATENT_DEVIATION = 0.2
_FIRST_PADDING = 3


class PaperSign(nn.Module):
    """sign(x) as ±1 in float32, with sign(0) = +1, and one of two gradients; see `PaperSpec`.

    Attributes:
        emits_activation: Marks the module for tools that trace activations without knowing this class.
        gradient: ``clip`` or ``gate``.
    """

    emits_activation = True

    def __init__(self, gradient: SignGradient) -> None:
        super().__init__()
        self.gradient: SignGradient = gradient

    def forward(self, x: Tensor) -> Tensor:
        """Map float32 of any shape."""
        return signs(x, self.gradient)


class SignConv2d(nn.Conv2d):
    """Convolution without bias, square kernel, whose weights are the signs of latent floats."""

    def __init__(
        self, inputs: int, outputs: int, kernel: int, *, stride: int, gradient: SignGradient
    ) -> None:
        super().__init__(inputs, outputs, kernel, stride=stride, bias=False)
        self.gradient: SignGradient = gradient
        nn.init.trunc_normal_(self.weight, std=_LATENT_DEVIATION, a=-0.4, b=0.4)

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002
        """Convolve float32 ``(N, inputs, H, W)``."""
        return functional.conv2d(input, signs(self.weight, self.gradient), stride=self.stride)


class FloatConv2d(nn.Conv2d):
    """Convolution without bias, square kernel; each filter starts with length 1."""

    def __init__(self, inputs: int, outputs: int, kernel: int, *, stride: int, padding: int = 0) -> None:
        super().__init__(inputs, outputs, kernel, stride=stride, padding=padding, bias=False)
        nn.init.trunc_normal_(self.weight, std=_FIRST_DEVIATION, a=-0.2, b=0.2)
        _normalise(self.weight)


class FloatLinear(nn.Linear):
    """Dense layer without bias; the weights of each output start with length 1."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(inputs, outputs, bias=False)
        nn.init.normal_(self.weight)
        _normalise(self.weight)


FLOAT_LAYERS = (FloatConv2d, FloatLinear)


class PaperNet(nn.Module):
    """A network as `PaperSpec` describes it. It takes pixels as they are, without rounding them to 8 bits.

    Drawn weights are those of `quant_models.stochastic.StochasticConv2d`: their means have steps of 2**-7.

    Attributes:
        spec: What was built.
        features: Everything up to the last ReLU, a Sequential.
        classifier: The last dense layer.
    """

    def __init__(self, spec: PaperSpec) -> None:
        super().__init__()
        self.spec = spec
        outputs, inputs, kernel, stride = spec.convolutions[0]
        layers: list[nn.Module] = [
            FloatConv2d(inputs, outputs, kernel, stride=stride, padding=_FIRST_PADDING),
            nn.ReLU(),
        ]
        for index in (1, 2):
            layers += _hidden(spec, index)
        self.features = nn.Sequential(*layers, nn.Flatten())
        self.classifier = FloatLinear(spec.flattened, spec.classes)

    def forward(self, x: Tensor) -> Tensor:
        """Return float32 logits ``(N, classes)`` for floats ``(N, C, H, W)`` in [0, 1]."""
        return cast("Tensor", self.classifier(self.features(x)))


def signs(x: Tensor, gradient: SignGradient) -> Tensor:
    """Return ±1 with the gradient that is named."""
    return cast("Tensor", (_GatedSign if gradient == "gate" else _ClippedSign).apply(x))


def _hidden(spec: PaperSpec, index: int) -> list[nn.Module]:
    outputs, inputs, kernel, stride = spec.convolutions[index]
    if spec.variant == "float":
        return [FloatConv2d(inputs, outputs, kernel, stride=stride), nn.ReLU()]
    norm = BatchNorm(inputs)
    # The paper's normalisation has an offset and no gain: a sign follows at once.
    norm.weight.requires_grad_(False)
    convolution: nn.Module
    if spec.variant == "stochastic" and index == len(spec.convolutions) - 1:
        convolution = StochasticConv2d(inputs, outputs, kernel, layer=index, stride=stride)
        nn.init.trunc_normal_(convolution.weight, std=_LATENT_DEVIATION, a=-0.4, b=0.4)
    else:
        convolution = SignConv2d(inputs, outputs, kernel, stride=stride, gradient=spec.sign_gradient)
    layers = [norm, PaperSign(spec.sign_gradient), convolution, nn.ReLU()]
    return layers if spec.variant == "binary" else [*layers, Scale(_INITIAL_SCALE)]


@torch.no_grad()
def _normalise(weight: Tensor) -> None:
    """Divide the weights of each output by their length."""
    lengths = weight.flatten(1).norm(dim=1).clamp_min(1e-12)
    weight.div_(lengths.reshape(-1, *[1] * (weight.dim() - 1)))


def _signs(x: Tensor) -> Tensor:
    return (x >= 0).to(x.dtype).mul_(2.0).sub_(1.0)


class _ClippedSign(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return _signs(x)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:  # type: ignore[override]
        return grads[0].clamp(-1.0, 1.0)


class _GatedSign(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return _signs(x)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:  # type: ignore[override]
        (x,) = ctx.saved_tensors
        return grads[0] * (x.abs() <= 1)
