"""(image, fault) pairs a second: single flips of weights on a shipped network, against doing it plainly.

    python -m benchmarks.faults [--json] [--network NAME] [--images N] [--faults N] [--data-dir DIR]

Each is timed by the process' own clock, all threads together, in the same run on the same MNIST test images:

- map: every weight of every layer, as `bitsiege faults` draws its maps;
- in place: random weights one by one; a bit of the emulator's memory changes, and it computes all images;
- rebuilt: the same, with a new emulator for every fault;
- torch: the same, with the weight's sign changed in the cheapest float network that is exact
  (`benchmarks.float_twin`).

Right answers of the random faults must be the same in all four; the exit status is 1 if they are not.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch

from attacks.faults.apply import apply_faults
from attacks.faults.evaluator import FaultEvaluator
from attacks.faults.model import MemoryFault, WeightFault
from attacks.faults.sampling import memories_of, random_faults
from attacks.faults.score import ScoreMap
from benchmarks.emulator_timing import describe_machine
from benchmarks.float_twin import float_layers
from bitsiege.building import export_checkpoint
from export.errors import BitsiegeError, CheckFailedError
from export.graph import DataflowGraph, IntArray
from export.lowering import lower_model
from hw.emulator import EmulatorTarget
from hw.target import ImageArray
from quant_models.data import load_dataset
from quant_models.zoo import shipped_path


def map_all(graph: DataflowGraph, images: ImageArray, labels: IntArray) -> dict[str, ScoreMap]:
    """Return the scores of all single flips of weights, by layer."""
    evaluator = FaultEvaluator(graph, images, labels, threads=1)
    return {node.name: evaluator.layer(node).weight_scores() for node in graph.mvaus}


def in_place(evaluator: FaultEvaluator, faults: Sequence[MemoryFault]) -> list[int]:
    """Return right answers with each fault, computed by one emulator."""
    return [evaluator.score([fault]).correct for fault in faults]


def rebuilt(
    graph: DataflowGraph, faults: Sequence[MemoryFault], images: ImageArray, labels: IntArray
) -> list[int]:
    """Return the same, computed by an emulator for each fault."""
    targets = (EmulatorTarget(apply_faults(graph, [fault]), threads=1) for fault in faults)
    return [int((target.infer(images).labels == labels).sum()) for target in targets]


class TorchFaults:
    """The float twin, whose weights change in place.

    Args:
        graph: A dense network of ±1 streams.
        images: uint8 ``(N, H, W, C)``.
        labels: int64 ``(N,)``.
    """

    def __init__(self, graph: DataflowGraph, images: ImageArray, labels: IntArray) -> None:
        self._layers = [
            (
                None if layer.weights is None else torch.from_numpy(layer.weights),
                torch.from_numpy(layer.bias),
                layer.sign,
            )
            for layer in float_layers(graph)
        ]
        dense = [weights for weights, _, _ in self._layers if weights is not None]
        self._weights = dict(zip((node.name for node in graph.mvaus), dense, strict=True))
        self._pixels = torch.from_numpy(images.reshape(len(images), -1).astype(np.float32))
        self._labels = torch.from_numpy(labels)

    def correct(self, faults: Sequence[MemoryFault]) -> list[int]:
        """Return right answers with each fault; they flip weights."""
        found: list[int] = []
        for fault in faults:
            if not isinstance(fault, WeightFault):
                raise TypeError(f"{fault} is no weight")
            weight = self._weights[fault.node][fault.column, fault.row]
            weight.neg_()
            found.append(int((self._infer().argmax(dim=1) == self._labels).sum()))
            weight.neg_()
        return found

    def _infer(self) -> torch.Tensor:
        value = self._pixels
        for weights, bias, sign in self._layers:
            value = value + bias if weights is None else torch.addmm(bias, value, weights)
            if sign:
                value = value.sign_()
        return value


def measure(
    graph: DataflowGraph, images: ImageArray, labels: IntArray, *, faults: int, repeats: int
) -> dict[str, Any]:
    """Return medians of pairs/s.

    Raises:
        CheckFailedError: Two of the four disagree about a fault.
    """
    memories = memories_of(graph, ("weight",))
    drawn = random_faults(memories, faults, seed=0)
    evaluator = FaultEvaluator(graph, images, labels, threads=1)
    peer = TorchFaults(graph, images, labels)
    maps = map_all(graph, images, labels)
    answers = {
        "map": [_entry(maps, fault) for fault in drawn],
        "in place": in_place(evaluator, drawn),
        "rebuilt": rebuilt(graph, drawn, images, labels),
        "torch": peer.correct(drawn),
    }
    for name, found in answers.items():
        if found != answers["torch"]:
            raise CheckFailedError(f"{name} and torch disagree about right answers under faults")
    size = sum(memory.size for memory in memories)
    work: dict[str, tuple[int, Callable[[], object]]] = {
        "map": (size, lambda: map_all(graph, images, labels)),
        "in place": (faults, lambda: in_place(evaluator, drawn)),
        "rebuilt": (faults, lambda: rebuilt(graph, drawn, images, labels)),
        "torch": (faults, lambda: peer.correct(drawn)),
    }
    rates: dict[str, list[float]] = {name: [] for name in work}
    for _ in range(repeats):
        for name, (count, call) in work.items():
            start = time.process_time()
            call()
            rates[name].append(count * len(images) / (time.process_time() - start))
    medians = {name: median(values) for name, values in rates.items()}
    return {
        "images": len(images),
        "weights": size,
        "random_faults": faults,
        "clean_accuracy": evaluator.clean.score.correct / len(images),
        "pairs_per_s": medians,
        "ratio_to_torch": {name: rate / medians["torch"] for name, rate in medians.items()},
    }


def _entry(maps: dict[str, ScoreMap], fault: MemoryFault) -> int:
    if not isinstance(fault, WeightFault):
        raise TypeError(f"{fault} is no weight")
    return int(maps[fault.node].correct[fault.row, fault.column])


def open_graph(name: str) -> DataflowGraph:
    """Export and lower a shipped network."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        export_checkpoint(shipped_path(name), path, exporter="torchscript")
        return lower_model(path)


def main() -> int:
    """Measure and print; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print JSON instead of lines")
    parser.add_argument("--network", default="tfc-mnist", help="a shipped dense network on MNIST")
    parser.add_argument("--images", type=int, default=1000, help="test images of each fault")
    parser.add_argument("--faults", type=int, default=100, help="random faults of the last three")
    parser.add_argument("--repeats", type=int, default=5, help="repeats; medians are reported")
    parser.add_argument("--data-dir", type=Path, help="folder with mnist/ (downloaded where it is not given)")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    try:
        test = load_dataset("mnist", data_dir=arguments.data_dir).test
        images, labels = test.images[: arguments.images], test.labels[: arguments.images].astype(np.int64)
        result = measure(
            open_graph(arguments.network),
            np.ascontiguousarray(images),
            labels,
            faults=arguments.faults,
            repeats=arguments.repeats,
        )
    except BitsiegeError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_status
    if arguments.json:
        print(json.dumps({"network": arguments.network, "machine": describe_machine(), **result}, indent=2))
        return 0
    print(f"{arguments.network}, {result['images']} images, {result['weights']} weights, processor time")
    for name, rate in result["pairs_per_s"].items():
        print(f"{name:<9} {rate:>16,.0f} pairs/s  {result['ratio_to_torch'][name]:>8,.1f} x torch")
    return 0


if __name__ == "__main__":
    sys.exit(main())
