"""What a convolutional ±1 network is, without its weights: a frozen description with a strict JSON form."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal, TypeVar, cast, get_args

from export.errors import InputError
from quant_models.paperspec import KIND as PAPER_KIND
from quant_models.paperspec import PaperSpec, paper_from_dict
from quant_models.resspec import KIND as RESNET_KIND
from quant_models.resspec import ResNetSpec, resnet_from_dict
from quant_models.spec import (
    MAX_INPUTS,
    MAX_LAYERS,
    MAX_NEURONS,
    MlpSpec,
    are_sizes,
    check_field,
    from_fields,
    is_integer,
    spec_from_dict,
)

KIND = "conv"
Weights = Literal["binary", "int8"]
StageWeights = Literal["binary", "int8", "stochastic"]
InputGridKind = Literal["centred", "unsigned"]

MAX_KERNEL = 64
# Float32 holds every integer up to here; an accumulator must stay within.
_EXACT = 1 << 24
_PIXEL = 255


@dataclass(frozen=True, slots=True, kw_only=True)
class ConvStage:
    """Convolution, [scale], [ReLU], [BatchNorm], activation, [max pool], in this order.

    Attributes:
        channels: Output channels.
        kernel: Side of the square kernel [pixels].
        stride: Step of the kernel [pixels].
        padding: Zeros around the image on each side [pixels]; only where 0 is a value of the input.
        weights: ``binary``: ±1. ``int8``: -127 to 127 times a power of two. ``stochastic``: ±1 drawn anew for
            each frame, around learnt means.
        scaled: Whether one learnt positive scalar multiplies the convolution's result.
        relu: Whether negative values become 0.
        norm: Whether BatchNorm follows. A drawn weight can't be turned over, as a negative gamma asks for;
            the layer behind must then do it, so that it may not be ``stochastic``, and no pool stand between.
        activation: ``sign``, or the number of bits (2 to 8) of an unsigned integer quantisation.
        activation_exponent: The integer quantisation's step is ``2**-activation_exponent``; 0 with ``sign``.
        pool: Side and step of the max pool [pixels]; 1 for none.
    """

    channels: int
    kernel: int
    stride: int = 1
    padding: int = 0
    weights: StageWeights = "binary"
    scaled: bool = False
    relu: bool = False
    norm: bool = True
    activation: Literal["sign"] | int = "sign"
    activation_exponent: int = 0
    pool: int = 1

    def __post_init__(self) -> None:
        for name, low, high in (
            ("channels", 1, MAX_NEURONS),
            ("kernel", 1, MAX_KERNEL),
            ("stride", 1, MAX_KERNEL),
            ("padding", 0, self.kernel - 1 if is_integer(self.kernel) else 0),
            ("activation_exponent", -16, 16),
            ("pool", 1, MAX_KERNEL),
        ):
            value = getattr(self, name)
            check_field(
                is_integer(value) and low <= value <= high, name, value, f"an integer from {low} to {high}"
            )
        kinds = get_args(StageWeights)
        check_field(self.weights in kinds, "weights", self.weights, " or ".join(kinds))
        for name in ("scaled", "relu", "norm"):
            check_field(isinstance(getattr(self, name), bool), name, getattr(self, name), "true or false")
        is_bits = is_integer(self.activation) and 2 <= cast("int", self.activation) <= 8
        check_field(
            self.activation == "sign" or is_bits, "activation", self.activation, "sign or 2 to 8 bits"
        )
        check_field(
            is_bits or self.activation_exponent == 0, "activation_exponent", self.activation_exponent, "0"
        )

    def size(self, side: int) -> int:
        """Return the output's height or width for an input's; less than 1 where the kernel doesn't fit."""
        return ((side + 2 * self.padding - self.kernel) // self.stride + 1) // self.pool


@dataclass(frozen=True, slots=True, kw_only=True)
class ConvSpec:
    """A convolutional network: stages, then flatten, dense ±1 layers with BatchNorm and sign, the classifier.

    Attributes:
        name: Letters, digits, ``-``, ``_`` and ``.``; used in file names.
        input_shape: Height, width and channels of an image.
        stages: The convolutions, at least one.
        hidden: Neurons of each hidden dense layer.
        classes: Number of logits, at least 2.
        classifier: Weights of the last dense layer.
        input_grid: ``centred``: pixels enter as ``(p - 128) / 128``. ``unsigned``: as ``p / 256``, so that
            black is 0 and may be padded.
    """

    name: str
    input_shape: tuple[int, int, int]
    stages: tuple[ConvStage, ...]
    hidden: tuple[int, ...] = ()
    classes: int
    classifier: Weights = "binary"
    input_grid: InputGridKind = "centred"

    def __post_init__(self) -> None:
        is_name = isinstance(self.name, str) and re.fullmatch(r"[A-Za-z0-9._-]{1,64}", self.name)
        check_field(is_name, "name", self.name, "1 to 64 of A-Z a-z 0-9 . _ -")
        shape = self.input_shape
        check_field(are_sizes(shape, 3, 3), "input_shape", shape, "three positive integers (H, W, C)")
        check_field(
            shape[0] * shape[1] * shape[2] <= MAX_INPUTS, "input_shape", shape, f"at most {MAX_INPUTS} values"
        )
        is_stages = isinstance(self.stages, tuple) and all(
            isinstance(item, ConvStage) for item in self.stages
        )
        check_field(
            is_stages and 1 <= len(self.stages) <= MAX_LAYERS,
            "stages",
            self.stages,
            f"1 to {MAX_LAYERS} stages",
        )
        check_field(are_sizes(self.hidden, 0, MAX_LAYERS), "hidden", self.hidden, "positive integers")
        check_field(is_integer(self.classes) and self.classes >= 2, "classes", self.classes, "at least 2")
        check_field(
            max((*self.hidden, self.classes)) <= MAX_NEURONS, "hidden", self.hidden, f"at most {MAX_NEURONS}"
        )
        check_field(self.classifier in get_args(Weights), "classifier", self.classifier, "binary or int8")
        grids = get_args(InputGridKind)
        check_field(self.input_grid in grids, "input_grid", self.input_grid, " or ".join(grids))
        self._check_stages()

    def _check_stages(self) -> None:
        largest = _PIXEL if self.input_grid == "unsigned" else 128
        has_zero = self.input_grid == "unsigned"
        height, width, channels = self.input_shape
        for index, stage in enumerate(self.stages):
            where = f"stages[{index}]"
            check_field(
                not stage.padding or has_zero,
                f"{where}.padding",
                stage.padding,
                "0: its input has no value 0",
            )
            height, width = stage.size(height), stage.size(width)
            check_field(
                min(height, width) >= 1, f"{where}.kernel", stage.kernel, "a window that fits into its input"
            )
            terms = channels * stage.kernel**2 * (127 if stage.weights == "int8" else 1)
            check_field(terms * largest <= _EXACT, where, terms * largest, f"sums of at most {_EXACT}")
            has_zero = stage.activation != "sign"
            largest = 1 if stage.activation == "sign" else (1 << stage.activation) - 1
            channels = stage.channels
        terms = self.widths[0] * (127 if self.classifier == "int8" and not self.hidden else 1)
        check_field(terms * largest <= _EXACT, "classifier", terms * largest, f"sums of at most {_EXACT}")

    @property
    def channels(self) -> tuple[int, ...]:
        """Channels along the convolutions, from the image's."""
        return (self.input_shape[2], *(stage.channels for stage in self.stages))

    @property
    def widths(self) -> tuple[int, ...]:
        """Sizes of the dense part, from the flattened features to the classes."""
        height, width, _ = self.input_shape
        for stage in self.stages:
            height, width = stage.size(height), stage.size(width)
        return (height * width * self.stages[-1].channels, *self.hidden, self.classes)

    def to_dict(self) -> dict[str, Any]:
        """Return ``kind`` and the fields as JSON-able values; `network_from_dict` reads them back."""
        values = asdict(self)
        values["stages"] = [dict(stage) for stage in values["stages"]]
        values["input_shape"], values["hidden"] = list(self.input_shape), list(self.hidden)
        return {"kind": KIND, **values}

    def to_json(self) -> str:
        """Return the canonical JSON text: sorted keys, no spaces."""
        return json.dumps(self.to_dict(), sort_keys=True, separators=(",", ":"))


NetworkSpec = MlpSpec | ConvSpec | ResNetSpec | PaperSpec
_T = TypeVar("_T", ConvStage, ConvSpec)


def network_from_dict(values: object, *, where: str = "spec") -> NetworkSpec:
    """Build any kind of spec from the mapping that its ``to_dict`` gives; without ``kind`` it is dense.

    Raises:
        InputError: With the path to the bad field in its message.
    """
    if not isinstance(values, Mapping) or "kind" not in values:
        return spec_from_dict(values, where=where)
    given = dict(cast("Mapping[str, Any]", values))
    kind = given.pop("kind")
    if kind == RESNET_KIND:
        return resnet_from_dict(given, where=where)
    if kind == PAPER_KIND:
        return paper_from_dict(given, where=where)
    if kind != KIND:
        known = f"known: {KIND}, {PAPER_KIND}, {RESNET_KIND}"
        raise InputError(f"{where}.kind: unknown kind {str(kind)[:100]!r}", hint=known)
    if isinstance(stages := given.get("stages"), list):
        given["stages"] = tuple(
            _build(ConvStage, stage, f"{where}.stages[{index}]")
            for index, stage in enumerate(cast("list[object]", stages))
        )
    for key in ("input_shape", "hidden"):
        if isinstance(sizes := given.get(key), list):
            given[key] = tuple(cast("list[Any]", sizes))
    return _build(ConvSpec, given, where)


def _build(kind: type[_T], values: object, where: str) -> _T:
    if not isinstance(values, Mapping):
        raise InputError(f"{where}: must be an object, not {type(values).__name__}")
    return from_fields(kind, cast("Mapping[str, Any]", values), where)


def _cnv() -> ConvSpec:
    pairs = [(64, 1), (64, 2), (128, 1), (128, 2), (256, 1), (256, 1)]
    return ConvSpec(
        name="cnv",
        input_shape=(32, 32, 3),
        stages=tuple(ConvStage(channels=channels, kernel=3, pool=pool) for channels, pool in pairs),
        hidden=(512, 512),
        classes=10,
    )


def _paper_cnn(features: int, *, scaled: bool = False, stochastic: bool = False) -> ConvSpec:
    # A 4-bit step of 1/4 suits sums that a scale near 0.05 shrinks; bare sums of 50 F signs need 8 or 16.
    exponent = 2 if scaled else -3 - (features >= 256)
    return ConvSpec(
        name=f"paper-cnn-{features}" + ("-scaled" if scaled else "") + ("-stochastic" if stochastic else ""),
        input_shape=(28, 28, 1),
        stages=(
            ConvStage(channels=features, kernel=8, stride=2, padding=3, weights="int8", relu=True),
            ConvStage(channels=2 * features, kernel=6, stride=2, relu=True, scaled=scaled),
            ConvStage(
                channels=2 * features,
                kernel=5,
                weights="stochastic" if stochastic else "binary",
                relu=True,
                scaled=scaled,
                norm=False,
                activation=4,
                activation_exponent=exponent,
            ),
        ),
        classes=10,
        classifier="int8",
        input_grid="unsigned",
    )


CONV_PRESETS: dict[str, ConvSpec] = {
    spec.name: spec
    for spec in (
        _cnv(),
        *(_paper_cnn(features, scaled=scaled) for features in (64, 128, 256) for scaled in (False, True)),
        *(_paper_cnn(features, stochastic=True) for features in (64, 128, 256)),
    )
}
"""FINN's CNV (Umuroglu et al., FPGA 2017), and the MNIST network of Galloway et al. (ICLR 2018) by width."""
