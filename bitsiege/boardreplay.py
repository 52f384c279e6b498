"""Replay on boards: what answers were computed with, and whether a difference stays when asked again."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from attacks.archive import AttackArchive
from attacks.replay import ReplayReport
from export.graph import IntArray
from hw.remote import RemoteTarget
from hw.target import ImageArray, Inference, Target, TargetKind

RERUNS = 3
# Where more images differ, the first of them tell enough.
_MAX_EXAMINED = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Differences:
    """Images of one set on which a board and another target differ, by what computing them again gives.

    Attributes:
        images: ``clean`` or ``adversarial``.
        count: Images that differed at first.
        persistent: Those on which the board gives the same wrong logits each time.
        transient: Those on which it is right each time since.
        unstable: Those on which it is now this, now that.
    """

    images: str
    count: int
    persistent: tuple[int, ...]
    transient: tuple[int, ...]
    unstable: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class BoardFindings:
    """What a board did in a replay.

    Attributes:
        target: The board's target.
        kind: ``simulation`` or ``hardware``, as the board's server says.
        against: The other target of the comparison.
        reruns: How often differing images were computed again.
        differences: One entry a set of images that differ.
        use: Hashes, board, clocks, temperatures, faults; see `hw.remote.BoardUse`.
    """

    target: str
    kind: str
    against: str
    reruns: int
    differences: tuple[Differences, ...]
    use: dict[str, Any]

    @property
    def summary(self) -> str:
        """One line about the differences, empty where there are none."""
        if not self.differences:
            return ""
        parts = [
            f"{found.images}: {len(found.persistent)} persistent, {len(found.transient)} transient, "
            f"{len(found.unstable)} unstable of {found.count}"
            for found in self.differences
        ]
        return f"{self.target} against {self.against}, asked {self.reruns} times again; " + "; ".join(parts)

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return dataclasses.asdict(self)


class BoardTarget:
    """A board whose answers are remembered.

    Args:
        target: The board.
    """

    def __init__(self, target: RemoteTarget) -> None:
        self.board = target
        self.name = target.name
        self.kind: TargetKind = target.kind
        self._runs: list[tuple[ImageArray, IntArray]] = []

    def infer(self, images: ImageArray, first_frame: int = 0) -> Inference:
        """Compute, and remember."""
        result = self.board.infer(images, first_frame)
        self._runs.append((images, result.logits))
        return result

    def first_answer(self, images: ImageArray) -> IntArray | None:
        """Return the logits that it gave for these images at first, or None."""
        for asked, logits in self._runs:
            if np.array_equal(asked, images):
                return logits
        return None

    def close(self) -> None:
        """Release the board."""
        self.board.close()


def remembered(targets: Sequence[Target]) -> list[Target]:
    """Return the targets, boards so that `examine` can follow."""
    return [BoardTarget(target) if isinstance(target, RemoteTarget) else target for target in targets]


def examine(
    archive: AttackArchive, report: ReplayReport, targets: Sequence[Target], *, draws: bool
) -> list[BoardFindings]:
    """Compute differing images again on the boards that took part.

    Args:
        archive: The attack.
        report: What its replay found.
        targets: Those of the replay, from `remembered`; the first one is the baseline.
        draws: Whether an image's logits depend on its frame.

    Returns:
        One entry for each comparison in which a board takes part, that of the baseline with itself included.
    """
    baseline = targets[0]
    findings: list[BoardFindings] = []
    for target, result in zip(targets, report.targets, strict=True):
        # A board is suspected rather than another target, and of two boards the later one.
        suspect, other = (target, baseline) if isinstance(target, BoardTarget) else (baseline, target)
        if not isinstance(suspect, BoardTarget):
            continue
        sets = (
            ("clean", archive.originals, result.clean),
            ("adversarial", archive.adversarial, result.adversarial),
        )
        differences = [
            _examined(suspect, other, name, images[: part.count], draws)
            for name, images, part in sets
            if part.diverging_images
        ]
        findings.append(
            BoardFindings(
                target=suspect.name,
                kind=str(suspect.kind),
                against=other.name,
                reruns=RERUNS,
                differences=tuple(differences),
                use=suspect.board.use.to_json(),
            )
        )
    return findings


def finish(targets: Sequence[Target]) -> None:
    """Forget the boards' journals: the report has been written."""
    for target in targets:
        if isinstance(target, BoardTarget):
            target.board.finish()


def _examined(suspect: BoardTarget, other: Target, name: str, images: ImageArray, draws: bool) -> Differences:
    first = suspect.first_answer(images)
    if first is None:
        first = suspect.infer(images).logits
    expected = other.infer(images).logits
    differing = np.flatnonzero((first != expected).any(axis=1))
    asked = differing[:_MAX_EXAMINED]
    # (rerun, image, class)
    again = np.stack([_again(suspect, images, asked, draws) for _ in range(RERUNS)])
    persistent = (again == first[asked]).all(axis=(0, 2))
    transient = (again == expected[asked]).all(axis=(0, 2))
    return Differences(
        images=name,
        count=len(differing),
        persistent=_indices(asked[persistent]),
        transient=_indices(asked[transient]),
        unstable=_indices(asked[~persistent & ~transient]),
    )


def _again(suspect: BoardTarget, images: ImageArray, indices: IntArray, draws: bool) -> IntArray:
    if not draws:
        return suspect.board.infer(images[indices]).logits
    return np.concatenate([suspect.board.infer(images[i : i + 1], int(i)).logits for i in indices])


def _indices(values: IntArray) -> tuple[int, ...]:
    return tuple(int(value) for value in values)
