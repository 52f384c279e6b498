"""One image at a time: bounds, a quick attack, every input if they are few, then solvers in turn."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from attacks.inputs import require
from attacks.streams import image_stream
from attacks.verify.cpsat import solve_integer
from attacks.verify.exhaust import OutOfTimeError, enumerate_inputs
from attacks.verify.falsify import falsify
from attacks.verify.network import sign_network
from attacks.verify.problem import Problem, pose
from attacks.verify.sat import is_cardinality, solve_cardinality, solve_clauses
from attacks.verify.verdict import Status, Verdict
from export.errors import CheckFailedError
from export.graph import DataflowGraph, IntArray
from hw.reference import ReferenceTarget

SEARCH_PURPOSE = 3
"""Purpose of the quick attack's random stream, see `attacks.streams`."""
SOLVERS = ("exhaust", "minicard", "gluecard4", "glucose4", "cpsat")
"""What can be asked for by name."""
PORTFOLIO = ("exhaust", "glucose4", "cpsat")
"""The default, in this order: benchmarks/verify.py measures them."""

# Multiply-accumulates a second that enumeration reaches on one modest core; a guess that only decides
# whether it is worth trying.
_RATE = 5e9
_SHARE_OF_TIME = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How to verify.

    Attributes:
        time_limit_s: For one image and one radius [s].
        solvers: Names of `SOLVERS`, tried in this order.
        seed: Of the quick attack.
        substitute: Use back-substituted bounds.
        climb: Try the quick attack first.
    """

    time_limit_s: float = 10.0
    solvers: tuple[str, ...] = PORTFOLIO
    seed: int = 0
    substitute: bool = True
    climb: bool = True

    def __post_init__(self) -> None:
        require(self.time_limit_s > 0, f"the time limit must be above 0 s, not {self.time_limit_s}")
        for name in self.solvers:
            require(name in SOLVERS, f"there is no solver {name!r}", hint=f"known: {', '.join(SOLVERS)}")


class Verifier:
    """Answers for one network.

    Args:
        graph: The network.
        settings: How to verify.

    Raises:
        LoweringError: The network can't be verified; the message says why.
    """

    def __init__(self, graph: DataflowGraph, settings: Settings | None = None) -> None:
        self.graph = graph
        self.settings = settings or Settings()
        self.network = sign_network(graph)
        self._reference = ReferenceTarget(graph)

    def classify(self, image: npt.NDArray[np.uint8]) -> int:
        """Return the class that the golden model gives one image ``(H, W, C)``."""
        return int(self._reference.infer(image[None]).labels[0])

    def verify(self, image: npt.NDArray[np.uint8], label: int, radius: int, *, index: int = 0) -> Verdict:
        """Answer for one image.

        Args:
            image: uint8 ``(H, W, C)``.
            label: Its class.
            radius: L∞ radius in grey levels.
            index: Number of the image; it keys the random stream.

        Raises:
            CheckFailedError: A counterexample is none on the golden model, which would be a bug of ours.
        """
        begin = time.monotonic()
        predicted = self.classify(image)
        if predicted != label:
            return Verdict(
                image=index,
                label=label,
                predicted=predicted,
                radius=radius,
                status=Status.MISCLASSIFIED,
                method="clean",
                seconds=time.monotonic() - begin,
            )
        problem = pose(self.network, image, label, radius, substitute=self.settings.substitute)
        answer = _answer(problem, self.settings, index, begin + self.settings.time_limit_s)
        adversarial, found = None, None
        if answer.counts is not None:
            adversarial = problem.image_of(answer.counts)
            found = self._checked(image, adversarial, label, radius, answer.method)
        return Verdict(
            image=index,
            label=label,
            predicted=predicted,
            radius=radius,
            status=answer.status,
            method=answer.method,
            reason=answer.reason,
            seconds=time.monotonic() - begin,
            solver_seconds=answer.seconds,
            free_pixels=len(problem.pixels),
            free_neurons=problem.neurons,
            adversarial=adversarial,
            found=found,
        )

    def _checked(
        self,
        image: npt.NDArray[np.uint8],
        adversarial: npt.NDArray[np.uint8],
        label: int,
        radius: int,
        method: str,
    ) -> int:
        found = self.classify(adversarial.reshape(image.shape))
        distance = int(np.abs(adversarial.astype(np.int64) - image.ravel()).max())
        if found == label or distance > radius:
            raise CheckFailedError(
                f"{method} returned an image of class {found} at distance {distance}: no counterexample",
                hint="this is a bug in the verification; please report it",
            )
        return found


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Answer:
    status: Status
    method: str = ""
    reason: str = ""
    seconds: float = 0.0
    counts: IntArray | None = None


def _answer(problem: Problem, settings: Settings, index: int, deadline_s: float) -> _Answer:
    if not problem.targets:
        return _Answer(status=Status.CERTIFIED, method="bounds")
    if settings.climb and problem.pixels:
        begin = time.monotonic()
        counts = falsify(problem, image_stream(settings.seed, SEARCH_PURPOSE, index))
        if counts is not None:
            seconds = time.monotonic() - begin
            return _Answer(status=Status.ATTACKED, method="climb", seconds=seconds, counts=counts)
    usable = [name for name in settings.solvers if _suits(name, problem, settings.time_limit_s)]
    for place, name in enumerate(usable):
        begin = time.monotonic()
        left_s = deadline_s - begin
        # The last one gets all that is left, each before it half of what it finds.
        share_s = left_s if place == len(usable) - 1 else left_s * _SHARE_OF_TIME
        try:
            counts = _SOLVE[name](problem, begin + share_s)
        except OutOfTimeError:
            continue
        status = Status.CERTIFIED if counts is None else Status.ATTACKED
        return _Answer(status=status, method=name, seconds=time.monotonic() - begin, counts=counts)
    tried = ", ".join(usable) or "no solver"
    reason = f"{tried}: no answer within {settings.time_limit_s:g} s"
    return _Answer(status=Status.UNKNOWN, reason=reason if usable else "no solver takes this network")


def _suits(name: str, problem: Problem, time_limit_s: float) -> bool:
    """Whether a solver can take a problem, and is worth its time."""
    if name in ("minicard", "gluecard4"):
        return is_cardinality(problem)
    if name == "exhaust":
        macs = sum(rows.weights.size for rows in (*problem.layers[1:], problem.margins))
        macs += len(problem.layers[0].need)
        return problem.choices * macs <= _RATE * time_limit_s * _SHARE_OF_TIME
    if name == "glucose4":
        return sum(len(pixel.counts) for pixel in problem.pixels) <= 1024
    return True


_SOLVE: dict[str, Callable[[Problem, float], IntArray | None]] = {
    "exhaust": enumerate_inputs,
    "minicard": lambda problem, deadline_s: solve_cardinality(problem, "minicard", deadline_s),
    "gluecard4": lambda problem, deadline_s: solve_cardinality(problem, "gluecard4", deadline_s),
    "glucose4": lambda problem, deadline_s: solve_clauses(problem, "glucose4", deadline_s),
    "cpsat": solve_integer,
}
