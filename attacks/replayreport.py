"""What a replay found, as frozen values that turn into JSON."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

from attacks.divergence import Divergence


@dataclass(frozen=True, slots=True, kw_only=True)
class Perturbation:
    """How far the adversarial images are from their originals.

    Attributes:
        radius: Budget in the whole numbers of `attacks.threat.Budget.limit`; for L∞ steps of the 8-bit grid.
        linf_mean: Mean over images of the largest change of a pixel, in [0, 1].
        linf_max: The largest one of all.
        l2_mean: Mean over images of the Euclidean distance, pixels in [0, 1].
        changed_mean: Mean share of the values (pixel and channel) that differ at all.
    """

    radius: int
    linf_mean: float
    linf_max: float
    l2_mean: float
    changed_mean: float


@dataclass(frozen=True, slots=True, kw_only=True)
class SetResult:
    """One target on the clean or on the adversarial images.

    Attributes:
        images: ``clean`` or ``adversarial``.
        count: Number of images.
        correct: How many get their true label.
        accuracy: Their share.
        on_target: Share that gets the class which the attack aimed at; None for an untargeted attack.
        diverging_images: Images with at least one logit unlike the baseline's.
        diverging_logits: Such logits.
        first: The first divergence.
        first_latency_cycles: Cycles from input to output of the first image, into an empty pipeline.
        steady_latency_cycles: The same of the last image, with a full pipeline; None where no clock exists.
        seconds: Wall time.
        images_per_second: Over that time.
    """

    images: str
    count: int
    correct: int
    accuracy: float
    on_target: float | None
    diverging_images: int
    diverging_logits: int
    first: Divergence | None
    first_latency_cycles: int | None
    steady_latency_cycles: int | None
    seconds: float
    images_per_second: float


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetResult:
    """One target on both sets of images.

    Attributes:
        target: Name.
        kind: What stands behind it: simulation, cycle-accurate, hardware.
        clean: On the originals.
        adversarial: On the crafted images.
    """

    target: str
    kind: str
    clean: SetResult
    adversarial: SetResult

    @property
    def divergences(self) -> int:
        """Images of both sets that differ from the baseline."""
        return self.clean.diverging_images + self.adversarial.diverging_images

    @property
    def first_divergence(self) -> Divergence | None:
        """The first divergence, clean images before adversarial ones."""
        return self.clean.first or self.adversarial.first


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayReport:
    """An attack on all targets.

    Attributes:
        attack: Name of the attack.
        parameters: Its parameters.
        eps: Budget in the unit of `attacks.threat.Budget`.
        norm: What the budget measures.
        seed: Its seed.
        graph_hash: The network that the targets compute.
        source_hash: The network that the attack was made for; another one where this is a transfer.
        images: Number of originals.
        first_image: Index of the first one in its data set, which is its frame.
        baseline: Target that the others are compared with.
        perturbation: Distances.
        targets: One result a target, in the order given.
        draw_seed: The targets' seed of weights that are drawn for each frame; None where there are none.
    """

    attack: str
    parameters: dict[str, Any]
    eps: float
    norm: str
    seed: int
    graph_hash: str
    source_hash: str
    images: int
    first_image: int
    baseline: str
    perturbation: Perturbation
    targets: tuple[TargetResult, ...]
    draw_seed: int | None = None

    @property
    def divergences(self) -> int:
        """Diverging images, over all targets and both sets; 0 is the only good number."""
        return sum(result.divergences for result in self.targets)

    def check(self) -> None:
        """Raise the first divergence.

        Raises:
            DivergenceError: A target differs from the baseline.
        """
        for result in self.targets:
            if result.first_divergence is not None:
                raise result.first_divergence.error()

    def to_json(self) -> dict[str, Any]:
        """Return the report as JSON values."""
        return dataclasses.asdict(self) | {"divergences": self.divergences}
