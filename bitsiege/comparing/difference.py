"""What a comparison finds, as frozen values that turn into JSON."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any


class Verdict(StrEnum):
    """What a difference means; `REGRESSION` and `MISSING` fail the comparison."""

    REGRESSION = "regression"
    MISSING = "missing"
    CHANCE = "maybe chance"
    TOLERATED = "tolerated"
    CHANGED = "changed"
    SAME = "same"
    BETTER = "better"
    NEW = "new"


@dataclass(frozen=True, slots=True, kw_only=True)
class Tolerances:
    """What is still no regression.

    Attributes:
        accuracy_drop: On clean images, as a share of the images.
        robustness_drop: Of the accuracy under attack.
        cycles_increase: Of II and latency, relative.
        resources_increase: Of each estimate, relative.
        divergences_increase: Images more that diverge, for each set of images on each target.
        alpha: A drop counts where its adjusted p-value is at most this; 1 counts every drop.
        allow_missing: Whether the second run may lack what the first one has.
    """

    accuracy_drop: float = 0.0
    robustness_drop: float = 0.0
    cycles_increase: float = 0.0
    resources_increase: float = 0.0
    divergences_increase: int = 0
    alpha: float = 0.05
    allow_missing: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """One number of both runs.

    Attributes:
        what: accuracy, robustness, divergences, logits, cycles, or the name of a hardware number.
        where: What it belongs to, in words.
        target: Who computed; empty for numbers of the hardware.
        before: In the first run; None where it isn't there.
        after: In the second run.
        verdict: What it means.
        test: ``mcnemar`` (paired, exact), ``fisher`` (independent, exact), or empty.
        p_value: That chance alone makes as much of a difference; None without test.
        p_adjusted: The same by Holm's method, among all accuracies on the target.
        interval: 95 % of the change where images can't be paired.
        only_before: Images that only the first run had right, where images can be paired.
        only_after: Images that only the second run had right.
    """

    what: str
    where: str
    target: str = ""
    before: float | None
    after: float | None
    verdict: Verdict
    test: str = ""
    p_value: float | None = None
    p_adjusted: float | None = None
    interval: tuple[float, float] | None = None
    only_before: int | None = None
    only_after: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Two runs side by side.

    Attributes:
        before: The first run's name.
        after: The second one's.
        tolerances: What was allowed.
        differences: Everything that was compared.
    """

    before: str
    after: str
    tolerances: Tolerances
    differences: tuple[Difference, ...] = field(default=())

    @property
    def failures(self) -> tuple[Difference, ...]:
        """What makes the comparison fail."""
        failing = {Verdict.REGRESSION}
        if not self.tolerances.allow_missing:
            failing.add(Verdict.MISSING)
        return tuple(difference for difference in self.differences if difference.verdict in failing)

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        return {
            "version": 1,
            "kind": "comparison",
            "before": self.before,
            "after": self.after,
            "regressed": bool(self.failures),
            "tolerances": asdict(self.tolerances),
            "differences": [
                asdict(difference) | {"verdict": str(difference.verdict)} for difference in self.differences
            ],
        }
