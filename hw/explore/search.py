"""The two questions: the least hardware that reaches a rate, and the best rate within a budget."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction

from export.errors import InputError
from export.graph import DataflowGraph
from hw.explore.budget import Budget, Choice
from hw.explore.chain import cheapest, cycle_values, least_cycles
from hw.explore.descent import Branched
from hw.explore.tables import is_chain, make_tables
from hw.folding import Folding
from hw.resources import Estimate, ResourceModel, load_model
from hw.rtlgen import plan_rtl

_UNLIMITED = Budget()


class _Space:
    """All foldings of a network: exact on a chain, by descent where it branches."""

    def __init__(self, graph: DataflowGraph, model: ResourceModel) -> None:
        self.graph = graph
        self.model = model
        self.cheapest: Callable[[int, Budget], Folding | None]
        if is_chain(graph):
            tables = make_tables(graph, model)
            self.cycles, self.least = cycle_values(tables), least_cycles(tables)
            self.cheapest = lambda cycles, budget: cheapest(tables, cycles, budget)
        else:
            branched = Branched.of(graph, model)
            self.cycles, self.least = branched.cycle_values(), branched.least_cycles()
            self.cheapest = branched.cheapest

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
    folding = space.cheapest(cycles, budget)
    choice = None if folding is None else space.choice(folding)
    if choice is not None and not _exceeded(choice.estimate, budget):
        return choice
    best = _fastest(space, budget)
    hint = "ask for fewer frames a second, or for a larger FPGA"
    if best is None:
        needed = "" if choice is None else f": it needs {choice.estimate.text()}"
        raise InputError(f"the network does not fit {budget.text()}{needed}", hint=hint)
    raise InputError(
        f"{fps:,.10g} frames/s at {clock_mhz:g} MHz do not fit {budget.text()}: the best that fits is "
        f"{clock_mhz * 1e6 / best.ii_cycles:,.10g} frames/s with {best.estimate.text()}",
        hint=hint,
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
        slowest = space.cheapest(space.cycles[-1], replace(_UNLIMITED, lut_per_bram36=budget.lut_per_bram36))
        needs = "" if slowest is None else f": the least needs {space.choice(slowest).estimate.text()}"
        raise InputError(
            f"the network does not fit {budget.text()}{needs}",
            hint="choose a larger FPGA or a smaller network",
        )
    return best


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
        folding = space.cheapest(values[middle], budget)
        choice = None if folding is None else space.choice(folding)
        if choice is not None and not _exceeded(choice.estimate, budget):
            best, high = choice, middle - 1
        else:
            low = middle + 1
    return best


def _exceeded(estimate: Estimate, budget: Budget) -> bool:
    pairs = (
        (estimate.lut, budget.lut),
        (estimate.ff, budget.ff),
        (estimate.bram36, budget.bram36),
        (estimate.dsp, budget.dsp),
    )
    return any(amount.value > bound + 1e-6 for amount, bound in pairs)
