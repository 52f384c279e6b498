"""How well a network does on a set of images: right answers, and by how much."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from export.graph import IntArray


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Score:
    """Right answers first, margins where those are equal: the smaller score is the more harmful fault's.

    Attributes:
        correct: Images with the right label.
        margin: Sum over the images of the right class' logit less the largest other one.
    """

    correct: int
    margin: int


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Outcomes:
    """Image by image.

    Attributes:
        correct: bool ``(N,)``.
        margin: int64 ``(N,)``.
    """

    correct: npt.NDArray[np.bool_]
    margin: IntArray

    @classmethod
    def of(cls, logits: IntArray, labels: IntArray) -> Outcomes:
        """Judge logits ``(N, K)``; of equal logits the lowest index is the label."""
        images = np.arange(len(logits))
        own = logits[images, labels]
        others = logits.copy()
        others[images, labels] = np.iinfo(np.int64).min
        return cls(correct=logits.argmax(axis=1) == labels, margin=own - others.max(axis=1))

    @property
    def score(self) -> Score:
        """All images together."""
        return Score(correct=int(self.correct.sum()), margin=int(self.margin.sum()))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ScoreMap:
    """The scores of many faults, each on its own.

    Attributes:
        correct: int64, any shape.
        margin: int64, the same shape.
    """

    correct: IntArray
    margin: IntArray

    def __add__(self, other: ScoreMap) -> ScoreMap:
        return ScoreMap(correct=self.correct + other.correct, margin=self.margin + other.margin)

    def worst(self, count: int) -> list[tuple[tuple[int, ...], Score]]:
        """Return places and scores of the most harmful faults, in that order; the first place on a tie."""
        correct, margin = self.correct.ravel(), self.margin.ravel()
        # Only those that can be among them are sorted by margin, too.
        limit = np.partition(correct, min(count, correct.size) - 1)[min(count, correct.size) - 1]
        found = np.flatnonzero(correct <= limit)
        order = found[np.lexsort((found, margin[found], correct[found]))][:count]
        return [
            (
                tuple(int(index) for index in np.unravel_index(place, self.correct.shape)),
                Score(correct=int(correct[place]), margin=int(margin[place])),
            )
            for place in order
        ]
