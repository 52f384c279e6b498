"""What attacks that walk share: starts, restarts, and staying in the ball, on the grid or between."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from attacks.evaluation import Evaluation
from attacks.gradient import GradientAttack
from attacks.landscape import Landscape
from attacks.projection import project
from attacks.streams import START, image_stream
from attacks.threat import Budget, Norm


@dataclass(frozen=True, slots=True, kw_only=True)
class SteppingAttack(GradientAttack, ABC):
    """An attack that walks: each step follows from the gradient where it stands, and stays in the ball."""

    @property
    def rounds(self) -> int:
        """Steps of one run."""
        return 1

    @property
    def runs(self) -> int:
        """Runs, each from a start of its own."""
        return 1

    @property
    def starts_at_random(self) -> bool:
        """Whether a run starts at a random image of the ball instead of the original."""
        return False

    @abstractmethod
    def step(self, gradient: Tensor, memory: Tensor | None, budget: Budget) -> tuple[Tensor, Tensor | None]:
        """Choose the next displacement.

        Args:
            gradient: Of the attacker's loss, float32 ``(N, C, H, W)``; each image's is known up to a positive
                factor only.
            memory: What the step before returned, None on a run's first step.
            budget: The ball.

        Returns:
            Displacement in grid steps ``(N, C, H, W)``, and what to remember. Leaving the ball, the pixel
            range or the grid is no concern of the algorithm.
        """

    def search(self, landscape: Landscape, clean: Evaluation, budget: Budget) -> Evaluation:
        """Run all restarts; return the best image seen, or the last one where the algorithm says so."""
        best, inside = clean, self._ball(clean.position, budget)
        for run in range(self.runs):
            position = clean.position
            if self.starts_at_random:
                noise = random_start(self.seed, position.shape, run, landscape.first_index, budget)
                position = inside(position + noise)
            memory: Tensor | None = None
            for taken in range(self.rounds):
                landscape.advance(taken / self.rounds)
                seen, gradient = landscape.differentiate(self.seen_at(position, clean.position, budget))
                best = seen.better_of(best)
                displacement, memory = self.step(gradient, memory, budget)
                position = inside(position + displacement)
            seen = landscape.look(self.seen_at(position, clean.position, budget))
            best = self.settled(landscape, seen, best) if self.keep_best else seen
        return best

    def seen_at(self, position: Tensor, original: Tensor, budget: Budget) -> Tensor:
        """Return the image that the model is asked about where the walk stands."""
        if not self.on_grid or budget.norm is Norm.LINF:
            return position
        return project(position, original, budget, on_grid=True)

    def _ball(self, original: Tensor, budget: Budget) -> Callable[[Tensor], Tensor]:
        """Return what brings a walk back into the ball."""
        if not self.on_grid or budget.norm is not Norm.LINF:
            # A step may be less than half a level, so the walk remembers where it is between the levels, and
            # the model sees the nearest image of the grid.
            return lambda position: project(position, original, budget, on_grid=False)
        radius = budget.limit((original.shape[2], original.shape[3], original.shape[1]))
        low, high = (original - radius).clamp_(min=0), (original + radius).clamp_(max=255)
        # A L∞ step moves every value by whole levels.
        return lambda position: torch.minimum(torch.maximum(position, low), high)


def random_start(seed: int, shape: torch.Size, run: int, first_index: int, budget: Budget) -> Tensor:
    """Draw noise uniformly, whole grid steps, one stream an image.

    L∞: integers of the ball. L2: integers of a cube around the original about as large as the ball; the
    projection brings them back.
    """
    channels, height, width = shape[1:]
    limit = budget.limit((height, width, channels))
    side = (
        limit if budget.norm is Norm.LINF else max(1, math.ceil(math.sqrt(3 * limit / math.prod(shape[1:]))))
    )
    noise = np.empty(shape, dtype=np.float32)
    for row, image in enumerate(noise):
        stream = image_stream(seed, START, first_index + row, run)
        image[...] = stream.integers(-side, side, size=image.shape, endpoint=True)
    return torch.from_numpy(noise)
