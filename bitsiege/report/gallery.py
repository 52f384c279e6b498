"""Images for the gallery: each model's, one a class, least changed first."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from attacks.threat import Budget, Norm
from bitsiege.report.evaluation import Picture
from export.graph import IntArray

if TYPE_CHECKING:
    from attacks.archive import AttackArchive
    from bitsiege.campaign.plan import Cell

_EACH = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class _Candidate:
    change: float
    picture: Picture


class Gallery:
    """Keeps, for each model and class, the image that an attack fooled with the smallest change."""

    def __init__(self) -> None:
        self._kept: dict[tuple[str, int], _Candidate] = {}

    def add(
        self, cell: Cell, archive: AttackArchive, before: IntArray, after: IntArray, index: IntArray
    ) -> None:
        """Look through one cell's images.

        Args:
            cell: Whose they are.
            archive: The images.
            before: Labels of the originals, int64 ``(N,)``.
            after: Labels of the crafted images.
            index: Indices in the data set.
        """
        # How visible a change is: the Euclidean distance, whatever the attack's norm.
        change = np.sqrt(Budget(norm=Norm.L2, eps=0).spent(archive.originals, archive.adversarial)) / 255
        fooled = np.flatnonzero((before == archive.labels) & (after != archive.labels))
        for image in fooled[np.argsort(change[fooled], kind="stable")]:
            key = (cell.model, int(archive.labels[image]))
            if key not in self._kept or change[image] < self._kept[key].change:
                picture = _picture(cell, archive, int(image), int(index[image]), before, after)
                self._kept[key] = _Candidate(change=float(change[image]), picture=picture)

    def pictures(self) -> tuple[Picture, ...]:
        """Return the choice, by model and class."""
        chosen: list[Picture] = []
        for model in dict.fromkeys(model for model, _ in self._kept):
            own = sorted(
                (found for (name, _), found in self._kept.items() if name == model),
                key=lambda candidate: candidate.change,
            )
            chosen += sorted((found.picture for found in own[:_EACH]), key=lambda picture: picture.label)
        return tuple(chosen)


def _picture(
    cell: Cell, archive: AttackArchive, place: int, index: int, before: IntArray, after: IntArray
) -> Picture:
    original, adversarial = archive.originals[place], archive.adversarial[place]
    return Picture(
        model=cell.model,
        attack=cell.text,
        epsilon=archive.eps,
        norm=archive.norm,
        bounded=cell.epsilon is not None,
        image=index,
        label=int(archive.labels[place]),
        before=int(before[place]),
        after=int(after[place]),
        changed_pixels=int((original != adversarial).any(axis=2).sum()),
        original=original.tolist(),
        adversarial=adversarial.tolist(),
    )
