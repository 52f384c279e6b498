"""Target propagation beside attacks with gradients, on the integer networks' twins.

    python -m benchmarks.attacks_iprop [--models NAMES] [--images N] [--levels LIST] [--data-dir DIR]

The first test images of MNIST; success counts every image that ends up misclassified. Seconds are of the
process's own processor time, one thread.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from attacks.catalog import make_attack
from attacks.gradient import GradientAttack
from attacks.surrogate import Surrogate
from benchmarks.attacks import open_subject
from export.errors import BitsiegeError
from quant_models.data import ImageSet

ATTACKS: Mapping[str, tuple[str, dict[str, Any]]] = {
    "iprop-40": ("iprop", {"steps": 40}),
    "iprop-100": ("iprop", {"steps": 100}),
    "pgd-40, no flips": ("pgd", {"steps": 40, "flips": 0}),
    "pgd-40": ("pgd", {"steps": 40}),
    "pgd-100": ("pgd", {"steps": 100}),
    "apgd-ce": ("apgd-ce", {}),
}


def measure(twin: Surrogate, data: ImageSet, name: str, parameters: dict[str, Any]) -> tuple[float, float]:
    """Return the share that is misclassified, and the processor time [s]."""
    attack = make_attack(name, **parameters)
    if not isinstance(attack, GradientAttack):
        raise TypeError(f"{name} is no white-box attack")
    begin = time.process_time()
    result = attack.craft(twin, data.images, data.labels, batch_size=twin.batch_size)
    return float(result.success.mean()), time.process_time() - begin


def main() -> int:
    """Print one line for each network, budget and attack."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--models", default="tfc-mnist,sfc-mnist,lfc-mnist")
    parser.add_argument("--images", type=int, default=256)
    parser.add_argument("--levels", default="12,25,76", help="L∞ budgets in grey levels")
    parser.add_argument("--data-dir", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    try:
        for model in arguments.models.split(","):
            asked = argparse.Namespace(
                model=model, dataset=None, data_dir=arguments.data_dir, images=arguments.images, repeats=1
            )
            subject = open_subject(asked)
            twin = subject.twin
            if not isinstance(twin, Surrogate):
                raise TypeError(f"{model} has no twin")
            for level in map(int, arguments.levels.split(",")):
                for label, (name, parameters) in ATTACKS.items():
                    share, seconds = measure(twin, subject.data, name, {"eps": level / 255} | parameters)
                    print(
                        f"| {model} | {level}/255 | {label} | {100 * share:.1f} | {seconds:.1f} |", flush=True
                    )
    except BitsiegeError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_status
    return 0


if __name__ == "__main__":
    sys.exit(main())
