"""HopSkipJump on the 8-bit grid: walks along the decision boundary with labels only."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from attacks.counter import Counter
from attacks.decision import Chase, FloatArray, as_images, flat, length
from attacks.inputs import require, require_count
from attacks.query import SearchAttack, Task
from attacks.streams import SEARCH, START
from attacks.threat import Norm
from export.graph import IntArray
from hw.target import ImageArray

# A round draws from numbers of its own, so that no two rounds share any.
_ROUND = 1 << 16
_HALVINGS = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class HopSkipJump(SearchAttack):
    """Rounds of: bisect to the boundary, estimate its normal there by probes, step along it while it fools.

    With a budget it ends with the first image inside; without one it spends all queries on a nearer image.
    Bisection in L∞ is over whole grey levels, so that its end is the nearest of its line.

    Attributes:
        probes: Probes of the first round; round t has ``probes * sqrt(t)``.
        reach: Length of a probe relative to the distance from the original; at least a grey level a pixel.
        starts: Random images that are tried for a first one that fools.

    References:
        Chen, Jordan, Wainwright, HopSkipJumpAttack (IEEE S&P 2020), algorithm 2. Its probes are as short as
        floats allow; those of the grid can't be.
    """

    name: ClassVar[str] = "hopskipjump"
    norms: ClassVar[tuple[Norm, ...]] = (Norm.LINF, Norm.L2)
    minimises: ClassVar[bool] = True

    probes: int = 50
    reach: float = 0.3
    starts: int = 50

    def __post_init__(self) -> None:
        # Not super(): slots=True makes a second class, which super() without arguments doesn't know.
        SearchAttack.__post_init__(self)
        require_count("the probes of hopskipjump", self.probes, least=1)
        require_count("the starts of hopskipjump", self.starts, least=1)
        require(0 < self.reach <= 10, f"the reach of hopskipjump must be from 0 to 10, not {self.reach}")

    def search(self, task: Task) -> ImageArray:
        """Return the nearest image found of each original."""
        chase = Chase(task, bounded=self.eps is not None)
        where = {"first_index": task.first_index, "count": len(task.originals)}
        chase.start(Counter(self.seed, START, **where), self.starts)
        random = Counter(self.seed, SEARCH, **where)
        current = chase.nearest.copy()
        number = 0
        while len(rows := chase.alive()):
            number += 1
            current[rows] = self._bisect(task, chase, current[rows], rows)
            # Those that are near enough by now, or spent, do not go on.
            rows = chase.alive()
            if len(rows) == 0:
                break
            normal = self._normal(task, chase, current[rows], rows, random, number)
            current[rows] = self._step(task, chase, current[rows], rows, normal, number)
        return chase.result()

    def _bisect(self, task: Task, chase: Chase, ends: ImageArray, rows: IntArray) -> ImageArray:
        """Return images near the boundary that fool, on the way from ``ends``, which do, to the originals."""
        originals = task.originals[rows]
        shape = originals.shape[1:]
        whole = task.budget.spent(originals, ends) if self.norm is Norm.LINF else np.full(len(rows), 256)
        low, high = np.zeros(len(rows), np.int64), whole.copy()
        result = ends.copy()
        while True:
            open_ = np.flatnonzero((high - low > 1) & task.oracle.may_ask()[rows])
            if len(open_) == 0:
                return result
            middle = (low[open_] + high[open_]) // 2
            start, end = flat(originals[open_]), flat(ends[open_])
            if self.norm is Norm.LINF:
                tried = np.clip(end, start - middle[:, None], start + middle[:, None])
            else:
                tried = start + (end - start) * (middle / 256)[:, None]
            images = as_images(tried, shape)
            fooled = chase.ask(images, rows[open_])
            result[open_[fooled]] = images[fooled]
            high[open_[fooled]] = middle[fooled]
            low[open_[~fooled]] = middle[~fooled]

    def _normal(
        self, task: Task, chase: Chase, current: ImageArray, rows: IntArray, random: Counter, number: int
    ) -> FloatArray:
        """Return the estimated direction into the region that fools, ``(M, P)``."""
        place = flat(current)
        size = place.shape[1]
        distance = length(place - flat(task.originals[rows]))
        scale = np.maximum(self.reach * distance / math.sqrt(size), 1.0)
        agree, total = np.zeros_like(place), np.zeros_like(place)
        votes, asked = np.zeros(len(rows)), np.zeros(len(rows))
        for probe in range(int(self.probes * math.sqrt(number))):
            part = np.flatnonzero(task.oracle.may_ask()[rows])
            if len(part) == 0:
                break
            reach = random.normal(rows[part], number * _ROUND + probe, size)
            images = as_images(place[part] + scale[part] * reach, current.shape[1:])
            vote = np.where(chase.ask(images, rows[part]), 1.0, -1.0)
            agree[part] += vote[:, None] * reach
            total[part] += reach
            votes[part] += vote
            asked[part] += 1
        mean = (votes / np.maximum(asked, 1))[:, None]
        # Where all probes agree, their mean is no baseline but all there is.
        return agree - np.where(np.abs(mean) < 1, mean, 0.0) * total

    def _step(
        self,
        task: Task,
        chase: Chase,
        current: ImageArray,
        rows: IntArray,
        normal: FloatArray,
        number: int,
    ) -> ImageArray:
        """Step along the normal, half as far again and again until the image fools; else stay."""
        place, original = flat(current), flat(task.originals[rows])
        if self.norm is Norm.LINF:
            direction = np.sign(normal)
            distance = np.abs(place - original).max(axis=1, keepdims=True)
        else:
            direction = normal / length(normal)
            distance = length(place - original)
        result = current.copy()
        waiting = np.ones(len(rows), np.bool_)
        for halving in range(_HALVINGS):
            part = np.flatnonzero(waiting & task.oracle.may_ask()[rows])
            if len(part) == 0:
                break
            size = distance[part] / (math.sqrt(number) * 2**halving)
            images = as_images(place[part] + size * direction[part], current.shape[1:])
            fooled = chase.ask(images, rows[part])
            result[part[fooled]] = images[fooled]
            waiting[part[fooled]] = False
        return result
