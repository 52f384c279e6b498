"""What rounding costs an attack: success before rounding, after it, and of the form that lives on the grid.

    python -m benchmarks.attack_forms [--json] [--models NAMES] [--images N] [--levels LIST] [--cw-steps N]
                                      [--attacks NAMES] [--choices] [--data-dir DIR]

The first of the test images. *float*: the published attack, on the network that doesn't round its input.
*rounded*: its images as uint8, on the network as it is built. *grid*: the form that asks about whole grey
levels throughout. Success counts every image that ends up misclassified, so it begins at the clean error.
The distance is the median over the images that succeed: L2 with values in [0, 1], L∞ in levels, L0 in pixels.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from attacks.base import AttackResult
from attacks.catalog import make_attack
from attacks.estimators import Estimator
from attacks.gradient import GradientAttack
from attacks.objectives import Objective
from attacks.pgd import Pgd
from attacks.temperature import CALIBRATION_IMAGES, Scaling
from attacks.threat import Norm
from export.errors import BitsiegeError
from hw.target import ImageArray
from quant_models.checkpoint import load_checkpoint
from quant_models.data import ImageSet, load_dataset
from quant_models.zoo import shipped_path

_MODELS = ("sfc-mnist", "paper-cnn-64-mnist")


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One attack on one network; shares are of all images.

    Attributes:
        model: Network.
        attack: What was run.
        float_success: Share fooled before rounding.
        rounded_success: Share fooled after it.
        grid_success: Share fooled by the form on the grid.
        rounded_distance: Median of the rounded images that succeed, in the attack's norm.
        grid_distance: The same of the grid form's.
        seconds: Of both forms together.
    """

    model: str
    attack: str
    float_success: float
    rounded_success: float
    grid_success: float
    rounded_distance: float
    grid_distance: float
    seconds: float


def plans(levels: Sequence[int], cw_steps: int) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield attacks and their parameters: L∞ budgets in levels, L2 ones of 2, and smallest changes."""
    walks: list[tuple[str, dict[str, Any]]] = [
        ("fgsm", {}),
        ("pgd", {"steps": 40}),
        ("apgd-ce", {}),
        ("apgd-dlr", {}),
    ]
    flat: list[tuple[str, dict[str, Any]]] = [
        ("bim", {}),
        ("pgd", {"steps": 40, "flips": 20}),
        ("apgd-t", {"steps": 40}),
    ]
    for level in levels:
        for name, more in (*walks, *flat):
            yield name, {"eps": level / 255} | more
    for name, more in walks:
        yield name, {"eps": 2.0, "norm": "l2"} | more
    yield "cw", {"steps": cw_steps}
    yield "deepfool", {"norm": "l2"}
    yield "deepfool", {"norm": "linf"}
    yield "jsma", {}


def choices() -> Iterator[dict[str, Any]]:
    """Yield what PGD can be told about its gradient, one at a time."""
    yield {}
    for key, values in (
        ("estimator", [estimator for estimator in Estimator if estimator is not Estimator.MODEL]),
        ("objective", [Objective.MARGIN, Objective.DLR]),
        ("scaling", [Scaling.NJS, Scaling.HNS]),
        ("momentum", [0.9]),
        ("restarts", [3]),
        ("flips", [20]),
    ):
        for value in values:
            yield {key: value}


def compare_choices(
    label: str, model: nn.Module, data: ImageSet, level: int, calibration: ImageArray
) -> None:
    """Print the success of PGD with 40 steps on the grid, one line a choice."""
    for choice in choices():
        parameters: dict[str, Any] = {"flips": 0} | choice
        attack = Pgd(eps=level / 255, steps=40, **parameters)
        size = min(256, len(data.images))
        result = attack.craft(model, data.images, data.labels, calibration=calibration, batch_size=size)
        said = " ".join(f"{key}={value}" for key, value in choice.items()) or "as it is"
        print(f"| {label} | {level}/255 | {said} | {100 * result.success.mean():.1f} |", flush=True)


def measure(label: str, model: nn.Module, data: ImageSet, name: str, parameters: dict[str, Any]) -> Row:
    """Run both forms of one attack."""
    begin = time.perf_counter()
    results: dict[str, AttackResult] = {}
    for form in ("float", "grid"):
        attack = make_attack(name, form=form, **parameters)
        if not isinstance(attack, GradientAttack):
            raise TypeError(f"{name} takes no gradients")
        results[form] = attack.craft(model, data.images, data.labels, batch_size=min(256, len(data.images)))
    before = results["float"].float_success
    if before is None:
        raise TypeError(f"{name} has no float form")
    norm = Norm(parameters.get("norm", attack.norm))
    return Row(
        model=label,
        attack=" ".join([name, *(_said(key, value) for key, value in parameters.items())]),
        float_success=float(before.mean()),
        rounded_success=float(results["float"].success.mean()),
        grid_success=float(results["grid"].success.mean()),
        rounded_distance=_distance(results["float"], data, norm),
        grid_distance=_distance(results["grid"], data, norm),
        seconds=time.perf_counter() - begin,
    )


def _said(key: str, value: Any) -> str:
    if key == "eps" and value < 1:
        return f"eps={round(255 * value)}/255"
    return f"{key}={value}"


def _distance(result: AttackResult, data: ImageSet, norm: Norm) -> float:
    change = (result.adversarial.astype(np.float64) - data.images)[result.success]
    match norm:
        case Norm.L2:
            sizes = np.sqrt((change**2).sum(axis=(1, 2, 3))) / 255
        case Norm.LINF:
            sizes = np.abs(change).max(axis=(1, 2, 3))
        case Norm.L0:
            sizes = (change != 0).any(axis=3).sum(axis=(1, 2))
    return float(np.median(sizes)) if len(sizes) else float("nan")


def main() -> int:
    """Print a table, or JSON lines."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--json", action="store_true", help="one JSON object a line")
    parser.add_argument("--models", default=",".join(_MODELS), help="shipped networks trained on MNIST")
    parser.add_argument("--attacks", default="", help="names of attacks; all without")
    parser.add_argument("--images", type=int, default=256)
    parser.add_argument("--levels", default="25,76", help="L∞ budgets in grey levels")
    parser.add_argument("--cw-steps", type=int, default=1000)
    parser.add_argument(
        "--choices",
        action="store_true",
        help="PGD with other gradients instead, at the first level",
    )
    parser.add_argument("--data-dir", type=Path, default=None)
    arguments = parser.parse_args()
    levels = [int(level) for level in arguments.levels.split(",")]
    torch.set_num_threads(1)
    try:
        whole = load_dataset("mnist", data_dir=arguments.data_dir).test
        data = ImageSet(images=whole.images[: arguments.images], labels=whole.labels[: arguments.images])
        for label in arguments.models.split(","):
            model = load_checkpoint(shipped_path(label)).build()
            if arguments.choices:
                compare_choices(label, model, data, levels[0], whole.images[-CALIBRATION_IMAGES:])
                continue
            for name, parameters in plans(levels, arguments.cw_steps):
                if arguments.attacks and name not in arguments.attacks.split(","):
                    continue
                row = measure(label, model, data, name, parameters)
                print(json.dumps(asdict(row)) if arguments.json else _line(row), flush=True)
    except BitsiegeError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_status
    return 0


def _line(row: Row) -> str:
    shares = " | ".join(f"{100 * s:.1f}" for s in (row.float_success, row.rounded_success, row.grid_success))
    return (
        f"| {row.model} | {row.attack} | {shares} | {row.rounded_distance:.2f} | {row.grid_distance:.2f} "
        f"| {row.seconds:.1f} |"
    )


if __name__ == "__main__":
    sys.exit(main())
