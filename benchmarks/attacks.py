"""Our FGSM and PGD against foolbox's: images/s, and how many images still fool the network as uint8.

    python -m benchmarks.attacks [--json] [--data-dir DIR]

All run in one process on the same network and the same images, with the same budget, number of steps and
length of a step. foolbox is measured twice: through the model's 8-bit grid (straight-through), as it is
deployed, and on the model without the grid, which is what rounding at the end has to survive.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
import warnings
from collections.abc import Callable, Generator
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from attacks.fgsm import Fgsm
from attacks.gradient import GradientAttack
from attacks.pgd import Pgd
from export.errors import BitsiegeError, ToolError
from export.graph import IntArray
from hw.target import ImageArray
from quant_models.checkpoint import load_checkpoint
from quant_models.data import ImageSet, load_dataset
from quant_models.layers import InputGrid
from quant_models.zoo import shipped_path


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One attack of one library.

    Attributes:
        library: Who made it.
        attack: Which one.
        forward: ``grid`` or ``float``: whether the model that it sees rounds to 8 bits.
        images_per_second: Best of the repeats.
        fooled_as_crafted: Share of images that fool the model that the attack saw.
        fooled_as_uint8: Share that still does as uint8 inside the integer ball: what hardware gets.
        left_ball: Images that rounding took out of the integer ball (they were clipped back).
    """

    library: str
    attack: str
    forward: str
    images_per_second: float
    fooled_as_crafted: float
    fooled_as_uint8: float
    left_ball: int


class _Line(nn.Module):
    """`InputGrid` without its rounding."""

    def forward(self, x: Tensor) -> Tensor:
        return x * 255.0 * 2.0**-InputGrid.exponent - 1.0


@contextmanager
def without_grid(model: nn.Module) -> Generator[None]:
    """Let the model take floats between the grey levels for a while."""
    grid = model.grid
    model.grid = _Line()
    try:
        yield
    finally:
        model.grid = grid


def pixels_of(images: ImageArray) -> Tensor:
    """Return uint8 NHWC images as float NCHW in [0, 1]."""
    return torch.from_numpy(images).permute(0, 3, 1, 2).contiguous().float() / 255


def fooled(model: nn.Module, pixels: Tensor, labels: IntArray) -> float:
    """Return the share of float images ``(N, C, H, W)`` with a wrong class."""
    with torch.no_grad():
        return float((model(pixels).argmax(1).numpy() != labels).mean())


def best_of(repeats: int, run: Callable[[], Any]) -> tuple[Any, float]:
    """Return the last result and the shortest time in seconds."""
    seconds, result = float("inf"), None
    for _ in range(repeats):
        start = time.perf_counter()
        result = run()
        seconds = min(seconds, time.perf_counter() - start)
    return result, seconds


def measure_ours(attack: GradientAttack, name: str, model: nn.Module, data: ImageSet, repeats: int) -> Row:
    """Run one of our attacks on all images in one batch, as foolbox does."""
    result, seconds = best_of(
        repeats, lambda: attack.craft(model, data.images, data.labels, batch_size=len(data))
    )
    share = fooled(model, pixels_of(result.adversarial), data.labels)
    return Row(
        library="bitsiege",
        attack=name,
        forward="grid",
        images_per_second=len(data) / seconds,
        fooled_as_crafted=float(result.success.mean()),
        fooled_as_uint8=share,
        left_ball=0,
    )


def measure_foolbox(
    attack: Any, name: str, model: nn.Module, data: ImageSet, radius: int, forward: str, repeats: int
) -> Row:
    """Run one of foolbox's attacks, round its images and clip them to the integer ball."""
    foolbox = import_foolbox()
    pixels, labels = pixels_of(data.images), torch.from_numpy(data.labels)

    def run() -> Tensor:
        torch.manual_seed(0)
        wrapped = foolbox.PyTorchModel(model, bounds=(0, 1), device="cpu")
        return attack(wrapped, pixels, labels, epsilons=radius / 255)[1]

    with without_grid(model) if forward == "float" else nullcontext():
        crafted, seconds = best_of(repeats, run)
        as_crafted = fooled(model, crafted, data.labels)
    rounded = np.rint(crafted.permute(0, 2, 3, 1).numpy().astype(np.float64) * 255).astype(np.int64)
    low, high = data.images.astype(np.int64) - radius, data.images.astype(np.int64) + radius
    outside = ((rounded < low) | (rounded > high)).reshape(len(data), -1).any(axis=1)
    images = np.clip(rounded, low, high).clip(0, 255).astype(np.uint8)
    return Row(
        library="foolbox",
        attack=name,
        forward=forward,
        images_per_second=len(data) / seconds,
        fooled_as_crafted=as_crafted,
        fooled_as_uint8=fooled(model, pixels_of(images), data.labels),
        left_ball=int(outside.sum()),
    )


def import_foolbox() -> Any:
    """Import the peer, which is no dependency of ours.

    Raises:
        ToolError: It isn't installed.
    """
    try:
        import foolbox
    except ImportError as error:
        raise ToolError("this benchmark needs foolbox", hint="pip install foolbox==3.3.4") from error
    return foolbox


def measure(model: nn.Module, data: ImageSet, radius: int, steps: list[int], repeats: int) -> list[Row]:
    """Measure all attacks at a budget of ``radius`` grid steps."""
    peers = import_foolbox().attacks
    eps = radius / 255
    rows = [measure_ours(Fgsm(eps=eps), "fgsm", model, data, repeats)]
    rows += [
        measure_foolbox(peers.LinfFastGradientAttack(), "fgsm", model, data, radius, forward, repeats)
        for forward in ("grid", "float")
    ]
    for count in steps:
        ours = Pgd(eps=eps, steps=count)
        name = f"pgd-{count}"
        rows.append(measure_ours(ours, name, model, data, repeats))
        # The very same length of a step, although foolbox could take one between two grey levels.
        theirs = peers.LinfPGD(steps=count, abs_stepsize=ours.length / 255, random_start=True)
        rows += [
            measure_foolbox(theirs, name, model, data, radius, forward, repeats)
            for forward in ("grid", "float")
        ]
    return rows


def table(rows: list[Row]) -> str:
    """Return the rows as text."""
    lines = [f"{'library':<10}{'attack':<9}{'forward':<9}{'images/s':>10}{'crafted %':>11}{'uint8 %':>9}"]
    lines += [
        f"{row.library:<10}{row.attack:<9}{row.forward:<9}{row.images_per_second:>10,.0f}"
        f"{100 * row.fooled_as_crafted:>11.1f}{100 * row.fooled_as_uint8:>9.1f}"
        for row in rows
    ]
    return "\n".join(lines)


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.attacks", description="Our FGSM and PGD against foolbox's."
    )
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.add_argument("--model", default="sfc-mnist", help="shipped network, or a checkpoint file")
    parser.add_argument("--dataset", default="mnist")
    parser.add_argument("--data-dir", type=Path, help="folder with the data sets instead of a download")
    parser.add_argument("--images", type=int, default=512)
    parser.add_argument("--radius", type=int, nargs="+", default=[25, 76], help="budgets in grey levels")
    parser.add_argument("--steps", type=int, nargs="+", default=[20, 100], help="PGD's numbers of steps")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    return parser.parse_args()


def main() -> int:
    """Measure and print; returns the exit status."""
    arguments = parse_arguments()
    torch.set_num_threads(arguments.threads)
    # foolbox's optional parts warn about what isn't installed.
    warnings.filterwarnings("ignore", module="foolbox|eagerpy")
    try:
        path = Path(arguments.model)
        checkpoint = load_checkpoint(path if path.is_file() else shipped_path(arguments.model))
        test = load_dataset(arguments.dataset, data_dir=arguments.data_dir).test
        data = test.take(np.arange(min(arguments.images, len(test))))
        model = checkpoint.build()
        results = {
            radius: measure(model, data, radius, arguments.steps, arguments.repeats)
            for radius in arguments.radius
        }
    except BitsiegeError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_status
    clean = fooled(model, pixels_of(data.images), data.labels)
    summary = {
        "model": arguments.model,
        "images": len(data),
        "threads": arguments.threads,
        "clean_error": clean,
        "foolbox": version("foolbox"),
        "torch": torch.__version__,
        "budgets": [
            {"radius": radius, "rows": [asdict(row) for row in rows]} for radius, rows in results.items()
        ],
    }
    if arguments.json:
        print(json.dumps(summary, indent=2))
        return 0
    print(
        f"{arguments.model}, {len(data)} images, {arguments.threads} threads, clean error {100 * clean:.1f} %"
    )
    for radius, rows in results.items():
        print(f"\nbudget {radius}/255; share of images that fool the network\n{table(rows)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
