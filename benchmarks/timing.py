"""The timing model against Verilator: equal in every beat, and how much faster.

    python -m benchmarks.timing [--json] [--nets tfc lfc cnv] [--frames N] [--networks N] [--seed S]

Speed: TFC, LFC and CNV at the foldings of FINN and BNN-PYNQ, a batch through the model and as many of its
frames through the simulated hardware on one thread as its time allows, in one process, with and without
random stalls. All cycles of those frames must be equal. The time that Verilator would take for the whole
batch is its time per cycle times the batch's cycles; the output says how many frames it is measured on. Times
are those of the processor, which other programs on the machine do not prolong.

Sweep, with --networks: that many random networks, dense, convolutional and residual in turn, with random
foldings, FIFO depths and stalls on both sides; every input and output beat must move in the same cycle. Any
difference is an error.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from benchmarks.emulator_conv import cnv
from benchmarks.rtl import CNV_FOLDING, NETWORKS, make_graph
from benchmarks.timing_sweep import BATCH, Swept, sweep
from export.errors import BitsiegeError, DivergenceError
from export.graph import DataflowGraph
from hw.folding import Folding, LayerFolding
from hw.rtl_target import RtlTarget
from hw.timing import TimingChain, TimingEngine, prove_fifo_depths
from hw.timing.fifos import solve_chain
from hw.verilator import Stalls

_STALLS = Stalls(seed=1, source=0.1, sink=0.1)
_NETS = ("tfc", "lfc", "cnv")
_REPEAT_S = 1.0
_VERILATOR_CYCLES = 4_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Speed:
    """One network's batch in both.

    Attributes:
        network: Its name.
        stalls: Whether source and sink stall at random, each in a tenth of the cycles.
        frames: Frames of the batch, back to back.
        cycles: Cycles of the batch.
        followed: Frames that the model followed one by one.
        model_s: Time of the model for the batch, the best of some runs [s].
        measured_frames: Frames of the batch that Verilator simulated, with equal cycles.
        cycles_per_s: What Verilator simulated on one thread [cycles/s].
        verilator_s: Time of Verilator for the batch, from that rate [s].
        ratio: verilator_s / model_s.
    """

    network: str
    stalls: bool
    frames: int
    cycles: int
    followed: int
    model_s: float
    measured_frames: int
    cycles_per_s: float
    verilator_s: float
    ratio: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Fifos:
    """One network's FIFOs.

    Attributes:
        network: Its name.
        default: Depths of the generator.
        solved: The smallest ones that keep the initiation interval.
        ii_cycles: That interval.
        ii_one_less: The interval with one FIFO a word smaller; None where the depth is the least possible.
        solve_s: Time to find the depths and prove them [s].
    """

    network: str
    default: dict[str, int]
    solved: dict[str, int]
    ii_cycles: float
    ii_one_less: dict[str, float | None]
    solve_s: float


def measure_speed(name: str, batches: Sequence[int], folder: Path) -> list[Speed]:
    """Measure one network with and without stalls.

    Args:
        name: Of the network.
        batches: Frames of each batch.
        folder: Where native code is kept.

    Raises:
        DivergenceError: The cycles differ.
    """
    graph, folding = _network(name)
    target = RtlTarget(graph, folding, cache_dir=folder, workers=1)
    engine, chain = TimingEngine(folder), TimingChain.of(target.rtl)
    measured_frames = max(2, min(max(batches), _VERILATOR_CYCLES // folding.ii_cycles(graph)))
    images = np.random.default_rng(1).integers(0, 256, (measured_frames, *graph.input_shape), np.uint8)
    target.stream(images[:1])
    speeds: list[Speed] = []
    for stalls in (None, _STALLS):
        started = time.process_time()
        measured = target.stream(images, stalls, beats=True)
        cycles_per_s = measured.total_cycles / (time.process_time() - started)
        run = engine.run(chain, measured_frames, stalls, beats=True)
        _check_equal(name, run.in_cycles, measured.in_cycles)
        _check_equal(name, run.out_cycles, measured.out_cycles)
        for frames in batches:
            run = engine.run(chain, frames, stalls)
            model_s = _best_s(lambda frames=frames, stalls=stalls: engine.run(chain, frames, stalls))
            verilator_s = run.total_cycles / cycles_per_s
            speeds.append(
                Speed(
                    network=name,
                    stalls=stalls is not None,
                    frames=frames,
                    cycles=run.total_cycles,
                    followed=run.followed_frames,
                    model_s=model_s,
                    measured_frames=measured_frames,
                    cycles_per_s=cycles_per_s,
                    verilator_s=verilator_s,
                    ratio=verilator_s / model_s,
                )
            )
    return speeds


def solve_fifos(name: str, folder: Path) -> Fifos:
    """Solve one network's FIFO depths, and prove them."""
    chain, engine = TimingChain.plan(*_network(name)), TimingEngine(folder)
    started = time.process_time()
    depths = solve_chain(chain, engine)
    proofs = prove_fifo_depths(chain, depths, engine)
    solve_s = time.process_time() - started
    return Fifos(
        network=name,
        default=chain.fifo_depths,
        solved=depths,
        ii_cycles=float(next(iter(proofs.values())).ii_cycles),
        ii_one_less={n: None if p.ii_one_less is None else float(p.ii_one_less) for n, p in proofs.items()},
        solve_s=solve_s,
    )


def sweep_all(networks: int, seed: int, folder: Path) -> Swept:
    """Compare random networks in every beat; returns what was compared.

    Raises:
        DivergenceError: A beat moves in another cycle; the message has the seed of the network.
    """
    swept, engine = Swept(networks={}), TimingEngine(folder)
    for first in range(seed, seed + networks, BATCH):
        sweep(range(first, min(first + BATCH, seed + networks)), engine, swept, folder)
        print(f"{swept.runs} runs: {swept.beats:,} beats equal", file=sys.stderr)
    return swept


def _network(name: str) -> tuple[DataflowGraph, Folding]:
    if name == "cnv":
        graph = cnv()
        layers = zip(graph.mvaus, CNV_FOLDING, strict=True)
        return graph, Folding({node.name: LayerFolding(*layer) for node, layer in layers})
    network = NETWORKS[name]
    folding = Folding({f"mvau_{i}": LayerFolding(*layer) for i, layer in enumerate(network.folding)})
    return make_graph(network), folding


def _check_equal(what: str, got: np.ndarray, expected: np.ndarray | None) -> None:
    if expected is None or not np.array_equal(got, expected):
        raise DivergenceError(f"{what}: the model's cycles are not the simulated hardware's", target="timing")


def _best_s(task: Callable[[], object]) -> float:
    """Time of the quickest of some runs; of one where it takes seconds."""
    best, spent = float("inf"), 0.0
    while spent < _REPEAT_S:
        started = time.process_time()
        task()
        took = time.process_time() - started
        best, spent = min(best, took), spent + took
    return best


def render(speeds: list[Speed], fifos: list[Fifos], swept: Swept | None) -> str:
    """Return the results as text."""
    lines = [
        f"{'':4}{'stalls':>7}{'frames':>8}{'cycles':>13}{'followed':>9}{'model s':>10}"
        f"{'Verilator s':>12} (frames {'cycles/s':>10}){'ratio':>9}"
    ]
    lines.extend(
        f"{s.network:4}{'0.1' if s.stalls else '-':>7}{s.frames:>8,}{s.cycles:>13,}{s.followed:>9,}"
        f"{s.model_s:>10.4f}{s.verilator_s:>12.1f} ({s.measured_frames:>6,} {s.cycles_per_s:>10,.0f})"
        f"{s.ratio:>9,.0f}"
        for s in speeds
    )
    lines.extend(
        f"{f.network}: FIFOs {list(f.default.values())} -> {list(f.solved.values())} at II {f.ii_cycles:g}, "
        f"one less {list(f.ii_one_less.values())}, {f.solve_s:.2f} s"
        for f in fifos
    )
    if swept is not None:
        kinds = ", ".join(f"{count} {kind}" for kind, count in swept.networks.items())
        lines.append(
            f"sweep: {sum(swept.networks.values())} networks ({kinds}), {swept.runs} runs of which "
            f"{swept.hung} stand still in both, {swept.beats:,} beats, {swept.cycles:,} cycles: all equal"
        )
    return "\n".join(lines)


def main() -> int:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", action="store_true", help="write JSON instead of text")
    parser.add_argument("--nets", nargs="*", choices=_NETS, default=list(_NETS))
    parser.add_argument("--frames", type=int, default=10_000, help="frames of the larger batch")
    parser.add_argument("--networks", type=int, default=0, help="random networks of the sweep")
    parser.add_argument("--seed", type=int, default=0, help="of the first network of the sweep")
    options = parser.parse_args()
    try:
        with tempfile.TemporaryDirectory() as folder:
            batches = (1, options.frames)
            speeds = [s for name in options.nets for s in measure_speed(name, batches, Path(folder))]
            fifos = [solve_fifos(name, Path(folder)) for name in options.nets]
            swept = sweep_all(options.networks, options.seed, Path(folder)) if options.networks else None
    except BitsiegeError as error:
        print(error, file=sys.stderr)
        return error.exit_status
    if options.json:
        document = {
            "cores": len(os.sched_getaffinity(0)),
            "speed": [asdict(s) for s in speeds],
            "fifos": [asdict(f) for f in fifos],
            "sweep": None if swept is None else asdict(swept),
        }
        print(json.dumps(document, indent=2))
    else:
        print(render(speeds, fifos, swept))
    return 0


if __name__ == "__main__":
    sys.exit(main())
