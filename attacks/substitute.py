"""The black-box attack by a substitute: labels train it, its gradients make the images."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from attacks.base import AttackResult
from attacks.fgsm import Fgsm
from attacks.inputs import check_batch, require, require_count
from attacks.jacobian import Recipe, train_substitute
from attacks.pgd import Pgd
from attacks.query import DEFAULT_GROUP, QueryAttack
from attacks.streams import mixed
from attacks.substitutefile import Trained
from attacks.transfer import judged_on
from export.graph import IntArray
from hw.target import ImageArray, Target


@dataclass(frozen=True, slots=True, kw_only=True)
class SubstituteAttack(QueryAttack):
    """Trains a network on the target's labels, attacks that, and hands the images to the target.

    The target is asked for training images only, never for what is attacked: `AttackResult.queries` is the
    number of training images, which all originals share, and ``max_queries`` bounds it.

    Attributes:
        held_out: Images that the training begins with; they are not attacked.
        reach: How far augmentation moves, per pixel in [0, 1].
        rounds: Trainings, between which the images double.
        epochs: Of each training.
        hidden: Neurons of each of the two hidden layers.
        steps: 1 for FGSM, more for PGD on the substitute.

    References:
        Papernot and others, Practical black-box attacks against machine learning (AsiaCCS 2017); the defaults
        are those of Galloway, Taylor, Moussa, Attacking binarized neural networks (ICLR 2018).
    """

    name: ClassVar[str] = "substitute"

    max_queries: int = 4800
    held_out: int = 150
    reach: float = 0.1
    rounds: int = 6
    epochs: int = 10
    hidden: int = 200
    steps: int = 1

    def __post_init__(self) -> None:
        # Not super(): slots=True makes a second class, which super() without arguments doesn't know.
        QueryAttack.__post_init__(self)
        require_count("the held-out images", self.held_out, least=1)
        require_count("the steps on the substitute", self.steps, least=1)
        require_count("the neurons of the substitute", self.hidden, least=1)
        require(
            self.held_out <= self.max_queries,
            f"{self.held_out} held-out images need more than {self.max_queries} queries",
        )
        self._recipe()

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
        seeds: ImageArray | None = None,
        trained: Trained | None = None,
    ) -> AttackResult:
        """Craft one adversarial image for each original.

        Args:
            target: Gives labels for training, and judges the images.
            images: uint8 ``(N, H, W, C)``.
            labels: True classes ``(N,)``.
            targets: Classes to reach ``(N,)``, with `Goal.GIVEN` only.
            first_index: Index of the first image in its data set.
            group: Images that are attacked together.
            progress: Called with images done and images in all.
            seeds: The held-out images, ``(S, H, W, C)``. None takes the first of ``images``: they
                are returned as they are, and count as not fooled.
            trained: What `train` returned, to train nothing and hold nothing out.

        Raises:
            InputError: Images, labels or targets that don't fit, or nothing is left to attack.
            CheckFailedError: An image left the budget; nothing is returned.
        """
        images, labels = check_batch(images, labels)
        own = self.held_out if seeds is None and trained is None else 0
        require(
            len(images) > own,
            f"{own} of {len(images)} images are held out, none is left to attack",
            hint="give more images, or fewer to hold out",
        )
        substitute = trained or self.train(target, images[:own] if seeds is None else seeds)
        result = self._inner().craft(
            substitute.model,
            images[own:],
            labels[own:],
            targets=None if targets is None else targets[own:],
            first_index=first_index + own,
            batch_size=group,
            progress=progress,
        )
        judged = judged_on(target, result, labels[own:], first_index=first_index + own)
        return _with_held_out(judged, images[:own], labels[:own], queries=substitute.queries)

    @property
    def training(self) -> dict[str, Any]:
        """What decides the substitute beside the target and the held-out images, as JSON values."""
        names = ("seed", "held_out", "max_queries", "reach", "rounds", "epochs", "hidden")
        return {name: getattr(self, name) for name in names}

    def train(self, target: Target, seeds: ImageArray) -> Trained:
        """Train the substitute, which serves every image and budget.

        Args:
            target: Gives labels.
            seeds: Held-out images, uint8 ``(S, H, W, C)``; more than `held_out` are left.

        Raises:
            InputError: There are none.
        """
        return train_substitute(
            target,
            seeds[: self.held_out],
            self._recipe(),
            seed=mixed(self.seed, 1),
            max_queries=self.max_queries,
        ).trained()

    def _recipe(self) -> Recipe:
        return Recipe(
            hidden=(self.hidden, self.hidden), rounds=self.rounds, epochs=self.epochs, step=self.reach
        )

    def _inner(self) -> Fgsm | Pgd:
        """Return the attack on the substitute."""
        shared: dict[str, Any] = {"eps": self.eps, "goal": self.goal, "seed": self.seed}
        return Fgsm(**shared) if self.steps == 1 else Pgd(**shared, steps=self.steps)


def _with_held_out(
    result: AttackResult, held_out: ImageArray, labels: IntArray, *, queries: int
) -> AttackResult:
    """Put the held-out images in front of a result, as not attacked and not fooled."""
    count = len(held_out)
    # What a held-out image was aimed at is nothing; any class but its own keeps archives valid.
    aims = (labels + 1) % result.classes
    return dataclasses.replace(
        result,
        adversarial=np.concatenate([held_out, result.adversarial]),
        success=np.concatenate([np.zeros(count, np.bool_), result.success]),
        loss=np.concatenate([np.zeros(count), result.loss]),
        targets=None if result.targets is None else np.concatenate([aims, result.targets]),
        queries=np.full(count + len(result.success), queries, np.int64),
    )
