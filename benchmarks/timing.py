"""The timing model against Verilator: equal in every beat, and how much faster.

    python -m benchmarks.timing [--json] [--nets tfc lfc] [--frames N] [--networks N] [--seed S]

Speed: TFC and LFC at FINN's foldings, the same batch through the simulated hardware on one thread and through
the model, in one process, with and without random stalls. Sweep, with --networks: that many random dense
networks with random foldings, FIFO depths and stalls on both sides; every input and output beat must move in
the same cycle. Each network of the sweep is a Verilator build of some seconds. Any difference is an error.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from benchmarks.rtl import NETWORKS, make_graph
from export.datatypes import BIPOLAR, UINT8, DataType
from export.errors import BitsiegeError, DivergenceError
from export.graph import DataflowGraph, Flatten, Mvau, Node, Thresholding, Thresholds
from hw.folding import Folding, LayerFolding, divisors
from hw.rtl_target import RtlTarget
from hw.timing import TimingChain, TimingEngine, prove_fifo_depths
from hw.timing.fifos import solve_chain
from hw.verilator import Stalls

_STALLS = Stalls(seed=1, source=0.1, sink=0.1)
_SWEEP_FRAMES = 24
_SWEEP_PATTERNS = 6
_WIDTHS = (1, 2, 3, 4, 5, 6, 8, 9, 12, 16, 24)


@dataclass(frozen=True, slots=True, kw_only=True)
class Speed:
    """One network's batch in both.

    Attributes:
        network: Its name.
        stalls: Whether source and sink stall at random, each in a tenth of the cycles.
        frames: Frames of the batch, back to back.
        cycles: Cycles of the batch, equal in both.
        verilator_s: Time in the simulated hardware, one thread [s].
        model_s: Time in the model, the best of some runs [s].
        ratio: verilator_s / model_s.
    """

    network: str
    stalls: bool
    frames: int
    cycles: int
    verilator_s: float
    model_s: float
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
        solve_s: Time to find the depths [s].
    """

    network: str
    default: dict[str, int]
    solved: dict[str, int]
    ii_cycles: float
    ii_one_less: dict[str, float | None]
    solve_s: float


def measure_speed(name: str, frames: int, folder: Path) -> list[Speed]:
    """Measure one network with and without stalls.

    Raises:
        DivergenceError: The cycles differ.
    """
    graph, folding = _network(name)
    target = RtlTarget(graph, folding, cache_dir=folder, workers=1)
    engine = TimingEngine(folder)
    images = np.random.default_rng(1).integers(0, 256, (frames, *graph.input_shape), np.uint8)
    target.stream(images[:2])
    chain = TimingChain.of(target.rtl)
    speeds: list[Speed] = []
    for stalls in (None, _STALLS):
        started = time.perf_counter()
        measured = target.stream(images, stalls)
        verilator_s = time.perf_counter() - started
        run = engine.run(chain, frames, stalls)
        _check_equal(name, run.first_in_cycle, measured.first_in_cycle)
        _check_equal(name, run.last_out_cycle, measured.last_out_cycle)
        model_s = _best_s(lambda stalls=stalls: engine.run(chain, frames, stalls))
        speeds.append(
            Speed(
                network=name,
                stalls=stalls is not None,
                frames=frames,
                cycles=measured.total_cycles,
                verilator_s=verilator_s,
                model_s=model_s,
                ratio=verilator_s / model_s,
            )
        )
    return speeds


def solve_fifos(name: str, folder: Path) -> Fifos:
    """Solve one network's FIFO depths, and prove them."""
    target = RtlTarget(*_network(name), cache_dir=folder)
    chain, engine = TimingChain.of(target.rtl), TimingEngine(folder)
    started = time.perf_counter()
    depths = solve_chain(chain, engine)
    solve_s = time.perf_counter() - started
    proofs = prove_fifo_depths(chain, depths, engine)
    return Fifos(
        network=name,
        default=chain.fifo_depths,
        solved=depths,
        ii_cycles=float(next(iter(proofs.values())).ii_cycles),
        ii_one_less={n: None if p.ii_one_less is None else float(p.ii_one_less) for n, p in proofs.items()},
        solve_s=solve_s,
    )


def sweep(networks: int, seed: int) -> dict[str, int]:
    """Compare random networks in every beat; returns what was compared.

    Raises:
        DivergenceError: A beat moves in another cycle; the message has the seed of the network.
    """
    done = {"networks": 0, "runs": 0, "beats": 0, "cycles": 0}
    with tempfile.TemporaryDirectory() as folder:
        engine = TimingEngine(Path(folder))
        for index in range(networks):
            _compare(seed + index, engine, Path(folder), done)
            if (index + 1) % 10 == 0:
                print(f"{index + 1} networks: {done['beats']:,} beats equal", file=sys.stderr)
    return done


def _compare(seed: int, engine: TimingEngine, folder: Path, done: dict[str, int]) -> None:
    rng = np.random.default_rng(seed)
    graph, folding, depths = random_network(rng)
    target = RtlTarget(graph, folding, cache_dir=folder, workers=1, fifo_depths=depths)
    chain = TimingChain.of(target.rtl)
    images = rng.integers(0, 256, (_SWEEP_FRAMES, *graph.input_shape), np.uint8)
    for stalls in (None, *(_random_stalls(rng) for _ in range(_SWEEP_PATTERNS - 1))):
        measured = target.stream(images, stalls, beats=True)
        run = engine.run(chain, _SWEEP_FRAMES, stalls, beats=True)
        for got, expected in ((run.in_cycles, measured.in_cycles), (run.out_cycles, measured.out_cycles)):
            _check_equal(f"network {seed}, {stalls}", got, expected)
            done["beats"] += got.size
        done["runs"] += 1
        done["cycles"] += measured.total_cycles
    done["networks"] += 1


def _random_stalls(rng: np.random.Generator) -> Stalls:
    source, sink = rng.choice([0.0, 0.05, 0.2, 0.5, 0.9], 2)
    return Stalls(seed=int(rng.integers(1 << 62)), source=float(source), sink=float(sink))


def random_network(rng: np.random.Generator) -> tuple[DataflowGraph, Folding, dict[str, int]]:
    """Return a small dense network, a folding that fits it, and FIFO depths of 2 to 9 for some layers."""
    sizes = [int(n) for n in rng.choice(_WIDTHS, rng.integers(2, 6))]
    input_type = (BIPOLAR, UINT8)[rng.integers(2)]
    hidden = (BIPOLAR, DataType("INT2"), DataType("UINT2"))[rng.integers(3)]
    nodes: list[Node] = []
    if input_type.is_bipolar:
        nodes.append(
            Thresholding(
                name="thresholding_0",
                input="images",
                in_type=UINT8,
                thresholds=Thresholds(steps=np.full((1, 1), 128, np.int64)),
            )
        )
    source = nodes[-1].name if nodes else "images"
    nodes.append(Flatten(name="flatten_0", input=source, in_type=input_type))
    for index, (mw, mh) in enumerate(itertools.pairwise(sizes)):
        last = index == len(sizes) - 2
        levels = 1 if hidden.is_bipolar else hidden.maximum - hidden.minimum
        steps = np.sort(rng.integers(-mw, mw + 1, (mh, levels)), axis=1)
        nodes.append(
            Mvau(
                name=f"mvau_{index}",
                input=nodes[-1].name,
                in_type=nodes[-1].out_type,
                weights=rng.choice(np.array([-1, 1], np.int8), (mh, mw)),
                thresholds=None
                if last
                else Thresholds(steps=steps, out_type=hidden, out_bias=hidden.minimum),
                scale=rng.integers(-9, 10, mh) if last and rng.integers(2) else None,
            )
        )
    graph = DataflowGraph(input_shape=(sizes[0], 1, 1), nodes=tuple(nodes))
    layers = {
        node.name: LayerFolding(int(rng.choice(divisors(node.mh))), int(rng.choice(divisors(node.mw))))
        for node in graph.mvaus
    }
    depths = {name: int(rng.integers(2, 10)) for name in layers if rng.integers(2)}
    return graph, Folding(layers), depths


def _network(name: str) -> tuple[DataflowGraph, Folding]:
    network = NETWORKS[name]
    folding = Folding({f"mvau_{i}": LayerFolding(*layer) for i, layer in enumerate(network.folding)})
    return make_graph(network), folding


def _check_equal(what: str, got: np.ndarray, expected: np.ndarray | None) -> None:
    if expected is None or not np.array_equal(got, expected):
        raise DivergenceError(f"{what}: the model's cycles are not the simulated hardware's", target="timing")


def _best_s(task: Callable[[], object], repeats: int = 5) -> float:
    def once() -> float:
        started = time.perf_counter()
        task()
        return time.perf_counter() - started

    return min(once() for _ in range(repeats))


def render(speeds: list[Speed], fifos: list[Fifos], swept: dict[str, int]) -> str:
    """Return the results as text."""
    lines = [f"{'':6}{'stalls':>8}{'frames':>9}{'cycles':>14}{'Verilator s':>13}{'model s':>11}{'ratio':>9}"]
    lines.extend(
        f"{s.network:6}{'0.1' if s.stalls else '-':>8}{s.frames:>9,}{s.cycles:>14,}{s.verilator_s:>13.3f}"
        f"{s.model_s:>11.6f}{s.ratio:>9,.0f}"
        for s in speeds
    )
    lines.extend(
        f"{f.network}: FIFOs {list(f.default.values())} -> {list(f.solved.values())} at II {f.ii_cycles:g}, "
        f"one less {list(f.ii_one_less.values())}, {f.solve_s:.4f} s"
        for f in fifos
    )
    if swept:
        lines.append(
            f"sweep: {swept['networks']} networks, {swept['runs']} runs, {swept['beats']:,} beats, "
            f"{swept['cycles']:,} cycles: all equal"
        )
    return "\n".join(lines)


def main() -> int:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", action="store_true", help="write JSON instead of text")
    parser.add_argument("--nets", nargs="*", choices=list(NETWORKS), default=list(NETWORKS))
    parser.add_argument("--frames", type=int, default=10_000, help="frames of the speed batch")
    parser.add_argument("--networks", type=int, default=0, help="random networks of the sweep")
    parser.add_argument("--seed", type=int, default=0, help="of the first network of the sweep")
    options = parser.parse_args()
    try:
        with tempfile.TemporaryDirectory() as folder:
            speeds = [s for name in options.nets for s in measure_speed(name, options.frames, Path(folder))]
            fifos = [solve_fifos(name, Path(folder)) for name in options.nets]
        swept = sweep(options.networks, options.seed) if options.networks else {}
    except BitsiegeError as error:
        print(error, file=sys.stderr)
        return error.exit_status
    if options.json:
        document = {
            "cores": len(os.sched_getaffinity(0)),
            "speed": [asdict(s) for s in speeds],
            "fifos": [asdict(f) for f in fifos],
            "sweep": swept,
        }
        print(json.dumps(document, indent=2))
    else:
        print(render(speeds, fifos, swept))
    return 0


if __name__ == "__main__":
    sys.exit(main())
