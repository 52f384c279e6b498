"""The largest radius inside which the class is proved to stay, by bisection."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from attacks.verify.verdict import Status, Verdict


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LargestRadius:
    """What bisection found between 0 and a largest radius.

    Attributes:
        certified: Largest radius that is proved [grey levels]; 0 is the image itself.
        attacked: Smallest radius with a counterexample, or None where the whole range is certified or nothing
            was found. One above `certified` where the answer is exact.
        verdict: The answer that the counterexample came with, or else the one for the largest radius asked.
        seconds: All questions together [s].
        questions: How many there were.
    """

    certified: int
    attacked: int | None
    verdict: Verdict
    seconds: float
    questions: int


def largest_radius(image: npt.NDArray[np.uint8], most: int, ask: Callable[[int], Verdict]) -> LargestRadius:
    """Bisect; a counterexample counts for the distance that it really has.

    Between radii that stay unknown and the smallest attacked one nothing is claimed.

    Args:
        image: The original, uint8.
        most: Largest radius of interest.
        ask: Answers for a radius. The image must be classified correctly.
    """
    verdict = ask(most)
    seconds, questions = verdict.seconds, 1
    certified, attacked = 0, None
    # Nothing above this is worth asking: it is attacked or was not decided.
    above = most + 1
    if verdict.status is Status.CERTIFIED:
        certified = most
    elif verdict.status is Status.ATTACKED:
        above = attacked = _distance(image, verdict)
    else:
        above = most
    while above - certified > 1:
        answer = ask((certified + above) // 2)
        seconds, questions = seconds + answer.seconds, questions + 1
        if answer.status is Status.CERTIFIED:
            certified = answer.radius
        elif answer.status is Status.ATTACKED:
            above = attacked = _distance(image, answer)
            verdict = answer
        else:
            above = answer.radius
    return LargestRadius(
        certified=certified, attacked=attacked, verdict=verdict, seconds=seconds, questions=questions
    )


def _distance(image: npt.NDArray[np.uint8], verdict: Verdict) -> int:
    if verdict.adversarial is None:
        raise ValueError("an attacked image without its counterexample")
    return int(np.abs(verdict.adversarial.astype(np.int64) - image.ravel()).max())
