"""What a comparison knows of a run, whatever kind of run it was."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from export.graph import IntArray

CLEAN = "clean"


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Place:
    """What a score belongs to.

    Attributes:
        model: Name of the model.
        attack: Name of the attack in the results, or `CLEAN`.
        budget: Epsilon in words; empty for clean images and for smallest changes.
        seed: Of the attack; 0 for clean images.
        target: Who computed.
    """

    model: str
    attack: str
    budget: str
    seed: int
    target: str

    def text(self) -> str:
        """One line."""
        budget = f" eps {self.budget}" if self.budget else ""
        seed = f" seed {self.seed}" if self.seed else ""
        return f"{self.model} {self.attack}{budget}{seed} on {self.target}"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Score:
    """What one target made of one set of images.

    Attributes:
        count: Images.
        correct: Images with the right label.
        divergences: Images with a logit unlike the first target's.
        cycles: Cycles of an image in a full pipeline; None without clock.
        images_sha256: Of originals and labels; None where it isn't known.
        outcomes: Which images are right, bool ``(count,)``; None where only the sum is known.
        logits: int64 ``(count, K)``, for clean images; None where they aren't known.
    """

    count: int
    correct: int
    divergences: int
    cycles: float | None = None
    images_sha256: str | None = None
    outcomes: npt.NDArray[np.bool_] | None = None
    logits: IntArray | None = None

    @property
    def accuracy(self) -> float:
        """Share of right labels."""
        return self.correct / self.count


@dataclass(frozen=True, slots=True, kw_only=True)
class Hardware:
    """A compiled network.

    Attributes:
        graph_hash: What it computes.
        cycles: II and latency by the timing formula, by name.
        resources: Estimates by name, such as ``lut``; empty where there are none.
    """

    graph_hash: str
    cycles: Mapping[str, float]
    resources: Mapping[str, float] = field(default_factory=dict[str, float])


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Snapshot:
    """A run.

    Attributes:
        name: Where it was read from.
        scores: By place.
        hardware: By model.
    """

    name: str
    scores: Mapping[Place, Score]
    hardware: Mapping[str, Hardware]


def budget_text(epsilon: Any) -> str:
    """Return an epsilon in the words that places use."""
    return "" if epsilon is None else f"{float(epsilon):g}"
