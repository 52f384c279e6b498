"""The fast gradient sign method, and its L2 form: one step of the whole budget."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from attacks.evaluation import Evaluation
from attacks.landscape import Landscape
from attacks.projection import project, steepest
from attacks.stepping import SteppingAttack
from attacks.threat import Budget, Norm

# Longer ones use what black and white have cut off.
_LENGTHS = (0.95, 1.05, 1.1, 1.2)


@dataclass(frozen=True, slots=True, kw_only=True)
class Fgsm(SteppingAttack):
    """One step from the original along the gradient's sign; its end is the result, better or not.

    With the L2 norm the step goes along the gradient itself. On the grid its end is rounded, which turns the
    step a little; the best of a few lengths near the whole one, all inside the ball, makes up for it.

    References:
        Goodfellow, Shlens, Szegedy, Explaining and harnessing adversarial examples (ICLR 2015).
    """

    name: ClassVar[str] = "fgsm"
    norms: ClassVar[tuple[Norm, ...]] = (Norm.LINF, Norm.L2)
    keep_best: ClassVar[bool] = False

    def search(self, landscape: Landscape, clean: Evaluation, budget: Budget) -> Evaluation:
        """Take the step."""
        end = SteppingAttack.search(self, landscape, clean, budget)
        if not self.on_grid or budget.norm is Norm.LINF:
            return end
        best, way = end, end.position - clean.position
        for share in _LENGTHS:
            tried = project(clean.position + share * way, clean.position, budget, on_grid=True)
            best = landscape.look(tried).better_of(best)
        return best

    def step(self, gradient: Tensor, memory: Tensor | None, budget: Budget) -> tuple[Tensor, Tensor | None]:
        """Go to the edge of the ball."""
        return steepest(gradient, budget.norm) * math.ceil(255 * budget.eps), memory
