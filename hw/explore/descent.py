"""The search on networks with branches: one layer after the other is made cheaper until none can be.

It finds a folding that no change of a single layer improves, which need not be the cheapest of all.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

from export.graph import DataflowGraph, Mvau
from hw.explore.budget import Budget
from hw.explore.tables import layer_choices
from hw.folding import Folding, LayerFolding, vectors_per_frame
from hw.resources import ResourceModel
from hw.rtlgen import plan_rtl

_SWEEPS = 4
_BEATEN_BY = 1.25


@dataclass(frozen=True, slots=True, kw_only=True)
class Branched:
    """A network with branches, and the foldings that its layers can have.

    Attributes:
        graph: The network.
        model: The resource model.
        choices: Every folding of each layer, by its name, with the cycles a frame that it takes.
    """

    graph: DataflowGraph
    model: ResourceModel
    choices: Mapping[str, Mapping[LayerFolding, int]]

    @classmethod
    def of(cls, graph: DataflowGraph, model: ResourceModel) -> Branched:
        """Collect the foldings of a graph's layers."""
        choices = {
            node.name: {layer: _cycles(graph, node, layer) for layer in layer_choices(graph, node)}
            for node in graph.mvaus
        }
        return cls(graph=graph, model=model, choices=choices)

    def cycle_values(self) -> list[int]:
        """Return every number of cycles a frame that some layer can take, ascending."""
        return sorted({cycles for layers in self.choices.values() for cycles in layers.values()})

    def least_cycles(self) -> int:
        """Return the cycles a frame of the network that is unrolled as far as it goes."""
        widest = {
            name: max(layers, key=lambda layer: (layer.pe * layer.simd, layer.ram_style != "block"))
            for name, layers in self.choices.items()
        }
        return Folding(widest).ii_cycles(self.graph)

    def cheapest(self, cycles: int, budget: Budget) -> Folding | None:
        """Return a folding within a budget whose price no change of one layer lowers, or None.

        Args:
            cycles: Cycles a frame that no layer may exceed.
            budget: Bounds on LUTs and block RAMs, and the price of one in the other.
        """
        start: dict[str, LayerFolding] = {}
        for name, layers in self.choices.items():
            fast = [layer for layer, own in layers.items() if own <= cycles]
            if not fast:
                return None
            start[name] = min(fast, key=lambda x: (x.pe * x.simd, x.ram_style == "block", x.pe))
        folding, price = Folding(start), self._price(Folding(start), cycles, budget)
        for _ in range(_SWEEPS):
            better, better_price = self._sweep(folding, price, cycles, budget)
            if better_price >= price:
                break
            folding, price = better, better_price
        lut, bram36 = self._cost(folding)
        fits = lut <= budget.lut and bram36 <= budget.bram36 and folding.ii_cycles(self.graph) <= cycles
        return folding if fits else None

    def _sweep(self, folding: Folding, price: float, cycles: int, budget: Budget) -> tuple[Folding, float]:
        for name, layers in self.choices.items():
            fast = [layer for layer, own in layers.items() if own <= cycles]
            least = min(layer.pe * layer.simd for layer in fast)
            for layer in fast:
                if layer.pe * layer.simd > _BEATEN_BY * least and layer.pe * layer.simd > least + 16:
                    continue
                other = replace(folding, layers={**folding.layers, name: layer})
                if (other_price := self._price(other, cycles, budget)) < price:
                    folding, price = other, other_price
        return folding, price

    def _cost(self, folding: Folding) -> tuple[float, float]:
        instances = plan_rtl(self.graph, folding, with_contents=False).instances
        return self.model.luts(instances), self.model.bram36(instances)

    def _price(self, folding: Folding, cycles: int, budget: Budget) -> float:
        """The price; what exceeds a bound counts many times, so that the search comes back within it."""
        lut, bram36 = self._cost(folding)
        price = budget.price(lut, bram36)
        if math.isfinite(budget.lut):
            price += 10 * max(0.0, lut - budget.lut)
        if math.isfinite(budget.bram36):
            price += 10 * budget.lut_per_bram36 * max(0.0, bram36 - budget.bram36)
        return price + 1e6 * max(0.0, folding.ii_cycles(self.graph) / cycles - 1)


def _cycles(graph: DataflowGraph, node: Mvau, layer: LayerFolding) -> int:
    return Folding({node.name: layer}).cycles(node, vectors_per_frame(graph, node))
