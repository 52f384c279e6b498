"""Carlini and Wagner's attack: the smallest change that fools, by gradient descent on a weighted sum."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from attacks.adam import Adam
from attacks.evaluation import Evaluation
from attacks.gradient import GradientAttack
from attacks.inputs import require, require_count
from attacks.landscape import Landscape
from attacks.nearest import contract, distance, nearer_of, undo
from attacks.objectives import margin, margin_ascent
from attacks.projection import project
from attacks.threat import Budget, Norm

# Keeps the hyperbolic arc tangent of black and white finite.
_INSIDE = 0.999999
# A constant that has never failed or never succeeded is multiplied by ten, up to here.
_LARGEST_CONSTANT = 1e10


@dataclass(frozen=True, slots=True, kw_only=True)
class CarliniWagner(GradientAttack):
    """Minimises ``|change|^2 + constant * max(0, confidence - margin)``; values are in [0, 1].

    The image is ``(tanh(w) + 1) / 2``, so that no w leaves the range; Adam moves w. The nearest image that
    fooled the model is the result. On the grid the model is asked about the rounded image all the way, with
    the gradient passing straight through the rounding, and what was found is then made smaller: the whole
    change first, then value by value. With drawn weights and ``scoring_draws`` above 1 an image counts as
    fooling only if the mean of so many fresh draws says so too.

    Attributes:
        steps: Adam's steps for each constant.
        learning_rate: Adam's.
        constant: The first weight of the margin.
        searches: Constants that are tried; after the first one each image halves its own interval.
        confidence: Margin to reach, in units of the model's logits.
        abort_early: Leave an image that has made no progress in a tenth of the steps; on the grid, only once
            it fools.

    References:
        Carlini and Wagner, Towards evaluating the robustness of neural networks (S&P 2017), section V; the
        defaults are those of Galloway et al., Attacking binarized neural networks (ICLR 2018).
    """

    name: ClassVar[str] = "cw"
    norms: ClassVar[tuple[Norm, ...]] = (Norm.L2,)
    minimises: ClassVar[bool] = True

    norm: Norm = Norm.L2
    steps: int = 1000
    learning_rate: float = 0.1
    constant: float = 10.0
    searches: int = 1
    confidence: float = 0.0
    abort_early: bool = True

    def __post_init__(self) -> None:
        # Not super(): slots=True makes a second class, which super() without arguments doesn't know.
        GradientAttack.__post_init__(self)
        require_count("the number of steps", self.steps, least=1)
        require_count("the number of searches", self.searches, least=1)
        for what, number in (("learning rate", self.learning_rate), ("constant", self.constant)):
            good = math.isfinite(number) and number > 0
            require(good, f"the {what} must be a positive number, not {number}")
        good = math.isfinite(self.confidence) and self.confidence >= 0
        require(good, f"the confidence must be at least 0, not {self.confidence}")

    def search(self, landscape: Landscape, clean: Evaluation, budget: Budget) -> Evaluation:
        """Return the nearest image that fools; the original where there was none."""
        constant = torch.full((len(clean.position),), self.constant)
        low, high = torch.zeros_like(constant), torch.full_like(constant, torch.inf)
        best = clean
        for _ in range(self.searches):
            best, fooled = _Descent(self, landscape, clean.position, budget).run(constant, best)
            high = torch.where(fooled, torch.minimum(high, constant), high)
            low = torch.where(fooled, low, torch.maximum(low, constant))
            middle = torch.where(high.isinf(), 10 * constant, (low + high) / 2)
            constant = middle.clamp(max=_LARGEST_CONSTANT)
        if not self.on_grid or not bool(best.success.any()):
            return best

        def judge(position: Tensor) -> Evaluation:
            return landscape.confirm(position, max(self.scoring_draws, self.eot))

        best = contract(judge, best, clean.position, Norm.L2)
        return undo(judge, best, clean.position, Norm.L2)


class _Descent:
    """One constant's descent on a batch."""

    def __init__(self, attack: CarliniWagner, landscape: Landscape, original: Tensor, budget: Budget) -> None:
        self._attack, self._landscape = attack, landscape
        self._original, self._budget = original, budget

    def run(self, constant: Tensor, best: Evaluation) -> tuple[Evaluation, Tensor]:
        """Return the better of ``best`` and of what was seen, and which images were fooled, bool ``(N,)``."""
        attack = self._attack
        w = ((self._original / 127.5 - 1) * _INSIDE).atanh()
        adam = Adam(w, attack.learning_rate)
        running = torch.ones(len(w), dtype=torch.bool)
        fooled = torch.zeros_like(running)
        reference = torch.full((len(w),), torch.inf, dtype=torch.float64)
        for step in range(attack.steps):
            curve = w.tanh()
            exact = 127.5 * (curve + 1)
            shown = project(exact, self._original, self._budget, on_grid=attack.on_grid)
            self._landscape.advance(step / attack.steps)
            seen, gradient = self._landscape.differentiate(shown, self._hinge_ascent)
            best, hit = self._taken(seen, best, running)
            fooled |= hit
            pull = 2 * (exact - self._original) / 255
            slope = (pull - constant[:, None, None, None] * gradient) * (1 - curve**2) / 2
            w = torch.where(running[:, None, None, None], adam.moved(w, slope), w)
            if attack.abort_early and step % max(1, attack.steps // 10) == 0:
                cost = distance(shown, self._original, Norm.L2) / 255**2 + constant * self._hinge(seen.logits)
                # Logits in steps stay where they are for a while: on the grid only who has fooled may stop.
                running &= (cost <= 0.9999 * reference) | (~fooled if attack.on_grid else False)
                reference = cost
                if not bool(running.any()):
                    break
        return best, fooled

    def _taken(self, seen: Evaluation, best: Evaluation, running: Tensor) -> tuple[Evaluation, Tensor]:
        """Return the nearer images, and those of ``seen`` that fool with the confidence asked for."""
        classes = self._landscape.problem.classes
        hit = seen.success & running & (margin(seen.logits, classes) >= self._attack.confidence)
        nearer = nearer_of(seen, best, self._original, Norm.L2)
        gains = hit & (nearer.position == seen.position).flatten(1).all(1)
        if self._attack.scoring_draws > 1 and self._landscape.is_drawn and bool(gains.any()):
            fresh = self._landscape.confirm(seen.position, self._attack.scoring_draws)
            gains, hit, seen = gains & fresh.success, hit & fresh.success, fresh
        return seen.where(gains, best), hit

    def _hinge(self, logits: Tensor) -> Tensor:
        """Return how much of the margin is missing, ``(N,)``."""
        lead = margin(logits.double(), self._landscape.problem.classes)
        return (self._attack.confidence - lead).clamp_min(0)

    def _hinge_ascent(self, logits: Tensor) -> Tensor:
        problem = self._landscape.problem
        # A tie has margin 0 and may yet be lost, where the true class has the lower index.
        missing = (self._hinge(logits) > 0) | ~problem.success(logits)
        return margin_ascent(logits, problem.classes) * missing[:, None]
