"""The fast gradient sign method, and its L2 form: one step of the whole budget."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from attacks.projection import steepest
from attacks.stepping import SteppingAttack
from attacks.threat import Budget, Norm


@dataclass(frozen=True, slots=True, kw_only=True)
class Fgsm(SteppingAttack):
    """One step from the original along the gradient's sign; its end is the result, better or not.

    With the L2 norm the step goes along the gradient itself.

    References:
        Goodfellow, Shlens, Szegedy, Explaining and harnessing adversarial examples (ICLR 2015).
    """

    name: ClassVar[str] = "fgsm"
    norms: ClassVar[tuple[Norm, ...]] = (Norm.LINF, Norm.L2)
    keep_best: ClassVar[bool] = False

    def step(self, gradient: Tensor, memory: Tensor | None, budget: Budget) -> tuple[Tensor, Tensor | None]:
        """Go to the edge of the ball."""
        return steepest(gradient, budget.norm) * math.ceil(255 * budget.eps), memory
