"""What every black-box attack shares: a target that is asked, a limit of queries, and the final check."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from attacks.base import Attack, AttackResult
from attacks.evaluation import Problem
from attacks.goal import choose_targets
from attacks.inputs import check_batch, require, require_count
from attacks.oracle import Oracle
from attacks.threat import Budget, verify_budget
from export.graph import IntArray
from hw.target import ImageArray, Target

BoolArray = npt.NDArray[np.bool_]

DEFAULT_GROUP = 1024
"""Images that are attacked together: enough to fill the emulator's lanes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """What a black-box attack is given.

    Attributes:
        oracle: Answers queries.
        originals: uint8 ``(N, H, W, C)``.
        labels: True classes, int64 ``(N,)``.
        targets: Classes to reach, int64 ``(N,)``; None when any wrong one will do.
        clean: Logits of the originals, int64 ``(N, K)``; they were asked already.
        budget: The ball.
        first_index: Index of the first image in its data set, for the images' random streams.
    """

    oracle: Oracle
    originals: ImageArray
    labels: IntArray
    targets: IntArray | None
    clean: IntArray
    budget: Budget
    first_index: int

    @property
    def pending(self) -> IntArray:
        """The originals that don't fool the target as they are, int64 ``(M,)``."""
        rows = np.arange(len(self.originals))
        return rows[~self.success(self.clean, rows)]

    def success(self, logits: IntArray, rows: IntArray) -> BoolArray:
        """Return whether logits ``(M, K)`` of the originals ``rows`` mean success (lowest index on a tie)."""
        predicted = logits.argmax(axis=1)
        return predicted != self.labels[rows] if self.targets is None else predicted == self.targets[rows]

    def margin(self, logits: IntArray, rows: IntArray) -> IntArray:
        """Return how far logits ``(M, K)`` of the originals ``rows`` are from success, int64 ``(M,)``.

        That is the true class's lead over the best other one, or the best other one's over the target. It is
        below 0 only where the attack succeeds; at 0 the order of the classes decides.
        """
        pivot = (self.labels if self.targets is None else self.targets)[rows]
        places = np.arange(len(rows))
        others = logits.copy()
        others[places, pivot] = np.iinfo(np.int64).min
        lead = logits[places, pivot] - others.max(axis=1)
        return lead if self.targets is None else -lead

    def ask(self, images: ImageArray, rows: IntArray) -> tuple[IntArray, BoolArray]:
        """Ask the target for images ``(M, H, W, C)`` of the originals ``rows``; return margin and success."""
        logits = self.oracle.logits(images, rows)
        return self.margin(logits, rows), self.success(logits, rows)

    def fooled(self, images: ImageArray, rows: IntArray) -> BoolArray:
        """Ask as `ask` does, for the label only, which is all that a decision-based attack may see."""
        return self.success(self.oracle.logits(images, rows), rows)


@dataclass(frozen=True, slots=True, kw_only=True)
class QueryAttack(Attack, ABC):
    """An attack that sees what a target answers, and nothing else.

    Attributes:
        max_queries: Most images that the target is asked for one original, the original itself included.
    """

    max_queries: int = 1000

    def __post_init__(self) -> None:
        # Not super(): slots=True makes a second class, which super() without arguments doesn't know.
        Attack.__post_init__(self)
        require_count("max_queries", self.max_queries, least=1)

    @abstractmethod
    def craft(
        self,
        target: Target,
        images: ImageArray,
        labels: IntArray,
        *,
        targets: IntArray | None = None,
        first_index: int = 0,
        group: int = DEFAULT_GROUP,
        progress: Callable[[int, int], None] | None = None,
    ) -> AttackResult:
        """Craft one adversarial image for each original, asking the target."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchAttack(QueryAttack, ABC):
    """An attack that searches for each image by itself.

    Attributes:
        eot: Queries of one look at an image, all of which count; the logits are added up. Where weights are
            drawn for each frame, an image is then judged by so many draws instead of by a lucky one.
    """

    eot: int = 1

    def __post_init__(self) -> None:
        QueryAttack.__post_init__(self)
        require_count("eot", self.eot, least=1)
        require(
            self.eot <= self.max_queries,
            f"a look of {self.eot} queries is more than max_queries {self.max_queries}",
        )

    @abstractmethod
    def search(self, task: Task) -> ImageArray:
        """Return the images found, uint8 ``(N, H, W, C)`` in the budget; the original where nothing was."""

    def craft(
        self,
        target: Target,
        images: ImageArray,
        labels: IntArray,
        *,
        targets: IntArray | None = None,
        first_index: int = 0,
        group: int = DEFAULT_GROUP,
        progress: Callable[[int, int], None] | None = None,
    ) -> AttackResult:
        """Craft one adversarial image for each original.

        Args:
            target: Who answers.
            images: uint8 ``(N, H, W, C)``.
            labels: True classes ``(N,)``.
            targets: Classes to reach ``(N,)``, with `Goal.GIVEN` only.
            first_index: Index of the first image in its data set.
            group: Images that are attacked together.
            progress: Called with images done and images in all.

        Raises:
            InputError: Images, labels or targets that don't fit.
            CheckFailedError: An image left the budget; nothing is returned.
        """
        images, labels = check_batch(images, labels)
        require_count("the group", group, least=1)
        parts: list[AttackResult] = []
        for begin in range(0, len(images), group):
            part = slice(begin, begin + group)
            given = None if targets is None else targets[part]
            parts.append(self._craft(target, images[part], labels[part], given, first_index + begin))
            if progress is not None:
                progress(min(begin + group, len(images)), len(images))
        return AttackResult(
            adversarial=np.concatenate([part.adversarial for part in parts]),
            success=np.concatenate([part.success for part in parts]),
            loss=np.concatenate([part.loss for part in parts]),
            targets=_joined([part.targets for part in parts]),
            classes=parts[0].classes,
            queries=_joined([part.queries for part in parts]),
        )

    def _craft(
        self,
        target: Target,
        images: ImageArray,
        labels: IntArray,
        given: IntArray | None,
        first_index: int,
    ) -> AttackResult:
        budget = self.budget(images.shape[1:])
        oracle = Oracle(
            target, len(images), limit=self.max_queries // self.eot, first_index=first_index, draws=self.eot
        )
        rows = np.arange(len(images))
        clean = oracle.logits(images, rows)
        aims = choose_targets(self.goal, clean, labels, given=given, seed=self.seed, first_index=first_index)
        task = Task(
            oracle=oracle,
            originals=images,
            labels=labels,
            targets=aims,
            clean=clean,
            budget=budget,
            first_index=first_index,
        )
        adversarial = self.search(task)
        verify_budget(images, adversarial, budget)
        # The final look is the evaluator's, not the attacker's: it is not counted, and where weights are
        # drawn it is a frame that the attacker has not seen.
        logits = target.infer(adversarial, first_index).logits
        problem = Problem(
            truth=torch.from_numpy(labels), aim=None if aims is None else torch.from_numpy(aims)
        )
        return AttackResult(
            adversarial=adversarial,
            success=task.success(logits, rows),
            loss=problem.loss(torch.from_numpy(logits.astype(np.float64))).numpy(),
            targets=aims,
            classes=clean.shape[1],
            queries=oracle.queries,
        )


def _joined(parts: list[IntArray | None]) -> IntArray | None:
    present = [part for part in parts if part is not None]
    return np.concatenate(present) if present else None
