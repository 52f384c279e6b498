"""One look at the model: logits, loss, success and gradient on images of the 8-bit grid."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from attacks.objectives import Classes, Objective, ascent, value
from export.errors import InputError


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Problem:
    """What the attacker maximises.

    Attributes:
        truth: True classes, int64 ``(N,)``.
        aim: Classes to reach, int64 ``(N,)``; None when any wrong one will do.
        temperature: Divides the logits; a number, or float64 ``(N, 1)``, one for each image.
        objective: Of the divided logits.
        any_wrong: Whether every wrong class is a success, although there is an aim.
    """

    truth: Tensor
    aim: Tensor | None = None
    temperature: float | Tensor = 1.0
    objective: Objective = Objective.CE
    any_wrong: bool = False

    @property
    def classes(self) -> Classes:
        """Whose logit goes down and whose goes up."""
        return Classes(truth=self.truth, aim=self.aim)

    def take(self, rows: Tensor) -> Problem:
        """Return the problem of some images, in the order of ``rows``, int64 ``(M,)``."""
        temperature = self.temperature
        return replace(
            self,
            truth=self.truth[rows],
            aim=None if self.aim is None else self.aim[rows],
            temperature=temperature[rows] if isinstance(temperature, Tensor) else temperature,
        )

    def loss(self, logits: Tensor) -> Tensor:
        """Return the objective at logits ``(N, K)``, float64 ``(N,)``; higher is better."""
        return value(self.objective, logits.double() / self.temperature, self.classes)

    def ascent(self, logits: Tensor) -> Tensor:
        """Return the direction of the objective's gradient at the logits ``(N, K)``.

        Each image's is known up to a positive factor only.
        """
        return ascent(self.objective, logits.double() / self.temperature, self.classes).to(logits.dtype)

    def success(self, logits: Tensor) -> Tensor:
        """Return whether the predicted class (lowest index on a tie) fools the model, bool ``(N,)``."""
        predicted = logits.argmax(1)
        if self.aim is None or self.any_wrong:
            return predicted != self.truth
        return predicted == self.aim

    def judge(self, position: Tensor, logits: Tensor) -> Evaluation:
        """Return how well the images at ``position`` do, given their logits."""
        return Evaluation(
            position=position, logits=logits, loss=self.loss(logits), success=self.success(logits)
        )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Evaluation:
    """The model on N images.

    Attributes:
        position: Pixels from 0 to 255, float32 ``(N, C, H, W)``; whole numbers in an attack's grid form.
        logits: ``(N, K)``.
        loss: The attacker's objective, float64 ``(N,)``.
        success: bool ``(N,)``.
    """

    position: Tensor
    logits: Tensor
    loss: Tensor
    success: Tensor

    def __getitem__(self, rows: slice | Tensor) -> Evaluation:
        """Return some of the images."""
        return Evaluation(
            position=self.position[rows],
            logits=self.logits[rows],
            loss=self.loss[rows],
            success=self.success[rows],
        )

    def better_of(self, other: Evaluation) -> Evaluation:
        """Return the better images of both: those that succeed, then the higher loss; ``other`` on a tie."""
        gains = torch.where(self.success == other.success, self.loss > other.loss, self.success)
        return self.where(gains, other)

    def where(self, chosen: Tensor, other: Evaluation) -> Evaluation:
        """Return own images where ``chosen``, bool ``(N,)``, says so, and the other's elsewhere."""
        return Evaluation(
            position=torch.where(chosen[:, None, None, None], self.position, other.position),
            logits=torch.where(chosen[:, None], self.logits, other.logits),
            loss=torch.where(chosen, self.loss, other.loss),
            success=torch.where(chosen, self.success, other.success),
        )


def join(parts: Sequence[Evaluation]) -> Evaluation:
    """Put evaluations of batches together."""
    return Evaluation(
        position=torch.cat([part.position for part in parts]),
        logits=torch.cat([part.logits for part in parts]),
        loss=torch.cat([part.loss for part in parts]),
        success=torch.cat([part.success for part in parts]),
    )


def predict(model: nn.Module, position: Tensor) -> Tensor:
    """Return the logits ``(N, K)`` at pixels from 0 to 255, ``(N, C, H, W)``.

    Raises:
        InputError: Logits of a wrong type or shape, or not finite.
    """
    # A tensor made in a caller's inference mode could never enter a gradient later.
    with torch.inference_mode(False), torch.no_grad():
        return _check_logits(model(position / 255), len(position))


def differentiate_logits(
    model: nn.Module, rises: Callable[[Tensor], Sequence[Tensor]], position: Tensor
) -> tuple[Tensor, list[Tensor]]:
    """Return the logits at ``position``, and gradients with respect to the values there.

    Nothing is written to the gradients of the model's parameters.

    Args:
        model: The model.
        rises: Gives the gradients of one or more objectives at logits ``(N, K)``.
        position: float32 ``(N, C, H, W)``, values from 0 to 255; the gradients are those for values in
            [0, 1].

    Raises:
        InputError: As for `predict`, or no finite gradient reaches the pixels.
    """
    direct: Any = getattr(model, "differentiate", None)
    with torch.inference_mode(False):
        found = None if direct is None else direct(position, rises)
    if found is not None:
        logits, gradients = found
        if not all(bool(gradient.sum().isfinite()) for gradient in gradients):
            raise InputError("the model's gradient with respect to the image is not finite")
        return _check_logits(logits, len(position)), gradients
    with torch.inference_mode(False), torch.enable_grad():
        pixels = (position / 255).requires_grad_()
        logits = _check_logits(model(pixels), len(position))
        if not logits.requires_grad:
            raise InputError("the model's logits have no gradient", hint="attack a differentiable module")
        wanted = rises(logits.detach())
        gradients: list[Tensor] = []
        for rise in wanted:
            more = len(gradients) + 1 < len(wanted)
            (gradient,) = torch.autograd.grad(logits, pixels, rise, retain_graph=more, allow_unused=True)
            # One sum shows a NaN or an infinity anywhere, at a tenth of the cost of asking every pixel.
            if gradient is None or not bool(gradient.sum().isfinite()):
                raise InputError("the model's gradient with respect to the image is missing or not finite")
            gradients.append(gradient)
    return logits.detach(), gradients


@contextmanager
def evaluating(model: nn.Module) -> Generator[None]:
    """Put every part of the model into evaluation mode, and back into its own afterwards."""
    modes = [(module, module.training) for module in model.modules()]
    if any(mode for _, mode in modes):
        model.eval()
    try:
        yield
    finally:
        for module, mode in modes:
            module.training = mode


def _check_logits(logits: object, count: int) -> Tensor:
    if not isinstance(logits, Tensor) or logits.ndim != 2 or len(logits) != count:
        found = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
        raise InputError(f"the model must return logits ({count}, classes), not {found}")
    if not bool(logits.isfinite().all()):
        raise InputError("the model's logits are not finite", hint="look at its weights and statistics")
    return logits
