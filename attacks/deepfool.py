"""DeepFool: walk to the nearest border of a network that is taken to be linear where the walk stands."""

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
from attacks.nearest import contract, nearer_of, undo
from attacks.projection import project
from attacks.threat import Budget, Norm

# What a step goes beyond the border, in the unit of the logits.
_BEYOND = 1e-4


@dataclass(frozen=True, slots=True, kw_only=True)
class DeepFool(GradientAttack):
    """Steps to the nearest of the other classes' borders, each with the Jacobian of where it stands.

    A target class leads to the border between it and the leading class. On the grid the model sees the
    nearest image of the grid, no step is shorter than half a level a value (the logits of a ±1 network are
    steps, whose edge a linear model puts too near), and what was found is made smaller in the end.

    Attributes:
        steps: Most steps.
        overshoot: What the whole way is made longer by.

    References:
        Moosavi-Dezfooli, Fawzi, Frossard, DeepFool (CVPR 2016), algorithm 2 and section 3.3.
    """

    name: ClassVar[str] = "deepfool"
    norms: ClassVar[tuple[Norm, ...]] = (Norm.L2, Norm.LINF)
    minimises: ClassVar[bool] = True

    norm: Norm = Norm.L2
    steps: int = 50
    overshoot: float = 0.02

    def __post_init__(self) -> None:
        # Not super(): slots=True makes a second class, which super() without arguments doesn't know.
        GradientAttack.__post_init__(self)
        require_count("the number of steps", self.steps, least=1)
        good = math.isfinite(self.overshoot) and self.overshoot >= 0
        require(good, f"the overshoot must be at least 0, not {self.overshoot}")

    def search(self, landscape: Landscape, clean: Evaluation, budget: Budget) -> Evaluation:
        """Return the first image of each walk that fools, made smaller on the grid."""
        original, best = clean.position, clean
        way = torch.zeros_like(original)
        for step in range(self.steps):
            landscape.advance(step / self.steps)
            shown = self._shown(original, way, budget)
            seen, jacobian = landscape.jacobian(shown)
            best = nearer_of(seen, best, original, self.norm)
            if bool(best.success.all()):
                break
            move = self._move(seen.logits, jacobian, landscape)
            # An image that is done stays, whatever the others of its batch still need.
            way = way + move * ~best.success[:, None, None, None]
        else:
            seen = landscape.look(self._shown(original, way, budget))
            best = nearer_of(seen, best, original, self.norm)
        if not self.on_grid or not bool(best.success.any()):
            return best

        asker = Asker(landscape=landscape, draws=max(self.scoring_draws, self.eot), height=len(original))
        best = contract(asker.confirm, best, original, self.norm)
        return undo(asker.confirm, best, original, self.norm) if self.norm is Norm.L2 else best

    def _shown(self, original: Tensor, way: Tensor, budget: Budget) -> Tensor:
        ahead = (original + (1 + self.overshoot) * way).clamp(0, 255)
        return project(ahead, original, budget, on_grid=self.on_grid)

    def _move(self, logits: Tensor, jacobian: Tensor, landscape: Landscape) -> Tensor:
        """Return the displacement in levels ``(N, C, H, W)`` to the nearest border."""
        classes = landscape.problem.classes
        pivot = classes.pivot
        rows = torch.arange(len(logits))
        behind = (logits.gather(1, pivot) - logits).abs() + _BEYOND
        normals = jacobian.flatten(2) - jacobian[rows, pivot[:, 0]].flatten(1)[:, None]
        dual = normals.abs().sum(2) if self.norm is Norm.LINF else normals.norm(dim=2)
        tiny = torch.finfo(dual.dtype).tiny
        far = torch.where(dual > tiny, behind / dual.clamp_min(tiny), torch.inf)
        if classes.aim is None:
            nearest = far.scatter(1, pivot, torch.inf).argmin(1)
        else:
            nearest = logits.scatter(1, pivot, -torch.inf).argmax(1)
        normal = normals[rows, nearest].view_as(jacobian[:, 0])
        length = 255 * far[rows, nearest]
        # No gradient, no direction: the image stays where it is.
        length = torch.where(length.isinf(), 0.0, length.clamp_min(self._least_step(normal[0].numel())))
        unit = normal.sign() if self.norm is Norm.LINF else normal / dual[rows, nearest, None, None, None]
        unit = torch.where(unit.isfinite(), unit, 0.0)
        # Towards the class beyond the border; for a target the pivot is what lies beyond.
        return unit * length[:, None, None, None] * (1 if classes.aim is None else -1)

    def _least_step(self, values: int) -> float:
        if not self.on_grid:
            return 0.0
        return 0.5 if self.norm is Norm.LINF else 0.5 * math.sqrt(values)
