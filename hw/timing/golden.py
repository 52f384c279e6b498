"""The model that the native engine is held to: every cycle by itself, in Python."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from hw.timing.encoding import TimingChain
from hw.timing.modules import Activity, Fifo
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
    design = _Design(chain)
    sides = _Sides(stalls)
    entered: list[int] = []
    left: list[int] = []
    cycle, moved = 0, False
    while len(left) < frames * chain.out_beats:
        sides.begin(cycle, free=moved or not sides.offered, more=len(entered) < frames * chain.in_beats)
        moved, delivered = design.cycle(sides.offered, sides.taken)
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
        counts=design.counts,
        followed_frames=frames,
        period_frames=0,
        period_cycles=0,
    )


class _Design:
    """All modules, and the flags of the streams between them."""

    def __init__(self, chain: TimingChain) -> None:
        self._parts = [
            (module, tuple(s.name for s in instance.sources), tuple(s.name for s in instance.sinks))
            for module, instance in zip(chain.models(), chain.instances, strict=True)
        ]
        self._input, self._output = chain.instances[0].source.name, chain.instances[-1].sink.name
        self.counts = np.zeros((len(self._parts), 4), np.int64)

    def cycle(self, offered: bool, taken: bool) -> tuple[bool, bool]:
        """One cycle of all modules; returns whether a beat was accepted, and whether one was delivered."""
        valid, ready = {self._input: offered}, {self._output: taken}
        for module, _, sinks in self._parts:
            valid.update(zip(sinks, module.valids, strict=True))
        # tready runs backwards, and depends on no tready of a module before.
        for module, sources, sinks in reversed(self._parts):
            flags = module.readies(tuple(valid[s] for s in sources), tuple(ready[s] for s in sinks))
            ready.update(zip(sources, flags, strict=True))
        moves = [valid[name] and ready[name] for name in (self._input, self._output)]
        for row, (module, sources, sinks) in zip(self.counts, self._parts, strict=True):
            before, after = tuple(valid[s] for s in sources), tuple(ready[s] for s in sinks)
            row[module.activity(before, after).value] += 1
            module.clock(before, after)
            if isinstance(module, Fifo):
                row[len(Activity)] = max(row[len(Activity)], module.held)
        return moves[0], moves[1]
