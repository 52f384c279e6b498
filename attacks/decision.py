"""What attacks that only see labels share: a first image that fools, and the nearest one so far."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from attacks.counter import Counter
from attacks.query import BoolArray, Task
from export.graph import IntArray
from hw.target import ImageArray

FloatArray = npt.NDArray[np.float64]

# Sides of the blocks of one grey level that first images are made of.
_BLOCKS = (1, 7, 2, 14, 4)


class Chase:
    """The nearest image that fools, for each of N originals.

    Args:
        task: What is attacked.
        bounded: Whether an image inside the budget is all that is wanted; else the nearest one is looked for
            until the queries are spent.

    Attributes:
        nearest: uint8 ``(N, H, W, C)``; the original where nothing fooled yet.
        spent: Its distance in whole numbers, int64 ``(N,)``, as `attacks.threat.Budget.spent` measures.
        found: Whether it fools, bool ``(N,)``.
    """

    def __init__(self, task: Task, *, bounded: bool) -> None:
        count = len(task.originals)
        self._task = task
        self._limit = task.budget.limit(task.originals.shape[1:]) if bounded else 0
        self.nearest = task.originals.copy()
        self.spent = np.zeros(count, np.int64)
        self.found = np.ones(count, np.bool_)
        self.found[task.pending] = False

    def ask(self, images: ImageArray, rows: IntArray) -> BoolArray:
        """Return which images ``(M, H, W, C)`` of the originals ``rows`` fool, and remember the nearest."""
        if len(rows) == 0:
            return np.zeros(0, np.bool_)
        fooled = self._task.fooled(images, rows)
        spent = self._task.budget.spent(self._task.originals[rows], images)
        better = fooled & (~self.found[rows] | (spent < self.spent[rows]))
        # Several images of one original: the last written must be the nearest.
        order = np.flatnonzero(better)[np.argsort(-spent[better], kind="stable")]
        self.nearest[rows[order]] = images[order]
        self.spent[rows[order]] = spent[order]
        self.found[rows[order]] = True
        return fooled

    def alive(self) -> IntArray:
        """Return the originals that can be improved: one fools, is too far still, and queries are left."""
        far = self.found & (self.spent > self._limit)
        return np.flatnonzero(far & self._task.oracle.may_ask())

    def start(self, random: Counter, tries: int) -> None:
        """Look for a first image that fools: blocks of random grey levels, from pixels to the half image."""
        shape = self._task.originals.shape[1:]
        for attempt in range(tries):
            rows = np.flatnonzero(~self.found & self._task.oracle.may_ask())
            if len(rows) == 0:
                return
            grey = blocks(random, rows, attempt, shape, _BLOCKS[attempt % len(_BLOCKS)])
            # Every other round is black and white.
            strong = attempt // len(_BLOCKS) % 2 == 1
            self.ask(np.where(grey < 128, 0, 255).astype(np.uint8) if strong else grey, rows)

    def result(self) -> ImageArray:
        """Return the nearest images that are inside the budget, and the originals elsewhere."""
        limit = self._task.budget.limit(self.nearest.shape[1:])
        inside = self.found & (self.spent <= limit)
        return np.where(inside[:, None, None, None], self.nearest, self._task.originals)


def blocks(random: Counter, rows: IntArray, step: int, shape: tuple[int, ...], side: int) -> ImageArray:
    """Return images of blocks with a random value in each channel, uint8 ``(M, H, W, C)``."""
    height, width, channels = shape
    down, across = math.ceil(height / side), math.ceil(width / side)
    values = random.bytes(rows, step, down * across * channels).reshape(-1, down, across, channels)
    return values.repeat(side, axis=1).repeat(side, axis=2)[:, :height, :width]


def flat(images: ImageArray) -> FloatArray:
    """Return images as float64 ``(M, P)``."""
    return images.reshape(len(images), math.prod(images.shape[1:])).astype(np.float64)


def length(change: FloatArray) -> FloatArray:
    """Return the Euclidean length of each row, ``(M, 1)``, above 0."""
    return np.sqrt(np.vecdot(change, change))[:, None] + 1e-12


def as_images(pixels: FloatArray, shape: tuple[int, ...]) -> ImageArray:
    """Return values ``(M, P)`` rounded to the grid and the pixel range, uint8 ``(M, H, W, C)``."""
    return np.clip(np.rint(pixels), 0, 255).astype(np.uint8).reshape(len(pixels), *shape)
