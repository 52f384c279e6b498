"""Running the attacks that the masking checks compare, all judged on one target."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from attacks.catalog import make_attack
from attacks.drawing import one_draw
from attacks.evaluation import evaluating
from attacks.gradient import DEFAULT_BATCH, GradientAttack
from attacks.inputs import check_batch
from attacks.masking import BoolArray, Verdict, judge
from attacks.query import QueryAttack
from attacks.streams import mixed
from attacks.threat import Norm, diameter
from export.graph import IntArray
from hw.target import ImageArray, Target


@dataclass(frozen=True, slots=True, kw_only=True)
class Effort:
    """How much each attack may do.

    Attributes:
        steps: Of PGD.
        restarts: Of PGD, where several are compared with one.
        max_queries: Of the black-box attacks, for each image.
        eps_factors: Budgets of the curve over epsilon, relative to the one that is judged.
        step_counts: Numbers of steps of the curve over iterations.
        seed: Of all attacks.
    """

    steps: int = 40
    restarts: int = 5
    max_queries: int = 1000
    eps_factors: tuple[float, ...] = (0.25, 0.5, 1.0, 2.0)
    step_counts: tuple[int, ...] = (1, 5, 10, 40, 100)
    seed: int = 0

    def attacks(self, eps: float) -> dict[str, tuple[str, dict[str, Any]]]:
        """Return the attacks by the names that `attacks.masking.COMPARISONS` uses."""
        pgd = {"eps": eps, "steps": self.steps, "seed": self.seed}
        queries = {"eps": eps, "max_queries": self.max_queries, "seed": self.seed}
        return {
            "fgsm": ("fgsm", {"eps": eps, "seed": self.seed}),
            "pgd": ("pgd", pgd),
            "pgd, njs": ("pgd", pgd | {"scaling": "njs"}),
            "pgd, identity": ("pgd", pgd | {"estimator": "identity"}),
            "pgd, restarts": ("pgd", pgd | {"restarts": self.restarts}),
            "noise": ("noise", queries | {"max_queries": min(100, self.max_queries)}),
            "square": ("square", queries),
            "unbounded": ("pgd", pgd | {"eps": diameter(Norm.LINF, (1, 1, 1))}),
        }


def examine(
    model: nn.Module,
    target: Target,
    images: ImageArray,
    labels: IntArray,
    *,
    eps: float,
    effort: Effort | None = None,
    progress: Callable[[str, int, int], None] | None = None,
) -> Verdict:
    """Run all attacks and return the verdict on a model's gradients.

    Args:
        model: Gives the gradients; float32 ``(N, C, H, W)`` in [0, 1] to logits.
        target: Judges every image, and answers the black-box attacks.
        images: uint8 ``(N, H, W, C)``.
        labels: True classes ``(N,)``.
        eps: L∞ budget.
        effort: How much the attacks may do.
        progress: Called with what runs now, runs done and runs in all.

    Raises:
        InputError: Images, labels or a budget that don't fit.
    """
    effort = effort or Effort()
    images, labels = check_batch(images, labels)
    bench = _Bench(model, target, images, labels)
    has_signs = any(getattr(part, "emits_activation", False) for part in model.modules())
    plan = {
        (name, ""): spec
        for name, spec in effort.attacks(eps).items()
        if has_signs or "estimator" not in spec[1]
    }
    plan |= {
        ("eps", f"{min(1.0, factor * eps):g}"): (
            "pgd",
            {"eps": min(1.0, factor * eps), "steps": effort.steps, "seed": effort.seed},
        )
        for factor in effort.eps_factors
    }
    plan |= {
        ("steps", f"{count}"): ("pgd", {"eps": eps, "steps": count, "seed": effort.seed})
        for count in effort.step_counts
    }
    outcomes: dict[tuple[str, str], BoolArray] = {}
    for number, (key, (name, parameters)) in enumerate(plan.items()):
        if progress is not None:
            progress(" ".join(part for part in key if part), number, len(plan))
        outcomes[key] = bench.fooled(name, parameters)
    if progress is not None:
        progress("done", len(plan), len(plan))
    single = {name: outcome for (name, value), outcome in outcomes.items() if not value}
    curves = {
        curve: {
            float(value): outcome for (name, value), outcome in outcomes.items() if name == curve and value
        }
        for curve in ("eps", "steps")
    }
    return judge(
        {"clean": target.infer(images).labels != labels, **single},
        eps=eps,
        zero_gradients=zero_gradient_share(model, images, labels, seed=effort.seed),
        curves=curves,
    )


class _Bench:
    """Crafts, and judges on the target; equal attacks are crafted once."""

    def __init__(self, model: nn.Module, target: Target, images: ImageArray, labels: IntArray) -> None:
        self._model, self._target = model, target
        self._images, self._labels = images, labels
        self._known: dict[tuple[str, str], BoolArray] = {}

    def fooled(self, name: str, parameters: Mapping[str, Any]) -> BoolArray:
        """Return which images an attack fools on the target, bool ``(N,)``."""
        key = (name, repr(sorted(parameters.items())))
        if key not in self._known:
            attack = make_attack(name, **parameters)
            if isinstance(attack, QueryAttack):
                result = attack.craft(self._target, self._images, self._labels)
            elif isinstance(attack, GradientAttack):
                result = attack.craft(self._model, self._images, self._labels)
            else:
                raise TypeError(f"{name} is neither a gradient nor a query attack")
            self._known[key] = self._target.infer(result.adversarial).labels != self._labels
        return self._known[key]


def zero_gradient_share(model: nn.Module, images: ImageArray, labels: IntArray, *, seed: int) -> float:
    """Return the share of images whose gradient of the cross-entropy is 0 in every pixel.

    The loss is the one that users of libraries have, softmax and all: where a confident network's gradient
    underflows, this sees it.
    """
    zero = 0
    with evaluating(model), one_draw(model, seed=mixed(seed, 2)):
        for begin in range(0, len(images), DEFAULT_BATCH):
            part = slice(begin, begin + DEFAULT_BATCH)
            truth = torch.from_numpy(labels[part])
            pixels = torch.from_numpy(images[part].astype(np.float32)).permute(0, 3, 1, 2) / 255
            with torch.enable_grad():
                loss = functional.cross_entropy(model(pixels.requires_grad_()), truth, reduction="sum")
                (gradient,) = torch.autograd.grad(loss, pixels)
            zero += int((gradient == 0).flatten(1).all(1).sum())
    return zero / len(images)
