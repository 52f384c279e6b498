"""What a fault is: one bit of a weight memory, of a threshold memory or of a stream, and what happens to it.

A bit is named as hardware holds it: bit 0 is the least significant one, a ±1 value is one bit (1 for +1),
anything else is two's complement. Several faults at once, such as a burst, are a tuple.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any, ClassVar

import numpy as np

from export.errors import InputError
from export.graph import IntArray


class Effect(StrEnum):
    """What a fault does to its bit."""

    FLIP = "flip"
    STUCK_AT_0 = "stuck-at-0"
    STUCK_AT_1 = "stuck-at-1"

    def on(self, codes: IntArray, bit: int) -> IntArray:
        """Return unsigned codes, int64 of any shape, with their bit ``bit`` changed."""
        mask = np.int64(1) << np.int64(bit)
        if self is Effect.FLIP:
            return codes ^ mask
        return codes | mask if self is Effect.STUCK_AT_1 else codes & ~mask


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class WeightFault:
    """A bit of one weight; with drawn weights of its mean, which is kept as mean + 128 in eight bits.

    Attributes:
        node: Name of the Mvau.
        row: Neuron.
        column: Input of the neuron.
        bit: Bit of the weight; 0 where weights are ±1.
        effect: What happens to it.
    """

    kind: ClassVar[str] = "weight"
    node: str
    row: int
    column: int
    bit: int = 0
    effect: Effect = Effect.FLIP


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class ThresholdFault:
    """A bit of one threshold, in the number that the hardware's memory holds.

    Attributes:
        node: Name of the Mvau or Thresholding.
        channel: Neuron, or channel of the stream.
        level: Which of the channel's thresholds.
        bit: Bit of it.
        effect: What happens to it.
    """

    kind: ClassVar[str] = "threshold"
    node: str
    channel: int
    level: int = 0
    bit: int = 0
    effect: Effect = Effect.FLIP


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class ActivationFault:
    """A bit of one element of a node's output, in every frame.

    Attributes:
        node: Name of the node that writes the stream.
        element: Index in the flattened NHWC output of one frame.
        bit: Bit of the element.
        effect: What happens to it.
    """

    kind: ClassVar[str] = "activation"
    node: str
    element: int
    bit: int = 0
    effect: Effect = Effect.FLIP


Fault = WeightFault | ThresholdFault | ActivationFault
MemoryFault = WeightFault | ThresholdFault

_KINDS: dict[str, type[WeightFault] | type[ThresholdFault] | type[ActivationFault]] = {
    kind.kind: kind for kind in (WeightFault, ThresholdFault, ActivationFault)
}


def fault_to_json(fault: Fault) -> dict[str, Any]:
    """Return a fault as JSON values: its kind and its fields."""
    return {"kind": fault.kind, **asdict(fault), "effect": str(fault.effect)}


def fault_from_json(value: dict[str, Any]) -> Fault:
    """Read what `fault_to_json` wrote.

    Raises:
        InputError: Something else.
    """
    fields = dict(value)
    kind = _KINDS.get(str(fields.pop("kind", "")))
    try:
        if kind is None:
            raise KeyError("kind")
        fields["effect"] = Effect(fields["effect"])
        return kind(**fields)
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(
            f"this is no fault: {value}", hint=f"a fault has a kind: {', '.join(_KINDS)}"
        ) from error


def check_range(what: str, index: int, count: int, *, node: str) -> None:
    """Raise `InputError` unless ``0 <= index < count``."""
    if not 0 <= index < count:
        raise InputError(f"{node} has no {what} {index}", hint=f"it has {count}: 0 to {count - 1}", node=node)
