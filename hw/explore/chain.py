"""The exact search on a chain: dynamic programming over layers with fronts of LUTs and block RAMs."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate

from hw.explore.budget import Budget
from hw.explore.tables import Part, Tables
from hw.folding import Folding, LayerFolding


@dataclass(frozen=True, slots=True)
class _Trail:
    """A choice for the layers so far: what they cost, the last layer's folding, and the layers before it."""

    lut: float
    bram36: float
    layer: LayerFolding | None
    before: _Trail | None


def cycle_values(tables: Tables) -> list[int]:
    """Return every number of cycles a frame that some layer or joint has, ascending."""
    parts = [part for table in (*tables.layers, *tables.joints) for part in table.values()]
    return sorted({part.cycles for part in parts})


def least_cycles(tables: Tables) -> int:
    """Return the cycles a frame of the network that is unrolled as far as it goes."""
    per_layer = (min(part.cycles for part in table.values()) for table in (*tables.layers, *tables.joints))
    return max(per_layer)


def cheapest(tables: Tables, cycles: int, budget: Budget) -> Folding | None:
    """Return the folding with the least price within a budget, or None where there is none.

    Args:
        tables: Costs of the chain.
        cycles: Cycles a frame that no layer or joint may exceed.
        budget: Bounds on LUTs and block RAMs, and the price of one in the other.
    """
    usable = [_usable(tables, index, cycles) for index in range(len(tables.names))]
    trails: dict[int, list[_Trail]] = {0: [_Trail(0.0, 0.0, None, None)]}
    for index, candidates in enumerate(usable):
        joints = tables.joints[index]
        grown: dict[int, list[_Trail]] = {}
        for layer, part in candidates.items():
            for pe, front in trails.items():
                joint = joints[pe, layer.simd]
                if joint.cycles > cycles:
                    continue
                lut, bram36 = part.lut + joint.lut, part.bram36 + joint.bram36
                grown.setdefault(layer.pe, []).extend(
                    _Trail(t.lut + lut, t.bram36 + bram36, layer, t)
                    for t in front
                    if t.lut + lut <= budget.lut and t.bram36 + bram36 <= budget.bram36
                )
        trails = {pe: _front(found) for pe, found in grown.items()}
    ends = [
        _Trail(t.lut + end.lut, t.bram36 + end.bram36, t.layer, t.before)
        for pe, front in trails.items()
        if (end := tables.joints[-1][pe, 0]).cycles <= cycles
        for t in front
    ]
    fitting = [t for t in ends if t.lut <= budget.lut and t.bram36 <= budget.bram36]
    if not fitting:
        return None
    return _folding(tables, min(fitting, key=lambda t: (budget.price(t.lut, t.bram36), t.lut)))


def _usable(tables: Tables, index: int, cycles: int) -> Mapping[LayerFolding, Part]:
    """The foldings of a layer that are fast enough, without those that are surely too dear.

    A folding is out if another one has no more block RAMs and fewer LUTs whatever joints the neighbours make
    beside them.
    """
    before = _extremes((simd, joint) for (_, simd), joint in tables.joints[index].items())
    after = _extremes((pe, joint) for (pe, _), joint in tables.joints[index + 1].items())
    fast = {layer: part for layer, part in tables.layers[index].items() if part.cycles <= cycles}
    spans = {layer: before[layer.simd] + after[layer.pe] + _Span.of(part) for layer, part in fast.items()}
    sure = sorted(
        ((span.most_bram36, span.most_lut) for span in spans.values() if span.cycles <= cycles),
    )
    brams = [bram36 for bram36, _ in sure]
    luts = list(accumulate((lut for _, lut in sure), min))

    def is_beaten(span: _Span) -> bool:
        rivals = bisect_right(brams, span.least_bram36)
        return rivals > 0 and luts[rivals - 1] < span.least_lut

    return {layer: part for layer, part in fast.items() if not is_beaten(spans[layer])}


@dataclass(frozen=True, slots=True)
class _Span:
    """Between what a folding and its joints can cost; `cycles` is the most."""

    least_lut: float
    most_lut: float
    least_bram36: float
    most_bram36: float
    cycles: int

    @classmethod
    def of(cls, part: Part) -> _Span:
        return cls(part.lut, part.lut, part.bram36, part.bram36, part.cycles)

    def __add__(self, other: _Span) -> _Span:
        return _Span(
            self.least_lut + other.least_lut,
            self.most_lut + other.most_lut,
            self.least_bram36 + other.least_bram36,
            self.most_bram36 + other.most_bram36,
            max(self.cycles, other.cycles),
        )

    def __or__(self, other: _Span) -> _Span:
        return _Span(
            min(self.least_lut, other.least_lut),
            max(self.most_lut, other.most_lut),
            min(self.least_bram36, other.least_bram36),
            max(self.most_bram36, other.most_bram36),
            max(self.cycles, other.cycles),
        )


def _extremes(parts: Iterable[tuple[int, Part]]) -> dict[int, _Span]:
    """What the parts of each key span."""
    spans: dict[int, _Span] = {}
    for key, part in parts:
        span = _Span.of(part)
        spans[key] = spans[key] | span if key in spans else span
    return spans


def _front(trails: Sequence[_Trail]) -> list[_Trail]:
    """Those that no other beats in both LUTs and block RAMs, block RAMs ascending."""
    front: list[_Trail] = []
    for trail in sorted(trails, key=lambda t: (t.bram36, t.lut)):
        if not front or trail.lut < front[-1].lut - 1e-9:
            front.append(trail)
    return front


def _folding(tables: Tables, trail: _Trail | None) -> Folding:
    layers: list[LayerFolding] = []
    while trail is not None and trail.layer is not None:
        layers.append(trail.layer)
        trail = trail.before
    return Folding(dict(zip(tables.names, reversed(layers), strict=True)))
