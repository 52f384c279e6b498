"""The model as one gradient attack sees it: logits, loss, success and gradient at any position.

Weights that are drawn for each frame are drawn once for all images in each call of the model; the landscape
says whether each call draws anew, and over how many draws it takes the mean (expectation over transformation,
Athalye et al., ICML 2018).
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import torch
from torch import Tensor, nn

from attacks.drawing import drawing_parts
from attacks.estimators import Estimation, Estimator
from attacks.evaluation import Evaluation, Problem, differentiate_logits, predict
from attacks.streams import mixed

Rises = Callable[[Tensor], Sequence[Tensor]]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Landscape:
    """One batch of one attack.

    Attributes:
        model: The model, in evaluation mode and drawing one set of weights a call.
        problem: What the attacker maximises.
        draws: Draws of the weights that logits and gradients are the mean of; 1 without drawn weights.
        fixed_seed: Seed that every look starts from, so that all see the same draws; None for fresh ones.
        first_index: Index of the first image in its data set, for the images' random streams.
        estimation: The straight-through estimator at work.
        is_drawn: Whether the model has drawn weights.
    """

    model: nn.Module
    problem: Problem
    draws: int = 1
    fixed_seed: int | None = None
    first_index: int = 0
    estimation: Estimation = field(default_factory=lambda: Estimation(Estimator.MODEL))
    is_drawn: bool = field(init=False)
    _confirmations: Iterator[int] = field(default_factory=count, init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "is_drawn", bool(drawing_parts(self.model)))

    def part(self, rows: Tensor) -> Landscape:
        """Return the landscape of some images, in the order of ``rows``, int64 ``(M,)``."""
        found = copy.copy(self)
        object.__setattr__(found, "problem", self.problem.take(rows))
        return found

    @property
    def knows_alike(self) -> bool:
        """Whether the model tells which grey levels it can't tell apart."""
        return bool(getattr(self.model, "knows_alike", False))

    def nearest_alike(self, position: Tensor, original: Tensor) -> Tensor:
        """Return the images nearest to ``original`` that the model can't tell from those at ``position``.

        Args:
            position: Whole numbers from 0 to 255, ``(N, C, H, W)``.
            original: The same shape.
        """
        model: Any = self.model
        return model.nearest_alike(position, original) if self.knows_alike else position

    def look(self, position: Tensor) -> Evaluation:
        """Return how well the images at ``position`` ``(N, C, H, W)`` (values from 0 to 255) do."""
        logits = [predict(self.model, position) for _ in self._each_draw()]
        return self.problem.judge(position, torch.stack(logits).mean(0))

    def confirm(self, position: Tensor, draws: int) -> Evaluation:
        """Return how well images do on the mean of this many draws that no other look has seen.

        Without drawn weights it is one look.
        """
        if not self.is_drawn:
            return self.look(position)
        if self.fixed_seed is not None:
            torch.manual_seed(mixed(self.fixed_seed, next(self._confirmations)))
        logits = [predict(self.model, position) for _ in range(draws)]
        return self.problem.judge(position, torch.stack(logits).mean(0))

    def differentiate(
        self, position: Tensor, ascent: Callable[[Tensor], Tensor] | None = None
    ) -> tuple[Evaluation, Tensor]:
        """Return the evaluation at ``position``, and a gradient with respect to the values there.

        Args:
            position: float32 ``(N, C, H, W)``, values from 0 to 255; the gradient is that for values in
                [0, 1].
            ascent: Gives the gradient of the objective at logits ``(N, K)``; None for the problem's own,
                which is known up to a positive factor for each image.

        Raises:
            InputError: Logits or gradients that are not finite.
        """
        rise = self.problem.ascent if ascent is None else ascent
        seen, gradients = self.differentiate_all(position, lambda logits: [rise(logits)])
        return seen, gradients[:, 0]

    def differentiate_all(self, position: Tensor, rises: Rises) -> tuple[Evaluation, Tensor]:
        """Return the evaluation at ``position``, and the gradients of V objectives.

        Args:
            position: As for `differentiate`.
            rises: Gives the objectives' gradients at logits ``(N, K)``.

        Returns:
            The evaluation, and float32 ``(N, V, C, H, W)``.

        Raises:
            InputError: As for `differentiate`.
        """
        looks = [self._gradients(position, rises) for _ in self._each_draw()]
        logits = torch.stack([logits for logits, _ in looks]).mean(0)
        gradients = (
            torch.stack([gradient for _, gradient in looks]).mean(0) if len(looks) > 1 else looks[0][1]
        )
        return self.problem.judge(position, logits), gradients

    def jacobian(self, position: Tensor) -> tuple[Evaluation, Tensor]:
        """Return the evaluation at ``position``, and every logit's gradient, float32 ``(N, K, C, H, W)``."""

        def one_by_one(logits: Tensor) -> list[Tensor]:
            units = torch.eye(logits.shape[1], dtype=logits.dtype)
            return [unit.expand_as(logits).contiguous() for unit in units]

        return self.differentiate_all(position, one_by_one)

    def advance(self, progress: float) -> None:
        """Say which share of the attack is done, for estimators that change on the way."""
        self.estimation.progress = progress

    def _gradients(self, position: Tensor, rises: Rises) -> tuple[Tensor, Tensor]:
        if self.estimation.estimator is not Estimator.BPDA:
            logits, gradients = differentiate_logits(self.model, rises, position)
            self.estimation.check()
            return logits, _stacked(gradients)
        # Both networks get the same drawn weights.
        state = torch.random.get_rng_state() if self.is_drawn else None
        logits = predict(self.model, position)
        if state is not None:
            torch.random.set_rng_state(state)
        with self.estimation.smoothed():
            _, gradients = differentiate_logits(self.model, lambda _: rises(logits), position)
        self.estimation.check()
        return logits, _stacked(gradients)

    def _each_draw(self) -> range:
        if self.fixed_seed is not None and self.is_drawn:
            torch.manual_seed(self.fixed_seed)
        return range(self.draws if self.is_drawn else 1)


def _stacked(gradients: Sequence[Tensor]) -> Tensor:
    """Put the objectives' gradients side by side; a single one is not copied."""
    return gradients[0].unsqueeze(1) if len(gradients) == 1 else torch.stack(list(gradients), dim=1)


@contextmanager
def unrounded(model: nn.Module) -> Generator[None]:
    """Let the model take images between the steps of the 8-bit grid.

    Modules with a true attribute ``snaps_to_grid`` round to the grid while their attribute ``rounds`` is
    true; it is false in here.
    """
    parts: list[Any] = [part for part in model.modules() if getattr(part, "snaps_to_grid", False)]
    modes = [part.rounds for part in parts]
    for part in parts:
        part.rounds = False
    try:
        yield
    finally:
        for part, mode in zip(parts, modes, strict=True):
            part.rounds = mode
