"""The generated SystemVerilog under Verilator: simulated cycles/s, images/s, and what the arithmetic allows.

    python -m benchmarks.rtl [--json] [--networks tfc lfc] [--repeats N]

TFC and LFC at FINN's foldings, with random ±1 weights (speed doesn't depend on the values), random images.
LFC is padded as FINN's is, 784 pixels to 832 and 10 classes to 16: its folding divides only those. The
baseline is the same arithmetic without FIFOs, width converters and handshakes, built with the same options
(see `benchmarks.rtl_baseline`); every repeat measures everything once, so that a change of clock or load
meets all alike. The logits of both must equal the reference, or the benchmark fails.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import platform
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from benchmarks.rtl_baseline import write_baseline
from export.datatypes import BIPOLAR, UINT8
from export.errors import BitsiegeError, DivergenceError
from export.graph import DataflowGraph, Flatten, Mvau, Node, Thresholding, Thresholds
from hw.folding import Folding, LayerFolding
from hw.reference import ReferenceTarget
from hw.rtl_target import RtlTarget
from hw.target import ImageArray
from hw.timing import predict
from hw.verilator import Simulation, StreamResult, build_library, find_compiler, find_verilator

_CHECKED_IMAGES = 64
_RUN_S = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """A benchmark network.

    Attributes:
        sizes: Inputs, then neurons of each layer.
        image: Shape of its image.
        folding: (PE, SIMD) of each layer.
        anchor_cycles_per_s: What a synthetic dataflow without FIFOs and AXI4-Streams reached elsewhere.
    """

    sizes: tuple[int, ...]
    image: tuple[int, int, int]
    folding: tuple[tuple[int, int], ...]
    anchor_cycles_per_s: float


NETWORKS = {
    "tfc": Network(
        sizes=(784, 64, 64, 64, 10),
        image=(28, 28, 1),
        folding=((16, 49), (8, 8), (8, 8), (10, 8)),
        anchor_cycles_per_s=4.8e6,
    ),
    "lfc": Network(
        sizes=(832, 1024, 1024, 1024, 16),
        image=(26, 32, 1),
        folding=((32, 64), (64, 32), (32, 64), (16, 8)),
        anchor_cycles_per_s=0.95e6,
    ),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What was measured of one network.

    Attributes:
        network: Its name.
        latency_cycles: Of the first image, measured.
        ii_cycles: Between images in steady state, measured.
        predicted: Latency and II of the timing model.
        build_s: Verilating and compiling, with a warm runtime cache or not.
        cycles_per_s: One thread, one long stream.
        images_per_s: The same.
        all_cores: Threads of the next two.
        all_cores_cycles_per_s: Whole batches through `RtlTarget.infer`, simulated cycles of all threads.
        all_cores_images_per_s: The same.
        baseline_cycles_per_s: One thread, without FIFOs, width converters and handshakes.
        share_of_baseline: cycles_per_s / baseline_cycles_per_s.
        share_of_anchor: cycles_per_s / the anchor.
    """

    network: str
    latency_cycles: int
    ii_cycles: int
    predicted: tuple[int, int]
    build_s: float
    cycles_per_s: float
    images_per_s: float
    all_cores: int
    all_cores_cycles_per_s: float
    all_cores_images_per_s: float
    baseline_cycles_per_s: float
    share_of_baseline: float
    share_of_anchor: float


def make_graph(network: Network) -> DataflowGraph:
    """Return the network with binarised input, random ±1 weights and random thresholds near 0."""
    rng = np.random.default_rng(0)
    nodes: list[Node] = [
        Thresholding(
            name="thresholding_0",
            input="images",
            in_type=UINT8,
            thresholds=Thresholds(steps=np.full((1, 1), 128, np.int64)),
        ),
        Flatten(name="flatten_0", input="thresholding_0", in_type=BIPOLAR),
    ]
    for index, (mw, mh) in enumerate(itertools.pairwise(network.sizes)):
        spread = int(np.sqrt(mw))
        steps = rng.integers(-spread, spread + 1, (mh, 1))
        nodes.append(
            Mvau(
                name=f"mvau_{index}",
                input=nodes[-1].name,
                in_type=BIPOLAR,
                weights=rng.choice(np.array([-1, 1], np.int8), (mh, mw)),
                thresholds=None if index == len(network.sizes) - 2 else Thresholds(steps=steps),
            )
        )
    return DataflowGraph(input_shape=network.image, nodes=tuple(nodes))


def measure(name: str, repeats: int, folder: Path) -> Result:
    """Measure one network against its baseline.

    Raises:
        DivergenceError: The hardware or the baseline computes other logits than the reference.
        ToolError: Verilator or the compiler is missing.
    """
    network = NETWORKS[name]
    graph = make_graph(network)
    folding = Folding({f"mvau_{i}": LayerFolding(*layer) for i, layer in enumerate(network.folding)})
    target = RtlTarget(graph, folding, cache_dir=folder)
    started = time.perf_counter()
    target.prepare()
    build_s = time.perf_counter() - started
    rtl_dir = folder / f"{name}-baseline"
    rtl_dir.mkdir()
    design = write_baseline(graph, folding, rtl_dir)
    baseline = Simulation(build_library(design, cache_dir=folder), design, rtl_dir)

    images = np.random.default_rng(1).integers(0, 256, (_CHECKED_IMAGES, *graph.input_shape), np.uint8)
    golden = ReferenceTarget(graph).infer(images).logits
    checked = target.stream(images)
    for label, stream in (("rtl", checked), ("the baseline", _stream(baseline, images, target))):
        if not np.array_equal(stream.logits, golden):
            raise DivergenceError(f"{name}: {label} computes other logits than the reference", target=label)

    ii_cycles = folding.ii_cycles(graph)
    images = _enough(images, lambda part: target.stream(part))
    cores = len(os.sched_getaffinity(0))
    many = np.concatenate([images] * cores)
    tasks: dict[str, Callable[[], float]] = {
        "rtl": lambda: target.stream(images).total_cycles,
        "baseline": lambda: _stream(baseline, images, target).total_cycles,
        "all": lambda: float(len(target.infer(many).logits)),
    }
    best = dict.fromkeys(tasks, 0.0)
    for _ in range(repeats):
        for label, task in tasks.items():
            started = time.perf_counter()
            units = task()
            best[label] = max(best[label], units / (time.perf_counter() - started))
    timing = predict(graph, folding)
    return Result(
        network=name,
        latency_cycles=int(checked.cycles[0]),
        ii_cycles=int(np.diff(checked.last_out_cycle)[-1]),
        predicted=(timing.latency_cycles, timing.ii_cycles),
        build_s=build_s,
        cycles_per_s=best["rtl"],
        images_per_s=best["rtl"] / ii_cycles,
        all_cores=cores,
        all_cores_cycles_per_s=best["all"] * ii_cycles,
        all_cores_images_per_s=best["all"],
        baseline_cycles_per_s=best["baseline"],
        share_of_baseline=best["rtl"] / best["baseline"],
        share_of_anchor=best["rtl"] / network.anchor_cycles_per_s,
    )


def _stream(baseline: Simulation, images: ImageArray, target: RtlTarget) -> StreamResult:
    return baseline.stream(images, deadline_cycles=target.deadline_cycles)


def _enough(images: ImageArray, run: Callable[[ImageArray], object]) -> ImageArray:
    """Repeat the images until one run takes about `_RUN_S`."""
    started = time.perf_counter()
    run(images)
    laps = max(1, int(_RUN_S / (time.perf_counter() - started)))
    return np.concatenate([images] * laps)


def render(results: list[Result]) -> str:
    """Return the results as a table."""
    lines = [
        f"{'':6}{'II':>6}{'latency':>9}{'Mcycles/s':>11}{'images/s':>10}{'baseline':>10}{'share':>7}"
        f"{'anchor':>8}{'all cores':>11}{'images/s':>10}"
    ]
    for r in results:
        lines.append(
            f"{r.network:6}{r.ii_cycles:>6}{r.latency_cycles:>9}{r.cycles_per_s / 1e6:>11.2f}"
            f"{r.images_per_s:>10,.0f}{r.baseline_cycles_per_s / 1e6:>10.2f}{r.share_of_baseline:>7.0%}"
            f"{r.share_of_anchor:>8.0%}{r.all_cores_cycles_per_s / 1e6:>11.2f}"
            f"{r.all_cores_images_per_s:>10,.0f}"
        )
    return "\n".join(lines)


def main() -> int:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", action="store_true", help="write JSON instead of a table")
    parser.add_argument("--networks", nargs="+", choices=list(NETWORKS), default=list(NETWORKS))
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    try:
        with tempfile.TemporaryDirectory() as folder:
            results = [measure(name, options.repeats, Path(folder)) for name in options.networks]
        tools = {"verilator": find_verilator().version, "compiler": find_compiler().version}
    except BitsiegeError as error:
        print(error, file=sys.stderr)
        return error.exit_status
    if options.json:
        machine = {"processor": platform.processor(), "cores": len(os.sched_getaffinity(0)), **tools}
        print(json.dumps({"machine": machine, "results": [asdict(r) for r in results]}, indent=2))
    else:
        print(render(results))
    return 0


if __name__ == "__main__":
    sys.exit(main())
