"""The Square attack on the 8-bit grid: random search by square patches, steered by the logits' margin."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from attacks.counter import Counter
from attacks.inputs import require
from attacks.query import SearchAttack, Task
from attacks.squareball import L2Ball, LinfBall
from attacks.streams import SEARCH
from attacks.threat import Norm
from hw.target import ImageArray

# Share of the queries from which on the share of changed pixels is halved once more.
_HALVINGS = (0.001, 0.005, 0.02, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8)


@dataclass(frozen=True, slots=True, kw_only=True)
class Square(SearchAttack):
    """Random search: a square patch is changed, and kept where the margin does not grow.

    All images that are still to be fooled ask together, so that a fast target decides the speed. Every image
    that is asked is a whole number of grey levels inside the ball.

    Attributes:
        p_init: Share of the pixels that the first squares change; it shrinks with the queries.
        sideways: Keep a square that leaves the margin as it is, so that the search drifts over the
            plateaus of integer logits; without, the margin must fall.

    References:
        Andriushchenko, Croce, Flammarion, Hein, Square attack (ECCV 2020), algorithms 1 to 3.
    """

    name: ClassVar[str] = "square"
    norms: ClassVar[tuple[Norm, ...]] = (Norm.LINF, Norm.L2)

    p_init: float = 0.8
    sideways: bool = True

    def __post_init__(self) -> None:
        # Not super(): slots=True makes a second class, which super() without arguments doesn't know.
        SearchAttack.__post_init__(self)
        require(0 < self.p_init <= 1, f"Square's p_init must be above 0 and at most 1, not {self.p_init}")

    def search(self, task: Task) -> ImageArray:
        """Return the image with the smallest margin that was seen of each original."""
        found = task.originals.copy()
        rows = task.pending
        limit = task.budget.limit(task.originals.shape[1:])
        looks = task.oracle.limit
        if looks < 2 or limit == 0 or len(rows) == 0:
            return found
        random = Counter(self.seed, SEARCH, first_index=task.first_index, count=len(found))
        kind = LinfBall if self.norm is Norm.LINF else L2Ball
        ball = kind(task.originals, rows, limit=limit)
        ball.start(random)
        margin, success = task.ask(ball.images, ball.rows)
        # Where the start is worse than the original, the search begins with the original: a network with a
        # threshold at its input may be led away by a change of every pixel.
        clean = task.margin(task.clean[rows], rows)
        worse = (margin > clean) & ~success
        ball.images[worse] = task.originals[rows[worse]]
        margin = np.minimum(margin, clean)
        # The original took one look, the start another.
        for step in range(1, looks - 1):
            if success.any():
                found[ball.rows[success]] = ball.images[success]
                ball.keep(~success)
                margin = margin[~success]
                if len(margin) == 0:
                    return found
            side = ball.side(self._share(step / looks))
            ball.propose(random, step, side)
            tried, success = task.ask(ball.images, ball.rows)
            better = (tried <= margin if self.sideways else tried < margin) | success
            ball.restore(~better)
            margin = np.where(better, tried, margin)
        found[ball.rows] = ball.images
        return found

    def _share(self, done: float) -> float:
        """Return the share of the pixels that a square changes after a share of the queries."""
        passed = sum(done > share for share in _HALVINGS)
        return self.p_init / 2**passed
