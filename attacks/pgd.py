"""Projected gradient descent: many small steps, each brought back into the ball."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from attacks.evaluation import Evaluation
from attacks.flips import flip
from attacks.gradient import GradientAttack
from attacks.inputs import require, require_count
from attacks.landscape import Landscape
from attacks.projection import steepest
from attacks.stepping import SteppingAttack
from attacks.threat import Budget, Norm


@dataclass(frozen=True, slots=True, kw_only=True)
class Descent(SteppingAttack, ABC):
    """Steps of one length along the gradient.

    Attributes:
        steps: Steps of one run.
        step_size: Length of a step in the unit of eps. L∞ on the grid: rounded to whole levels, at least one.
            None for the algorithm's own.
        momentum: Share of the direction that is kept from step to step, 0 for none.
        flips: Further looks after all runs, for L∞ on the grid, see `attacks.flips`. None leaves an eighth of
            each run's steps for them, so that a run costs what it did.
    """

    norms: ClassVar[tuple[Norm, ...]] = (Norm.LINF, Norm.L2)
    keep_best: ClassVar[bool] = True

    steps: int = 20
    step_size: float | None = None
    momentum: float = 0.0
    flips: int | None = 0

    def __post_init__(self) -> None:
        # Not super(): slots=True makes a second class, which super() without arguments doesn't know.
        GradientAttack.__post_init__(self)
        require_count("the number of steps", self.steps, least=1)
        if self.flips is not None:
            require_count("the number of flips", self.flips, least=0)
        size = self.step_size
        require(
            size is None or (math.isfinite(size) and size > 0 and (size <= 1 or self.norm is Norm.L2)),
            f"the step size must be above 0, and at most 1 for {Norm.LINF}, not {size}",
        )
        require(0 <= self.momentum <= 1, f"the momentum must be from 0 to 1, not {self.momentum}")

    def search(self, landscape: Landscape, clean: Evaluation, budget: Budget) -> Evaluation:
        """Run all restarts; return the best image seen."""
        best = SteppingAttack.search(self, landscape, clean, budget)
        looks = self.runs * self._kept if self.flips is None else self.flips
        if looks == 0 or not self.on_grid or budget.norm is not Norm.LINF:
            return best
        shape = (clean.position.shape[2], clean.position.shape[3], clean.position.shape[1])
        return flip(landscape, best, clean.position, budget.limit(shape), looks=looks, seed=self.seed)

    @property
    def rounds(self) -> int:
        """Steps of one run."""
        return self.steps - self._kept

    @property
    def _kept(self) -> int:
        """Steps of one run that are left for flips."""
        flips = self.flips is None and self.on_grid and self.norm is Norm.LINF
        return self.steps // 8 if flips else 0

    @property
    @abstractmethod
    def own_step_size(self) -> float:
        """Length of a step that the algorithm chooses."""

    @property
    def length(self) -> float:
        """Length of a step in levels of the 8-bit grid; whole for L∞ where the attack is on the grid."""
        size = 255 * (self.own_step_size if self.step_size is None else self.step_size)
        return max(1, round(size)) if self.on_grid and self.norm is Norm.LINF else size

    def step(self, gradient: Tensor, memory: Tensor | None, budget: Budget) -> tuple[Tensor, Tensor | None]:
        """Step along the gradient's steepest direction, or that of its running average."""
        if self.momentum == 0:
            return steepest(gradient, budget.norm) * self.length, None
        size = gradient.abs().sum(dim=(1, 2, 3), keepdim=True)
        average = gradient / size.clamp_min(torch.finfo(gradient.dtype).tiny)
        if memory is not None:
            average = average + self.momentum * memory
        return steepest(average, budget.norm) * self.length, average


@dataclass(frozen=True, slots=True, kw_only=True)
class Pgd(Descent):
    """Steps along the gradient's sign, brought back into the ball; the best image of all restarts wins.

    Best means: fools the model, then a higher loss. With a random start the original competes as well, so an
    attack never returns an image that is harder to fool than the original. Without a step size a step is
    ``2.5 * eps / steps``, with which a run can cross the ball. With the L2 norm a step follows the gradient
    itself.

    Attributes:
        restarts: Runs, each from its own random start.
        random_start: Start uniformly in the ball instead of at the original.

    References:
        Madry et al., Towards deep learning models resistant to adversarial attacks (ICLR 2018); momentum as
        in Dong et al., Boosting adversarial attacks with momentum (CVPR 2018).
    """

    name: ClassVar[str] = "pgd"

    flips: int | None = None
    restarts: int = 1
    random_start: bool = True

    def __post_init__(self) -> None:
        Descent.__post_init__(self)
        require_count("the number of restarts", self.restarts, least=1)
        require(
            self.random_start or self.restarts == 1,
            f"{self.restarts} restarts from the same original are the same run",
            hint="use random_start, or one restart",
        )

    @property
    def own_step_size(self) -> float:
        """Far enough to cross the ball."""
        return 2.5 * (self.eps or 0.0) / self.steps

    @property
    def runs(self) -> int:
        """Runs, each from a start of its own."""
        return self.restarts

    @property
    def starts_at_random(self) -> bool:
        """Whether a run starts at a random image of the ball."""
        return self.random_start
