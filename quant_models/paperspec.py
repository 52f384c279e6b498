"""The networks of Galloway et al. (ICLR 2018) as published, without their weights.

Their first convolution and last layer are float, so they have no exact integer form; the presets
``paper-cnn-*`` of `quant_models.convspec` are the same networks in a form that hardware computes.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal, cast, get_args

from export.errors import InputError
from quant_models.spec import MAX_INPUTS, MAX_NEURONS, are_sizes, check_field, from_fields, is_integer

KIND = "paper"
Variant = Literal["float", "binary", "scaled", "stochastic"]
SignGradient = Literal["clip", "gate"]

_SMALLEST_SIDE = 27


@dataclass(frozen=True, slots=True, kw_only=True)
class PaperSpec:
    """Three convolutions and a dense layer, none with a bias; ReLU after each convolution.

    Convolution 8x8 with stride 2 to F channels, 6x6 with stride 2 to 2 F, 5x5 to 2 F, dense. In all variants
    but ``float`` the second and third have ±1 weights, with BatchNorm and a sign in front.

    Attributes:
        name: Letters, digits, ``-``, ``_`` and ``.``; used in file names.
        input_shape: Height, width and channels of an image.
        features: F.
        classes: Number of logits, at least 2.
        variant: ``float`` (A in the paper); ``binary`` (B); ``scaled`` (C): one learnt scalar after each ±1
            convolution's ReLU; ``stochastic`` (S): scaled, and the third convolution's weights are drawn.
        sign_gradient: In a sign's place going backward. ``clip``: the gradient itself, its value clipped to
            [-1, 1], as the paper's code has it. ``gate``: the gradient where the sign's argument lies in
            [-1, 1], as Hubara et al. (2016) have it.
    """

    name: str
    input_shape: tuple[int, int, int]
    features: int
    classes: int
    variant: Variant
    sign_gradient: SignGradient = "clip"

    def __post_init__(self) -> None:
        is_name = isinstance(self.name, str) and re.fullmatch(r"[A-Za-z0-9._-]{1,64}", self.name)
        check_field(is_name, "name", self.name, "1 to 64 of A-Z a-z 0-9 . _ -")
        shape = self.input_shape
        check_field(are_sizes(shape, 3, 3), "input_shape", shape, "three positive integers (H, W, C)")
        is_fitting = min(shape[:2]) >= _SMALLEST_SIDE and shape[0] * shape[1] * shape[2] <= MAX_INPUTS
        check_field(is_fitting, "input_shape", shape, f"sides of at least {_SMALLEST_SIDE} pixels")
        for field, least in (("features", 1), ("classes", 2)):
            value = getattr(self, field)
            check_field(
                is_integer(value) and least <= value <= MAX_NEURONS // 2,
                field,
                value,
                f"an integer from {least} to {MAX_NEURONS // 2}",
            )
        for field, kinds in (("variant", get_args(Variant)), ("sign_gradient", get_args(SignGradient))):
            check_field(getattr(self, field) in kinds, field, getattr(self, field), " or ".join(kinds))

    @property
    def convolutions(self) -> tuple[tuple[int, int, int, int], ...]:
        """Output channels, input channels, kernel side and stride of each."""
        inputs, width = self.input_shape[2], self.features
        return (width, inputs, 8, 2), (2 * width, width, 6, 2), (2 * width, 2 * width, 5, 1)

    @property
    def flattened(self) -> int:
        """Values that enter the dense layer."""
        sides = [_side(_side(_side(side, 8, 2, 3), 6, 2, 0), 5, 1, 0) for side in self.input_shape[:2]]
        return sides[0] * sides[1] * 2 * self.features

    @property
    def hardware_preset(self) -> str:
        """Name of the preset in `quant_models.convspec.CONV_PRESETS` that is nearest to it."""
        suffix = self.variant if self.variant in ("scaled", "stochastic") else ""
        return "-".join(part for part in ("paper-cnn", str(self.features), suffix) if part)

    def to_dict(self) -> dict[str, Any]:
        """Return ``kind`` and the fields as JSON-able values; `paper_from_dict` reads them back."""
        return {"kind": KIND, **asdict(self), "input_shape": list(self.input_shape)}

    def to_json(self) -> str:
        """Return the canonical JSON text: sorted keys, no spaces."""
        return json.dumps(self.to_dict(), sort_keys=True, separators=(",", ":"))


def paper_from_dict(given: Mapping[str, Any], *, where: str) -> PaperSpec:
    """Build a spec from the mapping that `PaperSpec.to_dict` gives, without its ``kind``.

    Raises:
        InputError: With the path to the bad field in its message.
    """
    values = dict(given)
    if isinstance(shape := values.get("input_shape"), list):
        values["input_shape"] = tuple(cast("list[Any]", shape))
    return from_fields(PaperSpec, values, where)


def require_integer_form(spec: object) -> None:
    """Refuse a network of the paper's own form.

    Raises:
        InputError: It is one; the hint names the form that hardware computes.
    """
    if isinstance(spec, PaperSpec):
        raise InputError(
            f"{spec.name} has a float first convolution and a float last layer: it has no exact integer form",
            hint=f"attack it in PyTorch, and train the preset {spec.hardware_preset} for hardware",
        )


def _side(side: int, kernel: int, stride: int, padding: int) -> int:
    return (side + 2 * padding - kernel) // stride + 1


_LETTERS: dict[str, Variant] = {"a": "float", "b": "binary", "c": "scaled", "s": "stochastic"}

PAPER_PRESETS: dict[str, PaperSpec] = {
    f"paper-{letter}-{features}": PaperSpec(
        name=f"paper-{letter}-{features}",
        input_shape=(28, 28, 1),
        features=features,
        classes=10,
        variant=variant,
    )
    for letter, variant in _LETTERS.items()
    for features in (64, 128, 256)
}
"""The paper's networks by its own letters: A float, B binary, C scaled, S stochastic."""
