"""Projected gradient descent in whole steps of the 8-bit grid."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from attacks.gradient import GradientAttack, SteppingAttack
from attacks.inputs import require, require_count
from attacks.threat import Budget


@dataclass(frozen=True, slots=True, kw_only=True)
class Pgd(SteppingAttack):
    """Steps along the gradient's sign, clipped to the ball; the best image of all steps and restarts wins.

    Best means: fools the model, then a higher loss. With a random start the original competes as well, so an
    attack never returns an image that is harder to fool than the original.

    Attributes:
        steps: Steps of one run.
        step_size: Length of a step per pixel in [0, 1], rounded to the grid, at least 1/255; None for
            ``2.5 * eps / steps``, with which a run can cross the ball.
        restarts: Runs, each from its own random start.
        random_start: Start uniformly in the ball instead of at the original.
        momentum: Share of the direction that is kept from step to step, 0 for none.

    References:
        Madry et al., Towards deep learning models resistant to adversarial attacks (ICLR 2018); momentum as
        in Dong et al., Boosting adversarial attacks with momentum (CVPR 2018).
    """

    name: ClassVar[str] = "pgd"
    keep_best: ClassVar[bool] = True

    steps: int = 20
    step_size: float | None = None
    restarts: int = 1
    random_start: bool = True
    momentum: float = 0.0

    def __post_init__(self) -> None:
        # Not super(): slots=True makes a second class, which super() without arguments doesn't know.
        GradientAttack.__post_init__(self)
        require_count("PGD's number of steps", self.steps, least=1)
        require_count("PGD's number of restarts", self.restarts, least=1)
        size = self.step_size
        require(
            size is None or (math.isfinite(size) and 0 < size <= 1),
            f"PGD's step size must be above 0 and at most 1, not {size}",
        )
        require(0 <= self.momentum <= 1, f"PGD's momentum must be from 0 to 1, not {self.momentum}")
        require(
            self.random_start or self.restarts == 1,
            f"{self.restarts} restarts from the same original are the same run",
            hint="use random_start, or one restart",
        )

    @property
    def rounds(self) -> int:
        """Steps of one run."""
        return self.steps

    @property
    def runs(self) -> int:
        """Runs, each from a start of its own."""
        return self.restarts

    @property
    def starts_at_random(self) -> bool:
        """Whether a run starts at a random image of the ball."""
        return self.random_start

    @property
    def length(self) -> float:
        """Length of a step per pixel in steps of the 8-bit grid; a whole number where the attack is on it."""
        size = 255 * (2.5 * (self.eps or 0.0) / self.steps if self.step_size is None else self.step_size)
        return max(1, round(size)) if self.on_grid else size

    def step(self, gradient: Tensor, memory: Tensor | None, budget: Budget) -> tuple[Tensor, Tensor | None]:
        """Step along the sign of the gradient, or of its running average."""
        if self.momentum == 0:
            return gradient.sign() * self.length, None
        size = gradient.abs().sum(dim=(1, 2, 3), keepdim=True)
        average = gradient / size.clamp_min(torch.finfo(gradient.dtype).tiny)
        if memory is not None:
            average = average + self.momentum * memory
        return average.sign() * self.length, average
