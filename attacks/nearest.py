"""Making a successful change smaller: what attacks that look for the smallest change share on the grid.

Every image proposed is asked, and taken only where it succeeds and is nearer, so nothing is lost by trying.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from attacks.evaluation import Evaluation
from attacks.threat import Norm

Judge = Callable[[Tensor, Tensor], Evaluation]
"""Takes indices of images, int64 ``(M,)``, and a position for each; asks the model."""


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
    rows = torch.arange(len(original))
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
        seen = judge(rows, original + tried)
        low = torch.where(seen.success, low, share)
        high = torch.where(seen.success, share, high)
        best = nearer_of(seen, best, original, norm)
    return best


def undo(
    judge: Judge,
    best: Evaluation,
    original: Tensor,
    norm: Norm,
    *,
    looks: int = 64,
    dearest_first: bool = False,
) -> Evaluation:
    """Give values their original back, in blocks that grow with success.

    Args:
        judge: Asks the model.
        best: Images to improve, on the grid.
        original: Their originals.
        norm: Pixels as a whole for L0, values else.
        looks: Times that the model is asked.
        dearest_first: Begin with the single value that was changed most, instead of half of the values, the
            least changed ones.
    """
    channels, height, width = original.shape[1:]
    # Values that go back together, and how many such units an image has.
    shape = (
        len(original),
        *((channels, height * width) if norm is Norm.L0 else (1, channels * height * width)),
    )
    change = (best.position - original).abs()
    size = (change.sum(1, keepdim=True) if norm is Norm.L0 else change).flatten(1)
    # An image that doesn't succeed can't be improved.
    changed = (size > 0).sum(1) * best.success
    order = _order(size, int(changed.max()), dearest_first=dearest_first)
    places = torch.arange(order.shape[1])
    begin, block = torch.zeros_like(changed), torch.ones_like(changed)
    if not dearest_first:
        block = (changed + 1) // 2
    position, logits, loss = best.position.clone(), best.logits.clone(), best.loss.clone()
    originals = original.reshape(shape)
    for _ in range(looks):
        rows = torch.nonzero(begin < changed)[:, 0]
        if len(rows) == 0:
            break
        end = torch.minimum(begin[rows] + block[rows], changed[rows])
        row, place = torch.nonzero((places >= begin[rows, None]) & (places < end[:, None]), as_tuple=True)
        value = order[rows[row], place]
        tried = position[rows]
        # A view: the image's values change.
        tried.view(-1, *shape[1:])[row, :, value] = originals[rows[row], :, value]
        seen = judge(rows, tried)
        taken = seen.success
        position[rows[taken]], logits[rows[taken]] = tried[taken], seen.logits[taken]
        loss[rows[taken]] = seen.loss[taken]
        # A single value that is needed stays; of a block that is needed the first half is tried. What goes
        # well is tried on twice as many.
        begin[rows] = torch.where(taken | (block[rows] <= 1), end, begin[rows])
        block[rows] = torch.where(taken, 2 * block[rows], (block[rows] // 2).clamp_min(1))
    return Evaluation(position=position, logits=logits, loss=loss, success=best.success)


def _order(size: Tensor, count: int, *, dearest_first: bool) -> Tensor:
    """Return the changed values of each image in their order, int64 ``(N, count)``; behind them anything.

    Args:
        size: How much each value changed, whole numbers ``(N, values)``.
        count: Changed values of the image that has most of them.
        dearest_first: The largest change first, not the least; among equals the first value comes first.
    """
    values = size.shape[1]
    whole = size.long()
    rising = whole if dearest_first else torch.where(whole > 0, whole.amax() + 1 - whole, 0)
    # One number for size and place, so that no ties depend on how many are wanted.
    key = rising * values + torch.arange(values - 1, -1, -1)
    return key.topk(count, dim=1).indices
