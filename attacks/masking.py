"""Gradient masking: does a network resist, or do its gradients only lead nowhere?

Each check compares attacks that ought to be ordered: more steps are no weaker than fewer, gradients beat
chance and queries, an unbounded attack reaches everything. A check that fails is a sign that the weaker
attack's gradients were masked, so that its accuracy is no robustness. The signs are those of Athalye et al.,
Obfuscated gradients give a false sense of security (ICML 2018), section 3.1, and Carlini et al., On
evaluating adversarial robustness (2019), section 3; that ±1 networks pass or fail them by the scale of their
logits is from Gupta and Ajanthan, Improved gradient-based adversarial attacks for quantized networks (AAAI
2022).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.stats import binom

BoolArray = npt.NDArray[np.bool_]

SIGNIFICANCE = 0.01
"""A paired difference counts when chance gives one as large less often than this."""

# An unbounded attack has every image of the range to choose from, so hardly any may be left.
UNBOUNDED_LIMIT = 0.05
# Of gradients that are exactly 0 everywhere, this share of the images is too much to be an accident.
ZERO_LIMIT = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One question about a model and its answer.

    Attributes:
        name: Short name.
        question: What is asked, in words.
        masked: Whether the answer is a sign of masking; None where it could not be asked.
        evidence: The numbers, in words.
        values: The numbers.
    """

    name: str
    question: str
    masked: bool | None
    evidence: str
    values: Mapping[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """All checks of one model.

    Attributes:
        eps: L∞ budget that the attacks had.
        images: Number of images.
        accuracy: Accuracy that each attack left, by its name; ``clean`` for none.
        curves: Pairs of a setting and the accuracy that PGD left with it: ``eps`` and ``steps``.
        strongest: The attack that left least.
        checks: The checks.
    """

    eps: float
    images: int
    accuracy: Mapping[str, float]
    curves: Mapping[str, tuple[tuple[float, float], ...]]
    strongest: str
    checks: tuple[Check, ...]

    @property
    def masked(self) -> bool:
        """Whether any check gave a sign."""
        return any(check.masked for check in self.checks)

    @property
    def sentence(self) -> str:
        """The verdict in words."""
        signs = [check.name for check in self.checks if check.masked]
        left = f"{100 * self.accuracy[self.strongest]:.1f} % is what {self.strongest} leaves"
        if not signs:
            asked = sum(check.masked is not None for check in self.checks)
            return f"no sign of gradient masking in {asked} checks; {left}"
        return f"gradients are masked ({', '.join(signs)}): do not believe the weaker attacks; {left}"

    def to_json(self) -> dict[str, Any]:
        """Return JSON values, verdict and sentence included."""
        return asdict(self) | {"masked": self.masked, "sentence": self.sentence}


def judge(
    fooled: Mapping[str, BoolArray],
    *,
    eps: float,
    zero_gradients: float,
    curves: Mapping[str, Mapping[float, BoolArray]] | None = None,
) -> Verdict:
    """Answer every question that the outcomes allow.

    Args:
        fooled: Which images each attack fooled, bool ``(N,)``, by name; ``clean`` are the misclassified
            originals, ``unbounded`` the images fooled with the whole pixel range.
        eps: L∞ budget of all others.
        zero_gradients: Share of the images whose gradient is exactly 0 in every pixel.
        curves: Images that one attack fooled by a setting that ought to help it, by the setting's name.
    """
    if "clean" not in fooled:
        raise ValueError("the outcome of the clean images is missing")
    accuracy = {name: float(1 - outcome.mean()) for name, outcome in fooled.items()}
    bounded = [name for name in accuracy if name not in ("clean", "unbounded")]
    checks = [_zero(zero_gradients), _unbounded(accuracy.get("unbounded"))]
    checks += [_compare(item, fooled) for item in COMPARISONS]
    series = {name: dict(sorted(curve.items())) for name, curve in (curves or {}).items()}
    checks += [_rises(name, curve) for name, curve in series.items()]
    return Verdict(
        eps=eps,
        images=len(fooled["clean"]),
        accuracy=accuracy,
        curves={
            name: tuple((setting, float(1 - outcome.mean())) for setting, outcome in curve.items())
            for name, curve in series.items()
        },
        strongest=min(bounded or ["clean"], key=lambda name: accuracy[name]),
        checks=tuple(checks),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Two attacks that ought to be ordered.

    Attributes:
        name: Of the check.
        question: In words.
        stronger: The attack that ought to fool at least as many.
        weaker: The other one.
    """

    name: str
    question: str
    stronger: str
    weaker: str


COMPARISONS = (
    Comparison(
        name="iterations",
        question="Do many steps fool no fewer than one?",
        stronger="pgd",
        weaker="fgsm",
    ),
    Comparison(
        name="noise",
        question="Do gradients beat random noise?",
        stronger="pgd",
        weaker="noise",
    ),
    Comparison(
        name="black box",
        question="Do gradients beat queries?",
        stronger="pgd",
        weaker="square",
    ),
    Comparison(
        name="logit scale",
        question="Is the model's own logit scale as good as one that keeps gradients alive?",
        stronger="pgd",
        weaker="pgd, njs",
    ),
    Comparison(
        name="estimator",
        question="Is the model's own straight-through gradient as good as the identity's?",
        stronger="pgd",
        weaker="pgd, identity",
    ),
    Comparison(
        name="restarts",
        question="Is one start nearly as good as several?",
        stronger="pgd",
        weaker="pgd, restarts",
    ),
)


def significant(stronger: BoolArray, weaker: BoolArray) -> float:
    """Return the chance that images fooled by one attack alone fall this unevenly, or more, for the weaker.

    The exact one-sided sign test on the images that the two attacks disagree about.
    """
    only_weaker = int(np.count_nonzero(weaker & ~stronger))
    disagreed = only_weaker + int(np.count_nonzero(stronger & ~weaker))
    return float(binom.sf(only_weaker - 1, disagreed, 0.5)) if disagreed else 1.0


def _compare(item: Comparison, fooled: Mapping[str, BoolArray]) -> Check:
    missing = [name for name in (item.stronger, item.weaker) if name not in fooled]
    if missing:
        return Check(
            name=item.name,
            question=item.question,
            masked=None,
            evidence=f"not asked: no result of {', '.join(missing)}",
            values={},
        )
    stronger, weaker = fooled[item.stronger], fooled[item.weaker]
    chance = significant(stronger, weaker)
    left = {name: float(1 - fooled[name].mean()) for name in (item.stronger, item.weaker)}
    return Check(
        name=item.name,
        question=item.question,
        masked=chance < SIGNIFICANCE,
        evidence=(
            f"{item.stronger} leaves {100 * left[item.stronger]:.1f} %, "
            f"{item.weaker} {100 * left[item.weaker]:.1f} % (sign test {chance:.2g})"
        ),
        values={**left, "chance": chance},
    )


def _rises(setting: str, curve: Mapping[float, BoolArray]) -> Check:
    """Check that more of a setting fools no fewer images, from each point of a curve to the next."""
    steps = list(pairwise(curve.items()))
    chances = [significant(after, before) for (_, before), (_, after) in steps]
    left = ", ".join(f"{100 * (1 - outcome.mean()):.1f} % at {value:g}" for value, outcome in curve.items())
    return Check(
        name=f"more {setting}",
        question=f"Does PGD with more {setting} fool no fewer images?",
        # Several pairs are looked at, so that each has to be that much clearer.
        masked=min(chances) < SIGNIFICANCE / len(chances) if chances else None,
        evidence=left or "not asked: no result",
        values={f"{value:g}": float(1 - outcome.mean()) for value, outcome in curve.items()},
    )


def _zero(share: float) -> Check:
    return Check(
        name="zero gradients",
        question="Does every image have a gradient?",
        masked=share > ZERO_LIMIT,
        evidence=f"{100 * share:.1f} % of the images have a gradient of exactly 0 in every pixel",
        values={"share": share},
    )


def _unbounded(accuracy: float | None) -> Check:
    question = "Does an attack without a budget fool everything?"
    if accuracy is None:
        return Check(
            name="unbounded", question=question, masked=None, evidence="not asked: no result", values={}
        )
    return Check(
        name="unbounded",
        question=question,
        masked=accuracy > UNBOUNDED_LIMIT,
        evidence=f"the whole pixel range leaves {100 * accuracy:.1f} %",
        values={"accuracy": accuracy},
    )
