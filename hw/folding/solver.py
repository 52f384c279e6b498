"""The folding solver: the least hardware that reaches a frame rate."""

from __future__ import annotations

import math
from fractions import Fraction

from export.errors import InputError
from export.graph import DataflowGraph, Mvau
from hw.folding.model import (
    Folding,
    LayerFolding,
    divisors,
    simd_values,
    vectors_per_frame,
    window_generator,
    window_lanes,
)

# The widest stream that DMA engines take: the solver goes beyond it only where nothing else is as small.
_MAX_INPUT_BITS = 1024


def solve_folding(graph: DataflowGraph, fps: float, clock_mhz: float) -> Folding:
    """Return the folding with the least sum of PE * SIMD that reaches a frame rate.

    The layers are independent: each gets the smallest PE * SIMD with SF * NF * vectors <= floor(clock / fps)
    whose window generator, in a convolution, is as fast.
    Where several (PE, SIMD) are as small, the one is taken that needs no width conversion after the layer
    before it, then the one with fewer processing elements (fewer accumulators and thresholds).

    Args:
        graph: The network.
        fps: Frames per second, above 0.
        clock_mhz: Clock frequency [MHz], above 0.

    Raises:
        InputError: No folding is that fast; the message names the fastest possible rate.
    """
    budget = _cycle_budget(fps, clock_mhz)
    slowest = max(_least_cycles(graph, node) for node in graph.mvaus)
    if budget < slowest:
        fastest = clock_mhz * 1e6 / slowest
        raise InputError(
            f"{fps:,.10g} frames/s at {clock_mhz:g} MHz is out of reach: the fastest possible is "
            f"{fastest:,.10g} frames/s",
            hint="ask for fewer frames a second, or for a faster clock",
        )
    layers: dict[str, LayerFolding] = {}
    previous: LayerFolding | None = None
    for node in graph.mvaus:
        previous = _smallest(graph, node, budget, previous)
        layers[node.name] = previous
    return Folding(layers)


def _least_cycles(graph: DataflowGraph, node: Mvau) -> int:
    """Cycles a frame of a layer that is fully unrolled."""
    return max(vectors_per_frame(graph, node), _generator_cycles(graph, node, node.mw))


def _generator_cycles(graph: DataflowGraph, node: Mvau, simd: int) -> int:
    """Beats a frame into or out of the window generator before a layer, whichever are more; 0 without one."""
    generator = window_generator(graph, node)
    if generator is None:
        return 0
    shape = graph.shapes[generator.input]
    elements = max(math.prod(shape), math.prod(graph.shapes[generator.name]))
    return elements // window_lanes(shape[2], simd)


def _smallest(graph: DataflowGraph, node: Mvau, budget: int, previous: LayerFolding | None) -> LayerFolding:
    """The least PE * SIMD of one layer within a budget of cycles a frame; ties as `solve_folding` says."""

    def cost(layer: LayerFolding) -> tuple[int, int, int]:
        if previous is None:
            mismatch = int(8 * layer.simd > _MAX_INPUT_BITS)
        elif previous.pe == layer.simd:
            mismatch = 0
        else:
            wide, narrow = max(previous.pe, layer.simd), min(previous.pe, layer.simd)
            mismatch = 1 if wide % narrow == 0 else 2
        return layer.pe * layer.simd, mismatch, layer.pe

    work = node.mw * node.mh * vectors_per_frame(graph, node)
    candidates = (
        LayerFolding(pe, simd)
        for simd in simd_values(graph, node)
        if _generator_cycles(graph, node, simd) <= budget
        for pe in divisors(node.mh // node.groups)
        if work <= budget * pe * simd
    )
    return min(candidates, key=cost)


def _cycle_budget(fps: float, clock_mhz: float) -> int:
    for label, value in (("frames/s", fps), ("clock", clock_mhz)):
        if not (math.isfinite(value) and value > 0):
            raise InputError(f"the {label} must be a number above 0, not {value}")
    # Decimal fractions as they are written: 0.1 MHz at 1000 frames/s is 100 cycles, not 99.
    return int(Fraction(str(clock_mhz)) * 10**6 / Fraction(str(fps)))
