"""How an image may be changed: the norm that measures a change, and the budget that bounds it.

Budgets are judged on uint8 images in whole numbers, so that no rounding decides whether an image is inside.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import numpy.typing as npt

from attacks.inputs import checked_eps, grid_radius, require
from export.errors import CheckFailedError, InputError
from hw.target import ImageArray


class Norm(StrEnum):
    """L∞: the largest change of a value. L2: Euclidean. L0: pixels that differ, in whichever channel."""

    LINF = "linf"
    L2 = "l2"
    L0 = "l0"


def diameter(norm: Norm, shape: tuple[int, int, int]) -> float:
    """Return the largest distance of two images ``(H, W, C)``: a budget that forbids nothing."""
    return math.sqrt(math.prod(shape)) if norm is Norm.L2 else 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """A ball around each original.

    Attributes:
        norm: What is measured.
        eps: L∞: change of a value, in [0, 1]. L2: distance with values in [0, 1]. L0: share of the pixels, in
            [0, 1].

    Raises:
        InputError: No such budget.
    """

    norm: Norm
    eps: float

    def __post_init__(self) -> None:
        known = ", ".join(Norm)
        require(self.norm in list(Norm), f"unknown norm {self.norm!r}", hint=f"known: {known}")
        if self.norm is Norm.LINF:
            checked_eps(self.eps)
            return
        good = isinstance(self.eps, int | float) and not isinstance(self.eps, bool)
        good = good and math.isfinite(self.eps) and self.eps >= 0
        if not good or (self.norm is Norm.L0 and self.eps > 1):
            what = "a number of at least 0" if self.norm is Norm.L2 else "a share of the pixels from 0 to 1"
            raise InputError(f"an {self.norm} budget eps must be {what}, not {self.eps!r}")

    def limit(self, shape: tuple[int, int, int]) -> int:
        """Return the budget for images ``(H, W, C)`` in whole numbers.

        L∞: steps of the 8-bit grid. L2: the largest sum of squared steps. L0: pixels.
        """
        match self.norm:
            case Norm.LINF:
                return grid_radius(self.eps)
            case Norm.L2:
                return math.floor((255 * self.eps) ** 2 + 1e-6)
            case Norm.L0:
                return math.floor(self.eps * shape[0] * shape[1] + 1e-9)

    def spent(self, originals: ImageArray, adversarial: ImageArray) -> npt.NDArray[np.int64]:
        """Return what each image uses, int64 ``(N,)`` in the unit of `limit`."""
        difference = adversarial.astype(np.int64) - originals
        flat = difference.reshape(len(difference), -1)
        match self.norm:
            case Norm.LINF:
                return np.abs(flat).max(axis=1, initial=0)
            case Norm.L2:
                return (flat**2).sum(axis=1)
            case Norm.L0:
                return (difference != 0).any(axis=3).sum(axis=(1, 2))


def verify_budget(originals: ImageArray, adversarial: ImageArray, budget: Budget) -> None:
    """Check every uint8 image ``(N, H, W, C)`` against the budget.

    Raises:
        CheckFailedError: Wrong type or shape, or an image outside the ball; the message names the first.
    """
    if adversarial.dtype != np.uint8 or adversarial.shape != originals.shape:
        raise CheckFailedError(
            f"adversarial images are {adversarial.dtype} {adversarial.shape}, "
            f"the originals uint8 {originals.shape}"
        )
    limit = budget.limit(originals.shape[1:])
    spent = budget.spent(originals, adversarial)
    if np.any(spent > limit):
        image = int(np.argmax(spent > limit))
        unit = {
            Norm.LINF: "grid steps from its original",
            Norm.L2: "squared grid steps from its original",
            Norm.L0: "pixels away from its original",
        }[budget.norm]
        raise CheckFailedError(
            f"adversarial image {image} is {spent[image]} {unit}, the budget is {limit}", image=image
        )
