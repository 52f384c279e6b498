"""Black-box attacks: Square on the emulator beside ART's on the PyTorch model, and a table of success.

    python -m benchmarks.black_box [--json] [--peers PATH] [--data-dir DIR] [--networks NAMES]

The speeds come from one process on the same network and images, with the same budget and number of steps. ART
(adversarial-robustness-toolbox) is no dependency: ``--peers`` names a folder that it was installed to with
``pip install --target``. Two numbers are given for it, since it evaluates an image up to three times a step:
candidates are new images tried, evaluations are all that its model computed. Ours are the same number.

The table of success runs the named attacks on the emulator for every network, budget and number of queries.
"""

from __future__ import annotations

import argparse
import importlib
import json
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from attacks.base import AttackResult
from attacks.catalog import make_attack
from attacks.query import QueryAttack
from attacks.square import Square
from export.errors import BitsiegeError, ToolError
from export.graph import DataflowGraph
from export.lowering import lower_model
from export.qonnx_export import export_qonnx
from hw.emulator import EmulatorTarget
from quant_models.checkpoint import load_checkpoint
from quant_models.data import ImageSet, load_dataset
from quant_models.zoo import shipped_path


@dataclass(frozen=True, slots=True, kw_only=True)
class Speed:
    """One implementation of Square.

    Attributes:
        library: Who made it.
        oracle: Who answers.
        seconds: Wall time of the attack.
        candidates_per_second: New images tried, over all originals.
        evaluations_per_second: Images that the oracle computed.
        fooled_as_uint8: Share of the originals that fool the network as uint8 inside the integer ball.
    """

    library: str
    oracle: str
    seconds: float
    candidates_per_second: float
    evaluations_per_second: float
    fooled_as_uint8: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Success:
    """One attack on one network.

    Attributes:
        network: Name of the shipped network.
        attack: Name of the attack.
        eps: L∞ budget.
        max_queries: Limit for each original.
        clean_error: Share of the originals that are misclassified as they are; they count as fooled.
        fooled: Share of the originals that fool the emulator.
        mean_queries: For each original.
        seconds: Wall time.
    """

    network: str
    attack: str
    eps: float
    max_queries: int
    clean_error: float
    fooled: float
    mean_queries: float
    seconds: float


def load(name: str) -> tuple[nn.Module, DataflowGraph]:
    """Return a shipped network as module and as lowered graph."""
    checkpoint = load_checkpoint(shipped_path(name))
    model = checkpoint.build().eval()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        export_qonnx(model, path, input_shape=model.spec.input_shape)
        return model, lower_model(path)


def measure_ours(
    graph: DataflowGraph, data: ImageSet, radius: int, queries: int, threads: int, repeats: int
) -> Speed:
    """Time our Square, the best of a few runs."""
    target = EmulatorTarget(graph, threads=threads)
    attack = Square(eps=radius / 255, max_queries=queries)
    results: list[AttackResult] = []
    seconds = float("inf")
    for _ in range(repeats):
        start = time.perf_counter()
        results.append(attack.craft(target, data.images, data.labels))
        seconds = min(seconds, time.perf_counter() - start)
    result = results[-1]
    asked = 0 if result.queries is None else int(result.queries.sum())
    return Speed(
        library="bitsiege",
        oracle="emulator",
        seconds=seconds,
        candidates_per_second=asked / seconds,
        evaluations_per_second=(asked + len(data)) / seconds,
        fooled_as_uint8=float((target.infer(result.adversarial).labels != data.labels).mean()),
    )


def import_art(peers: Path | None) -> tuple[Any, Any]:
    """Import ART's attack and its wrapper of a PyTorch model.

    Raises:
        ToolError: It isn't installed.
    """
    if peers is not None:
        sys.path.append(str(peers))
    try:
        evasion = importlib.import_module("art.attacks.evasion")
        classification = importlib.import_module("art.estimators.classification")
    except ImportError as error:
        raise ToolError(
            "ART is not installed, so nothing is measured beside ours",
            hint="pip install --target FOLDER adversarial-robustness-toolbox==1.20.1, then --peers FOLDER",
        ) from error
    return evasion.SquareAttack, classification.PyTorchClassifier


def measure_art(
    art: tuple[Any, Any], model: nn.Module, target: EmulatorTarget, data: ImageSet, radius: int, queries: int
) -> Speed:
    """Time ART's Square on the PyTorch model with the same steps; judge its images as uint8."""
    attack_of, classifier_of = art
    pixels = data.images.transpose(0, 3, 1, 2).astype(np.float32) / 255
    evaluations = 0

    def count(_module: nn.Module, inputs: tuple[torch.Tensor, ...], _output: torch.Tensor) -> None:
        nonlocal evaluations
        evaluations += len(inputs[0])

    handle = model.register_forward_hook(count)
    classifier = classifier_of(
        model=model,
        loss=nn.CrossEntropyLoss(),
        input_shape=pixels.shape[1:],
        nb_classes=target.graph.classes,
        clip_values=(0.0, 1.0),
        device_type="cpu",
    )
    attack = attack_of(
        classifier, eps=radius / 255, max_iter=queries - 2, batch_size=len(data), verbose=False
    )
    np.random.seed(0)
    start = time.perf_counter()
    crafted = attack.generate(pixels, data.labels)
    seconds = time.perf_counter() - start
    handle.remove()
    low, high = data.images.astype(np.int64) - radius, data.images.astype(np.int64) + radius
    rounded = np.rint(crafted.transpose(0, 2, 3, 1).astype(np.float64) * 255).astype(np.int64)
    images = np.clip(rounded, low, high).clip(0, 255).astype(np.uint8)
    return Speed(
        library="ART",
        oracle="torch",
        seconds=seconds,
        # It looks three times at an image that holds, before and after each candidate.
        candidates_per_second=evaluations / 3 / seconds,
        evaluations_per_second=evaluations / seconds,
        fooled_as_uint8=float((target.infer(images).labels != data.labels).mean()),
    )


def measure_success(
    network: str, target: EmulatorTarget, data: ImageSet, attack: QueryAttack, clean_error: float
) -> Success:
    """Run one attack."""
    start = time.perf_counter()
    result = attack.craft(target, data.images, data.labels)
    return Success(
        network=network,
        attack=attack.name,
        eps=float(attack.eps or 0.0),
        max_queries=attack.max_queries,
        clean_error=clean_error,
        fooled=float(result.success.mean()),
        mean_queries=float(np.mean(result.queries)) if result.queries is not None else 0.0,
        seconds=time.perf_counter() - start,
    )


def successes(arguments: argparse.Namespace, data: ImageSet) -> list[Success]:
    """Fill the table of success."""
    rows: list[Success] = []
    for network in arguments.networks:
        _, graph = load(network)
        target = EmulatorTarget(graph, threads=arguments.threads)
        clean_error = float((target.infer(data.images).labels != data.labels).mean())
        for name in arguments.attacks:
            for eps in arguments.eps:
                for queries in arguments.queries:
                    attack = make_attack(name, eps=eps, max_queries=queries)
                    if not isinstance(attack, QueryAttack):
                        raise ToolError(f"{name} is no black-box attack", hint="square, nes or spsa")
                    rows.append(measure_success(network, target, data, attack, clean_error))
                    if not arguments.json:
                        print(text_of(rows[-1]), flush=True)
    return rows


def text_of(row: Success) -> str:
    """Return a row of the table of success."""
    return (
        f"{row.network:<22}{row.attack:<14}{row.eps:>5}{row.max_queries:>7} queries"
        f"{100 * row.clean_error:>7.1f} %{100 * row.fooled:>7.1f} %"
        f"{row.mean_queries:>9.0f}{row.seconds:>9.1f} s"
    )


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.black_box", description="Square against ART's, and a table of success."
    )
    parser.add_argument("--json", action="store_true", help="print JSON instead of text")
    parser.add_argument("--peers", type=Path, help="folder that ART was installed to with pip --target")
    parser.add_argument("--model", default="sfc-mnist", help="shipped network whose speed is measured")
    parser.add_argument("--radius", type=int, default=25, help="budget of the speeds in grey levels")
    parser.add_argument("--speed-queries", type=int, default=1000)
    parser.add_argument("--networks", nargs="*", default=["sfc-mnist", "paper-cnn-64-mnist"])
    parser.add_argument("--attacks", nargs="+", default=["square"])
    parser.add_argument("--eps", type=float, nargs="+", default=[0.1, 0.3])
    parser.add_argument("--queries", type=int, nargs="+", default=[1000, 5000])
    parser.add_argument("--dataset", default="mnist")
    parser.add_argument("--data-dir", type=Path, help="folder with the data sets instead of a download")
    parser.add_argument("--images", type=int, default=512)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    return parser.parse_args()


def main() -> int:
    """Measure and print; returns the exit status."""
    arguments = parse_arguments()
    torch.set_num_threads(arguments.threads)
    note = ""
    try:
        test = load_dataset(arguments.dataset, data_dir=arguments.data_dir).test
        data = test.take(np.arange(min(arguments.images, len(test))))
        model, graph = load(arguments.model)
        speeds = [
            measure_ours(
                graph,
                data,
                arguments.radius,
                arguments.speed_queries,
                arguments.threads,
                arguments.repeats,
            )
        ]
        try:
            art = import_art(arguments.peers)
        except ToolError as error:
            note = str(error)
        else:
            target = EmulatorTarget(graph, threads=arguments.threads)
            speeds.append(measure_art(art, model, target, data, arguments.radius, arguments.speed_queries))
        if not arguments.json:
            print(speed_text(arguments, speeds, note))
        table = successes(arguments, data)
    except BitsiegeError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_status
    if arguments.json:
        summary = {
            "model": arguments.model,
            "radius": arguments.radius,
            "images": len(data),
            "threads": arguments.threads,
            "speeds": [asdict(row) for row in speeds],
            "missing": note or None,
            "success": [asdict(row) for row in table],
        }
        print(json.dumps(summary, indent=2))
    return 0


def speed_text(arguments: argparse.Namespace, speeds: list[Speed], note: str) -> str:
    """Return the speeds, and how they compare."""
    lines = [
        f"Square L∞ {arguments.radius}/255 on {arguments.model}, {arguments.images} images, "
        f"{arguments.speed_queries} queries, {arguments.threads} threads"
    ]
    lines += [
        f"{row.library:<10}{row.oracle:<10}{row.seconds:>8.2f} s"
        f"{row.candidates_per_second:>12,.0f} candidates/s"
        f"{row.evaluations_per_second:>12,.0f} evaluations/s"
        f"{100 * row.fooled_as_uint8:>7.1f} % fooled"
        for row in speeds
    ]
    if len(speeds) == 2:
        ours, theirs = speeds
        tried = ours.candidates_per_second / theirs.candidates_per_second
        computed = ours.evaluations_per_second / theirs.evaluations_per_second
        lines.append(f"ratio: {tried:.1f}x candidates/s, {computed:.1f}x evaluations/s")
    return "\n".join([*lines, note] if note else lines)


if __name__ == "__main__":
    sys.exit(main())
