"""The timing model as a target: the simulator's cycles at the emulator's speed."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from export.graph import DataflowGraph, IntArray
from hw.emulator import EmulatorTarget
from hw.folding import Folding
from hw.rtl_target import STREAM_IMAGES
from hw.target import ImageArray, Inference, TargetKind, check_images
from hw.timing.encoding import TimingChain
from hw.timing.engine import TimingEngine
from hw.timing.report import TimingReport, make_report
from hw.timing.stalls import StallPattern, Stalls


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TimedStream:
    """When the images of one stream entered and left.

    Attributes:
        first_in_cycle: Cycle in which each image's first input beat is accepted, int64 ``(N,)``.
        last_out_cycle: Cycle in which each image's last output beat is accepted, int64 ``(N,)``.
    """

    first_in_cycle: IntArray
    last_out_cycle: IntArray


class TimingTarget:
    """Logits from the emulator, cycles from the timing model of the generated hardware.

    The model follows handshakes and no data, so the bits have to come from elsewhere; both parts are exact,
    and this target answers what `RtlTarget` does. It cuts a batch into the same streams, and the cycles of
    an image are those in its stream.

    Args:
        graph: The network.
        folding: PE and SIMD of each layer.
        cache_dir: Where native code is kept; None for the user's cache directory.
        threads: Of the emulator; None for one a core.
        seed: Of drawn weights, below 2**32.

    Raises:
        InputError: The folding does not fit, hardware can't compute the network, or the seed is out of range.
        ToolError: There is no C++ compiler.
    """

    name = "timing"
    kind = TargetKind.CYCLE_ACCURATE

    def __init__(
        self,
        graph: DataflowGraph,
        folding: Folding,
        *,
        cache_dir: Path | None = None,
        threads: int | None = None,
        seed: int = 0,
    ) -> None:
        self.graph = graph
        self.chain = TimingChain.plan(graph, folding)
        self._emulator = EmulatorTarget(graph, threads=threads, seed=seed, cache_dir=cache_dir)
        self._engine = TimingEngine(cache_dir)

    def infer(self, images: ImageArray, first_frame: int = 0) -> Inference:
        """Compute the integer logits and the cycles of uint8 images ``(N, H, W, C)``."""
        logits = self._emulator.infer(images, first_frame).logits
        # All streams begin with a reset, and a frame is not delayed by those after it.
        stream = self._engine.run(self.chain, min(len(logits), STREAM_IMAGES)).cycles
        return Inference(logits=logits, cycles=np.resize(stream, len(logits)))

    def trace(self, images: ImageArray, first_frame: int = 0) -> dict[str, IntArray]:
        """Return every node's output, int64 ``(N, ...)``, by name."""
        return self._emulator.trace(images, first_frame)

    def stream(self, images: ImageArray, stalls: Stalls | StallPattern | None = None) -> TimedStream:
        """Time a whole batch as one stream, with stalls on both sides if asked for."""
        run = self._engine.run(self.chain, len(check_images(images, self.graph)), stalls)
        return TimedStream(first_in_cycle=run.first_in_cycle, last_out_cycle=run.last_out_cycle)

    def report(self, frames: int, stalls: Stalls | StallPattern | None = None) -> TimingReport:
        """Report what the hardware does with a number of frames sent back to back.

        Raises:
            InputError: A negative number of frames.
        """
        return make_report(self.chain, self._engine.run(self.chain, frames, stalls))
