"""How well a network does on a set of images: right answers, and by how much."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import numpy.typing as npt

from export.graph import IntArray


class Objective(StrEnum):
    """What makes one fault more harmful than another; the other measure decides where it is equal."""

    ACCURACY = "accuracy"
    MARGIN = "margin"


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """How well the network does; the smaller score is the more harmful fault's.

    Attributes:
        correct: Images with the right label.
        margin: Sum over the images of the right class' logit less the largest other one.
    """

    correct: int
    margin: int

    def key(self, objective: Objective) -> tuple[int, int]:
        """Return what scores are compared by."""
        if objective is Objective.ACCURACY:
            return self.correct, self.margin
        return self.margin, self.correct


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

    def worst(
        self, count: int, objective: Objective = Objective.ACCURACY
    ) -> list[tuple[tuple[int, ...], Score]]:
        """Return places and scores of the most harmful faults, in that order; the first place on a tie."""
        first, second = self.correct.ravel(), self.margin.ravel()
        if objective is Objective.MARGIN:
            first, second = second, first
        # Only those that can be among them are sorted by the second measure, too.
        last = min(count, first.size) - 1
        found = np.flatnonzero(first <= np.partition(first, last)[last])
        order = found[np.lexsort((found, second[found], first[found]))][:count]
        return [
            (
                tuple(int(index) for index in np.unravel_index(place, self.correct.shape)),
                Score(correct=int(self.correct.flat[place]), margin=int(self.margin.flat[place])),
            )
            for place in order
        ]
