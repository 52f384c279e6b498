"""Latency and initiation interval of a folded network."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from export.graph import DataflowGraph
from hw.folding import Folding
from hw.timing.encoding import TimingChain
from hw.timing.engine import TimingEngine
from hw.timing.run import ChainRun


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerTiming:
    """The time that one layer works on a frame.

    Attributes:
        name: Of the Mvau node.
        busy_cycles: Cycles in which it computes: SF * NF for each vector.
        utilisation: Share of the initiation interval; 1 in the slowest layer.
    """

    name: str
    busy_cycles: int
    utilisation: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """The timing of the generated hardware.

    Attributes:
        latency_cycles: From the first input beat to the last output beat of a frame that finds the hardware
            idle, both included.
        ii_cycles: From one frame to the next when they come back to back.
        layers: Every layer, in order.
    """

    latency_cycles: int
    ii_cycles: int
    layers: tuple[LayerTiming, ...]

    def fps(self, clock_mhz: float) -> float:
        """Frames a second at a clock."""
        return clock_mhz * 1e6 / self.ii_cycles

    def latency_us(self, clock_mhz: float) -> float:
        """Latency of a frame that finds the hardware idle [µs]."""
        return self.latency_cycles / clock_mhz


def simulate_frames(
    graph: DataflowGraph, folding: Folding, frames: int, *, cache_dir: Path | None = None
) -> ChainRun:
    """Compute the cycles of a batch in the generated hardware, exactly.

    Args:
        graph: The network.
        folding: PE and SIMD of each layer.
        frames: Number of images, sent back to back.
        cache_dir: Where the native engine is kept; None for the user's cache directory.

    Raises:
        InputError: The folding does not fit, or hardware can't compute the network.
        ToolError: There is no C++ compiler.
        CheckFailedError: The hardware hangs.
    """
    return TimingEngine(cache_dir).run(TimingChain.plan(graph, folding), frames)


def predict(graph: DataflowGraph, folding: Folding, *, cache_dir: Path | None = None) -> Timing:
    """Return the timing of the hardware that `hw.rtlgen.generate_rtl` makes of a network.

    The latency is exact. The initiation interval is the closed form: exact for dense networks, the least
    possible for convolutional ones, where a window generator may hold up its neighbours; `TimingEngine` finds
    the exact one.

    Args:
        graph: The network.
        folding: PE and SIMD of each layer.
        cache_dir: Where the native engine is kept; None for the user's cache directory.

    Raises:
        InputError: The folding does not fit, or hardware can't compute the network.
        ToolError: There is no C++ compiler; `Folding.ii_cycles` needs none.
        CheckFailedError: The hardware hangs.
    """
    cycles = folding.layer_cycles(graph)
    ii_cycles = folding.ii_cycles(graph)
    return Timing(
        latency_cycles=int(simulate_frames(graph, folding, 1, cache_dir=cache_dir).cycles[0]),
        ii_cycles=ii_cycles,
        layers=tuple(
            LayerTiming(name=name, busy_cycles=busy, utilisation=busy / ii_cycles)
            for name, busy in cycles.items()
        ),
    )
