"""The Jacobian-based saliency map attack: few pixels, each driven to black or white."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from attacks.chunks import Asker
from attacks.evaluation import Evaluation
from attacks.gradient import GradientAttack
from attacks.inputs import require, require_count
from attacks.landscape import Landscape
from attacks.nearest import nearer_of, undo
from attacks.threat import Budget, Norm


@dataclass(frozen=True, slots=True, kw_only=True)
class Jsma(GradientAttack):
    """Changes the pair of values whose gradients help the aim and hurt the other classes most.

    Without a target the roles change: what hurts the true class and helps the others. Pairs are made of the
    ``candidates`` values that are best alone. On the grid a value may go either way, and what was not needed
    is undone in the end.

    Attributes:
        theta: Change of a value in one step, in [-1, 1]: 1 drives it to white.
        candidates: Values that pairs are made of, for each image.

    References:
        Papernot et al., The limitations of deep learning in adversarial settings (EuroS&P 2016), algorithms 2
        and 3; without a target as in Wiyatno and Xu, Maximal Jacobian-based saliency map attack (2018).
    """

    name: ClassVar[str] = "jsma"
    norms: ClassVar[tuple[Norm, ...]] = (Norm.L0,)
    minimises: ClassVar[bool] = True

    norm: Norm = Norm.L0
    eps: float | None = 0.145
    theta: float = 1.0
    candidates: int = 64

    def __post_init__(self) -> None:
        # Not super(): slots=True makes a second class, which super() without arguments doesn't know.
        GradientAttack.__post_init__(self)
        good = math.isfinite(self.theta) and 1 / 255 <= abs(self.theta) <= 1
        require(good, f"theta must be from 1/255 to 1, or its negative, not {self.theta}")
        require_count("the number of candidates", self.candidates, least=2)

    @property
    def length(self) -> float:
        """Change of a value in levels; whole on the grid."""
        return float(round(255 * self.theta)) if self.on_grid else 255 * self.theta

    def search(self, landscape: Landscape, clean: Evaluation, budget: Budget) -> Evaluation:
        """Return the first image of each search that fools, on the grid with fewer pixels yet."""
        original, best = clean.position, clean
        limit = budget.limit((original.shape[2], original.shape[3], original.shape[1]))
        position = original
        # A value that has come to an end of the range is done.
        rounds = math.ceil(limit * original.shape[1] / 2) * math.ceil(255 / abs(self.length))
        for step in range(rounds):
            landscape.advance(step / rounds)
            seen, slopes = self._slopes(landscape, position)
            best = nearer_of(seen, best, original, Norm.L0)
            move = self._move(position, original, slopes) * ~best.success[:, None, None, None]
            moved = (position + move).clamp(0, 255)
            inside = (moved != original).any(dim=1).flatten(1).sum(1) <= limit
            moved = torch.where(inside[:, None, None, None], moved, position)
            if bool((moved == position).all()):
                break
            position = moved
        else:
            best = nearer_of(landscape.look(position), best, original, Norm.L0)
        if not self.on_grid or not bool(best.success.any()):
            return best

        asker = Asker(landscape=landscape, draws=max(self.scoring_draws, self.eot), height=len(original))
        return undo(asker.confirm, best, original, Norm.L0)

    def _slopes(self, landscape: Landscape, position: Tensor) -> tuple[Evaluation, Tensor]:
        """Return gradients ``(N, 2, values)``: of the class that goes up, and of what goes down."""
        classes = landscape.problem.classes

        def rises(logits: Tensor) -> list[Tensor]:
            pivot = torch.zeros_like(logits).scatter(1, classes.pivot, 1.0)
            return [1 - pivot, pivot] if classes.aim is None else [pivot, 1 - pivot]

        seen, gradients = landscape.differentiate_all(position, rises)
        return seen, gradients.flatten(2)

    def _move(self, position: Tensor, original: Tensor, slopes: Tensor) -> Tensor:
        """Return the displacement of the best pair, 0 where there is none."""
        values = position.flatten(1)
        moves = torch.full_like(values, self.length)
        up, down = slopes[:, 0], slopes[:, 1]
        if self.on_grid:
            moves = torch.where(up - down >= 0, moves.abs(), -moves.abs())
        ended = (values != original.flatten(1)) & ((values == 0) | (values == 255))
        free = (((values + moves).clamp(0, 255) != values) & ~ended).float()
        gain, loss = up * moves.sign(), -down * moves.sign()
        count = min(self.candidates, values.shape[1])
        alone = torch.where(free > 0, gain + loss, -torch.inf)
        best = alone.topk(count, dim=1).indices
        gains, losses, usable = gain.gather(1, best), loss.gather(1, best), free.gather(1, best)
        both = gains[:, :, None] + gains[:, None], losses[:, :, None] + losses[:, None]
        pairs = (usable[:, :, None] * usable[:, None] > 0) & ~torch.eye(count, dtype=torch.bool)
        good = pairs & (both[0] > 0) & (both[1] > 0)
        saliency = torch.where(good, both[0] * both[1], 0.0).flatten(1)
        top, place = saliency.max(1)
        pair = torch.stack([place // count, place % count], dim=1)
        chosen = torch.zeros_like(values).scatter(1, best.gather(1, pair), 1.0)
        return (chosen * (top > 0)[:, None] * moves).view_as(position)
