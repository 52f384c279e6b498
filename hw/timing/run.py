"""What a run of the timing model yields."""

from __future__ import annotations

from dataclasses import dataclass

from export.graph import IntArray


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ChainRun:
    """N frames through a chain of M modules.

    Cycles are counted from the end of the reset.

    Attributes:
        first_in_cycle: Cycle in which each frame's first input beat is accepted, int64 ``(N,)``.
        last_out_cycle: Cycle in which each frame's last output beat is accepted, int64 ``(N,)``.
        in_cycles: Of every input beat, int64 ``(N, beats)``; empty ``(0, beats)`` unless asked for.
        out_cycles: Of every output beat, int64 ``(N, beats)``; empty ``(0, beats)`` unless asked for.
        total_cycles: Cycles to the last output beat of the last frame, including it.
        counts: Of each module the busy, starved and blocked cycles, and the most words that it held if it is
            a FIFO, int64 ``(M, 4)``.
        followed_frames: Frames that were followed beat by beat; the others follow from them.
        period_frames: Frames after which everything repeats; 0 where that was not seen.
        period_cycles: Cycles of that period.
    """

    first_in_cycle: IntArray
    last_out_cycle: IntArray
    in_cycles: IntArray
    out_cycles: IntArray
    total_cycles: int
    counts: IntArray
    followed_frames: int
    period_frames: int
    period_cycles: int

    @property
    def cycles(self) -> IntArray:
        """From first input beat to last output beat, both included, int64 ``(N,)``."""
        return self.last_out_cycle - self.first_in_cycle + 1
