"""What each module does with its cycles, and how full the FIFOs get."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from hw.timing.encoding import TimingChain, fifo_key
from hw.timing.run import ChainRun


@dataclass(frozen=True, slots=True, kw_only=True)
class ModuleActivity:
    """What one module did in every cycle of a run; the three counts sum up to the cycles of the run.

    Attributes:
        instance: Name of the instance.
        module: Name of the module in hw/rtl.
        node: Layer that it belongs to.
        busy_cycles: It took a beat, or a step of its own work.
        starved_cycles: It could have worked, but no beat was offered.
        blocked_cycles: It could not take a beat, because its output or its store had no room.
    """

    instance: str
    module: str
    node: str
    busy_cycles: int
    starved_cycles: int
    blocked_cycles: int


@dataclass(frozen=True, slots=True, kw_only=True)
class FifoLevel:
    """A FIFO's use.

    Attributes:
        node: Layer that reads it; before an addition its name and ``.input`` or ``.other``.
        depth: Words that it can hold.
        high_water: Most words that it held.
        data_w: Bits of a word [bits].
    """

    node: str
    depth: int
    high_water: int
    data_w: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TimingReport:
    """N frames, back to back.

    Attributes:
        frames: N.
        total_cycles: From the end of the reset to the last output beat, including it.
        first_latency_cycles: Latency of the first frame, which finds the hardware idle; None without frames.
        last_latency_cycles: Of the last frame, which waits behind those before it; None without frames.
        ii_cycles: From one frame to the next: exact where the run became periodic, else the mean of the
            second half; None with less than two frames.
        modules: The chain, in the order in which data flows.
        fifos: The FIFOs among them.
    """

    frames: int
    total_cycles: int
    first_latency_cycles: int | None
    last_latency_cycles: int | None
    ii_cycles: float | None
    modules: tuple[ModuleActivity, ...]
    fifos: tuple[FifoLevel, ...]

    @property
    def layers(self) -> tuple[ModuleActivity, ...]:
        """The matrix-vector units alone."""
        return tuple(module for module in self.modules if module.module == "bnn_mvau")

    def document(self) -> dict[str, Any]:
        """Return the report as JSON values."""
        return asdict(self)


def make_report(chain: TimingChain, run: ChainRun) -> TimingReport:
    """Sum up a run of a chain."""
    latencies = run.cycles
    return TimingReport(
        frames=len(latencies),
        total_cycles=run.total_cycles,
        first_latency_cycles=int(latencies[0]) if len(latencies) else None,
        last_latency_cycles=int(latencies[-1]) if len(latencies) else None,
        ii_cycles=_ii_cycles(run),
        modules=tuple(
            ModuleActivity(
                instance=instance.name,
                module=instance.module,
                node=instance.node,
                busy_cycles=int(busy),
                starved_cycles=int(starved),
                blocked_cycles=int(blocked),
            )
            for instance, (busy, starved, blocked, _) in zip(chain.instances, run.counts, strict=True)
        ),
        fifos=tuple(
            FifoLevel(
                node=fifo_key(instance),
                depth=int(instance.parameters["DEPTH"]),
                high_water=int(row[3]),
                data_w=int(instance.parameters["DATA_W"]),
            )
            for instance, row in zip(chain.instances, run.counts, strict=True)
            if instance.module == "bnn_fifo"
        ),
    )


def _ii_cycles(run: ChainRun) -> float | None:
    if run.period_frames:
        return run.period_cycles / run.period_frames
    if len(run.last_out_cycle) < 2:
        return None
    return float(np.diff(run.last_out_cycle[(len(run.last_out_cycle) - 1) // 2 :]).mean())
