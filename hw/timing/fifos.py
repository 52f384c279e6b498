"""The smallest FIFOs that keep full throughput, found by the timing model.

A deeper FIFO never delays a beat, so throughput never falls when a depth grows. Each FIFO's smallest depth
can therefore be found by bisection with the others fixed, and stays the smallest while the others shrink
after it: one pass over the FIFOs gives depths of which none can be lowered alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from export.errors import CheckFailedError
from export.graph import DataflowGraph
from hw.folding import Folding
from hw.timing.encoding import TimingChain
from hw.timing.engine import HangError, TimingEngine

FIFO_DEPTH_MIN = 2
_FRAMES_MAX = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class FifoProof:
    """Why a depth is the smallest one.

    Attributes:
        depth: The depth.
        ii_cycles: Initiation interval with all solved depths.
        ii_one_less: Initiation interval with this FIFO one word smaller; None where there is none.
        hangs_one_less: Whether the hardware stands still for good with this FIFO one word smaller. Where it
            does not and `ii_one_less` is None, the hardware has no smaller FIFO.
    """

    depth: int
    ii_cycles: Fraction
    ii_one_less: Fraction | None
    hangs_one_less: bool


def solve_fifo_depths(
    graph: DataflowGraph, folding: Folding, *, cache_dir: Path | None = None
) -> Mapping[str, int]:
    """Return the smallest depth of the FIFO before each layer that keeps the initiation interval.

    Among all such choices it prefers to save the FIFOs that have the most bits by default.

    Args:
        graph: The network.
        folding: PE and SIMD of each layer.
        cache_dir: Where the native engine is kept; None for the user's cache directory.

    Returns:
        Depths by the name of the layer that reads the FIFO, for ``plan_rtl(fifo_depths=...)``.

    Raises:
        InputError: The folding does not fit, or hardware can't compute the network.
        ToolError: There is no C++ compiler.
    """
    return solve_chain(TimingChain.plan(graph, folding), TimingEngine(cache_dir))


def solve_chain(chain: TimingChain, engine: TimingEngine) -> dict[str, int]:
    """Return the depths of `solve_fifo_depths` for the modules of a design."""
    generous = chain.with_fifo_depths(_generous_depths(chain))
    target = throughput_ii(generous, engine)
    # The default depths are a better start where they are enough: runs with small FIFOs settle soon.
    start = chain if _reaches(target, chain, engine) else generous
    depths = start.fifo_depths
    for name in sorted(depths, key=lambda name: -_bits(start, name)):
        low, high = FIFO_DEPTH_MIN, depths[name]
        while low < high:
            middle = (low + high) // 2
            if _reaches(target, start.with_fifo_depths({**depths, name: middle}), engine):
                high = middle
            else:
                low = middle + 1
        depths[name] = high
    return depths


def prove_fifo_depths(
    chain: TimingChain, depths: Mapping[str, int], engine: TimingEngine
) -> dict[str, FifoProof]:
    """Return the initiation interval with each FIFO one word smaller than ``depths``.

    Raises:
        CheckFailedError: The hardware hangs with these depths.
    """
    ii_cycles = throughput_ii(chain.with_fifo_depths(depths), engine)
    return {
        name: _prove(chain.with_fifo_depths({**depths, name: depth - 1}), depth, ii_cycles, engine)
        for name, depth in depths.items()
    }


def _prove(smaller: TimingChain, depth: int, ii_cycles: Fraction, engine: TimingEngine) -> FifoProof:
    if depth <= FIFO_DEPTH_MIN:
        return FifoProof(depth=depth, ii_cycles=ii_cycles, ii_one_less=None, hangs_one_less=False)
    try:
        one_less = throughput_ii(smaller, engine)
    except HangError:
        return FifoProof(depth=depth, ii_cycles=ii_cycles, ii_one_less=None, hangs_one_less=True)
    return FifoProof(depth=depth, ii_cycles=ii_cycles, ii_one_less=one_less, hangs_one_less=False)


def throughput_ii(chain: TimingChain, engine: TimingEngine) -> Fraction:
    """Return the exact cycles a frame of hardware that is fed without end.

    Raises:
        HangError: It hangs.
        CheckFailedError: It does not become periodic.
    """
    frames = 1 << 12
    while frames <= _FRAMES_MAX:
        run = engine.run(chain, frames, counts=False, until_periodic=True)
        if run.period_frames:
            return Fraction(run.period_cycles, run.period_frames)
        frames *= 16
    raise CheckFailedError(f"the hardware finds no steady rate in {_FRAMES_MAX:,} frames")


def _reaches(target: Fraction, chain: TimingChain, engine: TimingEngine) -> bool:
    try:
        return throughput_ii(chain, engine) == target
    except HangError:
        return False


def _generous_depths(chain: TimingChain) -> dict[str, int]:
    """Room for two whole frames in every FIFO."""
    return {
        key: max(2 * fifo.source.beats, int(fifo.parameters["DEPTH"])) for key, fifo in chain.fifos.items()
    }


def _bits(chain: TimingChain, key: str) -> int:
    parameters = chain.fifos[key].parameters
    return int(parameters["DEPTH"]) * int(parameters["DATA_W"])
