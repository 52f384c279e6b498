"""A target behind a counter: what a black-box attacker has."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from attacks.inputs import require, require_count
from export.graph import DataflowGraph, IntArray, Mvau
from hw.target import ImageArray, Target

# Query q (from 1 on) of the image with index i is frame q * _FRAMES + i; q = 0 is left to evaluations.
_FRAMES = 1 << 17
# Frames between two that are asked, below which they are asked as well: cheaper than one more call.
_GAP = 16


class Oracle:
    """Answers images, and counts for each original how many were asked.

    Where the target draws weights for each frame, each query is a frame of its own: query q of the image with
    index i is frame ``q * 2**17 + i``, whatever comes with it in the batch. An image meets a frame
    again after 32,768 queries (targets count frames modulo 2**32).

    Args:
        target: Who answers.
        count: Number of originals.
        limit: Most looks at one original's images; each is ``draws`` queries.
        first_index: Index of the first original in its data set.
        draws: Queries of a look, whose logits are added up: with drawn weights, each is another draw.

    Attributes:
        queries: int64 ``(count,)``, so far.
    """

    def __init__(
        self, target: Target, count: int, *, limit: int, first_index: int = 0, draws: int = 1
    ) -> None:
        require_count("the limit of queries", limit, least=1)
        require_count("the draws of a look", draws, least=1)
        require(count <= _FRAMES, f"{count} images are more than the {_FRAMES} that one oracle tells apart")
        self._target = target
        self._limit = limit
        self._repeats = draws
        self._first_index = first_index
        self._draws = draws_weights(target)
        self.queries = np.zeros(count, np.int64)

    @property
    def limit(self) -> int:
        """Most looks at one original's images."""
        return self._limit

    def left(self) -> IntArray:
        """Return how many looks each original has left, int64 ``(count,)``."""
        return self._limit - self.queries // self._repeats

    def may_ask(self, looks: int = 1) -> npt.NDArray[np.bool_]:
        """Return which originals have so many looks left, bool ``(count,)``."""
        return self.left() >= looks

    def logits(self, images: ImageArray, rows: IntArray) -> IntArray:
        """Return the integer logits ``(M, K)`` of uint8 images ``(M, H, W, C)``.

        Args:
            images: What to ask.
            rows: The original that each image belongs to, int64 ``(M,)``; several images of one original are
                asked in their order.

        Raises:
            ValueError: More queries than the limit allows; nothing is asked.
        """
        asked = np.bincount(rows, minlength=len(self.queries))
        total = self.queries + asked * self._repeats
        if np.any(total > self._limit * self._repeats):
            raise ValueError(f"original {int(total.argmax())} asks more than {self._limit} times")
        if self._repeats == 1:
            answer = self._ask(np.ascontiguousarray(images), rows)
        else:
            each = self._ask(images.repeat(self._repeats, axis=0), rows.repeat(self._repeats))
            answer = each.reshape(len(rows), self._repeats, each.shape[1]).sum(axis=1)
        self.queries = total
        return answer

    def _ask(self, batch: ImageArray, rows: IntArray) -> IntArray:
        if self._draws:
            numbers = self.queries[rows] + 1 + _earlier(rows)
            return self._by_frame(batch, numbers * _FRAMES + self._first_index + rows)
        return self._target.infer(batch).logits

    def _by_frame(self, images: ImageArray, frames: IntArray) -> IntArray:
        """Ask each image in its own frame, in as few calls as the frames allow."""
        order = np.argsort(frames, kind="stable")
        parts: list[IntArray] = []
        for run in np.split(order, np.flatnonzero(np.diff(frames[order]) > _GAP) + 1):
            if len(run) == 0:
                continue
            places = frames[run] - frames[run[0]]
            # What stands in a gap is any image: its answer is thrown away.
            batch = images[run[np.searchsorted(places, np.arange(places[-1] + 1))]]
            parts.append(self._target.infer(batch, int(frames[run[0]])).logits[places])
        answers = np.concatenate(parts) if parts else self._target.infer(images).logits
        logits = np.empty_like(answers)
        logits[order] = answers
        return logits


def draws_weights(target: Target) -> bool:
    """Whether a target's answers may depend on the frame; a target that shows no graph might."""
    graph = getattr(target, "graph", None)
    if not isinstance(graph, DataflowGraph):
        return True
    return any(isinstance(node, Mvau) and node.draw is not None for node in graph.nodes)


def _earlier(rows: IntArray) -> IntArray:
    """Return for each entry how many equal ones stand before it, int64 ``(M,)``."""
    order = np.argsort(rows, kind="stable")
    ordered = rows[order]
    is_first = np.ones(len(rows), np.bool_)
    is_first[1:] = ordered[1:] != ordered[:-1]
    places = np.arange(len(rows))
    ranks = places - np.maximum.accumulate(np.where(is_first, places, 0))
    earlier = np.empty_like(ranks)
    earlier[order] = ranks
    return earlier
