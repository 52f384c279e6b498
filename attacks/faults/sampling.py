"""Random faults where there are too many to try all, and what they say about the rest."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from attacks.faults.codes import threshold_bits, threshold_codes, weight_bits
from attacks.faults.model import Effect, MemoryFault, ThresholdFault, WeightFault
from attacks.faults.score import Score, ScoreMap
from export.errors import InputError
from export.graph import DataflowGraph, Mvau, Thresholding

LEVEL = 0.95
_Z = NormalDist().inv_cdf((1 + LEVEL) / 2)


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """A memory of a layer as bits.

    Attributes:
        node: Name of the layer.
        kind: ``weight`` or ``threshold``.
        rows: Neurons or channels.
        columns: Inputs, or thresholds of a channel.
        bits: Bits of each.
    """

    node: str
    kind: str
    rows: int
    columns: int
    bits: int

    @property
    def size(self) -> int:
        """Bits in all."""
        return self.rows * self.columns * self.bits

    def fault(self, index: int, effect: Effect = Effect.FLIP) -> MemoryFault:
        """Return the fault of one bit, counted over rows, columns and bits."""
        place, bit = divmod(index, self.bits)
        row, column = divmod(place, self.columns)
        if self.kind == WeightFault.kind:
            return WeightFault(node=self.node, row=row, column=column, bit=bit, effect=effect)
        return ThresholdFault(node=self.node, channel=row, level=column, bit=bit, effect=effect)


def memories_of(graph: DataflowGraph, kinds: Sequence[str] = ("weight", "threshold")) -> list[Memory]:
    """Return the memories of a network's layers, in its order; copies for several lanes count once."""
    found: list[Memory] = []
    for node in graph.nodes:
        if isinstance(node, Mvau) and "weight" in kinds:
            bits = weight_bits(node)
            found.append(Memory(node=node.name, kind="weight", rows=node.mh, columns=node.mw, bits=bits))
        if isinstance(node, Mvau | Thresholding) and node.thresholds is not None and "threshold" in kinds:
            channels, levels = threshold_codes(node, graph.shapes[node.name][-1]).shape
            bits = threshold_bits(node)
            found.append(Memory(node=node.name, kind="threshold", rows=channels, columns=levels, bits=bits))
    return found


def random_faults(
    memories: Sequence[Memory], count: int, *, seed: int, index: int = 0, effect: Effect = Effect.FLIP
) -> tuple[MemoryFault, ...]:
    """Return different bits drawn from all bits of memories, all equally likely.

    Args:
        memories: Where faults may strike.
        count: Faults.
        seed: Of the campaign.
        index: Of this draw: each has a stream of its own, whichever others there are.
        effect: What happens to each bit.

    Raises:
        InputError: There are fewer bits.
    """
    ends = np.cumsum([memory.size for memory in memories])
    if not memories or count > int(ends[-1]):
        raise InputError(f"{count} faults need as many bits of memory")
    draw = np.random.default_rng((seed, index))
    places = np.sort(draw.choice(int(ends[-1]), count, replace=False))
    found: list[MemoryFault] = []
    for place in places.tolist():
        which = int(np.searchsorted(ends, place, side="right"))
        first = int(ends[which]) - memories[which].size
        found.append(memories[which].fault(place - first, effect))
    return tuple(found)


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """What a number of faults does to the accuracy.

    Attributes:
        faults: How many were evaluated.
        mean: Their mean accuracy.
        low: Lower end of its interval at `LEVEL`; the mean itself where all faults were evaluated.
        high: Upper end.
        worst: The least accuracy among them.
        harmful: Share of faults that make the accuracy less.
        harmful_low: Lower end of its interval.
        harmful_high: Upper end.
    """

    faults: int
    mean: float
    low: float
    high: float
    worst: float
    harmful: float
    harmful_low: float
    harmful_high: float


def estimate(scores: ScoreMap, *, clean: Score, images: int, exhaustive: bool = False) -> Estimate:
    """Summarise scores of single faults, or of single draws.

    Args:
        scores: At least one.
        clean: The score without faults.
        images: Images of each score.
        exhaustive: Whether these are all faults that there are, so that nothing is uncertain.
    """
    count = scores.correct.size
    correct = scores.correct.astype(np.float64).ravel() / images
    harmful = int((scores.correct < clean.correct).sum())
    mean = float(correct.mean())
    spread = 0.0
    if not exhaustive and count > 1:
        spread = _Z * float(correct.std(ddof=1)) / math.sqrt(count)
    share = harmful / count
    low, high = (share, share) if exhaustive else wilson(harmful, count)
    return Estimate(
        faults=count,
        mean=mean,
        low=max(0.0, mean - spread),
        high=min(1.0, mean + spread),
        worst=float(correct.min()),
        harmful=share,
        harmful_low=low,
        harmful_high=high,
    )


def wilson(hits: int, count: int) -> tuple[float, float]:
    """Return Wilson's interval of a share at `LEVEL`.

    References:
        Wilson, Probable inference, the law of succession, and statistical inference (1927).
    """
    share, square = hits / count, _Z * _Z
    middle = (share + square / (2 * count)) / (1 + square / count)
    half = _Z * math.sqrt(share * (1 - share) / count + square / (4 * count * count)) / (1 + square / count)
    return max(0.0, middle - half), min(1.0, middle + half)
