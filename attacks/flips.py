"""The last levels of a L∞ attack on the grid: values are driven to the edge of the ball in blocks."""

from __future__ import annotations

import dataclasses

import numpy as np
import torch
from torch import Tensor

from attacks.evaluation import Evaluation
from attacks.landscape import Landscape
from attacks.objectives import Objective
from attacks.streams import SEARCH, image_stream


def flip(
    landscape: Landscape, best: Evaluation, original: Tensor, limit: int, *, looks: int, seed: int
) -> Evaluation:
    """Climb from the best images: the block of values that the gradient promises most of goes to its edge.

    Each look may move a random half of the values. A block that makes it worse is followed by one half as
    large, one that helps by one twice as large, and one that changes nothing is kept. What counts is the
    margin, whatever the attack maximised before: it alone decides about success. Images that succeed already
    stay.

    Args:
        landscape: The model.
        best: Images in the ball.
        original: Their originals.
        limit: Radius of the ball in levels.
        looks: Times that the model is differentiated.
        seed: Of the random halves.
    """
    given = landscape.problem
    problem = dataclasses.replace(given, objective=Objective.MARGIN)
    landscape = dataclasses.replace(landscape, problem=problem)
    best = problem.judge(best.position, best.logits)
    low, high = (original - limit).clamp_min(0).flatten(1), (original + limit).clamp_max(255).flatten(1)
    seen, gradient = landscape.differentiate(best.position)
    best = seen.better_of(best)
    block = torch.full((len(original), 1), original[0].numel() // 8 + 1)
    halves = _halves(~best.success, original[0].numel(), landscape.first_index, looks, seed)
    for look in range(looks):
        values, slopes = best.position.flatten(1), gradient.flatten(1)
        edge = torch.where(slopes > 0, high, low)
        gain = slopes * (edge - values) * halves[:, look]
        chosen = _largest(gain, block, ~best.success)
        seen, slope_there = landscape.differentiate(torch.where(chosen, edge, values).view_as(original))
        gains = torch.where(seen.success == best.success, seen.loss > best.loss, seen.success)
        # Logits in steps leave plateaus, which a walk must be able to cross.
        level = ~gains & (seen.success == best.success) & (seen.loss == best.loss)
        best = seen.where(gains | level, best)
        gradient = torch.where((gains | level)[:, None, None, None], slope_there, gradient)
        longer = torch.where(level[:, None], block, 2 * block)
        block = torch.where((gains | level)[:, None], longer, (block // 2).clamp_min(4))
    return given.judge(best.position, best.logits)


def _largest(gain: Tensor, count: Tensor, wanted: Tensor) -> Tensor:
    """Return the ``count`` largest positive gains of the images ``wanted``, and their equals.

    Args:
        gain: float32 ``(N, values)``.
        count: At least 1, int64 ``(N, 1)``.
        wanted: bool ``(N,)``.
    """
    rows = torch.nonzero(wanted)[:, 0]
    some = gain[rows]
    # NumPy sorts numbers alone, which takes a tenth of the time of torch's stable order.
    ascending = torch.from_numpy(np.sort(some.numpy(), axis=1))
    place = (some.shape[1] - count[rows]).clamp_min(0)
    chosen = torch.zeros_like(gain, dtype=torch.bool)
    chosen[rows] = (some >= ascending.gather(1, place)) & (some > 0)
    return chosen


def _halves(wanted: Tensor, values: int, first_index: int, looks: int, seed: int) -> Tensor:
    """Return which values of the images ``wanted`` may move at each look, bool ``(N, looks, values)``."""
    bits = np.zeros((len(wanted), looks, values), np.bool_)
    for row in np.flatnonzero(wanted.numpy()):
        stream = image_stream(seed, SEARCH, first_index + int(row))
        bits[row] = stream.integers(0, 2, (looks, values), np.uint8)
    return torch.from_numpy(bits)
