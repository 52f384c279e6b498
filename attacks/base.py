"""The threat model, and the loop that every gradient attack shares.

An attack may change each pixel by at most ``eps`` (L∞), and what it hands over is a uint8 image: positions
are integers of the 8-bit grid from the first step to the last, so nothing is lost by rounding at the end.
This module owns budget, clipping, success, restarts, seeds and the final check; an algorithm writes only
`step`.
"""

from __future__ import annotations

import dataclasses
import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from attacks.drawing import one_draw
from attacks.evaluation import Evaluation, Problem, differentiate, evaluating, join, predict
from attacks.goal import Goal, choose_targets
from attacks.inputs import check_batch, checked_eps, grid_radius, require, require_count
from export.errors import CheckFailedError
from export.graph import IntArray
from hw.target import ImageArray

_START_STREAM = 0
DEFAULT_BATCH = 256


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class AttackResult:
    """What an attack found for N images.

    Attributes:
        adversarial: uint8 ``(N, H, W, C)``, inside the budget around the originals.
        success: bool ``(N,)``: the model is fooled, judged on `adversarial` itself.
        loss: float64 ``(N,)``: the attack's objective at `adversarial`; higher is better for the attacker.
        targets: int64 ``(N,)``: the class aimed at, or None for an untargeted attack.
        classes: Number of logits of the model.
    """

    adversarial: ImageArray
    success: npt.NDArray[np.bool_]
    loss: npt.NDArray[np.float64]
    targets: IntArray | None
    classes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Attack(ABC):
    """An L∞ attack on the 8-bit grid.

    Attributes:
        eps: Budget per pixel in [0, 1]; on the grid it is ``floor(255 * eps)`` steps.
        goal: Any wrong class, or which one.
        temperature: The loss is the cross-entropy of ``logits / temperature``; 1 keeps the model's own scale.
        seed: Same seed, same bytes: each image has its own random stream, keyed by seed and index.
    """

    name: ClassVar[str]
    keep_best: ClassVar[bool]

    eps: float
    goal: Goal = Goal.UNTARGETED
    temperature: float = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        checked_eps(self.eps)
        known = ", ".join(Goal)
        require(isinstance(self.goal, Goal), f"unknown goal {self.goal!r}", hint=f"known: {known}")
        require(
            math.isfinite(self.temperature) and self.temperature > 0,
            f"the temperature must be a positive number, not {self.temperature}",
        )
        require_count("the seed", self.seed, least=0)

    @property
    def radius(self) -> int:
        """The budget in steps of the 8-bit grid."""
        return grid_radius(self.eps)

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
    def step(self, gradient: Tensor, memory: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """Choose the next displacement.

        Args:
            gradient: Of the attacker's loss, float32 ``(N, C, H, W)``; each image's is known up to a positive
                factor only.
            memory: What the step before returned, None on a run's first step.

        Returns:
            Displacement in whole grid steps ``(N, C, H, W)``, and what to remember. Leaving the ball or the
            pixel range is no concern of the algorithm.
        """

    def parameters(self) -> dict[str, Any]:
        """Return every parameter as JSON values."""
        return {
            field.name: str(value) if isinstance(value := getattr(self, field.name), Goal) else value
            for field in dataclasses.fields(self)
        }

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
        pixels = torch.from_numpy(images.astype(np.float32)).permute(0, 3, 1, 2).contiguous()
        with evaluating(model):
            batches = pixels.split(batch_size)
            with one_draw(model, seed=_mixed(self.seed, first_index, 0)):
                clean = torch.cat(
                    [predict(model, _padded(batch, batch_size))[: len(batch)] for batch in batches]
                )
            aims = choose_targets(
                self.goal, clean.numpy(), labels, given=targets, seed=self.seed, first_index=first_index
            )
            parts: list[Evaluation] = []
            for batch in batches:
                begin = sum(len(part.position) for part in parts)
                part = slice(begin, begin + len(batch))
                problem = Problem(
                    truth=_padded(torch.from_numpy(labels[part]), batch_size),
                    aim=None if aims is None else _padded(torch.from_numpy(aims[part]), batch_size),
                    temperature=self.temperature,
                )
                start = problem.judge(_padded(batch, batch_size), _padded(clean[part], batch_size))
                with one_draw(model, seed=_mixed(self.seed, first_index + begin, 1)):
                    found = self._search(model, problem, start, first_index + begin)
                parts.append(found[: len(batch)])
                if progress is not None:
                    progress(begin + len(batch), len(images))
        best = join(parts)
        adversarial = best.position.permute(0, 2, 3, 1).contiguous().to(torch.uint8).numpy()
        verify_budget(images, adversarial, self.radius)
        return AttackResult(
            adversarial=adversarial,
            success=best.success.numpy(),
            loss=best.loss.numpy(),
            targets=aims,
            classes=clean.shape[1],
        )

    def _search(self, model: nn.Module, problem: Problem, clean: Evaluation, first_index: int) -> Evaluation:
        """Run all restarts; return the best image seen, or the last one where the algorithm says so."""
        best = clean
        low = (clean.position - self.radius).clamp_(min=0)
        high = (clean.position + self.radius).clamp_(max=255)
        for run in range(self.runs):
            position = clean.position
            if self.starts_at_random:
                noise = self._noise(position.shape, run, first_index)
                position = torch.minimum(torch.maximum(position + noise, low), high)
            memory: Tensor | None = None
            for _ in range(self.rounds):
                seen, gradient = differentiate(model, problem, position)
                best = seen.better_of(best)
                displacement, memory = self.step(gradient, memory)
                position = torch.minimum(torch.maximum(position + displacement, low), high)
            seen = problem.judge(position, predict(model, position))
            best = seen.better_of(best) if self.keep_best else seen
        return best

    def _noise(self, shape: torch.Size, run: int, first_index: int) -> Tensor:
        """Draw uniform integers of the ball, one stream an image."""
        noise = np.empty(shape, dtype=np.float32)
        for row, image in enumerate(noise):
            key = (_START_STREAM, first_index + row, run)
            stream = np.random.Generator(np.random.Philox(np.random.SeedSequence(self.seed, spawn_key=key)))
            image[...] = stream.integers(-self.radius, self.radius, size=image.shape, endpoint=True)
        return torch.from_numpy(noise)


def _mixed(*numbers: int) -> int:
    """Return one seed for several numbers."""
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0] >> np.uint64(1))


def _padded(rows: Tensor, count: int) -> Tensor:
    """Repeat the last row up to ``count`` rows."""
    return torch.cat([rows, rows[-1:].expand(count - len(rows), *rows.shape[1:])])


def verify_budget(originals: ImageArray, adversarial: ImageArray, radius: int) -> None:
    """Check every uint8 image ``(N, H, W, C)`` against the budget in grid steps.

    Raises:
        CheckFailedError: Wrong type or shape, or a pixel outside the ball; the message names the image.
    """
    if adversarial.dtype != np.uint8 or adversarial.shape != originals.shape:
        raise CheckFailedError(
            f"adversarial images are {adversarial.dtype} {adversarial.shape}, "
            f"the originals uint8 {originals.shape}"
        )
    distance = np.abs(adversarial.astype(np.int16) - originals.astype(np.int16))
    furthest = distance.reshape(len(distance), -1).max(axis=1, initial=0)
    if np.any(furthest > radius):
        image = int(np.argmax(furthest > radius))
        raise CheckFailedError(
            f"adversarial image {image} is {furthest[image]} grid steps from its original, "
            f"the budget is {radius}",
            image=image,
        )
