"""Many images: processes share them, each answer is kept as it comes, and a later call goes on from there."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from attacks.processes import Processes
from attacks.verify.exhaust import OutOfTimeError
from attacks.verify.problem import pose
from attacks.verify.proof import prove
from attacks.verify.proofcheck import check_proof
from attacks.verify.radius import largest_radius
from attacks.verify.verdict import Status, Verdict, verdict_from_shard
from attacks.verify.verifier import Settings, Verifier
from export.errors import InputError
from export.files import atomic_file
from export.graph import DataflowGraph, IntArray
from export.graphfile import graph_hash
from hw.target import ImageArray

# Raised whenever another version would answer otherwise.
_ALGORITHM = 1
Shard = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What to find out about each image.

    Attributes:
        radius: L∞ radius in grey levels.
        settings: How.
        largest: Look for the largest certified radius up to `radius`.
        proofs: Folder for the proofs of certified images, or None.
    """

    radius: int
    settings: Settings
    largest: bool = False
    proofs: Path | None = None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Result:
    """What was found out about one image.

    Attributes:
        verdict: The answer.
        extra: JSON values besides: ``largest`` and ``proof``, where they were asked for.
        kept: Whether it comes from an earlier call.
    """

    verdict: Verdict
    extra: Shard
    kept: bool = False

    def to_json(self) -> Shard:
        """Return verdict and extras as JSON values."""
        return self.verdict.to_json() | self.extra


def verify_images(
    graph: DataflowGraph,
    images: ImageArray,
    labels: IntArray,
    order: Order,
    *,
    folder: Path,
    jobs: int = 1,
    progress: Callable[[Result], None] | None = None,
) -> list[Result]:
    """Answer for images, in their order.

    Args:
        graph: The network.
        images: uint8 ``(N, H, W, C)``.
        labels: int64 ``(N,)``.
        order: What to find out.
        folder: Where answers are kept, one file an image. Certified and attacked ones are taken from there
            by a later call with the same question; unknown ones are asked again if there is more time now.
        jobs: Processes; 1 works in this one.
        progress: Called with each result as it comes.

    Raises:
        LoweringError: The network can't be verified.
        InputError: The folder can't be written.
    """
    verifier = Verifier(graph, order.settings)
    digest = graph_hash(graph)
    keys = [_key(digest, images[i], int(labels[i]), order, i) for i in range(len(images))]
    results: dict[int, Result] = {}
    for index, key in enumerate(keys):
        found = _kept(folder, key, order)
        if found is not None:
            results[index] = found
            if progress is not None:
                progress(found)
    todo = [index for index in range(len(images)) if index not in results]
    tasks = [(index, np.ascontiguousarray(images[index]), int(labels[index])) for index in todo]
    for index, result in _answers(verifier, tasks, order, jobs):
        shard = result.verdict.to_shard() | {"extra": result.extra, "limit": order.settings.time_limit_s}
        with atomic_file(folder / f"{keys[index]}.json") as temporary:
            temporary.write_text(json.dumps(shard), encoding="utf-8")
        results[index] = result
        if progress is not None:
            progress(result)
    return [results[index] for index in range(len(images))]


def examine(verifier: Verifier, index: int, image: npt.NDArray[np.uint8], label: int, order: Order) -> Result:
    """Find out about one image."""
    extra: Shard = {}
    if not order.largest:
        verdict = verifier.verify(image, label, order.radius, index=index)
    else:
        verdict = verifier.verify(image, label, 0, index=index)
        if verdict.status is not Status.MISCLASSIFIED:
            found = largest_radius(
                image, order.radius, lambda radius: verifier.verify(image, label, radius, index=index)
            )
            verdict = found.verdict
            extra["largest"] = {
                "certified_radius": found.certified,
                "attacked_radius": found.attacked,
                "exact": found.certified == order.radius or found.attacked == found.certified + 1,
                "questions": found.questions,
                "seconds": round(found.seconds, 6),
            }
    if order.proofs is not None and verdict.status is Status.CERTIFIED:
        extra["proof"] = _proof(verifier, index, image, verdict, order.proofs)
    return Result(verdict=verdict, extra=extra)


def _proof(
    verifier: Verifier, index: int, image: npt.NDArray[np.uint8], verdict: Verdict, folder: Path
) -> Shard:
    """Write and check the proof of a certified image; say why where there is none."""
    begin = time.monotonic()
    deadline_s = begin + verifier.settings.time_limit_s
    problem = pose(verifier.network, image, verdict.label, verdict.radius, substitute=False)
    try:
        proof = prove(problem, deadline_s)
        formula, steps = folder / f"{index:06}.cnf", folder / f"{index:06}.drup"
        for path, text in ((formula, proof.formula), (steps, proof.steps)):
            with atomic_file(path) as temporary:
                temporary.write_text(text, encoding="ascii")
        proved_s = time.monotonic()
        check_proof(
            formula.read_text(encoding="ascii"),
            steps.read_text(encoding="ascii"),
            deadline_s=proved_s + 10 * verifier.settings.time_limit_s,
        )
    except (OutOfTimeError, TimeoutError) as error:
        what = "checked" if isinstance(error, TimeoutError) else "found"
        return {"checked": False, "reason": f"not {what} in time"}
    return {
        "checked": True,
        "formula": formula.name,
        "steps": steps.name,
        "seconds": round(proved_s - begin, 6),
        "check_seconds": round(time.monotonic() - proved_s, 6),
    }


def _key(digest: str, image: npt.NDArray[np.uint8], label: int, order: Order, index: int) -> str:
    """Return the name of an answer's file: everything that decides it but the time."""
    settings = {key: value for key, value in asdict(order.settings).items() if key != "time_limit_s"}
    question = [_ALGORITHM, digest, label, order.radius, order.largest, order.proofs is not None, settings]
    text = json.dumps([*question, index], sort_keys=True).encode()
    return f"{index:06}-{hashlib.sha256(text + image.tobytes()).hexdigest()[:16]}"


def _kept(folder: Path, key: str, order: Order) -> Result | None:
    path = folder / f"{key}.json"
    try:
        shard: object = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"can't read the saved answer {path}: {error}", hint=f"remove {path}") from error
    match shard:
        case {"extra": dict() as extra, "limit": int() | float() as limit}:
            fields = cast("Shard", shard)
            values = {name: value for name, value in fields.items() if name not in ("extra", "limit")}
        case _:
            raise InputError(f"the saved answer {path} is damaged", hint=f"remove {path}")
    verdict = verdict_from_shard(values)
    more_time = limit < order.settings.time_limit_s
    result = Result(verdict=verdict, extra=cast("Shard", extra), kept=True)
    if (verdict.status is Status.UNKNOWN and more_time) or _lacks_proof(result, order.proofs, more_time):
        return None
    return result


def _lacks_proof(result: Result, folder: Path | None, more_time: bool) -> bool:
    if folder is None or result.verdict.status is not Status.CERTIFIED:
        return False
    proof = result.extra.get("proof", {})
    if not proof.get("checked"):
        return more_time
    return not all((folder / proof[name]).is_file() for name in ("formula", "steps"))


Task = tuple[int, npt.NDArray[np.uint8], int]


def _answers(
    verifier: Verifier, tasks: Sequence[Task], order: Order, jobs: int
) -> Iterator[tuple[int, Result]]:
    if jobs == 1 or len(tasks) < 2:
        for index, image, label in tasks:
            yield index, examine(verifier, index, image, label, order)
        return
    processes = Processes[Task, Result](
        min(jobs, len(tasks)), _work, prepare=partial(_start_worker, verifier.graph, order)
    )
    try:
        for task in tasks:
            processes.submit(task[0], task)
        while found := processes.collect():
            yield from found
    finally:
        processes.close()


_worker: list[tuple[Verifier, Order]] = []


def _start_worker(graph: DataflowGraph, order: Order) -> None:
    _worker.append((Verifier(graph, order.settings), order))


def _work(task: Task) -> Result:
    verifier, order = _worker[0]
    index, image, label = task
    return examine(verifier, index, image, label, order)
