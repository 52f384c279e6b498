"""The generated SystemVerilog under Verilator: simulated cycles/s, images/s, and what the arithmetic allows.

    python -m benchmarks.rtl [--json] [--networks tfc lfc cnv] [--repeats N]

TFC, LFC and CNV at FINN's foldings, with random ±1 weights (speed doesn't depend on the values) and random
images. LFC is padded as FINN's is, 784 pixels to 832, 10 classes to 16: its folding divides only those. The
baseline of the dense networks is the same arithmetic without FIFOs, width converters and handshakes, built
with the same options (see `benchmarks.rtl_baseline`); every repeat measures everything once, so that a change
of clock or load meets all alike. The logits of both must equal the reference, or the benchmark fails.
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

from benchmarks.emulator_conv import cnv
from benchmarks.rtl_baseline import write_baseline
from export.datatypes import BIPOLAR, UINT8
from export.errors import BitsiegeError, DivergenceError
from export.graph import DataflowGraph, Flatten, IntArray, Mvau, Node, Thresholding, Thresholds
from hw.folding import Folding, LayerFolding
from hw.reference import ReferenceTarget
from hw.rtl_target import STREAM_IMAGES, RtlTarget
from hw.target import ImageArray
from hw.timing import predict
from hw.verilator import Simulation, StreamResult, build_library, find_compiler, find_verilator

_CHECKED_IMAGES = 64
_RUN_S = 2.0
CNV = "cnv"
# BNN-PYNQ's: (PE, SIMD) of CNV's six convolutions and three dense layers.
CNV_FOLDING = ((16, 3), (32, 32), (16, 32), (16, 32), (4, 32), (1, 32), (1, 4), (1, 8), (1, 2))


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
        build_s: Verilating and compiling, Verilator's runtime included.
        lone_image_s: One image through the idle hardware, from first input beat to last output beat.
        cycles_per_s: One thread, one long stream.
        images_per_s: The same.
        all_cores: Threads of the next two.
        all_cores_cycles_per_s: Whole batches through `RtlTarget.infer`, simulated cycles of all threads.
        all_cores_images_per_s: The same.
        baseline_cycles_per_s: One thread, without FIFOs, width converters and handshakes; None for CNV.
        share_of_baseline: cycles_per_s / baseline_cycles_per_s.
        share_of_anchor: cycles_per_s / the anchor; None where there is none.
    """

    network: str
    latency_cycles: int
    ii_cycles: int
    predicted: tuple[int, int]
    build_s: float
    lone_image_s: float
    cycles_per_s: float
    images_per_s: float
    all_cores: int
    all_cores_cycles_per_s: float
    all_cores_images_per_s: float
    baseline_cycles_per_s: float | None
    share_of_baseline: float | None
    share_of_anchor: float | None


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


def open_network(name: str) -> tuple[DataflowGraph, Folding]:
    """Return a network of the benchmark and its folding."""
    graph = cnv() if name == CNV else make_graph(NETWORKS[name])
    layers = CNV_FOLDING if name == CNV else NETWORKS[name].folding
    pairs = zip(graph.mvaus, layers, strict=True)
    return graph, Folding({node.name: LayerFolding(*layer) for node, layer in pairs})


def measure(name: str, repeats: int, folder: Path) -> Result:
    """Measure one network against its baseline.

    Raises:
        DivergenceError: The hardware or the baseline computes other logits than the reference.
        ToolError: Verilator or the compiler is missing.
    """
    graph, folding = open_network(name)
    target = RtlTarget(graph, folding, cache_dir=folder)
    started = time.perf_counter()
    target.prepare()
    build_s = time.perf_counter() - started
    images = np.random.default_rng(1).integers(0, 256, (_CHECKED_IMAGES, *graph.input_shape), np.uint8)
    golden = ReferenceTarget(graph).infer(images).logits
    checked = target.stream(images)
    _check_equal(name, "rtl", checked, golden)
    baseline = None if name == CNV else _open_baseline(name, graph, folding, folder)
    if baseline is not None:
        _check_equal(name, "the baseline", _stream(baseline, images, target), golden)

    ii_cycles = int(np.diff(checked.last_out_cycle)[-1])
    best, lone_image_s = _best_rates(target, baseline, images, repeats)
    timing = predict(graph, folding)
    baseline_cycles_per_s = best.get("baseline")
    return Result(
        network=name,
        latency_cycles=int(checked.cycles[0]),
        ii_cycles=ii_cycles,
        predicted=(timing.latency_cycles, timing.ii_cycles),
        build_s=build_s,
        lone_image_s=lone_image_s,
        cycles_per_s=best["rtl"],
        images_per_s=best["rtl"] / ii_cycles,
        all_cores=len(os.sched_getaffinity(0)),
        all_cores_cycles_per_s=best["all"] * ii_cycles,
        all_cores_images_per_s=best["all"],
        baseline_cycles_per_s=baseline_cycles_per_s,
        share_of_baseline=best["rtl"] / baseline_cycles_per_s if baseline_cycles_per_s else None,
        share_of_anchor=None if name == CNV else best["rtl"] / NETWORKS[name].anchor_cycles_per_s,
    )


def _open_baseline(name: str, graph: DataflowGraph, folding: Folding, folder: Path) -> Simulation:
    rtl_dir = folder / f"{name}-baseline"
    rtl_dir.mkdir()
    design = write_baseline(graph, folding, rtl_dir)
    return Simulation(build_library(design, cache_dir=folder), design, rtl_dir)


def _best_rates(
    target: RtlTarget, baseline: Simulation | None, images: ImageArray, repeats: int
) -> tuple[dict[str, float], float]:
    """Return the best rates of rtl and baseline [cycles/s], all cores [images/s]; a lone image's time [s]."""
    long = _enough(images, lambda part: target.stream(part))
    # Whole streams for every thread, or some would have nothing to do.
    streams = STREAM_IMAGES * len(os.sched_getaffinity(0))
    many = np.concatenate([long] * -(-streams // len(long)))
    tasks: dict[str, Callable[[], float]] = {
        "rtl": lambda: target.stream(long).total_cycles,
        "all": lambda: float(len(target.infer(many).logits)),
        "lone": lambda: float(len(target.stream(images[:1]).logits)),
    }
    if baseline is not None:
        tasks["baseline"] = lambda: _stream(baseline, long, target).total_cycles
    best = dict.fromkeys(tasks, 0.0)
    for _ in range(repeats):
        for label, task in tasks.items():
            started = time.perf_counter()
            units = task()
            best[label] = max(best[label], units / (time.perf_counter() - started))
    return best, 1 / best["lone"]


def _check_equal(name: str, label: str, stream: StreamResult, golden: IntArray) -> None:
    if not np.array_equal(stream.logits, golden):
        raise DivergenceError(f"{name}: {label} computes other logits than the reference", target=label)


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
        f"{'':4}{'build s':>8}{'II':>7}{'latency':>9}{'1 image ms':>11}{'Mcycles/s':>10}{'images/s':>10}"
        f"{'baseline':>9}{'share':>6}{'anchor':>7}{'all cores':>10}{'images/s':>10}"
    ]
    for r in results:
        baseline = "-" if r.baseline_cycles_per_s is None else f"{r.baseline_cycles_per_s / 1e6:.2f}"
        lines.append(
            f"{r.network:4}{r.build_s:>8.1f}{r.ii_cycles:>7}{r.latency_cycles:>9}"
            f"{r.lone_image_s * 1e3:>11.3f}{r.cycles_per_s / 1e6:>10.2f}{r.images_per_s:>10,.1f}{baseline:>9}"
            f"{_percent(r.share_of_baseline):>6}{_percent(r.share_of_anchor):>7}"
            f"{r.all_cores_cycles_per_s / 1e6:>10.2f}{r.all_cores_images_per_s:>10,.1f}"
        )
    return "\n".join(lines)


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{share:.0%}"


def main() -> int:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", action="store_true", help="write JSON instead of a table")
    parser.add_argument("--networks", nargs="+", choices=[*NETWORKS, CNV], default=[*NETWORKS, CNV])
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
