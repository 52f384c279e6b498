"""Exact verification of a build: verdicts, counterexamples as an attack, and their replay on a target."""

from __future__ import annotations

import shutil
import statistics
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from attacks.archive import AttackArchive, save_attack
from attacks.inputs import checked_eps, grid_radius, require
from attacks.replay import replay
from attacks.verify.verdict import Status
from attacks.verify.verifier import Settings
from attacks.verify.work import Order, Result, verify_images
from bitsiege.findings import finding_header
from bitsiege.pipeline.store import write_json
from bitsiege.progress import Progress
from bitsiege.targets import close_targets, open_any_target
from export.graph import IntArray
from hw.build import Build
from hw.target import ImageArray

FORMAT_VERSION = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What ``bitsiege verify`` was asked for.

    Attributes:
        eps: L∞ radius in [0, 1].
        settings: Time limit, solvers and seed.
        output: VERDICTS.json.
        counterexamples: ATTACK.npz, written where there is one.
        largest: Look for the largest certified radius up to `eps`.
        proofs: Folder for proofs, or None.
        jobs: Processes.
        work: Folder of kept answers; None for one beside the output, which goes when the work is done.
        replay_target: Target on which counterexamples are replayed against `reference`, or None.
        cache_dir: Of compiled targets.
    """

    eps: float
    settings: Settings
    output: Path
    counterexamples: Path
    largest: bool = False
    proofs: Path | None = None
    jobs: int = 1
    work: Path | None = None
    replay_target: str | None = None
    cache_dir: Path | None = None


def verify_build(
    build: Build, images: ImageArray, labels: IntArray, request: Request, *, progress: Progress
) -> dict[str, Any]:
    """Verify images, write the verdicts and the counterexamples, and return the document.

    Args:
        build: The compiled network.
        images: uint8 ``(N, H, W, C)``.
        labels: int64 ``(N,)``.
        request: What to do.
        progress: Who listens.

    Raises:
        InputError: The network can't be verified, or a file can't be written.
        DivergenceError: The replay target gives other logits than the golden model.
    """
    checked_eps(request.eps)
    require(len(images) > 0, "there are no images to verify")
    order = Order(
        radius=grid_radius(request.eps),
        settings=request.settings,
        largest=request.largest,
        proofs=request.proofs,
    )
    folder = request.work or request.output.with_name(f"{request.output.name}.work")
    with progress.task(f"verify eps {request.eps:g}", total=len(images)) as task:
        seen: Counter[Status] = Counter()

        def listen(result: Result) -> None:
            seen[result.verdict.status] += 1
            note = ", ".join(f"{count} {status}" for status, count in sorted(seen.items()))
            task.update(seen.total(), note=note)

        results = verify_images(
            build.graph, images, labels, order, folder=folder, jobs=request.jobs, progress=listen
        )
    archive = _archive(build, images, results, request)
    document = _document(build, results, request, archive)
    if archive is not None:
        save_attack(request.counterexamples, archive)
        if request.replay_target is not None:
            document["replay"] = _replayed(build, archive, request)
    write_json(request.output, document)
    if request.work is None:
        shutil.rmtree(folder, ignore_errors=True)
    return document


def _archive(
    build: Build, images: ImageArray, results: list[Result], request: Request
) -> AttackArchive | None:
    hits = [result.verdict for result in results if result.verdict.adversarial is not None]
    if not hits:
        return None
    shape = (len(hits), *build.graph.input_shape)
    return AttackArchive(
        originals=np.stack([np.asarray(images[verdict.image]) for verdict in hits]),
        adversarial=np.stack(
            [verdict.adversarial for verdict in hits if verdict.adversarial is not None]
        ).reshape(shape),
        labels=np.array([verdict.label for verdict in hits], np.int64),
        classes=build.graph.classes,
        attack="verify",
        parameters={
            "eps": request.eps,
            "images": [verdict.image for verdict in hits],
            "largest": request.largest,
            "time_limit_s": request.settings.time_limit_s,
            "solvers": list(request.settings.solvers),
        },
        eps=float(request.eps),
        seed=request.settings.seed,
        graph_hash=build.graph_hash,
        origin="exact verification",
    )


def _document(
    build: Build, results: list[Result], request: Request, archive: AttackArchive | None
) -> dict[str, Any]:
    verdicts = [result.verdict for result in results]
    counts = {str(status): sum(v.status is status for v in verdicts) for status in Status}
    asked = [v.seconds for v in verdicts if v.status is not Status.MISCLASSIFIED]
    solver = [v.solver_seconds for v in verdicts if v.status is not Status.MISCLASSIFIED]
    return {
        **finding_header("verify", build),
        "version": FORMAT_VERSION,
        "eps": request.eps,
        "radius": grid_radius(request.eps),
        "images": len(results),
        "time_limit_s": request.settings.time_limit_s,
        "solvers": list(request.settings.solvers),
        "seed": request.settings.seed,
        "counts": counts,
        "verifiable_accuracy": counts[Status.CERTIFIED] / len(results),
        "methods": dict(Counter(v.method for v in verdicts if v.method)),
        "mean_seconds": statistics.fmean(asked) if asked else 0.0,
        "median_seconds": statistics.median(asked) if asked else 0.0,
        "mean_solver_seconds": statistics.fmean(solver) if solver else 0.0,
        "proofs_checked": sum(bool(r.extra.get("proof", {}).get("checked")) for r in results),
        "counterexamples": None if archive is None else str(request.counterexamples),
        "replay": None,
        "verdicts": [result.to_json() for result in results],
    }


def _replayed(build: Build, archive: AttackArchive, request: Request) -> dict[str, Any]:
    """Compare a target's logits of all counterexamples with the golden model's."""
    name = request.replay_target or "reference"
    names = ["reference"] if name == "reference" else ["reference", name]
    targets = [open_any_target(each, build, cache_dir=request.cache_dir) for each in names]
    try:
        report = replay(archive, targets, graph_hash=build.graph_hash)
    finally:
        close_targets(targets)
    report.check()
    fooled = report.targets[-1].adversarial
    return {"target": name, "images": fooled.count, "still_wrong": fooled.count - fooled.correct}
