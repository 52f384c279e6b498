"""What an attacker can maximise, as a value of the logits and as its gradient there.

Each objective is a pair: its value, and the direction of its gradient with respect to the logits. A positive
factor per image is left out of the gradient where it would underflow or overflow.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import torch
from torch import Tensor

from attacks.inputs import require


class Objective(StrEnum):
    """Cross-entropy, the logits' margin, or the margin divided by a spread of the logits.

    CE: Goodfellow et al. MARGIN: Carlini and Wagner, Towards evaluating the robustness of neural networks
    (S&P 2017), f6 without its lower limit. DLR: the difference of logits ratio of Croce and Hein, Reliable
    evaluation of adversarial robustness (ICML 2020), equations 6 and 7; no scale of the logits changes it.
    """

    CE = "ce"
    MARGIN = "margin"
    DLR = "dlr"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Classes:
    """Whose logit goes down and whose goes up.

    Attributes:
        truth: True classes, int64 ``(N,)``.
        aim: Classes to reach, int64 ``(N,)``; None when any wrong one will do.
    """

    truth: Tensor
    aim: Tensor | None

    @property
    def pivot(self) -> Tensor:
        """The class that all others are compared with, int64 ``(N, 1)``."""
        return (self.truth if self.aim is None else self.aim)[:, None]


def value(objective: Objective, logits: Tensor, classes: Classes) -> Tensor:
    """Return the objective at float64 logits ``(N, K)``, float64 ``(N,)``; higher is better."""
    match objective:
        case Objective.CE:
            loss = logits.logsumexp(1) - logits.gather(1, classes.pivot)[:, 0]
            return loss if classes.aim is None else -loss
        case Objective.MARGIN:
            return margin(logits, classes)
        case Objective.DLR:
            rise, spread = _ratio(logits, classes)
            return (logits * rise).sum(1) / spread


def ascent(objective: Objective, logits: Tensor, classes: Classes) -> Tensor:
    """Return the direction of the objective's gradient at float64 logits ``(N, K)``, the same shape.

    The gradient of the cross-entropy is ``softmax - onehot``. Divided by the probability of all classes but
    the pivot, it becomes the softmax over the others, and -1 at the pivot. That positive factor changes no
    direction, and where a confident network's gradient would underflow to 0 this one does not.
    """
    match objective:
        case Objective.CE:
            others = logits.scatter(1, classes.pivot, -torch.inf).softmax(1)
            rise = others.scatter(1, classes.pivot, -1.0)
            return rise if classes.aim is None else -rise
        case Objective.MARGIN:
            return margin_ascent(logits, classes)
        case Objective.DLR:
            return _ratio_ascent(logits, classes)


def margin(logits: Tensor, classes: Classes) -> Tensor:
    """Return how far the attacker's class is ahead ``(N,)``: positive where it wins, 0 on a tie."""
    best_other = logits.scatter(1, classes.pivot, -torch.inf).amax(1)
    lead = best_other - logits.gather(1, classes.pivot)[:, 0]
    return lead if classes.aim is None else -lead


def margin_ascent(logits: Tensor, classes: Classes) -> Tensor:
    """Return the gradient of `margin`: 1 at one class, -1 at another, 0 elsewhere; ``(N, K)``."""
    best_other = logits.scatter(1, classes.pivot, -torch.inf).argmax(1, keepdim=True)
    rise = torch.zeros_like(logits).scatter(1, best_other, 1.0).scatter(1, classes.pivot, -1.0)
    return rise if classes.aim is None else -rise


def _ratio(logits: Tensor, classes: Classes) -> tuple[Tensor, Tensor]:
    """Return DLR's numerator as weights of the logits ``(N, K)``, and its denominator ``(N,)``."""
    order = logits.argsort(dim=1, descending=True, stable=True)
    ranked = logits.gather(1, order)
    if classes.aim is None:
        spread = ranked[:, 0] - ranked[:, 2]
        return margin_ascent(logits, classes), _at_least_tiny(spread)
    spread = ranked[:, 0] - (ranked[:, 2] + ranked[:, 3]) / 2
    rise = torch.zeros_like(logits).scatter(1, classes.aim[:, None], 1.0)
    return rise.scatter(1, classes.truth[:, None], -1.0), _at_least_tiny(spread)


def _at_least_tiny(spread: Tensor) -> Tensor:
    # ±1 networks have few different logits: the three largest may well be equal.
    return spread.clamp_min(1e-12)


def _ratio_ascent(logits: Tensor, classes: Classes) -> Tensor:
    order = logits.argsort(dim=1, descending=True, stable=True)
    rise, spread = _ratio(logits, classes)
    ratio = (logits * rise).sum(1, keepdim=True) / spread[:, None]
    down = torch.zeros_like(logits).scatter(1, order[:, :1], 1.0)
    if classes.aim is None:
        down = down.scatter(1, order[:, 2:3], -1.0)
    else:
        down = down.scatter(1, order[:, 2:4], -0.5)
    # The quotient rule times the denominator, which is positive.
    return rise - ratio * down


def check_classes_for(objective: Objective, classes: int, *, targeted: bool) -> None:
    """Raise `InputError` where a model has too few classes for the objective."""
    least = {Objective.CE: 1, Objective.MARGIN: 2, Objective.DLR: 4 if targeted else 3}[objective]
    require(
        classes >= least,
        f"the objective {objective} needs {least} classes, the model has {classes}",
        hint=f"use {Objective.CE}",
    )
