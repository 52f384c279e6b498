"""The scale of the logits that a gradient attack does best with, found instead of guessed.

A ±1 network's logits are large: its softmax is saturated, and what the cross-entropy's gradient says of the
other classes is lost to rounding. A scale is found from the network's Jacobian J, the logits' gradients with
respect to the pixels.

References:
    Gupta and Ajanthan, Improved gradient-based adversarial attacks for quantized networks (AAAI 2022).
"""

from __future__ import annotations

import math
from enum import StrEnum

import torch
from torch import Tensor

from attacks.evaluation import Problem
from attacks.landscape import Landscape

CALIBRATION_IMAGES = 100
"""Images that the scale of a whole set is found on."""

# An image whose true class has at least 1 - RHO of the probability gets a scale of its own.
_RHO = 0.01
# Scales that are tried beside the Jacobian's own: factors from 1e-3 to 1e3.
_FACTORS = torch.logspace(-3, 3, 61, dtype=torch.float64)


class Scaling(StrEnum):
    """Where the scale of the logits comes from.

    FIXED: the parameter ``temperature``. NJS, network Jacobian scaling: the scaled Jacobian's mean singular
    value is 1. HNS, Hessian norm scaling: the Hessian of the cross-entropy has the largest norm.
    """

    FIXED = "fixed"
    NJS = "njs"
    HNS = "hns"


def gram(landscape: Landscape, position: Tensor) -> tuple[Tensor, Tensor]:
    """Return logits ``(N, K)`` and ``J J^T`` ``(N, K, K)`` at ``position``, float64."""
    seen, jacobian = landscape.jacobian(position)
    rows = jacobian.flatten(2).double()
    return seen.logits.double(), rows @ rows.transpose(1, 2)


def temperatures(
    scaling: Scaling, problem: Problem, own: tuple[Tensor, Tensor], calibration: tuple[Tensor, Tensor] | None
) -> Tensor:
    """Return what to divide each image's logits by.

    Args:
        scaling: `Scaling.NJS` or `Scaling.HNS`.
        problem: The classes.
        own: What `gram` says of the images.
        calibration: What it says of the images whose mean decides, as published; None lets each image decide
            for itself, so that no image depends on another.

    Returns:
        float64 ``(N, 1)``, positive and finite.
    """
    logits, _ = own
    scales = _scales(scaling, *(own if calibration is None else calibration))
    if calibration is not None:
        scales = scales.mean().expand(len(logits))
    scaled = logits * scales[:, None]
    return 1 / (scales * _relief(scaled, problem.truth))[:, None]


def _scales(scaling: Scaling, logits: Tensor, grams: Tensor) -> Tensor:
    """Return each image's own scale, ``(N,)``."""
    singular = torch.linalg.eigvalsh(grams).clamp_min(0).sqrt().mean(1)
    # No gradient at all: no scale is better than another.
    njs = torch.where(singular > 0, 1 / singular.clamp_min(torch.finfo(torch.float64).tiny), 1.0)
    if scaling is Scaling.NJS:
        return njs
    norms = torch.stack([_hessian_norm(logits, grams, njs * factor) for factor in _FACTORS], dim=1)
    return njs * _FACTORS[norms.argmax(1)]


def _hessian_norm(logits: Tensor, grams: Tensor, scales: Tensor) -> Tensor:
    """Return the Frobenius norm of the cross-entropy's Hessian ``b^2 J^T (diag(p) - p p^T) J``, ``(N,)``."""
    chances = (logits * scales[:, None]).softmax(1)
    spread = torch.diag_embed(chances) - chances[:, :, None] * chances[:, None, :]
    product = spread @ grams
    squared = (product * product.transpose(1, 2)).sum((1, 2)).clamp_min(0)
    return scales**2 * squared.sqrt()


def _relief(scaled: Tensor, truth: Tensor) -> Tensor:
    """Return the second scale, at most 1, that leaves `_RHO` of the probability to the other classes."""
    own = scaled.gather(1, truth[:, None])[:, 0]
    others = scaled.scatter(1, truth[:, None], -torch.inf)
    rest = 1 - scaled.softmax(1).gather(1, truth[:, None])[:, 0]
    lead = own - others.amax(1)
    # Then the next class alone has it.
    second = math.log((1 - _RHO) / _RHO) / lead.clamp_min(torch.finfo(torch.float64).tiny)
    return torch.where(rest <= _RHO, second.clamp(max=1.0), 1.0)
