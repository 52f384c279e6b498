"""All attacks on one model together, image by image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from attacks.threat import Norm
from bitsiege.report.distance import FloatArray, accuracy_over_distance, median_distance
from bitsiege.report.evaluation import Breaker, CellResult, Share, WorstCase, WorstPoint
from bitsiege.statistics import wilson
from export.graph import IntArray

# A distance is a whole number of grid steps over 255, a budget any number: equal up to rounding.
_SLACK = 1e-9


def share(correct: int, images: int) -> Share:
    """Return a share with its interval."""
    low, high = wilson(correct, images)
    return Share(images=images, correct=correct, accuracy=correct / images, low=low, high=high)


class Worst:
    """The smallest distance at which each image of one model is lost, by norm and attack.

    Every image that an attack found counts in every norm: what an L2 attack found may lie in an L∞ ball.

    Args:
        data: ``first`` and ``images`` of the campaign's data.
    """

    norms = tuple(str(norm) for norm in Norm)

    def __init__(self, data: Mapping[str, Any]) -> None:
        self._first, self._count = int(data["first"]), int(data["images"])
        self._seen = np.zeros(self._count, np.bool_)
        self._best: dict[str, dict[str, FloatArray]] = {norm: {} for norm in self.norms}

    def add(self, title: str, index: IntArray, broken: Mapping[str, FloatArray]) -> None:
        """Count what one cell found.

        Args:
            title: Name of the attack in the results.
            index: Indices of its images in the data set, int64 ``(N,)``.
            broken: Distance at which each image is lost, ``(N,)``, by norm.
        """
        rows = index - self._first
        self._seen[rows] = True
        for norm, found in broken.items():
            best = self._best[norm].setdefault(title, np.full(self._count, np.inf))
            best[rows] = np.minimum(best[rows], found)

    def clean(self) -> Share:
        """Return the accuracy on the images that any attack has got, before the attack."""
        together = self._together(str(Norm.LINF))
        return share(int((together > 0).sum()), len(together))

    def cases(self, model: str, cells: Sequence[CellResult]) -> tuple[WorstCase, ...]:
        """Return the worst case in each norm that an attack on the model has."""
        own = [cell for cell in cells if cell.model == model]
        found: list[WorstCase] = []
        for norm in self.norms:
            if not any(cell.norm == norm for cell in own):
                continue
            together = self._together(norm)
            epsilons = sorted({c.epsilon for c in own if c.norm == norm and c.epsilon is not None})
            found.append(
                WorstCase(
                    model=model,
                    norm=norm,
                    points=tuple(self._point(norm, epsilon) for epsilon in epsilons),
                    distances=accuracy_over_distance(together),
                    median_distance=median_distance(together),
                )
            )
        return tuple(found)

    def _together(self, norm: str) -> FloatArray:
        """The distance at which each image that was seen is lost to any attack."""
        return np.min(list(self._best[norm].values()), axis=0)[self._seen]

    def _point(self, norm: str, epsilon: float) -> WorstPoint:
        together = self._together(norm)
        lost = together <= epsilon + _SLACK
        within = {title: (best > 0) & (best <= epsilon + _SLACK) for title, best in self._best[norm].items()}
        times = np.sum(list(within.values()), axis=0)
        breakers = [
            Breaker(title=title, broken=int(hit.sum()), alone=int((hit & (times == 1)).sum()))
            for title, hit in within.items()
            if hit.any()
        ]
        return WorstPoint(
            epsilon=epsilon,
            breakers=tuple(sorted(breakers, key=lambda breaker: -breaker.broken)),
            **share(int((~lost).sum()), len(lost)).model_dump(),
        )
