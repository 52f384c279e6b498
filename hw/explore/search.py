"""The two questions: the least hardware that reaches a rate, and the best rate within a budget."""

from __future__ import annotations

import math
from dataclasses import replace
from fractions import Fraction

from export.errors import InputError
from export.graph import DataflowGraph
from hw.explore.budget import Budget, Choice
from hw.explore.chain import cheapest, cycle_values, least_cycles
from hw.explore.tables import is_chain, make_tables
from hw.folding import Folding
from hw.resources import Estimate, ResourceModel, load_model
from hw.rtlgen import plan_rtl

_UNLIMITED = Budget()
_ROUNDS = 4
_WIDER = 1.5
_TRIES = 200


class _Space:
    """All foldings of a network."""

    def __init__(self, graph: DataflowGraph, model: ResourceModel) -> None:
        self.graph = graph
        self.model = model
        self.tables = make_tables(graph, model)
        self.cycles = cycle_values(self.tables)
        self.least = least_cycles(self.tables)

    def cheapest(self, cycles: int, budget: Budget) -> Choice | None:
        """The cheapest folding within a budget: of all on a chain, of its units alone where it branches.

        What stands between the units of a network with branches is not in the tables. It is taken off the
        budget and the units are searched again, until all of it fits.
        """
        bounds = budget
        for _ in range(_ROUNDS):
            folding = cheapest(self.tables, cycles, bounds)
            if folding is None:
                return None
            choice = self.choice(folding)
            if not exceeded(choice.estimate, budget):
                return choice if choice.ii_cycles <= cycles else None
            lut, bram36 = self._units(folding)
            bounds = replace(
                budget,
                lut=min(bounds.lut, budget.lut - (choice.estimate.lut.value - lut)),
                bram36=min(bounds.bram36, budget.bram36 - (choice.estimate.bram36.value - bram36)),
            )
        return None

    def polished(self, choice: Choice, cycles: int, budget: Budget) -> Choice:
        """Where the network branches, change one layer after the other while that lowers the price of all."""
        if is_chain(self.graph):
            return choice
        tries = _TRIES
        for name, table in zip(self.tables.names, self.tables.layers, strict=True):
            now = choice.folding[name]
            for layer, part in table.items():
                if part.cycles > cycles or layer.pe * layer.simd > _WIDER * now.pe * now.simd:
                    continue
                if not (tries := tries - 1):
                    return choice
                folding = Folding({**choice.folding.layers, name: layer})
                other = self.choice(folding)
                fits = other.ii_cycles <= cycles and not exceeded(other.estimate, budget)
                if fits and _price(other, budget) < _price(choice, budget):
                    choice = other
        return choice

    def _units(self, folding: Folding) -> tuple[float, float]:
        parts = [
            table[folding[name]] for name, table in zip(self.tables.names, self.tables.layers, strict=True)
        ]
        return sum(part.lut for part in parts), sum(part.bram36 for part in parts)

    def choice(self, folding: Folding) -> Choice:
        """Estimate a folding."""
        design = plan_rtl(self.graph, folding, with_contents=False)
        return Choice(
            folding=folding,
            ii_cycles=folding.ii_cycles(self.graph),
            estimate=self.model.estimate(design),
        )


def least_hardware(
    graph: DataflowGraph,
    *,
    fps: float,
    clock_mhz: float,
    budget: Budget = _UNLIMITED,
    model: ResourceModel | None = None,
) -> Choice:
    """Return the folding with the lowest price that reaches a frame rate.

    Args:
        graph: The network.
        fps: Frames per second, above 0.
        clock_mhz: Clock [MHz], above 0.
        budget: Bounds that the estimate keeps, and the price of a block RAM in LUTs.
        model: The resource model; the one that ships with the package by default.

    Raises:
        InputError: No folding is that fast, or none of those fits; the message names the best rate.
    """
    space = _Space(graph, load_model() if model is None else model)
    cycles = cycle_budget(fps, clock_mhz)
    if cycles < space.least:
        fastest_fps = clock_mhz * 1e6 / space.least
        raise InputError(
            f"{fps:,.10g} frames/s at {clock_mhz:g} MHz is out of reach: the fastest possible is "
            f"{fastest_fps:,.10g} frames/s",
            hint="ask for fewer frames a second, or for a faster clock",
        )
    choice = space.cheapest(cycles, budget)
    if choice is not None:
        return space.polished(choice, cycles, budget)
    best = _fastest(space, budget)
    if best is None:
        raise _no_fit(space, budget)
    raise InputError(
        f"{fps:,.10g} frames/s at {clock_mhz:g} MHz do not fit {budget.text()}: the best that fits is "
        f"{clock_mhz * 1e6 / best.ii_cycles:,.10g} frames/s with {best.estimate.text()}",
        hint="ask for fewer frames a second, or for a larger FPGA",
    )


def fastest(graph: DataflowGraph, budget: Budget, *, model: ResourceModel | None = None) -> Choice:
    """Return the folding with the fewest cycles a frame within a budget, and of those the cheapest.

    Args:
        graph: The network.
        budget: Bounds that the estimate keeps, and the price of a block RAM in LUTs.
        model: The resource model; the one that ships with the package by default.

    Raises:
        InputError: Not even the least hardware fits; the message says what it needs.
    """
    space = _Space(graph, load_model() if model is None else model)
    best = _fastest(space, budget)
    if best is None:
        raise _no_fit(space, budget)
    return space.polished(best, best.ii_cycles, budget)


def cycle_budget(fps: float, clock_mhz: float) -> int:
    """Return the cycles that a frame may take at a rate and a clock.

    Raises:
        InputError: One of them is not a number above 0.
    """
    for label, value in (("frames/s", fps), ("clock", clock_mhz)):
        if not (math.isfinite(value) and value > 0):
            raise InputError(f"the {label} must be a number above 0, not {value}")
    # Decimal fractions as they are written: 0.1 MHz at 1000 frames/s is 100 cycles, not 99.
    return int(Fraction(str(clock_mhz)) * 10**6 / Fraction(str(fps)))


def _fastest(space: _Space, budget: Budget) -> Choice | None:
    """Bisect over the numbers of cycles that occur: what fits at one fits at every greater one."""
    values = [cycles for cycles in space.cycles if cycles >= space.least] or [space.least]
    best: Choice | None = None
    low, high = 0, len(values) - 1
    while low <= high:
        middle = (low + high) // 2
        choice = space.cheapest(values[middle], budget)
        if choice is not None:
            best, high = choice, middle - 1
        else:
            low = middle + 1
    return best


def _price(choice: Choice, budget: Budget) -> float:
    return budget.price(choice.estimate.lut.value, choice.estimate.bram36.value)


def _no_fit(space: _Space, budget: Budget) -> InputError:
    least = space.cheapest(space.cycles[-1], replace(_UNLIMITED, lut_per_bram36=budget.lut_per_bram36))
    needs = "" if least is None else f": the least needs {least.estimate.text()}"
    return InputError(
        f"the network does not fit {budget.text()}{needs}", hint="choose a larger FPGA or a smaller network"
    )


def exceeded(estimate: Estimate, budget: Budget) -> bool:
    """Tell whether an estimate leaves a budget."""
    pairs = (
        (estimate.lut, budget.lut),
        (estimate.ff, budget.ff),
        (estimate.bram36, budget.bram36),
        (estimate.dsp, budget.dsp),
    )
    return any(amount.value > bound + 1e-6 for amount, bound in pairs)
