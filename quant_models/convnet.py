"""Convolutional ±1 networks as torch modules."""

from __future__ import annotations

from typing import cast

from torch import Tensor, nn

from quant_models.convspec import ConvSpec, ConvStage
from quant_models.layers import (
    WEIGHT_EXPONENT,
    BatchNorm,
    BinaryActivation,
    BinaryConv2d,
    BinaryLinear,
    InputGrid,
    Int8Conv2d,
    Int8Linear,
    Scale,
    UnsignedActivation,
)
from quant_models.stochastic import StochasticConv2d

INITIAL_SCALE = 0.05


class BinaryConvNet(nn.Module):
    """A convolutional ±1 network: grid, stages, flatten, dense layers.

    Feature maps are flattened in torch's order (channel, row, column).

    Attributes:
        spec: What was built.
        logit_exponent: Integer logits are the float logits times ``2**logit_exponent``, exactly.
        logit_step: Logits are the classifier's sums times this power of two.
        grid: The 8-bit grid at the input.
        features: Everything up to the last activation, a Sequential.
        classifier: The last dense layer, `BinaryLinear` or `Int8Linear`.
    """

    def __init__(self, spec: ConvSpec) -> None:
        super().__init__()
        self.spec = spec
        self.grid = InputGrid(centred=spec.input_grid == "centred")
        layers: list[nn.Module] = []
        for index, (inputs, stage) in enumerate(zip(spec.channels[:-1], spec.stages, strict=True)):
            layers += _stage(index, inputs, stage)
        layers.append(nn.Flatten())
        for inputs, outputs in zip(spec.widths[:-2], spec.hidden, strict=True):
            layers += [BinaryLinear(inputs, outputs), BatchNorm(outputs), BinaryActivation()]
        self.features = nn.Sequential(*layers)
        dense = Int8Linear if spec.classifier == "int8" else BinaryLinear
        self.classifier = dense(spec.widths[-2], spec.classes)
        bits, exponent = _last_activation(spec)
        weight_exponent = WEIGHT_EXPONENT if spec.classifier == "int8" else 0
        # Roughly the accumulators' spread in fresh networks: it brings their logits to order 1.
        spread = (spec.widths[-2].bit_length() - 1) // 2 + bits // 2 - (spec.classifier == "int8")
        shift = max(0, spread) - exponent
        self.logit_step = 2.0**-shift
        self.logit_exponent = exponent + weight_exponent + shift

    def forward(self, x: Tensor) -> Tensor:
        """Return float32 logits ``(N, classes)`` for floats ``(N, C, H, W)`` in [0, 1]."""
        return cast("Tensor", self.classifier(self.features(self.grid(x)))) * self.logit_step


def _stage(index: int, inputs: int, stage: ConvStage) -> list[nn.Module]:
    layers = [_convolution(index, inputs, stage)]
    if stage.scaled:
        layers.append(Scale(INITIAL_SCALE))
    if stage.relu:
        layers.append(nn.ReLU())
    if stage.norm:
        layers.append(BatchNorm(stage.channels))
    if stage.activation == "sign":
        layers.append(BinaryActivation())
    else:
        layers.append(UnsignedActivation(bits=stage.activation, exponent=stage.activation_exponent))
    if stage.pool > 1:
        layers.append(nn.MaxPool2d(stage.pool))
    return layers


def _convolution(index: int, inputs: int, stage: ConvStage) -> nn.Module:
    outputs, kernel = stage.channels, stage.kernel
    if stage.weights == "stochastic":
        return StochasticConv2d(
            inputs, outputs, kernel, layer=index, stride=stage.stride, padding=stage.padding
        )
    kind = Int8Conv2d if stage.weights == "int8" else BinaryConv2d
    return kind(inputs, outputs, kernel, stride=stage.stride, padding=stage.padding)


def _last_activation(spec: ConvSpec) -> tuple[int, int]:
    """Return bits and exponent of what enters the classifier; one bit and 0 for signs."""
    last = spec.stages[-1]
    if spec.hidden or last.activation == "sign":
        return 1, 0
    return last.activation, last.activation_exponent
