"""Exact cycle counts of the generated hardware, without simulating its bits.

The timing of the dataflow does not depend on the data, so it is enough to follow the handshakes: of each
module of hw/rtl there is a model of what decides its tvalid and tready. `run_golden` clocks these models,
`TimingEngine` works out from beat to beat when each one moves.

In closed form, where the FIFO before each layer holds one vector::

    II = max over layers of vectors * (MW / SIMD) * (MH / PE)

which is the II that `predict` returns; tests hold the simulated hardware to it. The latency of
the first frame follows from the modules one by one: an output beat is ready 4 cycles after the last step of
its group of neurons, and a layer starts as soon as the first beat of the layer before it has come through the
FIFO (1 cycle) and the width converter (1 cycle, where there is one).
"""

from hw.timing.encoding import TimingChain
from hw.timing.engine import HangError, TimingEngine
from hw.timing.fifos import prove_fifo_depths, solve_fifo_depths
from hw.timing.golden import run_golden
from hw.timing.predict import LayerTiming, Timing, predict, simulate_frames
from hw.timing.report import TimingReport, make_report
from hw.timing.run import ChainRun
from hw.timing.stalls import StallPattern

__all__ = [
    "ChainRun",
    "HangError",
    "LayerTiming",
    "StallPattern",
    "Timing",
    "TimingChain",
    "TimingEngine",
    "TimingReport",
    "make_report",
    "predict",
    "prove_fifo_depths",
    "run_golden",
    "simulate_frames",
    "solve_fifo_depths",
]
