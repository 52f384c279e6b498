"""All integer logits of all targets, over a whole test set and as many adversarial images: 0 differences.

    python -m benchmarks.exactness [--json] [--models NAMES] [--data-dir DIR] [--keep DIR]

PGD images are crafted in PyTorch for each network. torch, reference and emulator compute all of them; rtl and
qonnx are slower and take the first ones. How many, how far a pixel may move and how fast the hardware is
folded depends on the network, see `plan_of`; the command line can overrule it. With ``--keep`` the work goes
on where an earlier call stopped.
"""

from __future__ import annotations

import argparse
import dataclasses
import hashlib
import json
import sys
import tempfile
import time
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

import attacks
import export
import hw
import quant_models
from attacks.archive import AttackArchive, load_attack, make_archive, save_attack
from attacks.pgd import Pgd
from attacks.replay import replay
from attacks.torch_target import TorchTarget
from export.errors import BitsiegeError
from export.files import atomic_file
from export.graph import DataflowGraph
from export.graphfile import graph_hash
from export.lowering import lower_model
from export.qonnx_export import export_qonnx
from hw.emulator import EmulatorTarget
from hw.folding import solve_folding
from hw.qonnx_target import QonnxTarget
from hw.reference import ReferenceTarget
from hw.rtl_target import RtlTarget
from hw.target import Target
from quant_models.checkpoint import load_checkpoint
from quant_models.convspec import ConvSpec
from quant_models.data import ImageSet, load_dataset
from quant_models.zoo import shipped_path

_MODELS = (
    *("tfc-mnist", "sfc-mnist", "lfc-mnist"),
    *("paper-cnn-64-mnist", "paper-cnn-64-scaled-mnist", "paper-cnn-64-stochastic-mnist"),
    "cnv-cifar10-jpeg",
)
_BATCH = 500
_CLOCK_MHZ = 100.0
_SAY_EVERY_S = 20.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is compared of one network.

    Attributes:
        images: Test images, each also attacked, for torch, reference and emulator.
        rtl_images: The first ones of them, for rtl.
        qonnx_images: The first ones of them, for qonnx.
        radius: Budget of the attack in grey levels.
        fps: Frames a second at 100 MHz that the hardware is folded for.
    """

    images: int
    rtl_images: int
    qonnx_images: int
    radius: int
    fps: float


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Network:
    """One network in all the forms that the targets need.

    Attributes:
        name: The network's own name.
        dataset: What it was trained on.
        convolutional: Whether it has convolutions.
        module: The torch module.
        model_path: Its QONNX file.
        graph: What that was lowered to.
        hash: The graph's hash.
    """

    name: str
    dataset: str
    convolutional: bool
    module: nn.Module
    model_path: Path
    graph: DataflowGraph
    hash: str


def open_network(name: str, folder: Path) -> Network:
    """Load a shipped network or a checkpoint file, export and lower it."""
    path = Path(name)
    checkpoint = load_checkpoint(path if path.is_file() else shipped_path(name))
    module = checkpoint.build()
    spec = checkpoint.spec
    model_path = folder / f"{spec.name}.onnx"
    export_qonnx(module, model_path, input_shape=spec.input_shape)
    graph = lower_model(model_path)
    return Network(
        name=spec.name,
        dataset=checkpoint.metadata.dataset,
        convolutional=isinstance(spec, ConvSpec),
        module=module,
        model_path=model_path,
        graph=graph,
        hash=graph_hash(graph),
    )


def plan_of(network: Network, arguments: argparse.Namespace) -> Plan:
    """Return the network's plan: what the command line says, else what suits its kind and size."""
    if network.convolutional:
        colour = network.graph.input_shape[2] > 1
        plan = Plan(images=2000, rtl_images=500, qonnx_images=50, radius=8 if colour else 76, fps=3000)
    else:
        rtl_images = 10_000 if network.name.startswith("tfc") else 1000
        plan = Plan(images=10_000, rtl_images=rtl_images, qonnx_images=500, radius=76, fps=100_000)
    given = {field.name: getattr(arguments, field.name) for field in dataclasses.fields(Plan)}
    return dataclasses.replace(plan, **{name: value for name, value in given.items() if value is not None})


def craft(network: Network, data: ImageSet, attack: Pgd, folder: Path) -> AttackArchive:
    """Craft one adversarial image for each original, or read what an earlier call crafted."""
    path = folder / f"{network.name}-{network.hash[:12]}-{len(data)}-eps{attack.eps:.4f}.npz"
    if path.is_file():
        archive = load_attack(path)
        if archive.graph_hash == network.hash and archive.parameters == attack.parameters():
            return archive
    radius = attack.budget(network.graph.input_shape).limit(network.graph.input_shape)
    say(f"{network.name}: crafting {len(data)} images, {attack.steps} steps, eps {radius}/255")
    result = attack.craft(network.module, data.images, data.labels)
    archive = make_archive(
        attack,
        result,
        originals=data.images,
        labels=data.labels,
        graph_hash=network.hash,
        origin=network.name,
    )
    save_attack(path, archive)
    return archive


def first_images(archive: AttackArchive, count: int) -> AttackArchive:
    """Return the archive of the first images."""
    return dataclasses.replace(
        archive,
        originals=archive.originals[:count],
        adversarial=archive.adversarial[:count],
        labels=archive.labels[:count],
    )


def open_target(name: str, network: Network, fps: float) -> Target:
    """Open one of the targets that are compared with torch."""
    match name:
        case "reference":
            return ReferenceTarget(network.graph)
        case "emulator":
            return EmulatorTarget(network.graph)
        case "qonnx":
            return QonnxTarget(network.model_path, network.graph)
        case "rtl":
            target = RtlTarget(network.graph, solve_folding(network.graph, fps, _CLOCK_MHZ))
            target.prepare()
            return target
    raise ValueError(f"no target {name}")


class Progress:
    """Tells now and then how many images a target has done.

    Args:
        name: The network.
    """

    def __init__(self, name: str) -> None:
        self._name, self._said = name, time.monotonic()

    def __call__(self, target: str, done: int, total: int) -> None:
        """Take a target's images that are done, and those in all."""
        if time.monotonic() - self._said >= _SAY_EVERY_S:
            self._said = time.monotonic()
            say(f"{self._name}: {target} {done:,} of {total:,}")


@cache
def code_digest() -> str:
    """Return a digest of our sources: a finished comparison only counts for the code that it ran."""
    digest = hashlib.sha256()
    for package in (attacks, export, hw, quant_models):
        for path in sorted(Path(package.__path__[0]).rglob("*")):
            if path.suffix in {".py", ".cpp", ".hpp", ".sv"}:
                digest.update(path.read_bytes())
    return digest.hexdigest()


def compare(network: Network, name: str, archive: AttackArchive, fps: float, folder: Path) -> dict[str, Any]:
    """Compare one target with torch on clean and adversarial images; a row of JSON values."""
    key = f"{network.name}-{network.hash[:12]}-{name}-{len(archive)}-{archive.eps:.4f}-{fps:g}"
    path = folder / f"{key}-{code_digest()[:12]}.json"
    if path.is_file():
        return json.loads(path.read_text())
    say(f"{network.name}: {name} on {len(archive)} clean and {len(archive)} adversarial images")
    start = time.perf_counter()
    target = open_target(name, network, fps)
    prepare_seconds = time.perf_counter() - start
    torch_target = TorchTarget(network.module, network.graph)
    report = replay(
        archive,
        [torch_target, target],
        graph_hash=network.hash,
        trace=True,
        batch_size=_BATCH,
        progress=Progress(network.name),
    )
    baseline, result = report.targets
    parts = (result.clean, result.adversarial)
    row = {
        "model": network.name,
        "target": name,
        "images_each": len(archive),
        "logits_compared": 2 * len(archive) * network.graph.classes,
        "differing_logits": sum(part.diverging_logits for part in parts),
        "differing_images": result.divergences,
        "first": str(result.first_divergence) if result.first_divergence else None,
        "clean_accuracy": result.clean.accuracy,
        "adversarial_accuracy": result.adversarial.accuracy,
        "prepare_seconds": prepare_seconds,
        "seconds": sum(part.seconds for part in parts),
        "torch_seconds": baseline.clean.seconds + baseline.adversarial.seconds,
        "first_latency_cycles": result.clean.first_latency_cycles,
    }
    with atomic_file(path) as temporary:
        temporary.write_text(json.dumps(row))
    return row


def run(arguments: argparse.Namespace, folder: Path) -> list[dict[str, Any]]:
    """Compare all networks and targets."""
    rows: list[dict[str, Any]] = []
    for name in arguments.models.split(","):
        network = open_network(name, folder)
        plan = plan_of(network, arguments)
        test = load_dataset(arguments.dataset or network.dataset, data_dir=arguments.data_dir).test
        data = test.take(np.arange(min(plan.images, len(test))))
        archive = craft(network, data, Pgd(eps=plan.radius / 255, steps=arguments.steps), folder)
        limits = {"rtl": plan.rtl_images, "qonnx": plan.qonnx_images}
        for target in arguments.targets.split(","):
            part = first_images(archive, limits.get(target, len(data)))
            rows.append(compare(network, target, part, plan.fps, folder))
    return rows


def say(text: str) -> None:
    """Tell the terminal what goes on; standard output is for the results."""
    print(text, file=sys.stderr, flush=True)


def table(rows: list[dict[str, Any]]) -> str:
    """Return the rows as text."""
    lines = [
        f"{'model':<30}{'target':<11}{'images':>8}{'differing':>11}"
        f"{'clean %':>9}{'attacked %':>12}{'images/s':>11}"
    ]
    for row in rows:
        images = 2 * row["images_each"]
        lines.append(
            f"{row['model']:<30}{row['target']:<11}{images:>8,}{row['differing_logits']:>11,}"
            f"{100 * row['clean_accuracy']:>9.2f}{100 * row['adversarial_accuracy']:>12.2f}"
            f"{images / row['seconds']:>11,.0f}"
        )
        if row["first"]:
            lines.append(f"  {row['first']}")
    return "\n".join(lines)


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.exactness", description="Compare all integer logits of all targets."
    )
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.add_argument("--models", default=",".join(_MODELS), help="shipped, or files")
    parser.add_argument("--targets", default="reference,emulator,rtl,qonnx")
    parser.add_argument("--dataset", help="default: what the network was trained on")
    parser.add_argument("--data-dir", type=Path, help="folder with the data sets instead of a download")
    parser.add_argument("--images", type=int, help="default: 10,000 dense, 2,000 convolutional")
    parser.add_argument("--rtl-images", type=int, help="default: all for TFC, else 1,000 and 500")
    parser.add_argument("--qonnx-images", type=int, help="default: 500 dense, 50 convolutional")
    parser.add_argument("--radius", type=int, help="budget in grey levels; default: 76, with colours 8")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--fps", type=float, help="of rtl at 100 MHz; default: 100,000 dense, else 3,000")
    parser.add_argument("--threads", type=int, default=2, help="of torch")
    parser.add_argument("--keep", type=Path, help="folder for crafted images and finished comparisons")
    return parser.parse_args()


def main() -> int:
    """Compare and print; returns the exit status: 0 only without a difference."""
    arguments = parse_arguments()
    torch.set_num_threads(arguments.threads)
    try:
        if arguments.keep is not None:
            arguments.keep.mkdir(parents=True, exist_ok=True)
            rows = run(arguments, arguments.keep)
        else:
            with tempfile.TemporaryDirectory(prefix="exactness-") as folder:
                rows = run(arguments, Path(folder))
    except BitsiegeError as error:
        say(f"error: {error}")
        return error.exit_status
    differing = sum(row["differing_logits"] for row in rows)
    if arguments.json:
        print(json.dumps({"differing_logits": differing, "rows": rows}, indent=2))
    else:
        print(table(rows))
        print(f"{differing} of {sum(row['logits_compared'] for row in rows):,} logits differ")
    return int(differing > 0)


if __name__ == "__main__":
    sys.exit(main())
