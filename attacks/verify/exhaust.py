"""Every input that the network can tell apart, one by one: exact, and fast while few pixels are free."""

from __future__ import annotations

import itertools
import time

import numpy as np

from attacks.verify.evaluate import Evaluator
from attacks.verify.problem import FreePixel, Problem
from export.graph import IntArray

_BATCH = 4096


class OutOfTimeError(Exception):
    """The deadline passed before the last input."""


def enumerate_inputs(problem: Problem, deadline_s: float) -> IntArray | None:
    """Return counts that change the class, int64 ``(pixels,)``, or None where no input does.

    The first layer's sums of one half of the pixels are added to those of the other half.

    Args:
        problem: At least one target.
        deadline_s: On the clock of `time.monotonic`.

    Raises:
        OutOfTimeError: There was not enough time.
    """
    evaluator = Evaluator(problem)
    head, tail = _halves(problem.pixels)
    outer, inner = _grid(head), _grid(tail)
    split = len(head)
    sums = inner.astype(evaluator.dtype) @ evaluator.first[split:]
    for counts in outer:
        if time.monotonic() > deadline_s:
            raise OutOfTimeError
        margins = evaluator.after_first(sums + counts.astype(evaluator.dtype) @ evaluator.first[:split])
        best = margins.max(axis=1)
        if best.max() >= 0:
            return np.concatenate([counts, inner[int(np.argmax(best >= 0))]])
    return None


def _halves(pixels: tuple[FreePixel, ...]) -> tuple[tuple[FreePixel, ...], tuple[FreePixel, ...]]:
    """Leave as many pixels to the inner loop as make a batch of moderate size."""
    split, size = len(pixels), 1
    while split > 0 and size * len(pixels[split - 1].counts) <= _BATCH:
        split -= 1
        size *= len(pixels[split].counts)
    return pixels[:split], pixels[split:]


def _grid(pixels: tuple[FreePixel, ...]) -> IntArray:
    points = list(itertools.product(*(pixel.counts for pixel in pixels)))
    return np.array(points, np.int64).reshape(len(points), len(pixels))
