"""The boundary attack on the 8-bit grid: a random walk among images that fool, towards the original."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from attacks.counter import Counter
from attacks.decision import Chase, FloatArray, as_images, flat, length
from attacks.gridball import round_into_l2
from attacks.inputs import require, require_count
from attacks.query import SearchAttack, Task
from attacks.streams import SEARCH, START
from attacks.threat import Norm
from export.graph import IntArray
from hw.target import ImageArray

# Shares of moves that should succeed: of those around the original, and of those towards it.
_AROUND, _TOWARDS = 0.5, 0.25
_RATE = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Boundary(SearchAttack):
    """Moves around the original at the same distance; where that still fools, moves nearer.

    Both lengths adapt, so that about a half of the former and a quarter of the latter succeed. With a budget
    it ends with the first image inside; without one it spends all queries on a nearer image.

    Attributes:
        around: First length of a move around the original, relative to the distance.
        towards: First length of a move towards it, relative to the distance.
        starts: Random images that are tried for a first one that fools.

    References:
        Brendel, Rauber, Bethge, Decision-based adversarial attacks (ICLR 2018), algorithm 1. The L∞ form,
        where a sphere is the surface of a cube, is ours.
    """

    name: ClassVar[str] = "boundary"
    norms: ClassVar[tuple[Norm, ...]] = (Norm.L2, Norm.LINF)
    minimises: ClassVar[bool] = True

    around: float = 0.1
    towards: float = 0.1
    starts: int = 50

    def __post_init__(self) -> None:
        # Not super(): slots=True makes a second class, which super() without arguments doesn't know.
        SearchAttack.__post_init__(self)
        require_count("the starts of boundary", self.starts, least=1)
        for what, value in (("around", self.around), ("towards", self.towards)):
            require(0 < value <= 1, f"boundary's {what} must be above 0 and at most 1, not {value}")

    def search(self, task: Task) -> ImageArray:
        """Return the nearest image found of each original."""
        chase = Chase(task, bounded=self.eps is not None)
        where = {"first_index": task.first_index, "count": len(task.originals)}
        chase.start(Counter(self.seed, START, **where), self.starts)
        random = Counter(self.seed, SEARCH, **where)
        around = np.full(len(task.originals), self.around)
        towards = np.full(len(task.originals), self.towards)
        current = chase.nearest.copy()
        number = 0
        while len(rows := chase.alive()):
            number += 1
            place, original = flat(current[rows]), flat(task.originals[rows])
            noise = random.normal(rows, number, place.shape[1]).astype(np.float64)
            images = as_images(self._beside(place, original, noise, around[rows]), current.shape[1:])
            fooled = chase.ask(images, rows)
            around[rows] = _adapted(around[rows], fooled, _AROUND)
            current[rows[fooled]] = images[fooled]
            # Where the first move fooled, and something is left to ask.
            part = np.flatnonzero(fooled & task.oracle.may_ask()[rows])
            images = self._nearer(task, current[rows[part]], rows[part], towards[rows[part]])
            fooled = chase.ask(images, rows[part])
            towards[rows[part]] = _adapted(towards[rows[part]], fooled, _TOWARDS)
            current[rows[part[fooled]]] = images[fooled]
        return chase.result()

    def _beside(
        self, place: FloatArray, original: FloatArray, noise: FloatArray, around: npt.NDArray[np.float64]
    ) -> FloatArray:
        """Return places no farther from the originals, ``(M, P)``."""
        change = place - original
        if self.norm is Norm.LINF:
            radius = np.abs(change).max(axis=1, keepdims=True)
            moved = change + noise * np.maximum(around[:, None] * radius, 0.5)
            return original + np.clip(moved, -radius, radius)
        distance = length(change)
        along = np.vecdot(noise, change)[:, None] / distance**2
        tangent = noise - along * change
        moved = change + tangent * (around[:, None] * distance / length(tangent))
        moved *= distance / length(moved)
        inside = np.clip(original + moved, 0, 255) - original
        # Every row has a ball of its own.
        whole = np.rint(np.vecdot(change, change)).astype(np.int64)
        return original + round_into_l2(inside, whole)

    def _nearer(
        self, task: Task, current: ImageArray, rows: IntArray, towards: npt.NDArray[np.float64]
    ) -> ImageArray:
        """Return images ``(M, H, W, C)`` that are nearer to the originals."""
        place, original = flat(current), flat(task.originals[rows])
        change = place - original
        if self.norm is Norm.LINF:
            radius = np.abs(change).max(axis=1, keepdims=True, initial=0)
            cut = np.maximum(np.minimum(np.floor(radius * (1 - towards[:, None])), radius - 1), 0)
            return as_images(original + np.clip(change, -cut, cut), current.shape[1:])
        return as_images(original + change * (1 - towards)[:, None], current.shape[1:])


def _adapted(
    lengths: npt.NDArray[np.float64], succeeded: npt.NDArray[np.bool_], share: float
) -> npt.NDArray[np.float64]:
    """Return longer moves where they succeed and shorter ones where not, in balance at a share of success."""
    return np.clip(lengths * np.exp(_RATE * (succeeded - share)), 1e-4, 1.0)
