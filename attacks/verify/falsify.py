"""A quick search for a counterexample: climb the largest margin pixel by pixel, from several starts."""

from __future__ import annotations

import numpy as np

from attacks.verify.evaluate import Evaluator
from attacks.verify.problem import Problem
from export.graph import IntArray

_TARGETS = 3
_RANDOM_STARTS = 3
_STEPS = 60
_STALE = 8
_MOST_MOVES = 1024


def falsify(problem: Problem, stream: np.random.Generator) -> IntArray | None:
    """Return counts of the free pixels that change the class, int64 ``(pixels,)``, or None.

    Args:
        problem: At least one free pixel and one target.
        stream: Of everything random.
    """
    evaluator = Evaluator(problem)
    starts = _starts(problem, evaluator, stream)
    margins = evaluator.margins(starts)
    best = margins.max(axis=1)
    if best.max() >= 0:
        return starts[int(best.argmax())]
    moves = _moves(problem)
    for start in np.argsort(-best, kind="stable"):
        found = _climb(evaluator, starts[start], moves, stream)
        if found is not None:
            return found
    return None


def _starts(problem: Problem, evaluator: Evaluator, stream: np.random.Generator) -> IntArray:
    limits = problem.limits
    original = problem.counts_of_image()
    slopes = evaluator.slopes()
    nearest = np.argsort(-evaluator.margins(original[None])[0], kind="stable")[:_TARGETS]
    corners = [np.where(slopes[:, target] > 0, limits, 0) for target in nearest]
    random = [np.where(stream.random(len(limits)) < 0.5, limits, 0) for _ in range(_RANDOM_STARTS)]
    return np.stack([original, *corners, *random]).astype(np.int64)


def _moves(problem: Problem) -> tuple[IntArray, IntArray]:
    """Return places and values: each free pixel to either end of its range."""
    limits = problem.limits
    places = np.repeat(np.arange(len(limits)), 2)
    return places, np.stack([np.zeros_like(limits), limits], axis=1).ravel()


def _climb(
    evaluator: Evaluator, counts: IntArray, moves: tuple[IntArray, IntArray], stream: np.random.Generator
) -> IntArray | None:
    """Take the best single move, a random one among equals, until nothing got better for some steps."""
    counts = counts.copy()
    peak, stale = -np.inf, 0
    moved = np.full(len(counts), -_STALE)
    for step in range(_STEPS):
        places, values = moves
        usable = (counts[places] != values) & (step - moved[places] >= _STALE // 2)
        places, values = places[usable], values[usable]
        if len(places) == 0:
            return None
        if len(places) > _MOST_MOVES:
            some = stream.choice(len(places), _MOST_MOVES, replace=False)
            places, values = places[some], values[some]
        steps = (values - counts[places]).astype(evaluator.dtype)
        sums = counts.astype(evaluator.dtype) @ evaluator.first + evaluator.first[places] * steps[:, None]
        scores = evaluator.after_first(sums).max(axis=1)
        best = scores.max()
        chosen = int(stream.choice(np.flatnonzero(scores == best)))
        counts[places[chosen]] = values[chosen]
        moved[places[chosen]] = step
        if best >= 0:
            return counts
        peak, stale = (best, 0) if best > peak else (peak, stale + 1)
        if stale >= _STALE:
            return None
    return None
