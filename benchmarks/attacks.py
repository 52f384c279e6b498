"""Our PGD and Carlini-Wagner against other libraries': images/s, and images fooled as floats and as uint8.

    python -m benchmarks.attacks [--json] [--data-dir DIR]

All run in one process on the same network and the same images, with the same budget, number of steps, length
of a step and constant. The libraries differentiate the trained module, as their users do; ours the module's
twin (see docs/attack-libraries.md). Two more rows tell what comes from where: our attack on the module, and
the first library on the twin. foolbox, torchattacks and ART are measured where they are installed.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from attacks.catalog import make_attack
from attacks.gradient import DEFAULT_BATCH, GradientAttack
from attacks.landscape import unrounded
from benchmarks.attack_peers import Craft, Settings, installed, peer
from bitsiege.building import find_checkpoint
from bitsiege.twins import make_twin
from export.errors import BitsiegeError
from export.graph import IntArray
from export.lowering import lower_model
from export.qonnx_export import export_qonnx
from hw.target import ImageArray
from quant_models.checkpoint import load_checkpoint
from quant_models.data import ImageSet, load_dataset

# ART searches its learning rate at every step: minutes for hundreds of images.
_SLOW, _SLOW_IMAGES = {("ART", "cw")}, 32


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One attack of one library.

    Attributes:
        attack: Which one.
        library: Who made it.
        differentiates: ``module`` or ``twin``.
        images: How many; fewer for what takes minutes.
        images_per_second: Best of the repeats, by the wall clock.
        images_per_cpu_second: The same by the processor's time of this process, which does not count what
            others do on the machine meanwhile.
        fooled_as_float: Share that fools the network without its 8-bit grid.
        fooled_as_uint8: Share that does as uint8, inside the integer ball: what hardware gets.
        distance: Mean L2 distance of those that do, values in [0, 1].
    """

    attack: str
    library: str
    differentiates: str
    images: int
    images_per_second: float
    images_per_cpu_second: float
    fooled_as_float: float
    fooled_as_uint8: float
    distance: float


def pixels_of(images: ImageArray) -> Tensor:
    """Return uint8 NHWC images as float NCHW in [0, 1]."""
    return torch.from_numpy(images).permute(0, 3, 1, 2).contiguous().float() / 255


def fooled(model: nn.Module, pixels: Tensor, labels: IntArray) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """Return which float images ``(N, C, H, W)`` get a wrong class."""
    with torch.no_grad():
        return model(pixels).argmax(1).numpy() != labels


def best_of(repeats: int, run: Callable[[], Any]) -> tuple[Any, float, float]:
    """Return the last result, the shortest time and the shortest time of the processor [s]."""
    seconds, cpu_seconds, result = float("inf"), float("inf"), None
    for _ in range(repeats):
        start, cpu_start = time.perf_counter(), time.process_time()
        result = run()
        seconds = min(seconds, time.perf_counter() - start)
        cpu_seconds = min(cpu_seconds, time.process_time() - cpu_start)
    return result, seconds, cpu_seconds


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Subject:
    """What is attacked.

    Attributes:
        module: The trained module, which judges.
        twin: Its twin.
        data: The images.
        repeats: Runs of each attack.
    """

    module: nn.Module
    twin: nn.Module
    data: ImageSet
    repeats: int

    def model(self, differentiates: str) -> nn.Module:
        """Return the module or the twin."""
        return self.twin if differentiates == "twin" else self.module

    def first(self, count: int) -> Subject:
        """Return the first images only, once."""
        few = self.data.take(np.arange(min(count, len(self.data))))
        return replace(self, data=few, repeats=1)

    def ours(self, attack: GradientAttack, name: str, differentiates: str) -> Row:
        """Measure one of our attacks."""
        model, data = self.model(differentiates), self.data
        size = getattr(model, "batch_size", DEFAULT_BATCH)
        result, seconds, cpu_seconds = best_of(
            self.repeats, lambda: attack.craft(model, data.images, data.labels, batch_size=size)
        )
        crafted = pixels_of(result.adversarial)
        return self._row(name, "bitsiege", differentiates, seconds, cpu_seconds, crafted, result.adversarial)

    def theirs(self, craft: Craft, name: str, library: str, differentiates: str, radius: int | None) -> Row:
        """Measure another library's; round its images and clip them to the ball of PGD."""
        pixels, labels = pixels_of(self.data.images), torch.from_numpy(self.data.labels)
        model = self.model(differentiates)
        crafted, seconds, cpu_seconds = best_of(self.repeats, lambda: craft(model, pixels, labels))
        images = np.rint(crafted.permute(0, 2, 3, 1).numpy().astype(np.float64) * 255).clip(0, 255)
        if radius is not None:
            centre = self.data.images.astype(np.float64)
            images = images.clip(centre - radius, centre + radius)
        return self._row(
            name, library, differentiates, seconds, cpu_seconds, crafted, images.astype(np.uint8)
        )

    def _row(
        self,
        name: str,
        library: str,
        differentiates: str,
        seconds: float,
        cpu_seconds: float,
        crafted: Tensor,
        images: ImageArray,
    ) -> Row:
        labels, originals = self.data.labels, pixels_of(self.data.images)
        with unrounded(self.module):
            as_float = fooled(self.module, crafted, labels)
        as_uint8 = fooled(self.module, pixels_of(images), labels)
        lengths = (pixels_of(images) - originals).flatten(1).norm(dim=1).numpy()
        return Row(
            attack=name,
            library=library,
            differentiates=differentiates,
            images=len(labels),
            images_per_second=len(labels) / seconds,
            images_per_cpu_second=len(labels) / cpu_seconds,
            fooled_as_float=float(as_float.mean()),
            fooled_as_uint8=float(as_uint8.mean()),
            distance=float(lengths[as_uint8].mean()) if as_uint8.any() else 0.0,
        )


def measure(subject: Subject, settings: Settings, radius: int, attacks: list[str]) -> list[Row]:
    """Measure attacks, ``pgd`` and ``cw``, of all libraries."""
    pgd = {"eps": settings.eps, "steps": settings.pgd_steps, "step_size": settings.step_size}
    cw = {
        "steps": settings.cw_steps,
        "learning_rate": settings.learning_rate,
        "constant": settings.constant,
    }
    rows: list[Row] = []
    for attack, parameters, limit in (("pgd", pgd, radius), ("cw", cw, None)):
        if attack not in attacks:
            continue
        made = make_attack(attack, **parameters)
        if not isinstance(made, GradientAttack):
            raise TypeError(f"{attack} takes no gradients")
        rows += [subject.ours(made, attack, which) for which in ("twin", "module")]
        if attack == "cw":
            floats = make_attack(attack, form="float", **parameters)
            if isinstance(floats, GradientAttack):
                rows.append(subject.ours(floats, "cw float", "twin"))
        libraries = list(installed())
        rows += [
            (subject.first(_SLOW_IMAGES) if (library, attack) in _SLOW else subject).theirs(
                peer(library, attack, settings), attack, library, "module", limit
            )
            for library in libraries
        ]
        rows += [
            subject.theirs(peer(library, attack, settings), attack, library, "twin", limit)
            for library in libraries[:1]
        ]
    return rows


def ratios(rows: list[Row]) -> dict[str, dict[str, float]]:
    """Return for each attack our rate over the best library's, by both clocks."""
    found: dict[str, dict[str, float]] = {}
    for attack in ("pgd", "cw"):
        mine = [row for row in rows if row.attack == attack and row.library == "bitsiege"]
        others = [
            row
            for row in rows
            if row.attack == attack and row.library != "bitsiege" and row.differentiates == "module"
        ]
        if mine and others:
            found[attack] = {
                clock: getattr(mine[0], clock) / max(getattr(row, clock) for row in others)
                for clock in ("images_per_second", "images_per_cpu_second")
            }
    return found


def table(rows: list[Row]) -> str:
    """Return the rows as text."""
    lines = [
        f"{'attack':<10}{'library':<14}{'gradients':<11}{'images':>7}{'images/s':>10}{'per CPU s':>11}"
        f"{'float %':>9}{'uint8 %':>9}{'L2':>7}"
    ]
    lines += [
        f"{row.attack:<10}{row.library:<14}{row.differentiates:<11}{row.images:>7}{row.images_per_second:>10,.1f}"
        f"{row.images_per_cpu_second:>11,.1f}{100 * row.fooled_as_float:>9.1f}"
        f"{100 * row.fooled_as_uint8:>9.1f}{row.distance:>7.2f}"
        for row in rows
    ]
    return "\n".join(lines)


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.attacks", description="Our PGD and CW against other libraries'."
    )
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.add_argument("--model", default="sfc-mnist", help="shipped network, or a checkpoint file")
    parser.add_argument("--dataset", help="default: what the network was trained on")
    parser.add_argument("--data-dir", type=Path, help="folder with the data sets instead of a download")
    parser.add_argument("--images", type=int, default=512)
    parser.add_argument("--radius", type=int, default=76, help="PGD's budget in grey levels")
    parser.add_argument("--steps", type=int, default=40, help="of PGD")
    parser.add_argument("--attacks", nargs="+", choices=["pgd", "cw"], default=["pgd", "cw"])
    parser.add_argument("--cw-steps", type=int, default=100)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    return parser.parse_args()


def open_subject(arguments: argparse.Namespace) -> Subject:
    """Load the network and the images, and make the twin."""
    checkpoint = load_checkpoint(find_checkpoint(Path(arguments.model)))
    module = checkpoint.build().eval()
    with tempfile.TemporaryDirectory(prefix="attacks-") as folder:
        path = Path(folder) / "model.onnx"
        export_qonnx(module, path, input_shape=checkpoint.spec.input_shape)
        graph = lower_model(path)
    dataset = arguments.dataset or checkpoint.metadata.dataset
    test = load_dataset(dataset, data_dir=arguments.data_dir).test
    data = test.take(np.arange(min(arguments.images, len(test))))
    return Subject(module=module, twin=make_twin(module, graph), data=data, repeats=arguments.repeats)


def main() -> int:
    """Measure and print; returns the exit status."""
    arguments = parse_arguments()
    torch.set_num_threads(arguments.threads)
    settings = Settings(
        eps=arguments.radius / 255,
        # A whole number of grey levels, although the others could step between two.
        step_size=max(1, round(2.5 * arguments.radius / arguments.steps)) / 255,
        pgd_steps=arguments.steps,
        cw_steps=arguments.cw_steps,
    )
    try:
        subject = open_subject(arguments)
        rows = measure(subject, settings, arguments.radius, arguments.attacks)
    except BitsiegeError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_status
    clean = float(fooled(subject.module, pixels_of(subject.data.images), subject.data.labels).mean())
    summary = {
        "model": arguments.model,
        "images": len(subject.data),
        "threads": arguments.threads,
        "clean_error": clean,
        "settings": asdict(settings),
        "libraries": installed(),
        "torch": torch.__version__,
        "ratios": ratios(rows),
        "rows": [asdict(row) for row in rows],
    }
    if arguments.json:
        print(json.dumps(summary, indent=2))
        return 0
    threads = f"{arguments.threads} thread{'s' if arguments.threads > 1 else ''}"
    print(f"{arguments.model}, {len(subject.data)} images, {threads}, clean error {100 * clean:.1f} %")
    print(table(rows))
    for attack, found in summary["ratios"].items():
        print(f"{attack}: {found['images_per_cpu_second']:.1f} times the best library by CPU time")
    return 0


if __name__ == "__main__":
    sys.exit(main())
