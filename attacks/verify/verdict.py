"""What verification says of one image, and its JSON form."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np
import numpy.typing as npt

from export.errors import InputError


class Status(StrEnum):
    """The four answers.

    Certified: no image in the ball gets another class. Attacked: one does, and it is at hand. Unknown: the
    time was not enough. Misclassified: the original itself gets another class than its label.
    """

    CERTIFIED = "certified"
    ATTACKED = "attacked"
    UNKNOWN = "unknown"
    MISCLASSIFIED = "misclassified"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Verdict:
    """The answer for one image and one radius.

    Attributes:
        image: Its index.
        label: The true class.
        predicted: The class of the original.
        radius: L∞ radius in grey levels.
        status: The answer.
        method: What found it: ``clean``, ``bounds``, ``climb``, ``exhaust``, or the name of a solver.
        reason: Why it is unknown; empty otherwise.
        seconds: All of the time spent [s].
        solver_seconds: Of it, in the method that answered [s].
        free_pixels: Pixels that can change what the network sees.
        free_neurons: Neurons that the bounds left open.
        adversarial: uint8 flat, of another class; only where attacked.
        found: Class of `adversarial`, or None.
    """

    image: int
    label: int
    predicted: int
    radius: int
    status: Status
    method: str = ""
    reason: str = ""
    seconds: float = 0.0
    solver_seconds: float = 0.0
    free_pixels: int = 0
    free_neurons: int = 0
    adversarial: npt.NDArray[np.uint8] | None = None
    found: int | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the fields as JSON values, without the pixels."""
        return {
            "image": self.image,
            "label": self.label,
            "predicted": self.predicted,
            "radius": self.radius,
            "status": str(self.status),
            "method": self.method,
            "reason": self.reason,
            "seconds": round(self.seconds, 6),
            "solver_seconds": round(self.solver_seconds, 6),
            "free_pixels": self.free_pixels,
            "free_neurons": self.free_neurons,
            "found": self.found,
        }

    def to_shard(self) -> dict[str, Any]:
        """Return the fields with the pixels, as hex digits."""
        pixels = None if self.adversarial is None else self.adversarial.tobytes().hex()
        return self.to_json() | {"adversarial": pixels}


def verdict_from_shard(values: dict[str, Any]) -> Verdict:
    """Return what `Verdict.to_shard` gave.

    Raises:
        InputError: Something else.
    """
    try:
        fields = dict(values)
        pixels = fields.pop("adversarial")
        fields["status"] = Status(fields["status"])
        return Verdict(
            **fields,
            adversarial=None if pixels is None else np.frombuffer(bytes.fromhex(pixels), np.uint8),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InputError(f"a saved verdict is damaged: {error}") from error
