"""The basic iterative method: small steps of the fast gradient sign method from the original."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

from attacks.pgd import Descent
from attacks.threat import Norm


@dataclass(frozen=True, slots=True, kw_only=True)
class Bim(Descent):
    """Steps from the original; without a step size they go straight to the edge of the ball.

    The best image on the way is the result, where the publication takes the last one.

    References:
        Kurakin, Goodfellow, Bengio, Adversarial examples in the physical world (ICLR workshop 2017).
    """

    name: ClassVar[str] = "bim"

    @property
    def own_step_size(self) -> float:
        """A share of the ball's radius, rounded up on the grid so that the edge is reached."""
        share = (self.eps or 0.0) / self.steps
        whole = self.on_grid and self.norm is Norm.LINF
        return math.ceil(255 * share - 1e-9) / 255 if whole else share
