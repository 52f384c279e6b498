"""What every gradient attack shares: batches, restarts' streams, the two forms, and the final check.

In the grid form positions are integers of the 8-bit grid from the first step to the last, so nothing is lost
by rounding at the end. In the float form the attack runs as published, on the network that does not round,
and its images are rounded afterwards: what the literature does, kept to be compared with.
"""

from __future__ import annotations

import dataclasses
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from attacks.base import Attack, AttackResult, check_choice
from attacks.drawing import drawing_parts, one_draw
from attacks.estimators import Estimator, estimating
from attacks.evaluation import Evaluation, Problem, evaluating, join, predict
from attacks.goal import choose_targets
from attacks.inputs import check_batch, require, require_count
from attacks.landscape import Landscape, unrounded
from attacks.objectives import Objective, check_classes_for
from attacks.projection import rounded
from attacks.streams import mixed
from attacks.temperature import Scaling, gram, temperatures
from attacks.threat import Budget, verify_budget
from export.graph import IntArray
from hw.target import ImageArray

DEFAULT_BATCH = 256


class Form(StrEnum):
    """Where positions may be: on the 8-bit grid throughout, or between, to be rounded at the end."""

    GRID = "grid"
    FLOAT = "float"


@dataclass(frozen=True, slots=True, kw_only=True)
class GradientAttack(Attack, ABC):
    """An attack that differentiates a PyTorch model.

    Attributes:
        temperature: The loss is that of ``logits / temperature``; 1 keeps the model's own scale.
        form: On the grid, or as published and rounded afterwards.
        eot: Draws of drawn weights that each gradient is the mean of.
        fixed_draw: Whether all steps see the same draws of drawn weights, as one unrolled graph does.
        scoring_draws: Fresh draws of drawn weights whose mean logits decide about success in the end; 1
            leaves it to the draw that the attack saw.
        objective: What the attack maximises, where it doesn't have an objective of its own.
        estimator: What stands in for the derivative of the signs.
        scaling: Whether ``temperature`` is found from the network's Jacobian instead, see
            `attacks.temperature`.
    """

    keep_best: ClassVar[bool] = True
    batches_at_once: ClassVar[int] = 1
    """Batches that `search` gets together; more only where it asks through `attacks.chunks`, on the grid."""

    temperature: float = 1.0
    form: Form = Form.GRID
    eot: int = 1
    fixed_draw: bool = False
    scoring_draws: int = 1
    objective: Objective = Objective.CE
    estimator: Estimator = Estimator.MODEL
    scaling: Scaling = Scaling.FIXED

    def __post_init__(self) -> None:
        # Not super(): slots=True makes a second class, which super() without arguments doesn't know.
        Attack.__post_init__(self)
        require(
            math.isfinite(self.temperature) and self.temperature > 0,
            f"the temperature must be a positive number, not {self.temperature}",
        )
        check_choice("form", self.form, tuple(Form))
        require_count("the number of draws eot", self.eot, least=1)
        require_count("the number of scoring_draws", self.scoring_draws, least=1)
        check_choice("objective", self.objective, tuple(Objective))
        check_choice("estimator", self.estimator, tuple(Estimator))
        check_choice("scaling", self.scaling, tuple(Scaling))
        require(
            self.scaling is Scaling.FIXED or self.temperature == 1,
            f"the scaling {self.scaling} finds the temperature; {self.temperature} is given too",
            hint="leave one of them out",
        )

    @property
    def on_grid(self) -> bool:
        """Whether positions are whole numbers throughout."""
        return self.form is Form.GRID

    @abstractmethod
    def search(self, landscape: Landscape, clean: Evaluation, budget: Budget) -> Evaluation:
        """Search a batch.

        Args:
            landscape: The model.
            clean: The originals.
            budget: The ball around them; `attacks.projection.project` brings a position back into it.

        Returns:
            The images found, inside the budget, whole numbers in the grid form. An image that found nothing
            may stay the original.
        """

    def craft(
        self,
        model: nn.Module,
        images: ImageArray,
        labels: IntArray,
        *,
        targets: IntArray | None = None,
        calibration: ImageArray | None = None,
        batch_size: int = DEFAULT_BATCH,
        first_index: int = 0,
        progress: Callable[[int, int], None] | None = None,
    ) -> AttackResult:
        """Craft one adversarial image for each original.

        The model is called on exactly ``batch_size`` images each time (the last batch is filled up), because
        a matrix product of another height may round differently: an image's result does not depend on how
        many others come with it. Mode and gradients of the model are left as they were.

        Weights that are drawn for each frame are drawn once for all images of a batch in each call of the
        model, from a stream that follows from seed, first index and place of the batch. What an attack says
        of its success then holds for such a draw.

        Args:
            model: Takes float32 ``(N, C, H, W)`` in [0, 1], returns float logits ``(N, K)``.
            images: uint8 ``(N, H, W, C)``.
            labels: True classes ``(N,)``.
            targets: Classes to reach ``(N,)``, with `Goal.GIVEN` only.
            calibration: Images ``(M, H, W, C)`` of the same data set that ``scaling`` finds one temperature
                on, 100 as published; None lets each image have its own.
            batch_size: Images in one call of the model.
            first_index: Index of the first image in its data set, so that parts of a set can be crafted one
                by one with the result of the whole.
            progress: Called with images done and images in all.

        Raises:
            InputError: Images, labels or targets that don't fit.
            CheckFailedError: An image left the budget; nothing is returned.
        """
        require_count("the batch size", batch_size, least=1)
        images, labels = check_batch(images, labels)
        budget = self.budget(images.shape[1:])
        pixels = pixels_of(images)
        with evaluating(model):
            with one_draw(model, seed=mixed(self.seed, first_index, 0)):
                clean = torch.cat(
                    [
                        predict(model, _padded(batch, batch_size))[: len(batch)]
                        for batch in pixels.split(batch_size)
                    ]
                )
            aims = choose_targets(
                self.goal, clean.numpy(), labels, given=targets, seed=self.seed, first_index=first_index
            )
            check_classes_for(self.objective, clean.shape[1], targeted=aims is not None)
            known = None if calibration is None else self._calibrate(model, calibration, batch_size)
            parts: list[Evaluation] = []
            floats: list[Tensor] = []
            together = self._together(model)
            for batch in pixels.split(batch_size * together):
                height = batch_size if together == 1 else len(batch)
                begin = sum(len(part.position) for part in parts)
                part = slice(begin, begin + len(batch))
                problem = Problem(
                    truth=_padded(torch.from_numpy(labels[part]), height),
                    aim=None if aims is None else _padded(torch.from_numpy(aims[part]), height),
                    temperature=self.temperature,
                    objective=self.objective,
                )
                start = problem.judge(_padded(batch, height), _padded(clean[part], height))
                with self._landscape(model, problem, first_index + begin) as landscape:
                    landscape, start = self._scaled(landscape, start, known)
                    found, float_success = self._both_forms(landscape, start, budget)
                parts.append(found[: len(batch)])
                floats.append(float_success[: len(batch)])
                if progress is not None:
                    progress(begin + len(batch), len(images))
        best = join(parts)
        adversarial = best.position.permute(0, 2, 3, 1).contiguous().to(torch.uint8).numpy()
        verify_budget(images, adversarial, budget)
        return AttackResult(
            adversarial=adversarial,
            success=best.success.numpy(),
            loss=best.loss.numpy(),
            targets=aims,
            classes=clean.shape[1],
            float_success=None if self.on_grid else torch.cat(floats).numpy(),
        )

    def _together(self, model: nn.Module) -> int:
        """Return how many batches are searched together: one where a call of the model is one draw for it."""
        alone = not self.on_grid or self.scaling is not Scaling.FIXED or bool(drawing_parts(model))
        return 1 if alone else self.batches_at_once

    @contextmanager
    def _landscape(self, model: nn.Module, problem: Problem, first_index: int) -> Generator[Landscape]:
        seed = mixed(self.seed, first_index, 1)
        with one_draw(model, seed=seed), estimating(model, self.estimator) as estimation:
            yield Landscape(
                model=model,
                problem=problem,
                draws=self.eot,
                fixed_seed=seed if self.fixed_draw else None,
                first_index=first_index,
                estimation=estimation,
            )

    def _calibrate(
        self, model: nn.Module, calibration: ImageArray, batch_size: int
    ) -> tuple[Tensor, Tensor] | None:
        """Return logits and Jacobians' products of the images that the temperature is found on."""
        if self.scaling is Scaling.FIXED:
            return None
        images, _ = check_batch(calibration, np.zeros(len(calibration), np.int64))
        parts: list[tuple[Tensor, Tensor]] = []
        anything = Problem(truth=torch.zeros(batch_size, dtype=torch.int64))
        with self._landscape(model, anything, 0) as landscape:
            for batch in pixels_of(images).split(batch_size):
                logits, grams = gram(landscape, _padded(batch, batch_size))
                parts.append((logits[: len(batch)], grams[: len(batch)]))
        return torch.cat([logits for logits, _ in parts]), torch.cat([grams for _, grams in parts])

    def _scaled(
        self, landscape: Landscape, clean: Evaluation, known: tuple[Tensor, Tensor] | None
    ) -> tuple[Landscape, Evaluation]:
        """Give the problem its temperatures, where they are to be found."""
        if self.scaling is Scaling.FIXED:
            return landscape, clean
        own = gram(landscape, clean.position)
        found = temperatures(self.scaling, landscape.problem, own, known)
        problem = dataclasses.replace(landscape.problem, temperature=found)
        return dataclasses.replace(landscape, problem=problem), problem.judge(clean.position, clean.logits)

    def _both_forms(
        self, landscape: Landscape, clean: Evaluation, budget: Budget
    ) -> tuple[Evaluation, Tensor]:
        """Return what was found on the grid, and the success before rounding."""
        if self.on_grid:
            found = self._scored(landscape, self.search(landscape, clean, budget))
            return found, found.success
        with unrounded(landscape.model):
            found = self.search(landscape, landscape.look(clean.position), budget)
            found = self._scored(landscape, found)
        seen = landscape.look(rounded(found.position, clean.position, budget))
        return self._scored(landscape, seen), found.success

    def settled(self, landscape: Landscape, last: Evaluation, best: Evaluation) -> Evaluation:
        """Return the better images of a walk's end and of its best places.

        With drawn weights a place may be the best by one lucky draw; fresh draws decide, where
        ``scoring_draws`` asks for them.
        """
        return self._scored(landscape, last).better_of(self._scored(landscape, best))

    def _scored(self, landscape: Landscape, found: Evaluation) -> Evaluation:
        """Judge drawn weights on draws that the attack hasn't seen."""
        if self.scoring_draws == 1 or not landscape.is_drawn:
            return found
        return landscape.confirm(found.position, self.scoring_draws)


def pixels_of(images: ImageArray) -> Tensor:
    """Return uint8 images ``(N, H, W, C)`` as positions, float32 ``(N, C, H, W)``."""
    return torch.from_numpy(images.astype(np.float32)).permute(0, 3, 1, 2).contiguous()


def _padded(rows: Tensor, count: int) -> Tensor:
    """Repeat the last row up to ``count`` rows."""
    return torch.cat([rows, rows[-1:].expand(count - len(rows), *rows.shape[1:])])
