"""Bringing a position back into the ball, the pixel range and, where asked, onto the 8-bit grid."""

from __future__ import annotations

import torch
from torch import Tensor

from attacks.threat import Budget, Norm


def project(position: Tensor, original: Tensor, budget: Budget, *, on_grid: bool) -> Tensor:
    """Return the nearest images inside, or near ones where the grid makes the nearest hard to find.

    Args:
        position: float32 ``(N, C, H, W)``, values meant to be from 0 to 255.
        original: Whole numbers from 0 to 255, the same shape.
        budget: The ball.
        on_grid: Round to whole numbers.

    Returns:
        float32 ``(N, C, H, W)`` inside the budget and the range.
    """
    limit = budget.limit((position.shape[2], position.shape[3], position.shape[1]))
    match budget.norm:
        case Norm.LINF:
            radius = limit if on_grid else min(255 * budget.eps, 255.0)
            low, high = (original - radius).clamp_(min=0), (original + radius).clamp_(max=255)
            inside = torch.minimum(torch.maximum(position, low), high)
            return inside.round() if on_grid else inside
        case Norm.L2:
            inside = _within_l2(position.clamp(0, 255) - original, 255 * budget.eps)
            return original + (_rounded_l2(inside, limit) if on_grid else inside)
        case Norm.L0:
            inside = position.clamp(0, 255)
            inside = inside.round() if on_grid else inside
            return torch.where(_largest_pixels(inside - original, limit), inside, original)


def rounded(position: Tensor, original: Tensor, budget: Budget) -> Tensor:
    """Return uint8 values for float images of the ball, still inside it.

    Half a step of rounding may leave the ball: a L∞ image is clipped, an L2 image is
    rounded towards its original.
    """
    return project(position.round(), original, budget, on_grid=True)


def steepest(gradient: Tensor, norm: Norm) -> Tensor:
    """Return the displacement of length 1 that a gradient ``(N, C, H, W)`` gains most by.

    L∞: its signs. L2: itself, made as long as 1; 0 where it is 0.
    """
    return gradient.sign() if norm is Norm.LINF else gradient / _length(gradient)


def _length(change: Tensor) -> Tensor:
    length = change.flatten(1).norm(dim=1).clamp_min(torch.finfo(change.dtype).tiny)
    return length[:, None, None, None]


def _within_l2(change: Tensor, radius: float) -> Tensor:
    return change * (radius / _length(change)).clamp(max=1.0)


def _rounded_l2(change: Tensor, limit: int) -> Tensor:
    """Round to the nearest grid point; where that leaves the ball, some values towards the original.

    Of the values that rounding made larger, those go back first that had least of the way to the next step.
    """
    flat = change.flatten(1)
    nearest, towards = flat.round(), flat.trunc()
    # Squares of whole numbers up to 255 sum exactly in float64.
    excess = (nearest.double() ** 2).sum(1, keepdim=True) - limit
    if not bool((excess > 0).any()):
        return nearest.view_as(change)
    savings = nearest.double() ** 2 - towards.double() ** 2
    order = torch.where(nearest == towards, torch.inf, (flat - towards).abs()).argsort(dim=1, stable=True)
    ordered = savings.gather(1, order)
    returned = torch.zeros_like(flat, dtype=torch.bool)
    returned.scatter_(1, order, ordered.cumsum(1) - ordered < excess)
    return torch.where(returned, towards, nearest).view_as(change)


def _largest_pixels(change: Tensor, count: int) -> Tensor:
    """Return bool ``(N, 1, H, W)``: the ``count`` pixels that change most, the first among equals."""
    size = change.abs().sum(1).flatten(1)
    order = size.argsort(dim=1, descending=True, stable=True)
    keep = torch.zeros_like(size, dtype=torch.bool)
    keep.scatter_(1, order[:, :count], True)
    return keep.reshape(len(change), 1, *change.shape[2:])
