"""The fast gradient sign method: one step of the whole budget."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from attacks.gradient import SteppingAttack
from attacks.threat import Budget


@dataclass(frozen=True, slots=True, kw_only=True)
class Fgsm(SteppingAttack):
    """One step from the original along the gradient's sign; its end is the result, better or not.

    References:
        Goodfellow, Shlens, Szegedy, Explaining and harnessing adversarial examples (ICLR 2015).
    """

    name: ClassVar[str] = "fgsm"
    keep_best: ClassVar[bool] = False

    def step(self, gradient: Tensor, memory: Tensor | None, budget: Budget) -> tuple[Tensor, Tensor | None]:
        """Go to the edge of the ball."""
        return gradient.sign() * math.ceil(255 * budget.eps), memory
