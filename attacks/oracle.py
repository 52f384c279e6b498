"""A target behind a counter: what a black-box attacker has."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from attacks.inputs import require_count
from export.graph import IntArray
from hw.target import ImageArray, Target

# Frames of one round of queries: image i's q-th query is frame q * _FRAMES + i of the target's run.
_FRAMES = 1 << 20


class Oracle:
    """Answers images, and counts for each original how many were asked.

    Weights that a target draws for each frame are drawn anew for each query: row ``i`` of round ``q`` is a
    frame of its own, whatever comes with it in the batch.

    Args:
        target: Who answers.
        count: Number of originals.
        limit: Most queries for one original.

    Attributes:
        queries: int64 ``(count,)``, so far.
    """

    def __init__(self, target: Target, count: int, *, limit: int) -> None:
        require_count("the limit of queries", limit, least=1)
        self._target = target
        self._limit = limit
        self._round = 0
        self.queries = np.zeros(count, np.int64)

    @property
    def limit(self) -> int:
        """Most queries for one original."""
        return self._limit

    def may_ask(self) -> npt.NDArray[np.bool_]:
        """Return which originals have queries left, bool ``(count,)``."""
        return self.queries < self._limit

    def logits(self, images: ImageArray, rows: IntArray) -> IntArray:
        """Return the integer logits ``(M, K)`` of uint8 images ``(M, H, W, C)``.

        Args:
            images: What to ask.
            rows: The original that each image belongs to, int64 ``(M,)``.

        Raises:
            ValueError: More queries than the limit allows.
        """
        np.add.at(self.queries, rows, 1)
        if np.any(self.queries > self._limit):
            raise ValueError(f"original {int(self.queries.argmax())} asks more than {self._limit} times")
        answer = self._target.infer(np.ascontiguousarray(images), self._round * _FRAMES)
        self._round += 1
        return answer.logits
