"""Salt and pepper: as few pixels as possible become black or white until the network is fooled."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from attacks.counter import Counter, uniform
from attacks.decision import Chase
from attacks.inputs import require_count
from attacks.query import BoolArray, SearchAttack, Task
from attacks.streams import SEARCH, START
from attacks.threat import Norm
from hw.target import ImageArray


@dataclass(frozen=True, slots=True, kw_only=True)
class SaltPepper(SearchAttack):
    """Sets more and more random pixels to 0 or 255, then takes random ones of them back while it still fools.

    With a budget it never sets more pixels and ends with the first image that fools; without one it spends
    all queries on fewer pixels. It sees labels only.

    Attributes:
        tries: Orders of pixels that are tried until one fools.
        levels: Numbers of pixels that are tried of each order.

    References:
        The noise is the usual one; taking back is the second phase of the pointwise attack of Schott, Rauber,
        Bethge, Brendel, Towards the first adversarially robust neural network model on MNIST (ICLR 2019),
        with many pixels at a time.
    """

    name: ClassVar[str] = "saltpepper"
    norms: ClassVar[tuple[Norm, ...]] = (Norm.L0,)
    minimises: ClassVar[bool] = True

    norm: Norm = Norm.L0
    tries: int = 20
    levels: int = 10

    def __post_init__(self) -> None:
        # Not super(): slots=True makes a second class, which super() without arguments doesn't know.
        SearchAttack.__post_init__(self)
        require_count("the tries of saltpepper", self.tries, least=1)
        require_count("the levels of saltpepper", self.levels, least=1)

    def search(self, task: Task) -> ImageArray:
        """Return the image with the fewest changed pixels found of each original."""
        chase = Chase(task, bounded=self.eps is not None)
        if task.budget.limit(task.originals.shape[1:]) == 0:
            return chase.result()
        where = {"first_index": task.first_index, "count": len(task.originals)}
        self._salt(task, chase, Counter(self.seed, START, **where))
        self._take_back(task, chase, Counter(self.seed, SEARCH, **where))
        return chase.result()

    def _salt(self, task: Task, chase: Chase, random: Counter) -> None:
        """Set more and more pixels until the images fool."""
        height, width, _ = task.originals.shape[1:]
        pixels = height * width
        most = task.budget.limit(task.originals.shape[1:])
        counts = [math.ceil(most * ((level + 1) / self.levels) ** 2) for level in range(self.levels)]
        for attempt in range(self.tries):
            rows = np.flatnonzero(~chase.found & task.oracle.may_ask())
            if len(rows) == 0:
                return
            ranks = random.words(rows, 2 * attempt, pixels).argsort(axis=1).argsort(axis=1)
            grains = random.bits(rows, 2 * attempt + 1, pixels) * np.uint8(255)
            for count in counts:
                part = np.flatnonzero(~chase.found[rows] & task.oracle.may_ask()[rows])
                chosen = ranks[part] < count
                chase.ask(_salted(task.originals[rows[part]], chosen, grains[part]), rows[part])

    def _take_back(self, task: Task, chase: Chase, random: Counter) -> None:
        """Reset random parts of what is changed, larger ones after a success and smaller ones after none."""
        share = np.full(len(task.originals), 0.5)
        number = 0
        while len(rows := chase.alive()):
            number += 1
            originals, current = task.originals[rows], chase.nearest[rows]
            changed = (originals != current).any(axis=3).reshape(len(rows), -1)
            drawn = uniform(random.words(rows, number, changed.shape[1]))
            drawn[~changed] = 2.0
            # At least the changed pixel that drew the lowest number.
            reset = changed & ((drawn < share[rows, None]) | (drawn == drawn.min(axis=1, keepdims=True)))
            shaped = reset.reshape(len(rows), *originals.shape[1:3], 1)
            fooled = chase.ask(np.where(shaped, originals, current), rows)
            share[rows] = np.clip(share[rows] * np.where(fooled, 1.5, 0.7), 1e-6, 0.5)


def _salted(originals: ImageArray, chosen: BoolArray, grains: npt.NDArray[np.uint8]) -> ImageArray:
    """Return images with the chosen pixels ``(M, H * W)`` set to their grains in all channels."""
    shape = (len(originals), *originals.shape[1:3], 1)
    return np.where(chosen.reshape(shape), grains.reshape(shape), originals)
