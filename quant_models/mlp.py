"""Dense ±1 networks as torch modules."""

from __future__ import annotations

from typing import cast, overload

from torch import Tensor, nn

from quant_models.convnet import BinaryConvNet
from quant_models.convspec import ConvSpec
from quant_models.layers import BatchNorm, BinaryActivation, BinaryLinear, FixedPointAffine, InputGrid
from quant_models.papernet import PaperNet
from quant_models.paperspec import PaperSpec
from quant_models.resnet import BinaryResNet
from quant_models.resspec import ResNetSpec
from quant_models.spec import MlpSpec

_SCALE_FRACTION_BITS = 6


class BinaryMlp(nn.Module):
    """A dense ±1 network: grid, [sign], flatten, then linear, BatchNorm, sign for each hidden layer, linear.

    An image with several channels is flattened in torch's order (channel, row, column).

    Attributes:
        spec: What was built.
        logit_exponent: Integer logits are the float logits times ``2**logit_exponent``, exactly.
        grid: The 8-bit grid at the input.
        features: Everything up to the last sign, a Sequential.
        classifier: The last `BinaryLinear`.
        affine: `FixedPointAffine`, or None where the logits are the bare accumulators.
    """

    def __init__(self, spec: MlpSpec) -> None:
        super().__init__()
        self.spec = spec
        self.grid = InputGrid()
        layers: list[nn.Module] = [BinaryActivation()] if spec.input_mode == "binary" else []
        layers.append(nn.Flatten())
        for inputs, outputs in zip(spec.widths[:-2], spec.hidden, strict=True):
            layers += [BinaryLinear(inputs, outputs), BatchNorm(outputs), BinaryActivation()]
        self.features = nn.Sequential(*layers)
        self.classifier = BinaryLinear(spec.widths[-2], spec.classes)
        # Accumulators of n random signs have standard deviation sqrt(n): bring logits to order 1.
        fan_in = spec.widths[-2]
        self._shift = (fan_in.bit_length() - 1) // 2
        self.affine: FixedPointAffine | None = None
        if spec.output_affine:
            self.logit_exponent = self._shift + _SCALE_FRACTION_BITS
            self.affine = FixedPointAffine(
                fan_in, spec.classes, exponent=self.logit_exponent, scale=2.0**-self._shift
            )
        else:
            grid_reaches_logits = spec.input_mode == "uint8" and not spec.hidden
            self.logit_exponent = self._shift + (InputGrid.exponent if grid_reaches_logits else 0)

    def forward(self, x: Tensor) -> Tensor:
        """Return float32 logits ``(N, classes)`` for floats ``(N, C, H, W)`` in [0, 1]."""
        accumulators = cast("Tensor", self.classifier(self.features(self.grid(x))))
        if self.affine is not None:
            return self.affine(accumulators)
        return accumulators * 2.0**-self._shift


Network = BinaryMlp | BinaryConvNet | BinaryResNet | PaperNet


@overload
def build_model(spec: MlpSpec) -> BinaryMlp: ...


@overload
def build_model(spec: ConvSpec) -> BinaryConvNet: ...


@overload
def build_model(spec: ResNetSpec) -> BinaryResNet: ...


@overload
def build_model(spec: PaperSpec) -> PaperNet: ...


def build_model(spec: MlpSpec | ConvSpec | ResNetSpec | PaperSpec) -> Network:
    """Build the network with fresh weights from torch's global random generator, in training mode."""
    match spec:
        case MlpSpec():
            return BinaryMlp(spec)
        case ConvSpec():
            return BinaryConvNet(spec)
        case ResNetSpec():
            return BinaryResNet(spec)
        case PaperSpec():
            return PaperNet(spec)
