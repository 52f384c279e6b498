"""Residual ±1 networks as torch modules."""

from __future__ import annotations

from typing import cast

from torch import Tensor, nn

from quant_models.layers import (
    WEIGHT_EXPONENT,
    BatchNorm,
    BinaryActivation,
    BinaryConv2d,
    InputGrid,
    Int8Conv2d,
    Int8Linear,
    UnsignedActivation,
)
from quant_models.resspec import AVERAGE_BITS, BLOCK_KERNEL, STEM_KERNEL, ResNetSpec


class Block(nn.Module):
    """``quantise(branch(x) + shortcut(x))`` for an unsigned integer stream x.

    Attributes:
        branch: BatchNorm, sign, ±1 convolution, BatchNorm, quantisation.
        shortcut: Nothing, or sign, a 1x1 ±1 convolution, BatchNorm, quantisation.
        activation: Quantises the sum.
    """

    def __init__(self, inputs: int, outputs: int, stride: int, spec: ResNetSpec) -> None:
        super().__init__()

        def quantise() -> UnsignedActivation:
            return UnsignedActivation(bits=spec.bits, exponent=spec.exponent)

        self.branch = nn.Sequential(
            BatchNorm(inputs),
            BinaryActivation(),
            BinaryConv2d(inputs, outputs, BLOCK_KERNEL, stride=stride, padding=BLOCK_KERNEL // 2),
            BatchNorm(outputs),
            quantise(),
        )
        self.shortcut: nn.Module = nn.Identity()
        if (inputs, stride) != (outputs, 1):
            self.shortcut = nn.Sequential(
                BatchNorm(inputs),
                BinaryActivation(),
                BinaryConv2d(inputs, outputs, 1, stride=stride),
                BatchNorm(outputs),
                quantise(),
            )
        self.activation = quantise()

    def forward(self, x: Tensor) -> Tensor:
        """Map the stream, float32 ``(N, C, H, W)``."""
        branch = cast("Tensor", self.branch(x))
        return cast("Tensor", self.activation(branch + self.shortcut(x)))


class BinaryResNet(nn.Module):
    """A residual ±1 network.

    Attributes:
        spec: What was built.
        logit_exponent: Integer logits are the float logits times ``2**logit_exponent``, exactly.
        grid: The 8-bit grid at the input; black is 0.
        features: Stem, blocks and average, a Sequential.
        classifier: The last dense layer.
    """

    def __init__(self, spec: ResNetSpec) -> None:
        super().__init__()
        self.spec = spec
        self.grid = InputGrid(centred=False)
        stem = spec.stages[0][0]
        layers: list[nn.Module] = [
            Int8Conv2d(
                spec.input_shape[2], stem, STEM_KERNEL, stride=spec.stem_stride, padding=STEM_KERNEL // 2
            ),
            BatchNorm(stem),
            UnsignedActivation(bits=spec.bits, exponent=spec.exponent),
        ]
        if spec.stem_pool:
            layers.append(nn.MaxPool2d(3, stride=2, padding=1))
        layers += [Block(*block, spec) for block in spec.blocks]
        (height, width), (high, wide) = spec.last_side, spec.average_side
        if (height, width) != (high, wide):
            layers.append(nn.ZeroPad2d((0, wide - width, 0, high - height)))
        layers += [nn.AvgPool2d((high, wide)), nn.Flatten()]
        # Averages have more bits than what they average; at least as many as the stream's are kept.
        exponent = spec.exponent + AVERAGE_BITS - spec.bits
        layers.append(UnsignedActivation(bits=AVERAGE_BITS, exponent=exponent))
        self.features = nn.Sequential(*layers)
        self.classifier = Int8Linear(spec.stages[-1][0], spec.classes)
        self.logit_exponent = exponent + WEIGHT_EXPONENT

    def forward(self, x: Tensor) -> Tensor:
        """Return float32 logits ``(N, classes)`` for floats ``(N, C, H, W)`` in [0, 1]."""
        return cast("Tensor", self.classifier(self.features(self.grid(x))))
