"""Making a successful change smaller: what attacks that look for the smallest change share on the grid.

Every image proposed is asked, and taken only where it succeeds and is nearer, so nothing is lost by trying.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from attacks.evaluation import Evaluation
from attacks.threat import Norm

Judge = Callable[[Tensor], Evaluation]


def distance(position: Tensor, original: Tensor, norm: Norm) -> Tensor:
    """Return each image's distance, float64 ``(N,)``: levels, squared levels for L2, pixels for L0."""
    change = (position - original).double()
    match norm:
        case Norm.LINF:
            return change.flatten(1).abs().amax(1)
        case Norm.L2:
            return (change**2).flatten(1).sum(1)
        case Norm.L0:
            return (change != 0).any(dim=1).flatten(1).sum(1).double()


def nearer_of(seen: Evaluation, best: Evaluation, original: Tensor, norm: Norm) -> Evaluation:
    """Return the images that succeed, the nearer one where both do; else ``best``."""
    nearer = distance(seen.position, original, norm) < distance(best.position, original, norm)
    return seen.where(seen.success & (~best.success | nearer), best)


def contract(judge: Judge, best: Evaluation, original: Tensor, norm: Norm, *, looks: int = 8) -> Evaluation:
    """Halve the interval of how much of the change is needed.

    Args:
        judge: Asks the model.
        best: Images to improve, on the grid.
        original: Their originals.
        norm: L∞: larger changes are cut off. Else the whole change is scaled.
        looks: Times that the model is asked.
    """
    change = best.position - original
    largest = change.flatten(1).abs().amax(1)
    low, high = torch.zeros(len(change)), torch.ones(len(change))
    for _ in range(looks):
        share = (low + high) / 2
        if norm is Norm.LINF:
            radius = (share * largest).ceil()[:, None, None, None]
            tried = change.clamp(-radius, radius)
        else:
            tried = (change * share[:, None, None, None]).round()
        seen = judge(original + tried)
        low = torch.where(seen.success, low, share)
        high = torch.where(seen.success, share, high)
        best = nearer_of(seen, best, original, norm)
    return best


def undo(judge: Judge, best: Evaluation, original: Tensor, norm: Norm, *, looks: int = 64) -> Evaluation:
    """Give values their original back, the least changed ones first, in blocks that grow with success.

    Args:
        judge: Asks the model.
        best: Images to improve, on the grid.
        original: Their originals.
        norm: Pixels as a whole for L0, values else.
        looks: Times that the model is asked.
    """
    channels, height, width = original.shape[1:]
    units = (1, height, width) if norm is Norm.L0 else (channels, height, width)
    change = (best.position - original).abs()
    change = change.sum(1, keepdim=True) if norm is Norm.L0 else change
    size = change.flatten(1)
    order = torch.where(size > 0, size, torch.inf).argsort(dim=1, stable=True)
    rank = torch.zeros_like(order).scatter_(1, order, torch.arange(order.shape[1]).expand_as(order))
    changed = (size > 0).sum(1)
    begin, block = torch.zeros_like(changed), (changed + 1) // 2
    for _ in range(looks):
        end = torch.minimum(begin + block, changed)
        chosen = (rank >= begin[:, None]) & (rank < end[:, None])
        seen = judge(torch.where(chosen.view(-1, *units), original, best.position))
        better = nearer_of(seen, best, original, norm)
        taken = (better.position == seen.position).flatten(1).all(1) & seen.success
        best = better
        # A single value that is needed stays; of a block that is needed the first half is tried. What goes
        # well is tried on twice as many.
        passed = taken | (block <= 1)
        begin = torch.where(passed, end, begin)
        block = torch.where(taken, 2 * block, (block // 2).clamp_min(1))
        if bool((begin >= changed).all()):
            break
    return best
