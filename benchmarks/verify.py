"""Exact verification, measured: answers and times of our networks, and each solver on the hard cases.

    python -m benchmarks.verify [--json] [--images N] [--cases N] [--time-limit S] [--data-dir DIR]

The first table verifies test images of MNIST on sparse networks trained for it (benchmarks/networks) and on
two shipped networks that were not. The second one gives the cases of TFC that neither bounds nor the quick
attack decide to every solver, each with the whole time limit. Beside what is certified stands what attacks
leave: PGD and target propagation on the network's twin, at the same radius.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean, median
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from attacks.catalog import make_attack
from attacks.gradient import GradientAttack
from attacks.inputs import grid_radius
from attacks.streams import image_stream
from attacks.surrogate import Surrogate
from attacks.verify.cpsat import solve_integer
from attacks.verify.exhaust import OutOfTimeError, enumerate_inputs
from attacks.verify.falsify import falsify
from attacks.verify.problem import Problem, pose
from attacks.verify.sat import solve_cardinality, solve_clauses
from attacks.verify.verdict import Status
from attacks.verify.verifier import SEARCH_PURPOSE, Settings, Verifier
from benchmarks.exactness import open_network
from benchmarks.verifiable import NETWORKS
from export.errors import BitsiegeError
from export.graph import DataflowGraph, IntArray
from export.graphfile import load_graph
from quant_models.data import ImageSet, load_dataset

Solve = Callable[[Problem, float], IntArray | None]
_SOLVERS: dict[str, Solve] = {
    "exhaust": enumerate_inputs,
    "minicard (native)": lambda problem, until: solve_cardinality(problem, "minicard", until),
    "gluecard4 (native)": lambda problem, until: solve_cardinality(problem, "gluecard4", until),
    "glucose4 (totalizer)": lambda problem, until: solve_clauses(problem, "glucose4", until),
    "glucose4 (no sharing)": lambda problem, until: solve_clauses(problem, "glucose4", until, share=False),
    "CP-SAT": solve_integer,
}

_ATTACKS: dict[str, dict[str, Any]] = {"pgd": {"steps": 40}, "iprop": {}}


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkRow:
    """One network at one radius; seconds are of images that are classified correctly.

    ``fooled_by`` counts images of those that an attack fools: with the certified ones it bounds the accuracy
    in the ball from both sides.
    """

    network: str
    eps: float
    images: int
    accuracy: float
    certified: int
    attacked: int
    unknown: int
    mean_s: float
    median_s: float
    largest_s: float
    mean_solver_s: float
    methods: dict[str, int]
    fooled_by: dict[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class SolverRow:
    """One solver on the hard cases; means are over the cases that it decided."""

    solver: str
    cases: int
    counterexamples: int
    counterexample_s: float | None
    proofs: int
    proof_s: float | None
    out_of_time: int


def measure_network(
    name: str, graph: DataflowGraph, eps: float, test: ImageSet, images: int, time_limit_s: float
) -> NetworkRow:
    """Verify the first test images in this process."""
    verifier = Verifier(graph, Settings(time_limit_s=time_limit_s))
    verdicts = [
        verifier.verify(test.images[i], int(test.labels[i]), grid_radius(eps), index=i) for i in range(images)
    ]
    asked = [verdict for verdict in verdicts if verdict.status is not Status.MISCLASSIFIED]
    counts = Counter(verdict.status for verdict in verdicts)
    return NetworkRow(
        network=name,
        eps=eps,
        images=images,
        accuracy=len(asked) / images,
        certified=counts[Status.CERTIFIED],
        attacked=counts[Status.ATTACKED],
        unknown=counts[Status.UNKNOWN],
        mean_s=fmean(verdict.seconds for verdict in asked),
        median_s=median(verdict.seconds for verdict in asked),
        largest_s=max(verdict.seconds for verdict in asked),
        mean_solver_s=fmean(verdict.solver_seconds for verdict in asked),
        methods=dict(Counter(verdict.method for verdict in asked if verdict.method)),
        fooled_by={
            name: fooled_by(graph, name, eps, test.take(np.arange(images))) - (images - len(asked))
            for name in _ATTACKS
        },
    )


def fooled_by(graph: DataflowGraph, name: str, eps: float, data: ImageSet) -> int:
    """Return how many images an attack on the network's twin leaves misclassified."""
    twin, attack = Surrogate(graph), make_attack(name, eps=eps, **_ATTACKS[name])
    if not isinstance(attack, GradientAttack):
        raise TypeError(f"{name} is no white-box attack")
    result = attack.craft(twin, data.images, data.labels, batch_size=twin.batch_size)
    return int(result.success.sum())


def hard_cases(graph: DataflowGraph, eps: float, test: ImageSet, count: int) -> list[Problem]:
    """Return problems that neither bounds nor the quick attack decide."""
    verifier = Verifier(graph)
    found: list[Problem] = []
    for index, image in enumerate(test.images):
        label = int(test.labels[index])
        if len(found) == count:
            break
        if verifier.classify(image) != label:
            continue
        problem = pose(verifier.network, image, label, grid_radius(eps))
        if problem.targets and falsify(problem, image_stream(0, SEARCH_PURPOSE, index)) is None:
            found.append(problem)
    return found


def measure_solver(name: str, problems: list[Problem], time_limit_s: float) -> SolverRow:
    """Give every problem to one solver."""
    times: dict[bool, list[float]] = {True: [], False: []}
    for problem in problems:
        begin = time.monotonic()
        try:
            found = _SOLVERS[name](problem, begin + time_limit_s)
        except OutOfTimeError:
            continue
        times[found is not None].append(time.monotonic() - begin)
    return SolverRow(
        solver=name,
        cases=len(problems),
        counterexamples=len(times[True]),
        counterexample_s=fmean(times[True]) if times[True] else None,
        proofs=len(times[False]),
        proof_s=fmean(times[False]) if times[False] else None,
        out_of_time=len(problems) - len(times[True]) - len(times[False]),
    )


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    """Measure everything."""
    test = load_dataset("mnist", data_dir=arguments.data_dir).test
    networks: list[NetworkRow] = []
    with TemporaryDirectory() as folder:
        shipped = {name: open_network(name, Path(folder)).graph for name in ("tfc-mnist", "sfc-mnist")}
    for eps in (0.1, 0.3):
        name = f"verifiable-mnist-{round(10 * eps):02}"
        graph = load_graph(NETWORKS / f"{name}.safetensors")
        networks.append(measure_network(name, graph, eps, test, arguments.images, arguments.time_limit))
    for name, graph in shipped.items():
        few = min(arguments.images, arguments.dense_images)
        networks.append(measure_network(name, graph, 0.1, test, few, arguments.time_limit))
    problems = hard_cases(shipped["tfc-mnist"], 0.1, test, arguments.cases)
    solvers = [measure_solver(name, problems, arguments.time_limit) for name in _SOLVERS]
    return {
        "time_limit_s": arguments.time_limit,
        "networks": [asdict(row) for row in networks],
        "solvers": [asdict(row) for row in solvers],
    }


def show(document: dict[str, Any]) -> None:
    """Print both tables."""
    print(
        f"{'network':<22} eps  images  accuracy certified attacked unknown  mean s  median  largest  solver s"
    )
    for row in document["networks"]:
        print(
            f"{row['network']:<22} {row['eps']:.1f} {row['images']:>7,} {100 * row['accuracy']:>8.2f}% "
            f"{row['certified']:>9,} {row['attacked']:>8,} {row['unknown']:>7,} {row['mean_s']:>7.4f} "
            f"{row['median_s']:>7.4f} {row['largest_s']:>8.3f} {row['mean_solver_s']:>9.5f}  {row['methods']}"
            f"  fooled by {row['fooled_by']}"
        )
    print(f"\n{'solver':<22} cases  counterexamples  mean s  proofs  mean s  out of time")
    for row in document["solvers"]:
        means = ["-" if row[k] is None else f"{row[k]:.3f}" for k in ("counterexample_s", "proof_s")]
        print(
            f"{row['solver']:<22} {row['cases']:>5} {row['counterexamples']:>16} {means[0]:>7} "
            f"{row['proofs']:>7} {means[1]:>7} {row['out_of_time']:>12}"
        )


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--images", type=int, default=10_000, help="for the sparse networks")
    parser.add_argument("--dense-images", type=int, default=100, help="for the others")
    parser.add_argument("--cases", type=int, default=12)
    parser.add_argument("--time-limit", type=float, default=10.0)
    parser.add_argument("--data-dir", type=Path)
    arguments = parser.parse_args()
    try:
        document = run(arguments)
    except BitsiegeError as error:
        print(error, file=sys.stderr)
        return error.exit_status
    if arguments.json:
        print(json.dumps(document, indent=2))
    else:
        show(document)
    return 0


if __name__ == "__main__":
    sys.exit(main())
