"""The model that the native engine is held to: every cycle by itself, in Python."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from hw.timing.encoding import TimingChain
from hw.timing.modules import Activity, Fifo, Module
from hw.timing.run import ChainRun
from hw.timing.stalls import StallPattern, Stalls, chances, of_256


class _Sides:
    """Source and sink: decides at the start of each cycle what they do."""

    def __init__(self, stalls: Stalls | StallPattern | None) -> None:
        self._stalls = stalls
        seed = stalls.seed if isinstance(stalls, Stalls) else 0
        self._source: Iterator[int] = chances(seed)
        self._sink: Iterator[int] = chances(~seed)
        self.offered = False
        self.taken = True

    def begin(self, cycle: int, *, free: bool, more: bool) -> None:
        """Begin a cycle: ``free`` is whether no beat waits, ``more`` whether there is another one."""
        match self._stalls:
            case Stalls() as stalls:
                if free:
                    self.offered = next(self._source) >= of_256(stalls.source) and more
                self.taken = next(self._sink) >= of_256(stalls.sink)
            case StallPattern() as pattern:
                if free:
                    self.offered = not pattern.source_idle[cycle % pattern.source_idle.size] and more
                self.taken = not pattern.sink_busy[cycle % pattern.sink_busy.size]
            case None:
                self.offered = more


def run_golden(chain: TimingChain, frames: int, stalls: Stalls | StallPattern | None = None) -> ChainRun:
    """Follow frames through a chain, cycle by cycle; slow, and simple enough to be checked by eye.

    Args:
        chain: The modules.
        frames: Frames, sent back to back.
        stalls: Idle cycles of source and sink; None for none.
    """
    modules = chain.models()
    sides = _Sides(stalls)
    counts = np.zeros((len(modules), 4), np.int64)
    entered: list[int] = []
    left: list[int] = []
    cycle, moved = 0, False
    while len(left) < frames * chain.out_beats:
        sides.begin(cycle, free=moved or not sides.offered, more=len(entered) < frames * chain.in_beats)
        moved, delivered = _cycle(modules, sides.offered, sides.taken, counts)
        if moved:
            entered.append(cycle)
        if delivered:
            left.append(cycle)
        cycle += 1
    # Where windows leave out the end of a map, the last output may come before the last input.
    in_cycles = np.full((frames, chain.in_beats), -1, np.int64)
    in_cycles.flat[: len(entered)] = entered
    out_cycles = np.array(left, np.int64).reshape(frames, chain.out_beats)
    return ChainRun(
        first_in_cycle=in_cycles[:, 0],
        last_out_cycle=out_cycles[:, -1],
        in_cycles=in_cycles,
        out_cycles=out_cycles,
        total_cycles=cycle,
        counts=counts,
        followed_frames=frames,
        period_frames=0,
        period_cycles=0,
    )


def _cycle(
    modules: list[Module], offered: bool, taken: bool, counts: np.ndarray[tuple[int, ...], np.dtype[np.int64]]
) -> tuple[bool, bool]:
    """One cycle of all modules; returns whether a beat was accepted, and whether one was delivered."""
    ready = [True] * len(modules) + [taken]
    for index in range(len(modules) - 1, -1, -1):
        ready[index] = modules[index].ready(ready[index + 1])
    valid = [offered, *(module.valid for module in modules)]
    moves = [v and r for v, r in zip(valid, ready, strict=True)]
    for index, module in enumerate(modules):
        activity = module.activity(valid[index], ready[index + 1])
        counts[index, activity.value] += 1
        module.clock(valid[index], ready[index + 1])
        if isinstance(module, Fifo):
            counts[index, len(Activity)] = max(counts[index, len(Activity)], module.held)
    return moves[0], moves[-1]
