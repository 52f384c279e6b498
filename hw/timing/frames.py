"""Following whole frames through the chain of modules."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from export.graph import DataflowGraph, IntArray
from hw.folding import Folding
from hw.rtlgen import plan_rtl
from hw.timing.catalogue import build_module
from hw.timing.modules import Module


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FrameTiming:
    """When N frames enter and leave, sent back to back after a reset to a sink that always takes.

    Attributes:
        first_in_cycle: Cycle in which each frame's first input beat is accepted, int64 ``(N,)``.
        last_out_cycle: Cycle in which each frame's last output beat is accepted, int64 ``(N,)``.
    """

    first_in_cycle: IntArray
    last_out_cycle: IntArray

    @property
    def cycles(self) -> IntArray:
        """From first input beat to last output beat, both included, int64 ``(N,)``."""
        return self.last_out_cycle - self.first_in_cycle + 1


def simulate_frames(graph: DataflowGraph, folding: Folding, frames: int) -> FrameTiming:
    """Compute the cycles of a batch in the generated hardware, exactly.

    As soon as the hardware is in a state in which it was before, the rest follows from the period.

    Args:
        graph: The network.
        folding: PE and SIMD of each layer.
        frames: Number of images N, sent back to back.

    Raises:
        InputError: The folding does not fit, or hardware can't compute the network.
    """
    rtl = plan_rtl(graph, folding)
    chain = _Chain(
        [build_module(instance) for instance in rtl.instances],
        in_beats=rtl.input.beats,
        out_beats=rtl.output.beats,
    )
    first_in, last_out = chain.run(frames)
    return FrameTiming(first_in_cycle=first_in, last_out_cycle=last_out)


class _Chain:
    """Modules in a row, between a source that always offers and a sink that always takes."""

    def __init__(self, modules: Sequence[Module], *, in_beats: int, out_beats: int) -> None:
        self._modules = modules
        self._in_beats = in_beats
        self._out_beats = out_beats

    def run(self, frames: int) -> tuple[IntArray, IntArray]:
        """Return the cycles of first input beats and last output beats, int64 ``(frames,)`` each."""
        first_in: list[int] = []
        last_out: list[int] = []
        seen: dict[object, int] = {}
        entered, left, cycle = 0, 0, 0
        while len(last_out) < frames:
            accepted, delivered, cycles = self._cycle(entered < frames * self._in_beats)
            if accepted:
                if entered % self._in_beats == 0:
                    state = (left % self._out_beats, *(module.state for module in self._modules))
                    before = seen.setdefault((state, len(first_in) - len(last_out)), len(first_in))
                    first_in.append(cycle)
                    if before < len(first_in) - 1:
                        return _extend(first_in, last_out, before, frames)
                entered += 1
            if delivered:
                left += 1
                if left % self._out_beats == 0:
                    last_out.append(cycle)
            cycle += cycles
        return np.array(first_in, np.int64), np.array(last_out, np.int64)

    def _cycle(self, offered: bool) -> tuple[bool, bool, int]:
        """One cycle, or many in which nothing moves.

        Returns:
            Whether an input beat was accepted, whether an output beat was delivered, and the cycles passed.
        """
        modules = self._modules
        ready = [True] * (len(modules) + 1)
        for index in range(len(modules) - 1, -1, -1):
            ready[index] = modules[index].ready(ready[index + 1])
        valid = [offered, *(module.valid for module in modules)]
        moves = [v and r for v, r in zip(valid, ready, strict=True)]
        if not any(moves):
            quiet = min(module.quiet_cycles(ready[i + 1]) for i, module in enumerate(modules))
            if quiet > 0:
                for index, module in enumerate(modules):
                    module.skip(quiet, ready[index + 1])
                return False, False, quiet
        for index, module in enumerate(modules):
            module.clock(valid[index], ready[index + 1])
        return moves[0], moves[-1], 1


def _extend(first_in: list[int], last_out: list[int], before: int, frames: int) -> tuple[IntArray, IntArray]:
    """Continue both sequences: the state at the last entry is the one at entry ``before``."""
    now = len(first_in) - 1
    period, cycles = now - before, first_in[now] - first_in[before]
    in_flight = now - len(last_out)
    entry = np.arange(frames)
    # Frames that enter after `before`, and frames that leave after it, repeat with the period.
    starts = np.array(first_in[: now + 1], np.int64)
    ends = np.array(last_out, np.int64)
    first = _periodic(starts, entry, before, period, cycles)
    last = _periodic(ends, entry, before - in_flight, period, cycles)
    return first, last


def _periodic(values: IntArray, index: IntArray, start: int, period: int, cycles: int) -> IntArray:
    """Values at ``index``: known below ``start + period``, one period later by ``cycles`` from there on."""
    laps = np.maximum(0, (index - start) // period)
    return values[index - laps * period] + laps * cycles
