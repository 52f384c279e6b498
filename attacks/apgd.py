"""Auto-PGD: projected gradient descent that chooses its step sizes by its own progress."""

from __future__ import annotations

import dataclasses
import math
from abc import ABC
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from attacks.evaluation import Evaluation
from attacks.flips import flip
from attacks.goal import Goal
from attacks.gradient import GradientAttack
from attacks.inputs import require, require_count
from attacks.landscape import Landscape
from attacks.objectives import Objective, check_classes_for
from attacks.projection import project, steepest
from attacks.stepping import random_start
from attacks.threat import Budget, Norm

# How much of the new direction a step takes; the rest goes on as before.
_NEW = 0.75


@dataclass(frozen=True, slots=True, kw_only=True)
class Apgd(GradientAttack, ABC):
    """Steps that begin as wide as the ball, and halve where an image's loss stops rising.

    At checkpoints each image whose loss rose too seldom, or not at all, goes back to its best place with half
    the step. On the grid the walk remembers where it is between the levels, and the model sees the nearest
    image of the grid; for L∞ `attacks.flips` goes on from the best image.

    Attributes:
        steps: Steps of one run.
        restarts: Runs, each from its own random start.
        rho: Share of the steps between checkpoints in which the loss must rise.
        flips: Further looks after all restarts, for L∞ on the grid.

    References:
        Croce and Hein, Reliable evaluation of adversarial robustness with an ensemble of diverse
        parameter-free attacks (ICML 2020), algorithm 1.
    """

    norms: ClassVar[tuple[Norm, ...]] = (Norm.LINF, Norm.L2)
    own_objective: ClassVar[Objective]

    steps: int = 100
    restarts: int = 1
    rho: float = 0.75
    flips: int = 50

    def __post_init__(self) -> None:
        # Not super(): slots=True makes a second class, which super() without arguments doesn't know.
        GradientAttack.__post_init__(self)
        require_count("the number of steps", self.steps, least=1)
        require_count("the number of restarts", self.restarts, least=1)
        require_count("the number of flips", self.flips, least=0)
        require(0 <= self.rho <= 1, f"rho must be from 0 to 1, not {self.rho}")
        require(
            self.objective is self.own_objective,
            f"{self.name} maximises {self.own_objective}, not {self.objective}",
            hint="known: apgd-ce, apgd-dlr and, towards one class after the other, apgd-t",
        )

    def search(self, landscape: Landscape, clean: Evaluation, budget: Budget) -> Evaluation:
        """Run all restarts; return the best image seen."""
        best, walk = clean, _Walk(self, landscape, clean, budget)
        for run in range(self.restarts):
            noise = random_start(self.seed, clean.position.shape, run, landscape.first_index, budget)
            start = project(clean.position + noise, clean.position, budget, on_grid=False)
            best = walk.run(start, best)
        if self.flips == 0 or not self.on_grid or budget.norm is not Norm.LINF:
            return best
        shape = (clean.position.shape[2], clean.position.shape[3], clean.position.shape[1])
        limit = budget.limit(shape)
        found = flip(landscape, walk.closest, clean.position, limit, looks=self.flips, seed=self.seed)
        return found.better_of(best)

    def checkpoints(self) -> list[int]:
        """Return the numbers of steps after which step sizes are reconsidered."""
        shares = [0.0, 0.22]
        while shares[-1] < 1:
            shares.append(shares[-1] + max(shares[-1] - shares[-2] - 0.03, 0.06))
        return sorted({math.ceil(share * self.steps - 1e-9) for share in shares[1:] if share <= 1})


class _Walk:
    """Runs on a batch.

    Attributes:
        closest: The images with the best margin so far, whatever is maximised.
    """

    def __init__(self, attack: Apgd, landscape: Landscape, clean: Evaluation, budget: Budget) -> None:
        self._attack, self._landscape = attack, landscape
        self._original, self._budget = clean.position, budget
        self._margin = dataclasses.replace(landscape.problem, objective=Objective.MARGIN)
        self._length = torch.zeros(0)
        self.closest = self._margin.judge(clean.position, clean.logits)

    def run(self, start: Tensor, best: Evaluation) -> Evaluation:
        """Walk; return the better of what was seen and of ``best``."""
        here = before = start
        self._length = torch.full((len(start), 1, 1, 1), 2 * 255.0 * self._budget.eps)
        seen, gradient = self._differentiate(here)
        best = seen.better_of(best)
        top, top_here, top_gradient = seen.loss, here, gradient
        loss, rises = seen.loss, torch.zeros(len(here))
        halved, last_top, last_check = torch.zeros(len(here), dtype=torch.bool), top, 0
        checkpoints = self._attack.checkpoints()
        for step in range(1, self._attack.steps + 1):
            here, before = self._moved(here, before, gradient, first=step == 1), here
            self._landscape.advance((step - 1) / self._attack.steps)
            seen, gradient = self._differentiate(here)
            best = seen.better_of(best)
            rises += seen.loss > loss
            loss, higher = seen.loss, seen.loss > top
            top = torch.where(higher, seen.loss, top)
            top_here, top_gradient = _pick(higher, here, top_here), _pick(higher, gradient, top_gradient)
            if step in checkpoints:
                stuck = ~halved & (top == last_top)
                halved = (rises < self._attack.rho * (step - last_check)) | stuck
                self._length = torch.where(_wide(halved), self._length / 2, self._length)
                here, gradient = _pick(halved, top_here, here), _pick(halved, top_gradient, gradient)
                last_top, last_check, rises = top, step, torch.zeros(len(here))
        return self._attack.settled(self._landscape, seen, best)

    def _moved(self, here: Tensor, before: Tensor, gradient: Tensor, *, first: bool) -> Tensor:
        ahead = self._inside(here + self._length * steepest(gradient, self._budget.norm))
        if first:
            return ahead
        return self._inside(here + _NEW * (ahead - here) + (1 - _NEW) * (here - before))

    def _inside(self, position: Tensor) -> Tensor:
        return project(position, self._original, self._budget, on_grid=False)

    def _differentiate(self, here: Tensor) -> tuple[Evaluation, Tensor]:
        on_grid = self._attack.on_grid
        shown = project(here, self._original, self._budget, on_grid=True) if on_grid else here
        seen, gradient = self._landscape.differentiate(shown)
        self.closest = self._margin.judge(seen.position, seen.logits).better_of(self.closest)
        return seen, gradient


@dataclass(frozen=True, slots=True, kw_only=True)
class ApgdCe(Apgd):
    """Auto-PGD on the cross-entropy."""

    name: ClassVar[str] = "apgd-ce"
    own_objective: ClassVar[Objective] = Objective.CE


@dataclass(frozen=True, slots=True, kw_only=True)
class ApgdDlr(Apgd):
    """Auto-PGD on the difference of logits ratio, which no scale of the logits changes."""

    name: ClassVar[str] = "apgd-dlr"
    own_objective: ClassVar[Objective] = Objective.DLR

    objective: Objective = Objective.DLR


@dataclass(frozen=True, slots=True, kw_only=True)
class ApgdT(Apgd):
    """Auto-PGD towards one other class after the other; whichever wrong class comes out counts.

    The most likely classes of the original come first.

    Attributes:
        classes: Most classes that are tried; the whole attack runs once for each.
    """

    name: ClassVar[str] = "apgd-t"
    own_objective: ClassVar[Objective] = Objective.DLR

    objective: Objective = Objective.DLR
    classes: int = 9

    def __post_init__(self) -> None:
        Apgd.__post_init__(self)
        require_count("the number of classes", self.classes, least=1)
        require(
            self.goal is Goal.UNTARGETED,
            f"{self.name} chooses its classes itself, not by the goal {self.goal}",
            hint="use apgd-dlr to reach a certain class",
        )

    def search(self, landscape: Landscape, clean: Evaluation, budget: Budget) -> Evaluation:
        """Aim at each class in turn; return the best image seen."""
        count = clean.logits.shape[1]
        check_classes_for(self.objective, count, targeted=True)
        given = landscape.problem
        likely = clean.logits.scatter(1, given.truth[:, None], -torch.inf).argsort(
            descending=True, stable=True
        )
        best = clean
        for aim in likely.T[: min(self.classes, count - 1)]:
            problem = dataclasses.replace(given, aim=aim, any_wrong=True)
            aimed = dataclasses.replace(landscape, problem=problem)
            start = problem.judge(clean.position, clean.logits)
            found = Apgd.search(self, aimed, start, budget)
            # Losses towards different classes can't be compared; the one without an aim can.
            best = given.judge(found.position, found.logits).better_of(best)
        return best


def _wide(rows: Tensor) -> Tensor:
    return rows[:, None, None, None]


def _pick(chosen: Tensor, ours: Tensor, theirs: Tensor) -> Tensor:
    return torch.where(_wide(chosen), ours, theirs)
