"""What every gradient attack shares: batches, restarts' streams, the two forms, and the final check.

In the grid form positions are integers of the 8-bit grid from the first step to the last, so nothing is lost
by rounding at the end. In the float form the attack runs as published, on the network that does not round,
and its images are rounded afterwards: what the literature does, kept to be compared with.
"""

from __future__ import annotations

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
from attacks.drawing import one_draw
from attacks.evaluation import Evaluation, Problem, evaluating, join, predict
from attacks.goal import choose_targets
from attacks.inputs import check_batch, require, require_count
from attacks.landscape import Landscape, unrounded
from attacks.projection import project, rounded
from attacks.streams import START, image_stream, mixed
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
    """

    keep_best: ClassVar[bool] = True

    temperature: float = 1.0
    form: Form = Form.GRID
    eot: int = 1
    fixed_draw: bool = False

    def __post_init__(self) -> None:
        # Not super(): slots=True makes a second class, which super() without arguments doesn't know.
        Attack.__post_init__(self)
        require(
            math.isfinite(self.temperature) and self.temperature > 0,
            f"the temperature must be a positive number, not {self.temperature}",
        )
        check_choice("form", self.form, tuple(Form))
        require_count("the number of draws eot", self.eot, least=1)

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
        pixels = torch.from_numpy(images.astype(np.float32)).permute(0, 3, 1, 2).contiguous()
        with evaluating(model):
            batches = pixels.split(batch_size)
            with one_draw(model, seed=mixed(self.seed, first_index, 0)):
                clean = torch.cat(
                    [predict(model, _padded(batch, batch_size))[: len(batch)] for batch in batches]
                )
            aims = choose_targets(
                self.goal, clean.numpy(), labels, given=targets, seed=self.seed, first_index=first_index
            )
            parts: list[Evaluation] = []
            floats: list[Tensor] = []
            for batch in batches:
                begin = sum(len(part.position) for part in parts)
                part = slice(begin, begin + len(batch))
                problem = Problem(
                    truth=_padded(torch.from_numpy(labels[part]), batch_size),
                    aim=None if aims is None else _padded(torch.from_numpy(aims[part]), batch_size),
                    temperature=self.temperature,
                )
                start = problem.judge(_padded(batch, batch_size), _padded(clean[part], batch_size))
                with self._landscape(model, problem, first_index + begin) as landscape:
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

    @contextmanager
    def _landscape(self, model: nn.Module, problem: Problem, first_index: int) -> Generator[Landscape]:
        seed = mixed(self.seed, first_index, 1)
        with one_draw(model, seed=seed):
            yield Landscape(
                model=model,
                problem=problem,
                draws=self.eot,
                fixed_seed=seed if self.fixed_draw else None,
                first_index=first_index,
            )

    def _both_forms(
        self, landscape: Landscape, clean: Evaluation, budget: Budget
    ) -> tuple[Evaluation, Tensor]:
        """Return what was found on the grid, and the success before rounding."""
        if self.on_grid:
            found = self.search(landscape, clean, budget)
            return found, found.success
        with unrounded(landscape.model):
            found = self.search(landscape, landscape.look(clean.position), budget)
        return landscape.look(rounded(found.position, clean.position, budget)), found.success


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
        best = clean
        for run in range(self.runs):
            position = clean.position
            if self.starts_at_random:
                noise = random_start(self.seed, position.shape, run, landscape.first_index, budget)
                position = project(position + noise, clean.position, budget, on_grid=self.on_grid)
            memory: Tensor | None = None
            for _ in range(self.rounds):
                seen, gradient = landscape.differentiate(position)
                best = seen.better_of(best)
                displacement, memory = self.step(gradient, memory, budget)
                position = project(position + displacement, clean.position, budget, on_grid=self.on_grid)
            seen = landscape.look(position)
            best = seen.better_of(best) if self.keep_best else seen
        return best


def random_start(seed: int, shape: torch.Size, run: int, first_index: int, budget: Budget) -> Tensor:
    """Draw noise uniformly, whole grid steps, one stream an image.

    L∞: integers of the ball. L2: integers of a cube around the original about as large as the ball; the
    projection brings them back.
    """
    channels, height, width = shape[1:]
    limit = budget.limit((height, width, channels))
    side = limit if budget.norm == "linf" else max(1, math.ceil(math.sqrt(3 * limit / math.prod(shape[1:]))))
    noise = np.empty(shape, dtype=np.float32)
    for row, image in enumerate(noise):
        stream = image_stream(seed, START, first_index + row, run)
        image[...] = stream.integers(-side, side, size=image.shape, endpoint=True)
    return torch.from_numpy(noise)


def _padded(rows: Tensor, count: int) -> Tensor:
    """Repeat the last row up to ``count`` rows."""
    return torch.cat([rows, rows[-1:].expand(count - len(rows), *rows.shape[1:])])
