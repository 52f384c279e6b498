"""What every attack has: a budget, a goal, a seed, and a result on the 8-bit grid.

There are two kinds. A `attacks.gradient.GradientAttack` differentiates a PyTorch model; a
`attacks.query.QueryAttack` asks any target for logits. What either hands over are uint8 images, judged
against the budget in whole numbers.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from attacks.goal import Goal
from attacks.inputs import require, require_count
from attacks.threat import Budget, Norm, diameter
from export.graph import IntArray
from hw.target import ImageArray


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class AttackResult:
    """What an attack found for N images.

    Attributes:
        adversarial: uint8 ``(N, H, W, C)``, inside the budget around the originals.
        success: bool ``(N,)``: the model is fooled, judged on `adversarial` itself.
        loss: float64 ``(N,)``: the attack's objective at `adversarial`; higher is better for the attacker.
        targets: int64 ``(N,)``: the class aimed at, or None for an untargeted attack.
        classes: Number of logits of the model.
        queries: int64 ``(N,)``: images that the target was asked for; None where gradients were used.
        float_success: bool ``(N,)``: the unrounded image fools the network that doesn't round; None for an
            attack whose positions are on the grid throughout.
    """

    adversarial: ImageArray
    success: npt.NDArray[np.bool_]
    loss: npt.NDArray[np.float64]
    targets: IntArray | None
    classes: int
    queries: IntArray | None = None
    float_success: npt.NDArray[np.bool_] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Attack:
    """An attack on the 8-bit grid.

    Attributes:
        eps: Budget in the unit of `attacks.threat.Budget`; None, for attacks that look for the smallest
            change, bounds nothing.
        norm: What the budget measures.
        goal: Any wrong class, or which one.
        seed: Same seed, same bytes: each image has its own random stream, keyed by seed and index.
    """

    name: ClassVar[str]
    norms: ClassVar[tuple[Norm, ...]] = (Norm.LINF,)
    minimises: ClassVar[bool] = False
    """Whether the attack looks for the smallest change, so that it needs no budget."""

    eps: float | None = None
    norm: Norm = Norm.LINF
    goal: Goal = Goal.UNTARGETED
    seed: int = 0

    def __post_init__(self) -> None:
        check_choice("norm", self.norm, self.norms)
        if self.eps is None:
            require(self.minimises, f"{self.name} needs a budget eps", hint="for example eps=0.1")
        else:
            Budget(norm=self.norm, eps=self.eps)
        check_choice("goal", self.goal, tuple(Goal))
        require_count("the seed", self.seed, least=0)

    def budget(self, shape: tuple[int, int, int]) -> Budget:
        """Return the ball around images ``(H, W, C)``."""
        return Budget(norm=self.norm, eps=diameter(self.norm, shape) if self.eps is None else self.eps)

    def parameters(self) -> dict[str, Any]:
        """Return every parameter as JSON values."""
        values = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        return {name: str(value) if isinstance(value, StrEnum) else value for name, value in values.items()}


def check_choice(what: str, value: object, known: tuple[StrEnum, ...]) -> None:
    """Raise `InputError` unless the value is one of those known.

    An equal string does not do: a parameter is compared by identity later.
    """
    require(
        any(value is item for item in known),
        f"unknown {what} {str(value)!r}",
        hint=f"known: {', '.join(known)}",
    )
