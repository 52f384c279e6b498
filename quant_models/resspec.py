"""What a residual ±1 network is, without its weights: a frozen description with a strict JSON form."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, cast

from quant_models.spec import MAX_LAYERS, MAX_NEURONS, are_sizes, check_field, from_fields, is_integer

KIND = "resnet"

STEM_KERNEL = 7
BLOCK_KERNEL = 3
AVERAGE_BITS = 8
"""Bits of the averaged features that the classifier reads."""

_MAX_PIXELS = 1 << 20
_EXACT = 1 << 24


@dataclass(frozen=True, slots=True, kw_only=True)
class ResNetSpec:
    """A residual network: int8 stem, blocks of one ±1 convolution each, average, int8 classifier.

    Between blocks flows an unsigned integer stream. A block adds to it what a 3x3 convolution of its signs
    gives, as in Bi-Real Net (Liu et al., ECCV 2018), and quantises the sum again. The first block of every
    stage but the first halves the feature map; its shortcut is a 1x1 ±1 convolution.

    Attributes:
        name: Letters, digits, ``-``, ``_`` and ``.``; used in file names.
        input_shape: Height, width and channels of an image.
        stem_stride: Step of the 7x7 convolution on the image [pixels].
        stem_pool: Whether a 3x3 max pool of stride 2 follows it.
        stages: Channels and blocks of each stage.
        classes: Number of logits, at least 2.
        bits: Bits of the stream between blocks, 2 to 8.
        exponent: Its step is ``2**-exponent``.
    """

    name: str
    input_shape: tuple[int, int, int]
    stem_stride: int = 2
    stem_pool: bool = True
    stages: tuple[tuple[int, int], ...]
    classes: int
    bits: int = 4
    exponent: int = 2

    def __post_init__(self) -> None:
        is_name = isinstance(self.name, str) and re.fullmatch(r"[A-Za-z0-9._-]{1,64}", self.name)
        check_field(is_name, "name", self.name, "1 to 64 of A-Z a-z 0-9 . _ -")
        shape = self.input_shape
        check_field(are_sizes(shape, 3, 3), "input_shape", shape, "three positive integers (H, W, C)")
        check_field(shape[0] * shape[1] <= _MAX_PIXELS, "input_shape", shape, f"at most {_MAX_PIXELS} pixels")
        is_stages = isinstance(self.stages, tuple) and all(are_sizes(stage, 2, 2) for stage in self.stages)
        check_field(
            is_stages and 1 <= sum(blocks for _, blocks in self.stages) <= MAX_LAYERS,
            "stages",
            self.stages,
            f"pairs of channels and blocks, 1 to {MAX_LAYERS} blocks in all",
        )
        widest = max(channels for channels, _ in self.stages)
        check_field(widest <= MAX_NEURONS, "stages", self.stages, f"at most {MAX_NEURONS} channels")
        check_field(is_integer(self.classes) and self.classes >= 2, "classes", self.classes, "at least 2")
        for name, low, high in (("stem_stride", 1, 8), ("bits", 2, 8), ("exponent", -16, 16)):
            value = getattr(self, name)
            check_field(
                is_integer(value) and low <= value <= high, name, value, f"an integer from {low} to {high}"
            )
        check_field(isinstance(self.stem_pool, bool), "stem_pool", self.stem_pool, "true or false")
        for name, terms in (
            ("input_shape", shape[2] * STEM_KERNEL**2 * 255 * 127),
            ("stages", self.stages[-1][0] * 127 * ((1 << AVERAGE_BITS) - 1)),
        ):
            check_field(terms <= _EXACT, name, getattr(self, name), f"sums of at most {_EXACT}")

    @property
    def blocks(self) -> tuple[tuple[int, int, int], ...]:
        """Input channels, output channels and stride of each block."""
        found: list[tuple[int, int, int]] = []
        inputs = self.stages[0][0]
        for index, (channels, blocks) in enumerate(self.stages):
            for block in range(blocks):
                found.append((inputs, channels, 2 if block == 0 and index > 0 else 1))
                inputs = channels
        return tuple(found)

    @property
    def convolutions(self) -> tuple[tuple[int, int, int], ...]:
        """Outputs, inputs and kernel of each ±1 convolution; a shortcut stands behind its branch."""
        found: list[tuple[int, int, int]] = []
        for inputs, outputs, stride in self.blocks:
            found.append((outputs, inputs, BLOCK_KERNEL))
            if (inputs, stride) != (outputs, 1):
                found.append((outputs, inputs, 1))
        return tuple(found)

    @property
    def last_side(self) -> tuple[int, int]:
        """Height and width of the last feature map [pixels]."""
        sides: list[int] = []
        for size in self.input_shape[:2]:
            side = -(-size // self.stem_stride)
            side = -(-side // 2) if self.stem_pool else side
            for _, _, stride in self.blocks:
                side = -(-side // stride)
            sides.append(side)
        return sides[0], sides[1]

    @property
    def average_side(self) -> tuple[int, int]:
        """Height and width that the last feature map is padded to with zeros: powers of two.

        The average over them divides by a power of two, which float32 does without rounding.
        """
        height, width = self.last_side
        return 1 << (height - 1).bit_length(), 1 << (width - 1).bit_length()

    def to_dict(self) -> dict[str, Any]:
        """Return ``kind`` and the fields as JSON-able values; `resnet_from_dict` reads them back."""
        values = asdict(self)
        values["input_shape"] = list(self.input_shape)
        values["stages"] = [list(stage) for stage in self.stages]
        return {"kind": KIND, **values}

    def to_json(self) -> str:
        """Return the canonical JSON text: sorted keys, no spaces."""
        return json.dumps(self.to_dict(), sort_keys=True, separators=(",", ":"))


def resnet_from_dict(values: Mapping[str, Any], *, where: str = "spec") -> ResNetSpec:
    """Build a spec from what `ResNetSpec.to_dict` gives, without its ``kind``.

    Raises:
        InputError: With the path to the bad field in its message.
    """
    return from_fields(ResNetSpec, {key: _as_tuple(value) for key, value in values.items()}, where)


def _as_tuple(value: Any) -> Any:
    return tuple(_as_tuple(item) for item in cast("list[Any]", value)) if isinstance(value, list) else value


RESNET_PRESETS: dict[str, ResNetSpec] = {
    spec.name: spec
    for spec in (
        ResNetSpec(
            name="resnet18",
            input_shape=(224, 224, 3),
            stages=((64, 4), (128, 4), (256, 4), (512, 4)),
            classes=1000,
        ),
        ResNetSpec(
            name="resnet-small",
            input_shape=(32, 32, 3),
            stem_stride=1,
            stem_pool=False,
            stages=((32, 2), (64, 2), (128, 2)),
            classes=10,
        ),
    )
}
"""ResNet-18's stages (He et al., CVPR 2016) with a ±1 convolution a block, and a small sibling for 32x32."""
