"""Carlini and Wagner's attack: the smallest change that fools, by gradient descent on a weighted sum."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from attacks.adam import Adam
from attacks.chunks import Asker
from attacks.estimators import Estimator
from attacks.evaluation import Evaluation, Problem
from attacks.gradient import GradientAttack
from attacks.inputs import require, require_count
from attacks.landscape import Landscape
from attacks.nearest import contract, distance, undo
from attacks.objectives import margin, margin_ascent
from attacks.projection import project
from attacks.threat import Budget, Norm

# Keeps the hyperbolic arc tangent of black and white finite.
_INSIDE = 0.999999
# A constant that has never failed or never succeeded is multiplied by ten, up to here.
_LARGEST_CONSTANT = 1e10
# Times that the model is asked whether a changed value is needed.
_LOOKS = 16
# Shares of the steps after which an image that makes no progress is left: what nears by jumps shows it soon.
_ALIKE_SHARE, _SHARE = 100, 10
_MIDDLE, _HALF = torch.tensor(127.5), torch.tensor(0.5)


@dataclass(frozen=True, slots=True, kw_only=True)
class CarliniWagner(GradientAttack):
    """Minimises ``|change|^2 + constant * max(0, confidence - margin)``; values are in [0, 1].

    The image is ``(tanh(w) + 1) / 2``, so that no w leaves the range; Adam moves w. The nearest image that
    fooled the model is the result. On the grid the model is asked about the rounded image all the way, with
    the gradient passing straight through the rounding. What fooled is made smaller at once where the model
    says which grey levels are the same to it (`attacks.surrogate` does), and in the end: by giving values
    their original back, else by scaling the whole change first. With drawn weights and ``scoring_draws``
    above 1 an image counts as fooling only if the mean of so many fresh draws says so too.

    Attributes:
        steps: Adam's steps for each constant.
        learning_rate: Adam's.
        constant: The first weight of the margin.
        searches: Constants that are tried; after the first one each image halves its own interval.
        confidence: Margin to reach, in units of the model's logits.
        abort_early: Leave an image that has made no progress in a tenth of the steps. On the grid, where
            logits in steps stay where they are for a while, only who fools is left: after a hundredth of the
            steps in which no nearer image fooled.

    References:
        Carlini and Wagner, Towards evaluating the robustness of neural networks (S&P 2017), section V; the
        defaults are those of Galloway et al., Attacking binarized neural networks (ICLR 2018).
    """

    name: ClassVar[str] = "cw"
    norms: ClassVar[tuple[Norm, ...]] = (Norm.L2,)
    minimises: ClassVar[bool] = True
    batches_at_once: ClassVar[int] = 8

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
        asker = Asker(landscape=landscape, draws=max(self.scoring_draws, self.eot))
        constant = torch.full((len(clean.position),), self.constant)
        low, high = torch.zeros_like(constant), torch.full_like(constant, torch.inf)
        best = clean
        for _ in range(self.searches):
            best, fooled = _Descent(self, asker, clean, budget, constant).run(best)
            high = torch.where(fooled, torch.minimum(high, constant), high)
            low = torch.where(fooled, low, torch.maximum(low, constant))
            middle = torch.where(high.isinf(), 10 * constant, (low + high) / 2)
            constant = middle.clamp(max=_LARGEST_CONSTANT)
        if not self.on_grid or not bool(best.success.any()):
            return best
        if landscape.knows_alike:
            # All values that are changed still matter to the first layer: those that cost most go first.
            return undo(asker.confirm, best, clean.position, Norm.L2, looks=_LOOKS, dearest_first=True)
        best = contract(asker.confirm, best, clean.position, Norm.L2)
        return undo(asker.confirm, best, clean.position, Norm.L2)


class _Descent:
    """One constant's descent on a batch.

    So many images are under way as one call of the model takes; whoever ends makes room for the next one.
    Those that the model is surest of take longest and begin first, so that few calls at the end are half
    empty.
    """

    def __init__(
        self, attack: CarliniWagner, asker: Asker, clean: Evaluation, budget: Budget, constant: Tensor
    ) -> None:
        self._attack, self._landscape, self._budget = attack, asker.landscape, budget
        original = clean.position
        self._originals, self._constants = original, constant
        self._queue = margin(clean.logits, asker.landscape.problem.classes).argsort(stable=True)
        if asker.landscape.is_drawn:
            self._queue = torch.arange(len(original))
        # The steeper tanh goes by the step, which then is one for all.
        self._mixes = asker.landscape.estimation.estimator is not Estimator.TANH
        height = len(original) if asker.landscape.is_drawn else asker.height
        self._next = min(height, len(original))
        self._running = torch.arange(height) < len(original)
        self._rows = self._queue[torch.arange(height).clamp_max(len(original) - 1)]
        self._age = torch.zeros(height, dtype=torch.int64)
        self._reference = torch.full((height,), torch.inf, dtype=torch.float64)
        self._original = original[self._rows]
        self._w = _inverse(self._original)
        self._adam = Adam(self._w, attack.learning_rate)
        self._here = self._part()

    def run(self, best: Evaluation) -> tuple[Evaluation, Tensor]:
        """Return the better of ``best`` and of what was seen, and which images were fooled, bool ``(N,)``."""
        attack, found = self._attack, _Found(best, self._originals)
        while bool(self._running.any()):
            curve = self._w.tanh()
            exact = torch.add(_MIDDLE, curve, alpha=127.5)
            shown = self._shown(exact)
            self._here.advance(int(self._age[0]) / attack.steps)
            seen, gradient = self._here.differentiate(shown, self._hinge_ascent)
            self._take(found, seen)
            self._leave(found, seen)
            slope = (exact - self._original).mul_(2 / 255)
            slope.addcmul_(gradient, self._constants[self._rows, None, None, None], value=-1)
            self._w = self._adam.moved(self._w, slope.mul_(torch.addcmul(_HALF, curve, curve, value=-0.5)))
            self._age += 1
            self._running &= self._age < attack.steps
            self._refill()
        return found.evaluation(self._landscape.problem), found.fooled

    def _shown(self, exact: Tensor) -> Tensor:
        """Return the images that the model is asked about."""
        if self._attack.eps is None:
            return exact.round() if self._attack.on_grid else exact
        return project(exact, self._original, self._budget, on_grid=self._attack.on_grid)

    def _take(self, found: _Found, seen: Evaluation) -> None:
        """Keep what fools with the confidence asked for, where it is nearer."""
        attack, landscape = self._attack, self._here
        hit = seen.success & self._running
        if attack.confidence > 0:
            hit &= margin(seen.logits, landscape.problem.classes) >= attack.confidence
        if not bool(hit.any()):
            return
        if attack.scoring_draws > 1 and landscape.is_drawn:
            seen = landscape.confirm(seen.position, attack.scoring_draws)
            hit &= seen.success
        found.take(self._rows[hit], seen[hit], self._age[hit], landscape if attack.on_grid else None)

    def _leave(self, found: _Found, seen: Evaluation) -> None:
        """Let go of images that make no progress."""
        attack = self._attack
        if not attack.abort_early:
            return
        if attack.on_grid:
            patience = max(1, attack.steps // (_ALIKE_SHARE if self._landscape.knows_alike else _SHARE))
            waiting = self._age - found.age[self._rows] < patience
            self._running &= ~found.fooled[self._rows] | waiting
            return
        due = self._age % max(1, attack.steps // _SHARE) == 0
        if bool(due.any()):
            hinge = self._constants[self._rows] * self._hinge(seen.logits)
            cost = distance(seen.position, self._original, Norm.L2) / 255**2 + hinge
            self._running &= ~due | (cost <= 0.9999 * self._reference)
            self._reference = torch.where(due, cost, self._reference)

    def _refill(self) -> None:
        """Give the places of images that are done to the next ones."""
        if self._next == len(self._originals) or bool(self._running.all()):
            return
        if not self._mixes and bool(self._running.any()):
            return
        places = torch.nonzero(~self._running)[: len(self._originals) - self._next, 0]
        rows = self._queue[self._next : self._next + len(places)]
        self._next += len(places)
        self._rows[places], self._running[places], self._age[places] = rows, True, 0
        self._original[places] = self._originals[rows]
        self._w[places] = _inverse(self._original[places])
        self._reference[places] = torch.inf
        self._adam.restart(places)
        self._here = self._part()

    def _part(self) -> Landscape:
        return self._landscape if self._landscape.is_drawn else self._landscape.part(self._rows)

    def _hinge(self, logits: Tensor) -> Tensor:
        """Return how much of the margin is missing, ``(H,)``."""
        lead = margin(logits.double(), self._here.problem.classes)
        return (self._attack.confidence - lead).clamp_min(0)

    def _hinge_ascent(self, logits: Tensor) -> Tensor:
        problem = self._here.problem
        # A tie has margin 0 and may yet be lost, where the true class has the lower index.
        missing = ~problem.success(logits)
        if self._attack.confidence > 0:
            missing |= self._hinge(logits) > 0
        return margin_ascent(logits, problem.classes).mul_(missing[:, None])


def _inverse(position: Tensor) -> Tensor:
    """Return w for images of the range 0 to 255."""
    return ((position / 127.5 - 1) * _INSIDE).atanh()


class _Found:
    """The nearest images so far.

    Attributes:
        fooled: Which were fooled, bool ``(N,)``.
        age: Step that found the nearest one, int64 ``(N,)``; what was there before counts as very old.
    """

    def __init__(self, best: Evaluation, original: Tensor) -> None:
        self._original, self._position, self._logits = original, best.position.clone(), best.logits.clone()
        self._squares = torch.where(best.success, distance(best.position, original, Norm.L2), torch.inf)
        # An original that is wrong by itself can't be improved.
        self.fooled = self._squares == 0
        self.age = torch.full((len(original),), -(1 << 40))

    def take(self, rows: Tensor, seen: Evaluation, age: Tensor, landscape: Landscape | None) -> None:
        """Take images that fool, where they are nearer than what there is.

        Args:
            rows: Which images.
            seen: Those images.
            age: Step of each, int64 ``(M,)``.
            landscape: Makes them smaller first; None leaves them.
        """
        self.fooled[rows] = True
        original, position = self._original[rows], seen.position
        if landscape is not None:
            position = landscape.nearest_alike(position, original)
        squares = distance(position, original, Norm.L2)
        nearer = squares < self._squares[rows]
        rows = rows[nearer]
        self._position[rows], self._logits[rows] = position[nearer], seen.logits[nearer]
        self._squares[rows], self.age[rows] = squares[nearer], age[nearer]

    def evaluation(self, problem: Problem) -> Evaluation:
        """Return them all."""
        return problem.judge(self._position, self._logits)
