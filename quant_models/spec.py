"""What a dense ±1 network is, without its weights: a frozen description with a strict JSON form."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import MISSING, asdict, dataclass, fields
from math import prod
from typing import Any, Literal, TypeVar, cast, get_args

from export.errors import InputError

_T = TypeVar("_T")

InputMode = Literal["binary", "uint8"]
INPUT_MODES: tuple[str, ...] = get_args(InputMode)

# Every float32 sum must stay under 2**24 steps of its grid to be exact; a pixel is at most 128 steps.
MAX_INPUTS = 1 << 17
MAX_NEURONS = 1 << 16
MAX_LAYERS = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class MlpSpec:
    """A dense network with ±1 weights and ±1 hidden activations.

    Attributes:
        name: Letters, digits, ``-``, ``_`` and ``.``; used in file names.
        input_shape: Height, width and channels of an image.
        hidden: Neurons of each hidden layer; empty for a single linear layer.
        classes: Number of logits, at least 2.
        input_mode: ``binary``: a pixel is +1 where it is >= 128, else -1. ``uint8``: the 8-bit value itself
            enters the first layer.
        output_affine: Whether each logit has a learnt fixed-point scale and bias; otherwise the logits are
            the last layer's accumulators on a power-of-two scale.
    """

    name: str
    input_shape: tuple[int, int, int]
    hidden: tuple[int, ...]
    classes: int
    input_mode: InputMode = "binary"
    output_affine: bool = False

    def __post_init__(self) -> None:
        check_field(isinstance(self.name, str), "name", self.name, "a string")
        check_field(
            re.fullmatch(r"[A-Za-z0-9._-]{1,64}", self.name),
            "name",
            self.name,
            "1 to 64 of A-Z a-z 0-9 . _ -",
        )
        check_field(
            are_sizes(self.input_shape, 3, 3),
            "input_shape",
            self.input_shape,
            "three positive integers (H, W, C)",
        )
        check_field(
            are_sizes(self.hidden, 0, MAX_LAYERS),
            "hidden",
            self.hidden,
            f"up to {MAX_LAYERS} positive integers",
        )
        check_field(
            is_integer(self.classes) and self.classes >= 2,
            "classes",
            self.classes,
            "an integer of at least 2",
        )
        check_field(self.input_mode in INPUT_MODES, "input_mode", self.input_mode, " or ".join(INPUT_MODES))
        check_field(
            isinstance(self.output_affine, bool), "output_affine", self.output_affine, "true or false"
        )
        check_field(
            self.inputs <= MAX_INPUTS,
            "input_shape",
            self.input_shape,
            f"at most {MAX_INPUTS} values an image",
        )
        check_field(
            self.hidden or not self.output_affine, "output_affine", True, "false without a hidden layer"
        )
        widest = max((*self.hidden, self.classes))
        check_field(widest <= MAX_NEURONS, "hidden", self.hidden, f"at most {MAX_NEURONS} neurons a layer")

    @property
    def inputs(self) -> int:
        """Values of one image: height times width times channels."""
        return prod(self.input_shape)

    @property
    def widths(self) -> tuple[int, ...]:
        """Sizes along the network, from the image's values to the classes."""
        return (self.inputs, *self.hidden, self.classes)

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as JSON-able values; `spec_from_dict` reads them back."""
        return {
            key: list(value) if isinstance(value, tuple) else value for key, value in asdict(self).items()
        }

    def to_json(self) -> str:
        """Return the canonical JSON text: sorted keys, no spaces."""
        return json.dumps(self.to_dict(), sort_keys=True, separators=(",", ":"))


def spec_from_dict(values: object, *, where: str = "spec") -> MlpSpec:
    """Build a spec from the mapping that `MlpSpec.to_dict` gives.

    Args:
        values: The mapping; unknown keys and wrong types are refused.
        where: What to call it in an error message, such as a file name.

    Raises:
        InputError: With the path to the bad field in its message.
    """
    if not isinstance(values, Mapping):
        raise InputError(f"{where}: a network's description must be an object, not {type(values).__name__}")
    lists: dict[str, Callable[[Any], Any]] = {"input_shape": _as_tuple, "hidden": _as_tuple}
    given = cast("Mapping[str, Any]", values)
    return from_fields(
        MlpSpec, {key: lists.get(key, lambda item: item)(value) for key, value in given.items()}, where
    )


def from_fields(kind: type[_T], given: Mapping[str, Any], where: str) -> _T:
    """Build a description from its fields by name.

    Args:
        kind: A dataclass that checks its fields.
        given: Their values; those with a default may be left out.
        where: What to call it in messages.

    Raises:
        InputError: An unknown or missing key, or a value that the dataclass refuses; with the path to it.
    """
    known = {field.name: field for field in fields(cast("Any", kind))}
    if unknown := sorted(set(given) - set(known)):
        raise InputError(f"{where}.{unknown[0]}: unknown key", hint=f"known keys: {', '.join(sorted(known))}")
    required = {name for name, field in known.items() if field.default is MISSING}
    if missing := sorted(required - set(given)):
        raise InputError(f"{where}.{missing[0]}: missing")
    try:
        return kind(**given)
    except InputError as error:
        raise InputError(f"{where}.{error.message}", hint=error.hint, **error.context) from error


def spec_from_json(text: str, *, where: str = "spec") -> MlpSpec:
    """Build a spec from JSON text; raises `InputError` for anything that is not one."""
    try:
        values = json.loads(text)
    except ValueError as error:
        raise InputError(f"{where}: not JSON: {error}") from error
    return spec_from_dict(values, where=where)


def _as_tuple(value: Any) -> Any:
    return tuple(cast("list[Any]", value)) if isinstance(value, list) else value


def is_integer(value: Any) -> bool:
    """Whether it is an int and no bool."""
    return isinstance(value, int) and not isinstance(value, bool)


def are_sizes(value: Any, at_least: int, at_most: int) -> bool:
    """Whether it is a tuple of positive integers, ``at_least`` to ``at_most`` of them."""
    return (
        isinstance(value, tuple)
        and at_least <= len(cast("tuple[Any, ...]", value)) <= at_most
        and all(is_integer(size) and size >= 1 for size in cast("tuple[Any, ...]", value))
    )


def check_field(condition: object, field: str, value: object, expected: str) -> None:
    """Raise `InputError` naming the field, what it should be and what it is, unless the condition holds."""
    if not condition:
        raise InputError(f"{field}: expected {expected}, got {str(value)[:100]!r}", field=field)


def _preset(name: str, width: int) -> MlpSpec:
    return MlpSpec(name=name, input_shape=(28, 28, 1), hidden=(width, width, width), classes=10)


PRESETS: dict[str, MlpSpec] = {
    "tfc": _preset("tfc", 64),
    "sfc": _preset("sfc", 256),
    "lfc": _preset("lfc", 1024),
}
"""FINN's dense networks on 28x28 grey images (Umuroglu et al., FPGA 2017), and their tiny sibling."""
