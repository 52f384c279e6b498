"""The emulator against this machine's popcount limit, and against what else computes the same network.

    python -m benchmarks.emulator [--json] [--networks tfc cnv ...] [--repeats N]

All of it runs in one process on the same random ±1 networks (speed doesn't depend on the values) and the
same random images; every repeat measures everything once, so that a change of clock or load meets all alike.
What runs on one thread is timed by that thread's own clock, so that other programs on the machine take
nothing from it but their share of the caches; two threads are timed by the wall clock, and their gain against
one by the wall clock too. Peers run on one thread at the batch size that suits them best, and get their float
input ready-made:

- onnxruntime and torch: the cheapest float network that is exact (see `benchmarks.float_twin`);
- brevitas: the model as trained, in eval mode;
- qonnx: the qonnx package on the exported file, image by image as it was exported;
- qonnx-batched: our `qonnx` target, which takes the constants out and runs batches.

Convolutional networks (`benchmarks.emulator_conv`) have onnxruntime alone beside them, on a float network
that is as cheap (see `benchmarks.conv_twin`). Their share of the limit counts ±1 layers only, a layer of
8-bit inputs as eight planes; the emulator itself may do such a layer otherwise. Each repeat of theirs counts
the fastest of a few short runs, the emulator's and the peer's alike. The network with drawn weights and the
residual one of ImageNet size (`benchmarks.emulator_residual`) have no peers. ``memory_bytes`` is what one
thread works in, for ``block_images`` images at a time.

The logits of all must be equal, or the benchmark fails.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.emulator_conv import NETWORKS, binary_macs
from benchmarks.emulator_peers import Peer, make_conv_peers, make_peers
from benchmarks.emulator_timing import Task, describe_machine, limit_task, measure_interleaved, native_task
from export.errors import BitsiegeError, DivergenceError
from export.graph import DataflowGraph
from export.lowering import lower_model
from export.qonnx_export import export_qonnx
from hw.emulator import EmulatorTarget
from hw.emulator.library import ISAS, NativeLibrary, load_library
from hw.reference import ReferenceTarget
from hw.target import ImageArray
from quant_models.mlp import BinaryMlp, build_model
from quant_models.spec import PRESETS

_NETWORKS = ["tfc", "sfc", "lfc", *NETWORKS]
_CHECKED_IMAGES = 1000
_CONV_BURSTS = 5
_MACS_PER_RUN = 2e10
_MAX_IMAGES = 40_000
_PEER_RUN_S = 0.1
_PEER_MAX_IMAGES = 4096


def make_network(name: str, folder: Path) -> tuple[BinaryMlp, Path, DataflowGraph]:
    """Return a network with random weights, its QONNX file, and its graph."""
    spec = PRESETS[name]
    torch.manual_seed(0)
    model = build_model(spec)
    with torch.no_grad():  # in training mode: BatchNorm takes up the statistics of its inputs
        for _ in range(10):
            model(torch.rand(256, spec.input_shape[2], *spec.input_shape[:2]))
    path = folder / f"{name}.onnx"
    export_qonnx(model.eval(), path, input_shape=spec.input_shape)
    return model, path, lower_model(path)


def check_equal(
    graph: DataflowGraph, images: ImageArray, peers: list[Peer], isas: list[str]
) -> dict[str, int]:
    """Compare everybody's integer logits; returns how many images each was compared on.

    Raises:
        DivergenceError: Two differ.
    """
    golden = ReferenceTarget(graph).infer(images).logits
    compared: dict[str, int] = {}
    for isa in isas:
        logits = EmulatorTarget(graph, isa=isa).infer(images).logits
        _compare(f"emulator {isa}", logits, golden, compared)
    for peer in peers:
        _compare(peer.name, peer.logits(images[: min(len(golden), peer.checked_images)]), golden, compared)
    return compared


def _compare(name: str, logits: np.ndarray, golden: np.ndarray, compared: dict[str, int]) -> None:
    if not np.array_equal(logits, golden[: len(logits)]):
        raise DivergenceError(f"{name} computes other logits than the reference", target=name)
    compared[name] = len(logits)


def measure_network(name: str, isas: list[str], library: NativeLibrary, repeats: int) -> dict[str, Any]:
    """Measure one network on all instruction sets and all peers."""
    if name in NETWORKS:
        network = NETWORKS[name]
        graph = network.make()
        peers = make_conv_peers(graph) if network.has_twin else []
        count, checked = network.images, network.checked_images
        return measure_graph(
            name, graph, peers, isas, library, repeats, count=count, checked=checked, bursts=_CONV_BURSTS
        )
    with tempfile.TemporaryDirectory() as folder:
        model, path, graph = make_network(name, Path(folder))
        peers = make_peers(model, path, graph)
        count = min(_MAX_IMAGES, max(_CHECKED_IMAGES, int(_MACS_PER_RUN / graph.macs)))
        return measure_graph(name, graph, peers, isas, library, repeats, count=count)


def measure_graph(
    name: str,
    graph: DataflowGraph,
    peers: list[Peer],
    isas: list[str],
    library: NativeLibrary,
    repeats: int,
    *,
    count: int,
    checked: int = _CHECKED_IMAGES,
    bursts: int = 1,
) -> dict[str, Any]:
    """Measure one graph on ``count`` images a run; of ``bursts`` runs a repeat, the fastest counts.

    The first ``checked`` images are compared with the golden model's and the peers' logits.
    """
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (count, *graph.input_shape)).astype(np.uint8)
    compared = check_equal(graph, images[:checked], peers, isas)
    blocks: dict[str, int] = {}
    tasks: dict[str, Task] = {"clock": native_task(library.dependent_adds, bursts=5)}
    for isa in isas:
        tasks[f"limit {isa}"] = limit_task(library, isa)
        one, two = (EmulatorTarget(graph, isa=isa, threads=threads) for threads in (1, 2))
        blocks = {"block_images": one.block_images, "memory_bytes": one.memory_bytes}
        tasks[f"emulator {isa} 1"] = Task(units=count, run=_inference(one, images), bursts=bursts)
        for threads, target in ((1, one), (2, two)):
            tasks[f"emulator {isa} {threads} wall"] = Task(
                units=count, run=_inference(target, images), bursts=bursts, clock=time.perf_counter
            )
    batches: dict[str, int] = {}
    for peer in peers:
        batches[peer.name], tasks[peer.name] = _best_batch(peer, images, bursts)
    rates = measure_interleaved(tasks, repeats)
    counted = binary_macs(graph)
    return {
        "network": name,
        "macs": graph.macs,
        "binary_macs": counted,
        "images": count,
        **blocks,
        "equal_logits_on_images": compared,
        "emulator": {isa: _emulator_result(isa, rates, counted) for isa in isas},
        "peers": {
            peer.name: _peer_result(rates[peer.name], batches[peer.name], rates[f"emulator {isas[0]} 1"])
            for peer in peers
        },
    }


def _inference(target: EmulatorTarget, images: ImageArray) -> Callable[[], object]:
    return lambda: target.infer(images)


def _best_batch(peer: Peer, images: ImageArray, bursts: int) -> tuple[int, Task]:
    """Try the peer's batch sizes; returns the best one, and a task of about `_PEER_RUN_S`."""
    best: tuple[float, int, Callable[[], object]] | None = None
    for batch in peer.batches:
        run = peer.prepare(images[:batch])
        run()
        rate = max(measure_interleaved({"": Task(units=batch, run=run)}, 3)[""])
        if best is None or rate > best[0]:
            best = rate, batch, run
    if best is None:
        raise ValueError(f"{peer.name} has no batch sizes")
    rate, batch, run = best
    calls = max(1, min(int(rate * _PEER_RUN_S), _PEER_MAX_IMAGES) // batch)

    def repeat() -> None:
        for _ in range(calls):
            run()

    return batch, Task(units=calls * batch, run=repeat, bursts=bursts)


def _emulator_result(isa: str, rates: dict[str, list[float]], macs: int) -> dict[str, float]:
    clock, limits = rates["clock"], rates[f"limit {isa}"]
    one = rates[f"emulator {isa} 1"]
    one_wall, two = (rates[f"emulator {isa} {threads} wall"] for threads in (1, 2))
    share = [macs * rate / limit for rate, limit in zip(one, limits, strict=True)]
    speedup = [second / first for first, second in zip(one_wall, two, strict=True)]
    per_cycle = [macs * rate / cycles for rate, cycles in zip(one, clock, strict=True)]
    limit_per_cycle = [limit / cycles for limit, cycles in zip(limits, clock, strict=True)]
    return {
        "images_per_s_1_thread": statistics.median(one),
        "images_per_s_1_thread_best": max(one),
        "images_per_s_2_threads": statistics.median(two),
        "images_per_s_2_threads_best": max(two),
        "macs_per_s_1_thread": statistics.median(one) * macs,
        "macs_per_cycle_1_thread": statistics.median(per_cycle),
        "limit_macs_per_s": statistics.median(limits),
        "limit_macs_per_s_best": max(limits),
        "limit_macs_per_cycle": statistics.median(limit_per_cycle),
        "share_of_limit": statistics.median(share),
        "share_of_limit_best": max(one) * macs / max(limits),
        "two_thread_speedup": statistics.median(speedup),
        "two_thread_speedup_best": max(two) / max(one_wall),
    }


def _peer_result(rates: list[float], batch: int, emulator: list[float]) -> dict[str, float]:
    ratio = [ours / theirs for ours, theirs in zip(emulator, rates, strict=True)]
    return {
        "images_per_s": statistics.median(rates),
        "images_per_s_best": max(rates),
        "batch": batch,
        "emulator_ratio": statistics.median(ratio),
        "emulator_ratio_best": max(emulator) / max(rates),
    }


def table(results: list[dict[str, Any]]) -> str:
    """Return the results as text."""
    lines = [
        f"{'network':<22}{'isa':<10}{'1 thread/s':>12}{'2 threads/s':>12}{'gain':>6}"
        f"{'GMAC/s':>8}{'limit':>7}{'share':>7}{'MAC/cycle':>11}"
    ]
    for result in results:
        for isa, row in result["emulator"].items():
            lines.append(
                f"{result['network']:<22}{isa:<10}{row['images_per_s_1_thread']:>12,.0f}"
                f"{row['images_per_s_2_threads']:>12,.0f}{row['two_thread_speedup']:>6.2f}"
                f"{row['macs_per_s_1_thread'] / 1e9:>8.0f}{row['limit_macs_per_s'] / 1e9:>7.0f}"
                f"{row['share_of_limit']:>7.0%}{row['macs_per_cycle_1_thread']:>11.0f}"
            )
    lines += ["", f"{'network':<22}{'peer':<16}{'batch':>6}{'images/s':>12}{'emulator is':>13}"]
    for result in results:
        lines += [
            f"{result['network']:<22}{name:<16}{row['batch']:>6}{row['images_per_s']:>12,.0f}"
            f"{row['emulator_ratio']:>12,.0f}x"
            for name, row in result["peers"].items()
        ]
    return "\n".join(lines)


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.emulator",
        description="The emulator against the machine's popcount limit, onnxruntime, PyTorch and qonnx.",
    )
    parser.add_argument("--json", action="store_true", help="print JSON instead of tables")
    parser.add_argument("--networks", nargs="+", choices=sorted([*PRESETS, *NETWORKS]), default=_NETWORKS)
    parser.add_argument("--isas", nargs="+", choices=ISAS, default=list(ISAS), help="of those that are here")
    parser.add_argument("--repeats", type=int, default=15, help="repeats; medians are reported")
    return parser.parse_args()


def main() -> int:
    """Measure and print; returns the exit status."""
    arguments = parse_arguments()
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore")
    try:
        library = load_library()
        isas = [isa for isa in reversed(ISAS) if isa in arguments.isas and library.supports(isa)]
        results = [measure_network(name, isas, library, arguments.repeats) for name in arguments.networks]
    except BitsiegeError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_status
    if arguments.json:
        print(json.dumps({"machine": describe_machine(), "networks": results}, indent=2))
    else:
        print(table(results))
    return 0


if __name__ == "__main__":
    sys.exit(main())
