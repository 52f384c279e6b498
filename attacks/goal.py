"""What an attack wants: any wrong class, or a certain one."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

import numpy as np
import numpy.typing as npt

from attacks.inputs import check_classes, require
from attacks.streams import TARGET, image_stream
from export.errors import InputError
from export.graph import IntArray


class Goal(StrEnum):
    """Success is any class but the true one, or one class that is given, likely or random."""

    UNTARGETED = "untargeted"
    GIVEN = "given"
    NEXT = "next"
    RANDOM = "random"


def choose_targets(
    goal: Goal,
    logits: npt.NDArray[Any],
    labels: IntArray,
    *,
    given: npt.NDArray[Any] | None,
    seed: int,
    first_index: int,
) -> IntArray | None:
    """Return the class that each image shall be taken for, int64 ``(N,)``; None when any wrong one will do.

    Args:
        goal: Where the class comes from.
        logits: Of the clean images, ``(N, K)``; `Goal.NEXT` takes the largest that isn't the true class's.
        labels: True classes, int64 ``(N,)``.
        given: The classes of `Goal.GIVEN`.
        seed: Of `Goal.RANDOM`.
        first_index: Index of the first image in its data set.

    Raises:
        InputError: Labels or targets out of range, targets missing or superfluous, or a target that is the
            image's own label.
    """
    classes = logits.shape[1]
    check_classes("label", labels, classes)
    require(
        (given is None) == (goal is not Goal.GIVEN),
        f"target classes go with the goal {Goal.GIVEN}, and only with it; the goal is {goal}",
    )
    require(goal is Goal.UNTARGETED or classes > 1, "a model of one class has no other class to aim at")
    match goal:
        case Goal.UNTARGETED:
            return None
        case Goal.NEXT:
            others = logits.astype(np.float64)
            others[np.arange(len(labels)), labels] = -np.inf
            return others.argmax(axis=1).astype(np.int64)
        case Goal.RANDOM:
            draws = np.array([_draw(seed, first_index + row, classes - 1) for row in range(len(labels))])
            return draws + (draws >= labels)
        case Goal.GIVEN:
            return _check_given(given, labels, classes)


def _draw(seed: int, index: int, below: int) -> int:
    return int(image_stream(seed, TARGET, index).integers(below))


def _check_given(given: npt.NDArray[Any] | None, labels: IntArray, classes: int) -> IntArray:
    if given is None or given.dtype.kind not in "iu" or given.shape != labels.shape:
        raise InputError(f"target classes must be an integer array {labels.shape}")
    targets = given.astype(np.int64)
    check_classes("target class", targets, classes)
    if np.any(targets == labels):
        image = int(np.argmax(targets == labels))
        raise InputError(f"the target class of image {image} is its own label {labels[image]}", image=image)
    return targets
