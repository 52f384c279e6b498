"""Adversarial images for training: one gradient step (FGSM) or several (PGD) in the L∞ ball."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn import functional

from quant_models.lean import frozen_forward
from quant_models.stochastic import one_draw
from quant_models.trainconfig import TrainConfig

_ONE_STEP = 1.25
_SEVERAL_STEPS = 2.5
_CUT = 2.0


def adversarial_images(
    model: nn.Module, images: Tensor, labels: Tensor, *, radius: float, config: TrainConfig
) -> Tensor:
    """Move images to where the network's loss is larger.

    Goodfellow et al. (2015) take one step, Madry et al. (2018) several from a random start. Draws from
    torch's global generator; weights that are drawn are drawn anew for each step.

    Args:
        model: The network, in training mode; it leaves no trace in its statistics and gradients.
        images: float32 ``(N, C, H, W)`` in [0, 1].
        labels: int64 ``(N,)``.
        radius: Of the L∞ ball, in [0, 1].
        config: Steps, their size, and how they start.

    Returns:
        Images in [0, 1] within the radius of the given ones.
    """
    radii = _radii(images, radius) if config.adversarial_random_epsilon else radius
    steps = config.adversarial_steps
    factor = _ONE_STEP if steps == 1 else _SEVERAL_STEPS / steps
    size = config.adversarial_step_size or radii * factor
    low, high = (images - radii).clamp_(min=0.0), (images + radii).clamp_(max=1.0)
    moved = images
    if config.adversarial_random_start:
        moved = (images + (torch.rand_like(images) * 2 - 1) * radii).clamp(0.0, 1.0)
    with _crafting(model):
        forward = frozen_forward(model)
        for _ in range(steps):
            start = moved.detach().requires_grad_()
            loss = functional.cross_entropy(forward(start), labels)
            (gradient,) = torch.autograd.grad(loss, start)
            moved = start.detach() + size * gradient.sign()
            moved = torch.minimum(torch.maximum(moved, low), high)
    return moved


def _radii(images: Tensor, largest: float) -> Tensor:
    """Return a radius for each image, |TN(0, largest / 2)|, float32 ``(N, 1, 1, 1)``."""
    normal = torch.empty(len(images), 1, 1, 1)
    nn.init.trunc_normal_(normal, std=1.0, a=-_CUT, b=_CUT)
    return normal.abs_().mul_(largest / _CUT)


@contextmanager
def _crafting(model: nn.Module) -> Generator[None]:
    """Eval mode, so that BatchNorm's statistics stay, one draw a batch, and no gradients to parameters."""
    parameters = [part for part in model.parameters() if part.requires_grad]
    model.eval()
    for part in parameters:
        part.requires_grad_(False)
    try:
        with one_draw(model):
            yield
    finally:
        for part in parameters:
            part.requires_grad_(True)
        model.train()
