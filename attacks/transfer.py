"""Transfer: images that fool models which are at hand, judged on a target that is not."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from attacks.base import AttackResult
from attacks.evaluation import Problem
from attacks.gradient import DEFAULT_BATCH, GradientAttack
from attacks.inputs import check_batch, require
from export.graph import IntArray
from hw.target import ImageArray, Target


class Ensemble(nn.Module):
    """The mean of several models' logits, each model's divided by their standard deviation over the classes.

    Integer networks have logits of any scale; without the division the loudest would decide alone.

    Args:
        models: Each takes float32 ``(N, C, H, W)`` in [0, 1] and returns logits ``(N, K)``.

    Raises:
        InputError: No models.
    """

    def __init__(self, models: Sequence[nn.Module]) -> None:
        super().__init__()
        require(len(models) > 0, "an ensemble needs at least one model")
        self.models = nn.ModuleList(models)

    def forward(self, x: Tensor) -> Tensor:
        """Compute the logits."""
        parts: list[Tensor] = []
        for model in self.models:
            logits = model(x)
            # The scale is taken as it is: no gradient rises by making logits small.
            scale = logits.detach().std(dim=1, keepdim=True).clamp_min(1e-6)
            parts.append(logits / scale)
        require(
            len({part.shape[1] for part in parts}) == 1, "the models of an ensemble have different classes"
        )
        return torch.stack(parts).mean(dim=0)


def craft_by_transfer(
    attack: GradientAttack,
    models: Sequence[nn.Module],
    target: Target,
    images: ImageArray,
    labels: IntArray,
    *,
    targets: IntArray | None = None,
    first_index: int = 0,
    batch_size: int = DEFAULT_BATCH,
    progress: Callable[[int, int], None] | None = None,
) -> AttackResult:
    """Craft one adversarial image for each original on an ensemble, and judge it on the target.

    Args:
        attack: How the ensemble is attacked.
        models: What the attacker has.
        target: What is to be fooled; it is not asked before the end.
        images: uint8 ``(N, H, W, C)``.
        labels: True classes ``(N,)``.
        targets: Classes to reach ``(N,)``, with `Goal.GIVEN` only.
        first_index: Index of the first image in its data set.
        batch_size: Images in one call of the models.
        progress: Called with images done and images in all.

    Returns:
        The attack's result, with success and loss on the target and no queries.

    Raises:
        InputError: Models, images, labels or targets that don't fit.
        CheckFailedError: An image left the budget.
    """
    images, labels = check_batch(images, labels)
    result = attack.craft(
        Ensemble(models),
        images,
        labels,
        targets=targets,
        first_index=first_index,
        batch_size=batch_size,
        progress=progress,
    )
    return judged_on(target, result, labels, first_index=first_index)


def judged_on(target: Target, result: AttackResult, labels: IntArray, *, first_index: int) -> AttackResult:
    """Return a result with the success and the loss that its images have on a target, and no queries."""
    logits = target.infer(result.adversarial, first_index).logits
    require(
        logits.shape[1] == result.classes,
        f"the target has {logits.shape[1]} classes, the models have {result.classes}",
    )
    aim = None if result.targets is None else torch.from_numpy(result.targets)
    problem = Problem(truth=torch.from_numpy(labels), aim=aim)
    scores = torch.from_numpy(logits.astype(np.float64))
    return dataclasses.replace(
        result,
        success=problem.success(torch.from_numpy(logits)).numpy(),
        loss=problem.loss(scores).numpy(),
        queries=np.zeros(len(labels), np.int64),
        float_success=None,
    )
